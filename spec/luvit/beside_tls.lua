-- Beside Luvit's own tls: two OpenSSLs in one process, of which each is used by the one that brought it.

local dtls = require('dtls')
local tls = require('tls')

local identity = dtls.generateCertificate()

local streams = tls.createServer({ cert = identity.cert, key = identity.key }, function (stream)
  stream:on('data', function (data) stream:write('TLS: ' .. data) end)
end)
streams:listen(0, '127.0.0.1')
local datagrams = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('DTLS: ' .. data) end)
end)
assert(datagrams:listen(0, '127.0.0.1'))

local session = dtls.connect({ host = 'localhost', port = datagrams:address().port, ca = identity.cert })
session:on('secureConnection', function () session:send('hello') end)
session:on('message', function (data)
  print(data)
  local stream
  stream = tls.connect({
    host = '127.0.0.1', port = streams:address().port, rejectUnauthorized = false,
  }, function () stream:write('hello') end)
  stream:on('data', function (answer)
    print(answer)
    stream:destroy()
    streams:close()
    session:close()
  end)
end)
session:on('close', function () datagrams:close() end)
