#!/usr/bin/env luajit
-- A client that waits, and verifies its server's certificate: sends messages, prints what each is answered.
-- It runs as it is in a coroutine, as in Luvit, and outside one.
-- Usage: luajit examples/blocking-client-x509.lua [host] [port] [ca] [message …]
--   trusts cert.pem by default, and says hello. Ends with an error where something goes wrong.

local coro = require('dtls/coro')

local args = arg or { unpack(process.argv, 2) }
local host, port, caFile = args[1] or 'localhost', tonumber(args[2] or 5684), args[3] or 'cert.pem'
local messages = args[4] and { unpack(args, 4) } or { 'hello' }

local file = assert(io.open(caFile, 'rb'))
local ca = file:read('*a')
file:close()

local session = assert(coro.connect({ host = host, port = port, ca = ca }))
print('connected: ' .. session:getProtocol() .. ', ' .. session:getCipher().name)

for _, message in ipairs(messages) do
  assert(session:send(message))
  local answer, err = session:recv(2000)
  if not answer then error(err or 'the server has closed the session', 0) end
  print(answer)
end

session:close()
print('closed: ' .. session.closed)
