#!/usr/bin/env luajit
-- Both ends in one file: a server that answers, and a client that verifies it.
-- Usage: luajit examples/hello.lua

local dtls = require('dtls')
local uv = dtls.uv

local identity = dtls.generateCertificate({ names = { 'localhost', '127.0.0.1' } })

local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
end)
server:on('clientError', function (err) print('a peer failed:', err) end)
assert(server:listen(0, '127.0.0.1'))

local session = dtls.connect({
  host = 'localhost',
  port = server:address().port,
  ca = identity.cert,
}, function (session)
  print('connected', session:getProtocol(), session:getCipher().name)
  session:send('hello')
end)
session:on('message', function (data)
  print('received', data)
  session:close()
end)
session:on('error', function (err) print('failed', err) end)
session:on('close', function (reason)
  print('closed', reason)
  server:close()
end)

uv.run()
