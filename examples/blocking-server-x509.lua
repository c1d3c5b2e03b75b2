#!/usr/bin/env luajit
-- A server that waits, with a certificate: answers `Echo: ` and the message, to each peer in a coroutine of
-- its own. It runs as it is in a coroutine, as in Luvit, and outside one.
-- Usage: luajit examples/blocking-server-x509.lua [host] [port] [cert] [key]
--   cert.pem and key.pem by default; port 0 picks a free one, and the address is printed. Control-C ends it.

local coro = require('dtls/coro')
local uv = require('dtls').uv

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

local server = assert(coro.listen({
  host = host,
  port = port,
  cert = read(args[3] or 'cert.pem'),
  key = read(args[4] or 'key.pem'),
}))
server:on('clientError', function (err, _, peer) print('refused ' .. nameOf(peer) .. ': ' .. err) end)
print('listening on ' .. nameOf(server:address()))

-- What the loop calls back may not wait, unless in a coroutine.
local interrupt = uv.new_signal()
interrupt:start('sigint', coroutine.wrap(function ()
  interrupt:close()
  server:close()
end))

local function serve(session)
  local peer = nameOf(session:remoteAddress())
  print('connected ' .. peer .. ': ' .. session:getCipher().name)
  for message in session:messages() do session:send('Echo: ' .. message) end
  local _, err = session:recv()
  print('closed ' .. peer .. ': ' .. (err or session.closed))
end

for session in server:accepted() do coroutine.wrap(serve)(session) end
