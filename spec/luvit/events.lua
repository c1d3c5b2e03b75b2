-- Both ends in one script, by events, on Luvit's own loop.

local core = require('core')
local dtls = require('dtls')

local identity = dtls.generateCertificate()
local function isEmitter(name, object)
  print(name, core.instanceof(object, core.Emitter))
end

local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  isEmitter('accepted session', session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
end)
isEmitter('server', server)
assert(server:listen(0, '127.0.0.1'))

local endpoint = dtls.createEndpoint({ cert = identity.cert, key = identity.key, ca = identity.cert })
isEmitter('endpoint', endpoint)
assert(endpoint:listen(0, '127.0.0.1'))

local session = endpoint:connect({ host = 'localhost', port = server:address().port })
isEmitter('session', session)
session:once('secureConnection', function () session:send('hello') end)
session:on('message', function (data)
  print(data)
  session:close()
end)
session:on('error', function (err) print('failed', err) end)
session:on('close', function (reason)
  print('closed', reason)
  endpoint:close()
  server:close()
end)
