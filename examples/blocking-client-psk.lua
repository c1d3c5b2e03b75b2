#!/usr/bin/env luajit
-- A client that waits, with a pre-shared key: sends messages, prints what each is answered.
-- It runs as it is in a coroutine, as in Luvit, and outside one.
-- Usage: luajit examples/blocking-client-psk.lua [host] [port] [keys] [message …]
--   takes the key in the first line of keys.psk by default, which reads `identity:hexadecimal key`, and says
--   hello. Ends with an error where something goes wrong.

local coro = require('dtls/coro')

local args = arg or { unpack(process.argv, 2) }
local host, port, keyFile = args[1] or 'localhost', tonumber(args[2] or 5684), args[3] or 'keys.psk'
local messages = args[4] and { unpack(args, 4) } or { 'hello' }

local file = assert(io.open(keyFile))
local identity, hex = assert(file:read(), keyFile .. ' is empty'):match('^(.+):(%x+)$')
file:close()
local key = assert(hex, 'there is no key in ' .. keyFile):gsub('%x%x', function (pair)
  return string.char(tonumber(pair, 16))
end)

local session = assert(coro.connect({ host = host, port = port, psk = { identity = identity, key = key } }))
print('connected: ' .. session:getProtocol() .. ', ' .. session:getCipher().name)

for _, message in ipairs(messages) do
  assert(session:send(message))
  local answer, err = session:recv(2000)
  if not answer then error(err or 'the server has closed the session', 0) end
  print(answer)
end

session:close()
print('closed: ' .. session.closed)
