#!/usr/bin/env luajit
-- A server of events with a certificate: answers `Echo: ` and the message, to any number of peers.
-- Usage: luajit examples/events-server-x509.lua [host] [port] [cert] [key]
--   cert.pem and key.pem by default; port 0 picks a free one, and the address is printed. Control-C ends it.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local host, port = args[1] or '127.0.0.1', tonumber(args[2] or 5684)

local function read(name)
  local file = assert(io.open(name, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local function nameOf(peer) return ('%s port %d'):format(peer.ip, peer.port) end

local server = dtls.createServer({
  cert = read(args[3] or 'cert.pem'),
  key = read(args[4] or 'key.pem'),
}, function (session)
  local peer = nameOf(session:remoteAddress())
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
