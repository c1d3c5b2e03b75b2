-- A handler that throws: the program ends, and says where.

local dtls = require('dtls')

local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function () error('thrown by a handler') end)
end)
assert(server:listen(0, '127.0.0.1'))
local session = dtls.connect({ host = 'localhost', port = server:address().port, ca = identity.cert })
session:on('secureConnection', function () session:send('hello') end)
