#!/usr/bin/env luajit
-- What luv asks for a datagram without DTLS: a callback for each, and a send.
-- Usage: luajit bench/udp-echo.lua [host] [port]

local uv = require('luv')

local host, port = arg[1] or '127.0.0.1', tonumber(arg[2] or 0)

local udp = uv.new_udp()
assert(udp:bind(host, port))
udp:recv_start(function (err, data, peer)
  assert(not err, err)
  if data then udp:try_send(data, peer.ip, peer.port) end
end)
print('listening on ' .. host .. ' port ' .. udp:getsockname().port)
io.stdout:flush()

uv.run()
