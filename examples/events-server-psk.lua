#!/usr/bin/env luajit
-- A server of events with pre-shared keys: answers `Echo: ` and the message, to any number of peers.
-- Usage: luajit examples/events-server-psk.lua [host] [port] [keys]
--   keys.psk by default, with a line `identity:hexadecimal key` for each peer, as GnuTLS has it; port 0 picks
--   a free one, and the address is printed. Control-C ends it.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local host, port = args[1] or '127.0.0.1', tonumber(args[2] or 5684)

local function bytes(hex)
  return (hex:gsub('%x%x', function (pair) return string.char(tonumber(pair, 16)) end))
end

local keys = {}
for line in io.lines(args[3] or 'keys.psk') do
  local identity, key = line:match('^(.+):(%x+)$')
  if identity then keys[identity] = bytes(key) end
end

local function nameOf(peer) return ('%s port %d'):format(peer.ip, peer.port) end

local server = dtls.createServer({ psk = keys }, function (session)
  local peer = session:getPskIdentity()
  print('connected ' .. peer .. ': ' .. session:getCipher().name)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('error', function (err) print('failed ' .. peer .. ': ' .. err) end)
  session:on('close', function (reason) print('closed ' .. peer .. ': ' .. reason) end)
end)
server:on('clientError', function (err, _, peer) print('refused ' .. nameOf(peer) .. ': ' .. err) end)
assert(server:listen(port, host))
print('listening on ' .. nameOf(server:address()))

local interrupt = uv.new_signal()
interrupt:start('sigint', function ()
  interrupt:close()
  server:close()
end)

uv.run()
