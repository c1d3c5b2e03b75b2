#!/usr/bin/env luajit
-- A client of events with a pre-shared key: sends messages, prints what each is answered.
-- Usage: luajit examples/events-client-psk.lua [host] [port] [keys] [message …]
--   takes the key in the first line of keys.psk by default, which reads `identity:hexadecimal key`, and says
--   hello. Ends with status 1 where something goes wrong.

local dtls = require('dtls')

local args = arg or { unpack(process.argv, 2) }
local host, port, keyFile = args[1] or 'localhost', tonumber(args[2] or 5684), args[3] or 'keys.psk'
local messages = args[4] and { unpack(args, 4) } or { 'hello' }

local file = assert(io.open(keyFile))
local identity, hex = assert(file:read(), keyFile .. ' is empty'):match('^(.+):(%x+)$')
file:close()
local key = assert(hex, 'there is no key in ' .. keyFile):gsub('%x%x', function (pair)
  return string.char(tonumber(pair, 16))
end)

local session = dtls.connect({ host = host, port = port, psk = { identity = identity, key = key } })
local answered, failure = 0, nil

-- One at a time: datagrams that are sent together may arrive in another order.
local function sendNext()
  local message = messages[answered + 1]
  if not message then return session:close() end
  local sent, err = session:send(message)
  if sent then return end
  failure = err
  session:close()
end

session:on('secureConnection', function ()
  print('connected: ' .. session:getProtocol() .. ', ' .. session:getCipher().name)
  session:setTimeout(2000)
  sendNext()
end)
session:on('message', function (data)
  print(data)
  answered = answered + 1
  sendNext()
end)
session:on('timeout', function ()
  failure = 'the server does not answer'
  session:close()
end)
session:on('error', function (err) failure = err end)
session:on('close', function (reason)
  if answered < #messages then failure = failure or 'the server has closed the session' end
  if not failure then return print('closed: ' .. reason) end
  io.stderr:write(failure, '\n')
  os.exit(1)
end)

dtls.uv.run()
