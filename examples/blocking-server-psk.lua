#!/usr/bin/env luajit
-- A server that waits, with pre-shared keys: answers `Echo: ` and the message, to each peer in a coroutine of
-- its own. It runs as it is in a coroutine, as in Luvit, and outside one.
-- Usage: luajit examples/blocking-server-psk.lua [host] [port] [keys]
--   keys.psk by default, with a line `identity:hexadecimal key` for each peer, as GnuTLS has it; port 0 picks
--   a free one, and the address is printed. Control-C ends it.

local coro = require('dtls/coro')
local uv = require('dtls').uv

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

local server = assert(coro.listen({ host = host, port = port, psk = keys }))
server:on('clientError', function (err, _, peer) print('refused ' .. nameOf(peer) .. ': ' .. err) end)
print('listening on ' .. nameOf(server:address()))

-- What the loop calls back may not wait, unless in a coroutine.
local interrupt = uv.new_signal()
interrupt:start('sigint', coroutine.wrap(function ()
  interrupt:close()
  server:close()
end))

local function serve(session)
  local peer = session:getPskIdentity()
  print('connected ' .. peer .. ': ' .. session:getCipher().name)
  for message in session:messages() do session:send('Echo: ' .. message) end
  local _, err = session:recv()
  print('closed ' .. peer .. ': ' .. (err or session.closed))
end

for session in server:accepted() do coroutine.wrap(serve)(session) end
