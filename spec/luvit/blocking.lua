-- Blocking calls in Luvit's main coroutine: from top to bottom, without a callback.

local dtls = require('dtls')
local coro = require('dtls/coro')

local identity = dtls.generateCertificate()
local server = assert(coro.listen({
  host = '127.0.0.1', port = 0, cert = identity.cert, key = identity.key,
}, function (session)
  for message in session:messages() do session:send('Echo: ' .. message) end
end))

local session = assert(coro.connect({ host = 'localhost', port = server:address().port, ca = identity.cert }))
assert(session:send('hello'))
print(session:recv(5000))
print(select(3, session:recv(1)))
session:close()
server:close()
print('closed', session.closed)
