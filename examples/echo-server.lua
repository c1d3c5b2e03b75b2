#!/usr/bin/env luajit
-- Answers `Echo: ` and the message, to any number of peers.
-- Usage: luajit examples/echo-server.lua [host] [port] [cert] [key]
--   port 0 picks a free one; the address is printed. Without files it makes a certificate.
-- DTLS_LOG=info or debug shows who comes and goes, and what is dropped. Control-C ends it.

local dtls = require('dtls')
local uv = dtls.uv

-- Whoever watches through a pipe sees each line when it is printed.
io.stdout:setvbuf('line')

local args = arg or { unpack(process.argv, 2) }
local host, port, certFile, keyFile = args[1] or '127.0.0.1', tonumber(args[2] or 5684), args[3], args[4]

local function read(name)
  local file = assert(io.open(name, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local identity
if certFile then
  identity = { cert = read(certFile), key = read(keyFile or certFile) }
else
  identity = dtls.generateCertificate({ names = { 'localhost', host } })
  print('fingerprint ' .. identity.fingerprint256)
end

local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  local peer = session:remoteAddress()
  print(('connected %s port %d'):format(peer.ip, peer.port))
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('error', function (err) print(('failed %s port %d: %s'):format(peer.ip, peer.port, err)) end)
  session:on('close', function (reason)
    print(('closed %s port %d: %s'):format(peer.ip, peer.port, reason))
  end)
end)
server:on('clientError', function (err, _, peer)
  print(('refused %s port %d: %s'):format(peer.ip, peer.port, err))
end)
server:on('error', function (err)
  io.stderr:write(err, '\n')
  os.exit(1)
end)
assert(server:listen(port, host, function ()
  local bound = server:address()
  print(('listening on %s port %d'):format(bound.ip, bound.port))
end))

local interrupt = uv.new_signal()
interrupt:start('sigint', function ()
  interrupt:close()
  server:close()
end)

uv.run()
