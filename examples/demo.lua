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
local relay, upstream = uv.new_udp(), uv.new_udp()
local client
assert(relay:bind('127.0.0.1', 0))
assert(upstream:bind('127.0.0.1', 0))
relay:recv_start(function (_, data, from)
  if not from then return end
  client = from
  print(('wire     client → server %5d bytes'):format(#data))
  upstream:try_send(data, '127.0.0.1', server:address().port)
end)
upstream:recv_start(function (_, data, from)
  if not from then return end
  print(('wire     client ← server %5d bytes'):format(#data))
  relay:try_send(data, client.ip, client.port)
end)

local messages = { 'Hello, DTLS.', 'One send is one datagram.', ('x'):rep(500) }
local failed
local session = dtls.connect({
  host = 'localhost',
  port = relay:getsockname().port,
  ca = identity.cert,
}, function (session)
  local peer, cipher = session:remoteAddress(), session:getCipher()
  local names = table.concat(session:getPeerCertificate().subjectAltName, ', ')
  print(('client   connected to %s port %d: %s, %s')
    :format(peer.ip, peer.port, session:getProtocol(), cipher.name))
  print('client   verified: the certificate is for ' .. names)
  print(('client   a message of up to %d bytes fits a datagram of 1200'):format(session:maxPayload()))
  session:send(messages[1])
end)
local answered = 0
session:on('message', function (data)
  answered = answered + 1
  local shown = #data < 60 and data or ('%s… (%d bytes)'):format(data:sub(1, 20), #data)
  print('client   answered: ' .. shown)
  if messages[answered + 1] then session:send(messages[answered + 1]) else session:close() end
end)
session:on('error', function (err) failed = err end)
session:on('close', function (reason)
  print('client   closed: ' .. reason)
  server:close(function ()
    relay:close()
    upstream:close()
  end)
end)

uv.run()
if failed or answered < #messages then
  io.stderr:write('the demo failed: ', failed or 'not everything was answered', '\n')
  os.exit(1)
end
print('Both ends are closed and the loop is empty.')
