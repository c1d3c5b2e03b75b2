-- Run by luvit itself: both ends in one script, on Luvit's own loop and Emitters.

local Emitter = require('core').Emitter
local dtls = require('dtls')

local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
end)
assert(server:listen(0, '127.0.0.1'))
assert(require('core').instanceof(server, Emitter), 'a server is an Emitter of Luvit')

local session = dtls.connect({ host = 'localhost', port = server:address().port, ca = identity.cert })
session:on('secureConnection', function () session:send('hello') end)
session:on('message', function (data)
  print(data)
  session:close()
end)
session:on('error', function (err) print('failed', err) end)
session:on('close', function (reason)
  print('closed ' .. reason)
  server:close()
end)
