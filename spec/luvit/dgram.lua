-- A dgram socket of Luvit that a session has for a while, and that goes on as it was afterwards.

local dgram = require('dgram')
local dtls = require('dtls')

local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
end)
assert(server:listen(0, '127.0.0.1'))

local socket = dgram.createSocket('udp4')
socket:bind(0, '127.0.0.1')
local session = dtls.connect({
  host = 'localhost', port = server:address().port, ca = identity.cert, socket = socket,
}, function (session)
  print('same port', session:address().port == socket:address().port)
  session:send('hello')
end)
session:on('message', function (data)
  print(data)
  session:close()
end)
session:on('close', function (reason)
  print('closed', reason)
  server:close()
  socket:on('message', function (data)
    print('plain', data)
    socket:close()
  end)
  socket:recvStart()
  socket:send('to myself', socket:address().port, '127.0.0.1')
end)
