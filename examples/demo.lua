#!/usr/bin/env luajit
-- What `make demo` shows: a server, a client that verifies it, and every datagram between them.
-- Usage: luajit examples/demo.lua

local dtls = require('dtls')
local uv = dtls.uv

local identity = dtls.generateCertificate({ names = { 'localhost', '127.0.0.1' } })
print('dtls ' .. dtls._VERSION .. ' on ' .. dtls.opensslVersion)
print('certificate made on the spot, SHA-256 ' .. identity.fingerprint256:sub(1, 23) .. '…')

local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('close', function (reason) print('server   closed: ' .. reason) end)
end)
server:on('clientError', function (err) print('server   ' .. err) end)
assert(server:listen(0, '127.0.0.1'))

-- A relay between the two, to see what the network sees.
local relay, upstream, client = uv.new_udp(), uv.new_udp(), nil
local function pass(socket, onDatagram)
  assert(socket:bind('127.0.0.1', 0))
  socket:recv_start(function (_, data, from) if from then onDatagram(data, from) end end)
end
pass(relay, function (data, from)
  client = from
  print(('wire     client → server %5d bytes'):format(#data))
  upstream:try_send(data, '127.0.0.1', server:address().port)
end)
pass(upstream, function (data)
  print(('wire     client ← server %5d bytes'):format(#data))
  relay:try_send(data, client.ip, client.port)
end)

local messages, answered = { 'Hello, DTLS.', 'One send is one datagram.', ('x'):rep(500) }, 0
local port = relay:getsockname().port
local session = dtls.connect({ host = 'localhost', port = port, ca = identity.cert }, function (session)
  print(('client   connected to %s port %d: %s, %s')
    :format(session:remoteAddress().ip, port, session:getProtocol(), session:getCipher().name))
  local names = table.concat(session:getPeerCertificate().subjectAltName, ', ')
  print('client   verified: the certificate is for ' .. names)
  print(('client   a message of up to %d bytes fits a datagram of 1200'):format(session:maxPayload()))
  session:send(messages[1])
end)
session:on('message', function (data)
  answered = answered + 1
  print('client   answered: ' .. (#data < 60 and data or ('%s… (%d bytes)'):format(data:sub(1, 20), #data)))
  if messages[answered + 1] then session:send(messages[answered + 1]) else session:close() end
end)
session:on('error', function (err) print('client   failed: ' .. err) end)
session:on('close', function (reason)
  print('client   closed: ' .. reason)
  for _, each in ipairs({ server, relay, upstream }) do each:close() end
end)

uv.run()
if answered < #messages then error('the demo failed: not everything was answered', 0) end
print('Both ends are closed and the loop is empty.')
