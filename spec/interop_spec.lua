local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local list, merge = peers.list, helper.merge
local sClient, sServer, gnutlsCli, gnutlsServ =
  peers.sClient, peers.sServer, peers.gnutlsCli, peers.gnutlsServ

-- Every certificate but those of strangers comes from one authority.
local function trust() return pki.ca('authority') end

-- Servers and sessions of this process, closed when the spec is over, however it ends.
local ours = {}

local function echoServer(options, onConnection)
  local identity = pki.identity('server')
  local server, port = helper.echoServer(
    merge({ cert = identity.cert, key = identity.key }, options), onConnection)
  ours[#ours + 1] = server
  server.failures = helper.record(server, 'clientError')
  return server, port
end

local function connect(port, options)
  local session = helper.connect(port, merge({ ca = trust().cert }, options))
  ours[#ours + 1] = session
  session.seen = helper.record(session, 'secureConnection', 'message', 'error', 'close')
  return session
end

local function opened(session)
  helper.runUntil(function () return session.seen[1] end)
  assert.same({ 'secureConnection' }, session.seen[1])
  return session
end

-- The name of the error that ended a session.
local function failureOf(session)
  helper.runUntil(function () return session.seen[2] end)
  assert.equal('close', session.seen[2][1])
  return session.seen[1][3]
end

-- The name of the error that ended a handshake with a server.
local function clientErrorOf(server)
  helper.runUntil(function () return server.failures[1] end)
  return server.failures[1][3]
end

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  -- A peer that has been killed answers no close_notify: sessions are not to wait for it.
  for _, each in ipairs(ours) do (each.destroy or each.close)(each) end
  ours = {}
  helper.run()
end)

describe('a server, to openssl s_client,', function ()
  it('echoes', function ()
    local _, port = echoServer()
    local peer = sClient(port)
    peer:write('hello\n')
    peer:waitFor('\nEcho: hello\n')
  end)

  it('echoes to ten at once', function ()
    local server, port = echoServer()
    local ten = {}
    for index = 1, 10 do
      ten[index] = sClient(port, { '-quiet' })
      ten[index]:write(('number %d.\n'):format(index))
    end
    for index, peer in ipairs(ten) do
      peer:waitFor(('Echo: number %d%%.'):format(index))
    end
    assert.equal(10, server:stats().sessions)
  end)

  it('proves its name', function ()
    local _, port = echoServer()
    local peer = sClient(port, { '-verify_return_error', '-verify_hostname', 'localhost' })
    peer:waitFor('Verify return code: 0 %(ok%)')
    peer:waitFor('Verified peername: localhost')
  end)

  -- What the client is told to expect, what it says to that, and the alert it sends.
  for claim, row in pairs({
    ['hears that its CA is unknown'] = {
      function () return { '-CAfile', pki.ca('stranger').certPath } end,
      'unable to get local issuer certificate', 'unknown CA', 'EUNKNOWNCA',
    },
    ['hears that its name is wrong'] = {
      function () return { '-verify_hostname', 'elsewhere.example' } end,
      'verify error:num=62', 'bad certificate', 'ECERT',
    },
  }) do
    it(claim, function ()
      local server, port = echoServer()
      local peer = sClient(port, list({ '-verify_return_error' }, row[1]()))
      peer:waitFor(row[2])
      assert.equal(row[4], clientErrorOf(server))
      assert.match(row[3], server.failures[1][2])
      assert.equal(0, server:stats().sessions)
    end)
  end

  it('hears its close_notify', function ()
    local reason
    local server, port = echoServer({}, function (session)
      session:on('close', function (...) reason = ... end)
    end)
    local peer = sClient(port)
    peer:write('hello\n')
    peer:waitFor('Echo: hello')
    peer:write('Q\n')
    helper.runUntil(function () return reason end)
    assert.equal('closed', reason)
    assert.equal(0, server:stats().sessions)
  end)

  it('sends a close_notify', function ()
    local _, port = echoServer({}, function (session)
      session:on('message', function () session:close() end)
    end)
    local peer = sClient(port)
    peer:write('hello\n')
    peer:waitFor('\nclosed\n')
    assert.equal(0, peer:waitForEnd())
  end)

  it('accepts a hello in fragments of 256 bytes', function ()
    local server, port = echoServer()
    local hellos = {}
    local relay = helper.relay(port, function (data, fromClient, _, send)
      if fromClient and server:stats().connected == 0 then hellos[#hellos + 1] = #data end
      send(data)
    end)
    ours[#ours + 1] = relay
    local peer = sClient(relay.port, { '-mtu', 256, '-cipher', 'ALL:@SECLEVEL=0' })
    peer:write('hello\n')
    peer:waitFor('Echo: hello')
    assert.is_true(hellos[1] <= 256 and hellos[2] <= 256 and #hellos >= 5)
  end)

  it('accepts fragments of a hello in the wrong order', function ()
    local _, port = echoServer()
    local held
    local relay = helper.relay(port, function (data, fromClient, number, send)
      -- The third datagram begins the hello with the cookie.
      if fromClient and number == 3 then
        held = data
      else
        send(data)
        if fromClient and number == 4 then send(held) end
      end
    end)
    ours[#ours + 1] = relay
    local peer = sClient(relay.port, { '-mtu', 256, '-cipher', 'ALL:@SECLEVEL=0' })
    peer:write('hello\n')
    peer:waitFor('Echo: hello')
  end)

  it('keeps to the negotiated maximum fragment length', function ()
    local session
    local _, port = echoServer({}, function (accepted) session = accepted end)
    local peer = sClient(port, { '-maxfraglen', 512 })
    helper.runUntil(function () return session end)
    local sent, _, name = session:send(('x'):rep(513))
    assert.is_nil(sent)
    assert.equal('EMSGSIZE', name)
    assert.is_true(session:send(('y'):rep(511) .. '.'))
    peer:waitFor(('y'):rep(511) .. '%.')
  end)

  it('refuses a client that speaks DTLS 1.0 only', function ()
    local server, port = echoServer()
    local peer = program.start('openssl', {
      's_client', '-dtls1', '-connect', '127.0.0.1:' .. port, '-cipher', 'ALL:@SECLEVEL=0',
    })
    peer:waitFor('alert protocol version')
    assert.equal('EVERSION', clientErrorOf(server))
    assert.equal(0, server:stats().sessions)
  end)

  for _, cipher in ipairs({
    'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-ECDSA-AES128-CCM', 'ECDHE-ECDSA-AES256-CCM8', 'ECDHE-ECDSA-AES128-SHA256',
  }) do
    it('speaks ' .. cipher, function ()
      local session
      local _, port = echoServer({ ciphers = cipher .. ':@SECLEVEL=0' }, function (each) session = each end)
      local peer = sClient(port, { '-cipher', cipher .. ':@SECLEVEL=0' })
      peer:write('hello\n')
      peer:waitFor('Cipher is ' .. cipher:gsub('%p', '%%%0') .. '\n')
      peer:waitFor('Echo: hello')
      assert.equal(cipher, session:getCipher().name)
    end)
  end

  for group, key in pairs({
    ['P-256'] = 'ECDH, prime256v1, 256 bits', ['P-384'] = 'ECDH, secp384r1, 384 bits',
    X25519 = 'X25519, 253 bits',
  }) do
    it('agrees on a key by ' .. group, function ()
      -- RSA, since the group of an ECDSA key must be on the client's list as well.
      local identity = pki.identity('server-rsa', 'rsa')
      local _, port = echoServer({ cert = identity.cert, key = identity.key })
      local peer = sClient(port, { '-groups', group })
      peer:write('hello\n')
      peer:waitFor('Server Temp Key: ' .. key)
      peer:waitFor('Echo: hello')
    end)
  end

  -- What the client can verify, and the certificate it is shown for it.
  for choice, row in pairs({
    ['-cipher ECDHE-RSA-AES128-GCM-SHA256'] = { 'RSA%-PSS', 2048 },
    ['-cipher ECDHE-ECDSA-AES128-GCM-SHA256'] = { 'ECDSA', 256 },
    ['-sigalgs RSA+SHA256'] = { 'RSA', 2048 },
    ['-sigalgs ECDSA+SHA256'] = { 'ECDSA', 256 },
  }) do
    it('shows the one of two certificates that suits ' .. choice, function ()
      -- Self-signed, so that one signature algorithm is enough for all of it.
      local rsa, ecdsa = pki.ca('rsa', 'rsa'), pki.ca('ecdsa')
      local _, port = echoServer({ cert = { rsa.cert, ecdsa.cert }, key = { rsa.key, ecdsa.key } })
      local option, value = choice:match('^(%S+) (%S+)$')
      local peer = sClient(port, { option, value })
      peer:write('hello\n')
      peer:waitFor('Peer signature type: ' .. row[1] .. '\n')
      peer:waitFor('Server public key is ' .. row[2] .. ' bit')
      peer:waitFor('Echo: hello')
    end)
  end

  it('shows three RSA-4096 certificates in datagrams of 512 bytes', function ()
    local chain = pki.longChain()
    local largest = 0
    local _, port = echoServer({ cert = chain.cert, key = chain.key, mtu = 512 })
    local relay = helper.relay(port, function (data, fromClient, _, send)
      if not fromClient then largest = math.max(largest, #data) end
      send(data)
    end)
    ours[#ours + 1] = relay
    local peer = sClient(relay.port, { '-CAfile', chain.caPath, '-verify_return_error' })
    peer:write('hello\n')
    peer:waitFor('Verify return code: 0 %(ok%)')
    peer:waitFor('Echo: hello')
    assert.is_true(largest > 400 and largest <= 512)
  end)
end)

describe('a server that asks for certificates, to openssl s_client,', function ()
  local function asking(more)
    local seen = {}
    local server, port = echoServer(
      merge({ requestCert = true, ca = trust().cert, handshakeTimeout = 2000 }, more),
      function (session)
        local certificate = session:getPeerCertificate()
        seen.name = certificate and certificate.subject.CN
        seen.authorized = session.authorized
        seen.why = (session.authorizationError or ''):match('^(%u*)')
      end)
    return server, port, seen
  end

  local function client(port, identity, more)
    local peer = sClient(port, list(
      identity and { '-cert', identity.certPath, '-key', identity.keyPath } or {}, more))
    peer:write('hello\n')
    return peer
  end

  it('accepts one that its CA has issued', function ()
    local _, port, seen = asking()
    client(port, pki.identity('client')):waitFor('Echo: hello')
    assert.same({ name = 'client', authorized = true, why = '' }, seen)
  end)

  it('accepts one with an RSA key', function ()
    local _, port, seen = asking()
    client(port, pki.identity('client-rsa', 'rsa')):waitFor('Echo: hello')
    assert.same({ name = 'client-rsa', authorized = true, why = '' }, seen)
  end)

  it('refuses one of another CA', function ()
    local server, port = asking()
    client(port, pki.ca('stranger')):waitFor('alert unknown ca')
    assert.equal('EUNKNOWNCA', clientErrorOf(server))
  end)

  it('refuses a client without one', function ()
    local server, port = asking()
    client(port):waitFor('alert handshake failure')
    assert.equal('ENOCERT', clientErrorOf(server))
  end)

  it('takes none for an answer where it does not insist', function ()
    local _, port, seen = asking({ rejectUnauthorized = false })
    client(port):waitFor('Echo: hello')
    assert.same({ authorized = false, why = 'ENOCERT' }, seen)
  end)

  it('takes one of another CA and says so where it does not insist', function ()
    local _, port, seen = asking({ rejectUnauthorized = false })
    client(port, pki.ca('stranger')):waitFor('Echo: hello')
    assert.same({ name = 'stranger', authorized = false, why = 'EUNKNOWNCA' }, seen)
  end)
end)

describe('a client, to openssl s_server,', function ()
  it('talks both ways', function ()
    local peer, port = sServer()
    local session = opened(connect(port))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    peer:write('world\n')
    helper.runUntil(function () return session.seen[2] end)
    assert.same({ 'message', 'world\n' }, session.seen[2])
    assert.is_true(session.authorized)
  end)

  it('talks to one that sends no cookie', function ()
    local peer, port = sServer({}, nil, { '-dtls1_2' })
    opened(connect(port)):send('hello\n')
    peer:waitFor('\nhello\n')
  end)

  it('verifies the name it was told', function ()
    local _, port = sServer()
    assert.is_true(opened(connect(port, { servername = 'localhost' })).authorized)
  end)

  for claim, row in pairs({
    ['refuses one of an unknown CA'] = {
      function () return { ca = pki.ca('stranger').cert } end, 'EUNKNOWNCA', 'alert unknown ca',
    },
    ['refuses one of another name'] = {
      function () return { servername = 'elsewhere.example' } end, 'ECERTNAME', 'alert bad certificate',
    },
    ['refuses one of another address'] = {
      function () return { servername = '127.0.0.2' } end, 'ECERTNAME', 'alert bad certificate',
    },
  }) do
    it(claim .. ' and says so', function ()
      local peer, port = sServer()
      local session = connect(port, row[1]())
      assert.equal(row[2], failureOf(session))
      peer:waitFor(row[3])
    end)
  end

  it('refuses one that speaks DTLS 1.0 only', function ()
    local peer, port = sServer({ '-cipher', 'ALL:@SECLEVEL=0' }, nil, { '-dtls1' })
    -- A suite that DTLS 1.0 has; with none the server finds that first.
    assert.equal('EVERSION', failureOf(connect(port, { ciphers = 'ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0' })))
    peer:waitFor('alert protocol version')
  end)

  it('shows the certificate it is asked for', function ()
    local peer, port = sServer({ '-Verify', 1, '-verify_return_error' })
    local identity = pki.identity('client')
    local session = opened(connect(port, { cert = identity.cert, key = identity.key }))
    session:send('hello\n')
    peer:waitFor('subject=CN = client\n')
    peer:waitFor('\nhello\n')
  end)

  it('needs none where one is not required', function ()
    local peer, port = sServer({ '-verify', 1, '-verify_return_error' })
    opened(connect(port)):send('hello\n')
    peer:waitFor('\nhello\n')
  end)

  it('hears that a certificate is missing', function ()
    local peer, port = sServer({ '-Verify', 1, '-verify_return_error' })
    assert.equal('ENOCERT', failureOf(connect(port)))
    peer:waitFor('peer did not return a certificate')
  end)

  it('hears that its certificate is of an unknown CA', function ()
    local peer, port = sServer({ '-Verify', 1, '-verify_return_error' })
    local stranger = pki.ca('stranger')
    local session = connect(port, { cert = stranger.cert, key = stranger.key })
    assert.equal('EUNKNOWNCA', failureOf(session))
    peer:waitFor('verify error')
  end)

  -- Not tested: a close_notify of its own accord. s_server closes its socket first, and gnutls-serv
  -- never sends one.
  it('sends a close_notify', function ()
    local peer, port = sServer()
    local session = opened(connect(port))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    session:close()
    peer:waitFor('\nDONE\n')
  end)

  for _, cipher in ipairs({
    'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-ECDSA-AES128-CCM',
  }) do
    it('speaks ' .. cipher, function ()
      local peer, port = sServer({ '-cipher', cipher })
      local session = opened(connect(port, { ciphers = cipher }))
      session:send('hello\n')
      peer:waitFor('\nhello\n')
      assert.equal(cipher, session:getCipher().name)
    end)
  end

  for _, group in ipairs({ 'P-256', 'X25519' }) do
    it('agrees on a key by ' .. group, function ()
      local peer, port = sServer({ '-groups', group })
      opened(connect(port)):send('hello\n')
      peer:waitFor('\nhello\n')
    end)
  end

  it('gathers three RSA-4096 certificates from datagrams of 512 bytes', function ()
    local chain = pki.longChain()
    local rest = pki.write('chain-rest.pem', chain.cert)
    local peer, port = sServer({ '-cert_chain', rest, '-mtu', 512 },
      { certPath = rest, keyPath = pki.write('chain-leaf.key', chain.key) })
    opened(connect(port, { ca = chain.ca, mtu = 512 })):send('hello\n')
    peer:waitFor('\nhello\n')
  end)
end)

describe('a server, to gnutls-cli,', function ()
  -- It sleeps for 50 ms at every turn: what is sent to it twice makes it slower still.
  local function patientServer(options, onConnection)
    return echoServer(merge({ retransmitTimeout = 500 }, options), onConnection)
  end

  it('echoes', function ()
    local _, port = patientServer()
    local peer = gnutlsCli(port)
    peer:waitFor('Handshake was completed')
    peer:write('hello\n')
    peer:waitFor('\nEcho: hello')
    peer:waitFor('The certificate is trusted')
  end)

  it('hears that its CA is unknown', function ()
    local server, port = echoServer()
    local peer = gnutlsCli(port, { '--x509cafile', pki.ca('stranger').certPath })
    peer:waitFor('issuer is unknown')
    -- GnuTLS says bad_certificate whatever is wrong with it.
    assert.equal('ECERT', clientErrorOf(server))
  end)

  it('hears its close_notify', function ()
    local reason
    local _, port = patientServer({}, function (session)
      session:on('close', function (...) reason = ... end)
    end)
    local peer = gnutlsCli(port)
    peer:waitFor('Handshake was completed')
    peer.stdin:shutdown()
    helper.runUntil(function () return reason end)
    assert.equal('closed', reason)
  end)

  it('sends a close_notify', function ()
    local _, port = patientServer({}, function (session)
      session:on('message', function () session:close() end)
    end)
    local peer = gnutlsCli(port)
    peer:waitFor('Handshake was completed')
    peer:write('hello\n')
    peer:waitFor('Peer has closed the GnuTLS connection')
  end)

  it('asks for a certificate, and gets it', function ()
    local name
    local _, port = patientServer({ requestCert = true, ca = trust().cert }, function (session)
      name = session.authorized and session:getPeerCertificate().subject.CN
    end)
    local identity = pki.identity('client')
    local peer = gnutlsCli(port,
      { '--x509certfile', identity.certPath, '--x509keyfile', identity.keyPath })
    peer:waitFor('Handshake was completed')
    helper.runUntil(function () return name end)
    assert.equal('client', name)
  end)

  -- It heeds an alert no sooner than it would repeat its hello, a second later: that is not waited for.
  it('refuses a client that speaks DTLS 1.0 only', function ()
    local server, port = patientServer()
    gnutlsCli(port, { '--priority', 'NORMAL:-VERS-ALL:+VERS-DTLS1.0' })
    assert.equal('EVERSION', clientErrorOf(server))
    assert.match('%(sent alert 70, ', server.failures[1][2])
  end)

  for suite, description in pairs({
    ['-CIPHER-ALL:+CHACHA20-POLY1305'] = '(CHACHA20-POLY1305)',
    ['-CIPHER-ALL:+AES-128-CCM'] = '(AES-128-CCM)',
    ['-GROUP-ALL:+GROUP-X25519'] = '(ECDHE-X25519)',
    ['-GROUP-ALL:+GROUP-SECP256R1'] = '(ECDHE-SECP256R1)',
  }) do
    it('agrees to ' .. suite, function ()
      local rsa, ecdsa = pki.identity('server-rsa', 'rsa'), pki.identity('server')
      local _, port = patientServer({
        cert = { rsa.cert, ecdsa.cert }, key = { rsa.key, ecdsa.key },
        ciphers = 'ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AESCCM',
      })
      local peer = gnutlsCli(port, { '--priority', peers.PRIORITY .. ':' .. suite })
      peer:waitFor('Handshake was completed')
      peer:write('hello\n')
      peer:waitFor('\nEcho: hello')
      assert.is_truthy(peer.output:find(description, 1, true))
    end)
  end

  it('shows three RSA-4096 certificates', function ()
    local chain = pki.longChain()
    local _, port = patientServer({ cert = chain.cert, key = chain.key })
    local peer = gnutlsCli(port, { '--x509cafile', chain.caPath })
    peer:waitFor('Handshake was completed')
    peer:write('hello\n')
    peer:waitFor('\nEcho: hello')
  end)
end)

describe('a client, to gnutls-serv,', function ()
  it('is echoed to', function ()
    local _, port = gnutlsServ()
    local session = opened(connect(port))
    session:send('hello\n')
    helper.runUntil(function () return session.seen[2] end)
    assert.same({ 'message', 'hello\n' }, session.seen[2])
  end)

  it('refuses one of an unknown CA and says so', function ()
    local peer, port = gnutlsServ()
    assert.equal('EUNKNOWNCA', failureOf(connect(port, { ca = pki.ca('stranger').cert })))
    peer:waitFor('[Aa]lert')
  end)

  it('refuses one of another name', function ()
    local _, port = gnutlsServ()
    assert.equal('ECERTNAME', failureOf(connect(port, { servername = 'elsewhere.example' })))
  end)

  it('shows the certificate it is asked for', function ()
    local _, port = gnutlsServ({ '--require-client-cert', '--verify-client-cert' })
    local identity = pki.identity('client')
    local session = opened(connect(port, { cert = identity.cert, key = identity.key }))
    session:send('hello\n')
    helper.runUntil(function () return session.seen[2] end)
    assert.same({ 'message', 'hello\n' }, session.seen[2])
  end)

  -- Not tested: one without the certificate. gnutls-serv never says so; it reads the same datagram
  -- over and over.

  it('sends a close_notify', function ()
    local peer, port = gnutlsServ()
    local session = opened(connect(port))
    session:send('hello\n')
    helper.runUntil(function () return session.seen[2] end)
    session:close()
    helper.runUntil(function () return session.seen[3] end)
    assert.same({ 'close', 'closed' }, session.seen[3])
    assert.is_nil(peer.output:find('Error'))
  end)

  for suite, cipher in pairs({
    ['-CIPHER-ALL:+CHACHA20-POLY1305'] = 'ECDHE-ECDSA-CHACHA20-POLY1305',
    ['-CIPHER-ALL:+AES-256-GCM'] = 'ECDHE-ECDSA-AES256-GCM-SHA384',
  }) do
    it('agrees to ' .. suite, function ()
      local _, port = gnutlsServ({ '--priority', peers.PRIORITY .. ':' .. suite })
      assert.equal(cipher, opened(connect(port)):getCipher().name)
    end)
  end
end)
