local Dial = require('dtls/dial')
local Udp = require('dtls/udp')
local dtls = require('dtls')
local helper = require('spec.helper')
local uv = helper.uv

-- Lets names resolve to what a spec says, in the system's order.
local function resolving(names, fn)
  local original = uv.getaddrinfo
  uv.getaddrinfo = function (host, service, hints, callback)
    if not (callback and names[host]) then return original(host, service, hints, callback) end
    local found = {}
    for index, ip in ipairs(names[host]) do found[index] = { addr = ip } end
    helper.after(1, function () callback(nil, found) end)
    return {}
  end
  local ok, err = pcall(fn)
  uv.getaddrinfo = original
  if not ok then error(err, 0) end
end

-- How long an address may be silent, for one spec.
local function impatient(ms)
  local patience = Dial.patience
  Dial.patience = ms
  finally(function () Dial.patience = patience end)
end

-- A port of 127.0.0.1 and 127.0.0.2 that takes datagrams and never answers, and what closes it.
local function silentPort()
  local one, two = uv.new_udp(), uv.new_udp()
  assert(one:bind('127.0.0.1', 0))
  assert(two:bind('127.0.0.2', one:getsockname().port))
  return one:getsockname().port, function ()
    one:close()
    two:close()
  end
end

-- A session that is asked once and then closed.
local function ask(session, question)
  local answer
  session:on('secureConnection', function () session:send(question) end)
  session:on('message', function (data)
    answer = data
    session:close()
  end)
  return function () return answer end
end

describe('a session', function ()
  it('carries messages both ways, one datagram each', function ()
    local pair = helper.pair()
    local atServer, atClient = helper.record(pair.peer, 'message'), helper.record(pair.client, 'message')
    pair.client:send('one')
    pair.client:send(('x'):rep(16384))
    pair.client:send('\0\255')
    pair.peer:send('four')
    helper.runUntil(function () return #atServer == 3 and #atClient == 1 end)
    helper.finish(pair.server)
    assert.same({ { 'message', 'one' }, { 'message', ('x'):rep(16384) }, { 'message', '\0\255' } }, atServer)
    assert.same({ { 'message', 'four' } }, atClient)
  end)

  it('says what was negotiated, on both ends alike', function ()
    local pair = helper.pair()
    for _, session in ipairs({ pair.client, pair.peer }) do
      assert.equal('DTLSv1.2', session:getProtocol())
      assert.same({
        name = 'ECDHE-ECDSA-AES128-GCM-SHA256',
        standardName = 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
      }, session:getCipher())
      -- 13 bytes of record header, 8 of nonce, 16 of tag.
      assert.equal(1200 - 37, session:maxPayload())
    end
    helper.finish(pair.server)
  end)

  it('says nothing of it before the handshake is complete', function ()
    local session = helper.connect(9)
    assert.is_nil(session:getProtocol())
    assert.is_nil(session:getCipher())
    assert.is_nil(session:maxPayload())
    assert.is_nil(session:getPeerCertificate())
    assert.is_false(session.authorized)
    helper.finish(session)
  end)

  it('knows both addresses', function ()
    local pair = helper.pair()
    assert.same({ ip = '127.0.0.1', port = pair.port, family = 'inet' }, pair.client:remoteAddress())
    assert.same(pair.client:address(), pair.peer:remoteAddress())
    assert.same(pair.peer:address(), pair.server:address())
    helper.finish(pair.server)
  end)

  it('has no address before there is a socket, nor after the end', function ()
    local session = helper.connect(9, { host = 'localhost' })
    local _, err, name = session:address()
    assert.equal('ENOTCONN', name)
    assert.truthy(err:find('^ENOTCONN: '))
    assert.equal('ENOTCONN', select(3, session:remoteAddress()))
    helper.finish(session)
    assert.equal('ENOTCONN', select(3, session:address()))
  end)

  it('presents the certificate of the server', function ()
    local identity = helper.localhost()
    local pair = helper.pair()
    local certificate = pair.client:getPeerCertificate()
    helper.finish(pair.server)
    assert.equal('localhost', certificate.subject.CN)
    assert.same(certificate.subject, certificate.issuer)
    assert.same({ 'DNS:localhost', 'IP:127.0.0.1', 'IP:::1' }, certificate.subjectAltName)
    assert.equal(identity.fingerprint, certificate.fingerprint256)
    assert.equal(identity.cert, certificate.pem)
    assert.truthy(certificate.serialNumber:find('^%x+$'))
    assert.truthy(certificate.validFrom:find(' GMT$') and certificate.validTo:find(' GMT$'))
    assert.equal('\48', certificate.der:sub(1, 1))
  end)

  it('is authorized where its peer has been verified', function ()
    local pair = helper.pair()
    assert.is_true(pair.client.authorized)
    assert.is_nil(pair.client.authorizationError)
    -- The server has not asked.
    assert.is_false(pair.peer.authorized)
    assert.is_nil(pair.peer.authorizationError)
    assert.is_nil(pair.peer:getPeerCertificate())
    helper.finish(pair.server)
  end)

  it('is authorized on the server where the client is known', function ()
    local me = helper.identity('client')
    local pair = helper.pair({ requestCert = true, ca = me.cert }, { cert = me.cert, key = me.key })
    assert.is_true(pair.peer.authorized)
    assert.equal(me.fingerprint, pair.peer:getPeerCertificate().fingerprint256)
    helper.finish(pair.server)
  end)

  it('says why it is not authorized, where that is allowed', function ()
    local pair = helper.pair(nil, { ca = helper.identity('other').cert, rejectUnauthorized = false })
    assert.is_false(pair.client.authorized)
    assert.truthy(pair.client.authorizationError:find('^EUNKNOWNCA: '))
    helper.finish(pair.server)
  end)

  it('keeps what it has shown after its end', function ()
    local pair = helper.pair()
    helper.finish(pair.server)
    assert.equal('DTLSv1.2', pair.client:getProtocol())
    assert.equal(pair.port, pair.client:remoteAddress().port)
    assert.is_true(pair.client.authorized)
  end)

  it('tells its life in order: secureConnection, message, close', function ()
    local server, port = helper.echoServer()
    local session
    local seen
    session = helper.connect(port, nil, function (given)
      assert.equal(session, given)
      session:send('hello')
    end)
    seen = helper.record(session, 'secureConnection', 'message', 'error', 'close', 'warning')
    session:on('message', function () session:close(function () server:close() end) end)
    helper.run()
    assert.same({ { 'secureConnection' }, { 'message', 'Echo: hello' }, { 'close', 'closed' } }, seen)
  end)
end)

describe('closing', function ()
  for _, side in ipairs({ 'client', 'peer' }) do
    it('by the ' .. side .. ' ends both', function ()
      local pair = helper.pair()
      local seen = {
        helper.record(pair.client, 'close', 'error'), helper.record(pair.peer, 'close', 'error'),
      }
      pair[side]:close()
      helper.runUntil(function () return #seen[1] + #seen[2] == 2 end)
      assert.equal(0, pair.server:stats().sessions)
      helper.finish(pair.server)
      assert.same({ { { 'close', 'closed' } }, { { 'close', 'closed' } } }, seen)
    end)
  end

  it('calls back with the reason, also the second time', function ()
    local pair = helper.pair()
    local reasons = {}
    local function note(reason) reasons[#reasons + 1] = reason end
    pair.client:close(note)
    pair.client:close(note)
    helper.runUntil(function () return #reasons == 2 end)
    pair.client:close(note)
    assert.equal(2, #reasons)
    helper.finish(pair.server)
    assert.same({ 'closed', 'closed', 'closed' }, reasons)
  end)
end)

describe('sending', function ()
  it('calls back from the loop, with nothing where all is well', function ()
    local pair = helper.pair()
    local seen
    assert.is_true(pair.client:send('x', function (...) seen = { select('#', ...), ... } end))
    assert.is_nil(seen)
    helper.runUntil(function () return seen end)
    helper.finish(pair.server)
    assert.is_nil(seen[2])
  end)

  it('calls back each time, also where a callback sends or throws', function ()
    local pair = helper.pair()
    local errors = helper.errors()
    local called = {}
    local function note(name) return function () called[#called + 1] = name end end
    pair.client:send('1', function () error('of the user') end)
    pair.client:send('2', function ()
      note('2')()
      pair.client:send('4', note('4'))
    end)
    pair.client:send('3', note('3'))
    helper.runUntil(function () return #called == 3 end)
    helper.finish(pair.server)
    assert.same({ '2', '3', '4' }, called)
    assert.equal(1, #errors)
  end)
end)

describe('a server', function ()
  it('tells its life in order: listening, connection, close', function ()
    local identity = helper.localhost()
    local called = {}
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    local seen = helper.record(server, 'listening', 'connection', 'clientError', 'error', 'close')
    assert.equal(server, server:listen(0, '127.0.0.1', function () called[#called + 1] = 'listen' end))
    assert.same({}, seen)
    helper.connect(server:address().port)
    helper.runUntil(function () return #seen == 2 end)
    server:close(function () called[#called + 1] = 'close' end)
    helper.run()
    local names = {}
    for index, event in ipairs(seen) do names[index] = event[1] end
    assert.same({ 'listening', 'connection', 'close' }, names)
    assert.same({ 'listen', 'close' }, called)
    assert.is_true(seen[2][2]:getProtocol() == 'DTLSv1.2')
  end)

  it('listens on all of IPv4 where no host is given, and takes a callback in its place', function ()
    local identity, called = helper.localhost(), false
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    assert(server:listen(0, function () called = true end))
    assert.equal('0.0.0.0', server:address().ip)
    helper.runUntil(function () return called end)
    helper.finish(server)
  end)

  it('listens where a name points', function ()
    local identity = helper.localhost()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    local seen = helper.record(server, 'listening')
    assert(server:listen(0, 'localhost'))
    helper.runUntil(function () return #seen == 1 end)
    assert.equal('127.0.0.1', server:address().ip)
    helper.finish(server)
  end)

  it('ends with an error where the name points nowhere', function ()
    local identity = helper.localhost()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    local seen = helper.record(server, 'listening', 'error', 'close')
    assert(server:listen(0, 'no-such-host.invalid'))
    helper.run(20000)
    assert.equal(2, #seen)
    assert.equal('error', seen[1][1])
    assert.truthy(seen[1][2]:find(seen[1][3] .. ': ', 1, true))
    assert.truthy(seen[1][3]:find('^EAI_'))
    assert.same({ 'close' }, seen[2])
  end)

  it('that is closed at once is never listening', function ()
    local identity = helper.localhost()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    local seen = helper.record(server, 'listening', 'error', 'close')
    assert(server:listen(0, '127.0.0.1'))
    server:close()
    helper.run()
    assert.same({ { 'close' } }, seen)
  end)

  it('can be closed before it listens, and more than once', function ()
    local identity, called = helper.localhost(), 0
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    local seen = helper.record(server, 'close')
    for _ = 1, 3 do server:close(function () called = called + 1 end) end
    helper.run()
    server:close(function () called = called + 1 end)
    helper.run()
    assert.equal(4, called)
    assert.equal(1, #seen)
    assert.equal('ENOTCONN', select(3, server:listen(0)))
  end)

  it('serves a hundred peers at once', function ()
    -- Nobody retransmits meanwhile: the burst would outgrow the socket's buffer, and messages be lost.
    local patient = { retransmitTimeout = 10000 }
    local server, port = helper.echoServer(patient)
    local answers, closed = {}, 0
    for index = 1, 100 do
      local session = helper.connect(port, patient)
      local answer = ask(session, 'peer ' .. index)
      session:on('close', function ()
        answers[index] = answer()
        closed = closed + 1
        if closed == 100 then server:close() end
      end)
    end
    helper.run(10000)
    for index = 1, 100 do assert.equal('Echo: peer ' .. index, answers[index]) end
    local stats = server:stats()
    assert.same({ 0, 100, 100, 0 }, { stats.sessions, stats.admitted, stats.connected, stats.failed })
  end)
end)

-- An echo server on `host`, and a client's question to it. Returns the answer and the server's peer.
local function askAcross(listenOn, options, question)
  local identity = helper.localhost()
  local peer
  local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
    peer = session:remoteAddress()
    session:on('message', function (data) session:send('Echo: ' .. data) end)
  end)
  assert(server:listen(0, listenOn))
  local session = helper.connect(server:address().port, options)
  local failure
  local answer = ask(session, question or 'hello')
  session:on('error', function (err) failure = err end)
  session:on('close', function () server:close() end)
  helper.run(10000)
  return answer() or failure, peer
end

describe('an address', function ()
  it('can be of IPv6', function ()
    local answer, peer = askAcross('::1', { host = '::1' })
    assert.equal('Echo: hello', answer)
    assert.same({ '::1', 'inet6' }, { peer.ip, peer.family })
  end)

  it('can be written in any of its forms', function ()
    assert.equal('Echo: hello', (askAcross('::1', { host = '0:0:0:0:0:0:0:1' })))
    assert.equal('Echo: hello', (askAcross('0:0::1', { host = '0::0.0.0.1' })))
  end)

  it('of IPv4 stays what it is on a dual-stack server', function ()
    local answer, peer = askAcross('::')
    assert.equal('Echo: hello', answer)
    assert.same({ '127.0.0.1', 'inet' }, { peer.ip, peer.family })
  end)

  it('of IPv4 is in reach of a dual-stack client', function ()
    assert.equal('Echo: hello', (askAcross('127.0.0.1', { localAddress = '::' })))
  end)

  it('of IPv6 is out of reach of an IPv4 socket, which is an error', function ()
    local err = askAcross('::1', { host = '::1', localAddress = '127.0.0.1' })
    assert.truthy(err:find('^EAFNOSUPPORT: '))
  end)

  it('and a port can be connected from', function ()
    local free = uv.new_udp()
    assert(free:bind('127.0.0.1', 0))
    local localPort = free:getsockname().port
    free:close()
    local _, peer = askAcross('127.0.0.1', { localAddress = '127.0.0.1', localPort = localPort })
    assert.equal(localPort, peer.port)
  end)

  it('in use cannot be connected from, which is an error', function ()
    local taken = uv.new_udp()
    assert(taken:bind('127.0.0.1', 0))
    local session = helper.connect(9, { localAddress = '127.0.0.1', localPort = taken:getsockname().port })
    local seen = helper.record(session, 'error')
    session:on('close', function () taken:close() end)
    helper.run()
    assert.equal('EADDRINUSE', seen[1][3])
  end)
end)

describe('a host name', function ()
  it('is found, and is the name that the certificate must be for', function ()
    assert.equal('Echo: hello', (askAcross('127.0.0.1', { host = 'localhost' })))
  end)

  it('leads to the server whichever of its addresses that listens on', function ()
    -- A refusal is heard, and no time is lost.
    impatient(60000)
    resolving({ localhost = { '::1', '127.0.0.1' } }, function ()
      assert.equal('Echo: hello', (askAcross('127.0.0.1', { host = 'localhost' })))
    end)
    resolving({ localhost = { '127.0.0.1', '::1' } }, function ()
      assert.equal('Echo: hello', (askAcross('::1', { host = 'localhost' })))
    end)
  end)

  it('leads on from an address that is silent, talks junk, or cannot be reached', function ()
    impatient(100 * helper.slowness)
    local silent = uv.new_udp()
    assert(silent:bind('::1', 0))
    silent:recv_start(function (_, _, from)
      if from then silent:try_send('junk', from.ip, from.port) end
    end)
    local identity = helper.localhost()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    assert(server:listen(silent:getsockname().port, '127.0.0.1'))
    resolving({ localhost = { '255.255.255.255', '::1', '127.0.0.1' } }, function ()
      local session = helper.connect(server:address().port, { host = 'localhost' })
      helper.runUntil(function () return session:getProtocol() end)
      assert.equal('127.0.0.1', session:remoteAddress().ip)
    end)
    silent:close()
    helper.finish(server)
  end)

  -- Two refusals of one address may be heard before the first is acted on.
  it('ends once where it cannot lead on, refused twice', function ()
    local open = Udp.open
    finally(function () Udp.open = open end)
    resolving({ localhost = { '127.0.0.1', '127.0.0.2' } }, function ()
      local port, close = silentPort()
      local session = helper.connect(port, { host = 'localhost' })
      local seen = helper.record(session, 'error', 'close')
      helper.runUntil(function () return session._core end)
      function Udp.open() return nil, 'EMFILE: too many open files', 'EMFILE' end
      session._endpoint._ears.onWarning('ECONNREFUSED: of one hello', 'ECONNREFUSED')
      session._endpoint._ears.onWarning('ECONNREFUSED: of its copy', 'ECONNREFUSED')
      close()
      helper.run()
      assert.equal('EMFILE', seen[1][3])
      assert.same({ 'close', 'error' }, seen[2])
    end)
  end)

  -- An endpoint with much to do has a session's deadline wait for a turn to come; the session may have gone
  -- on to the socket of another address by then.
  it('is led on with its deadlines: those of the address that it has left are void', function ()
    impatient(60000)
    resolving({ localhost = { '127.0.0.1', '127.0.0.2' } }, function ()
      local port, close = silentPort()
      local session = helper.connect(port, { host = 'localhost', retransmitTimeout = 10 })
      helper.runUntil(function () return session._core end)
      local left = session._endpoint
      local warnings = helper.record(session, 'warning')
      left._ears.onWarning('ECONNREFUSED: nobody listens', 'ECONNREFUSED')
      helper.runUntil(function () return session._endpoint ~= left end)
      -- Its next retransmission is due by now.
      local from = uv.hrtime()
      repeat uv.update_time() until uv.hrtime() - from > 30e6
      left:_expire(session)
      assert.same({ { 'warning', 'ECONNREFUSED: nobody listens', 'ECONNREFUSED' } }, warnings)
      session:destroy()
      close()
    end)
    helper.run()
  end)

  it('leads on after a handler that runs the loop itself', function ()
    impatient(30)
    local server, port = helper.echoServer()
    local silent = uv.new_udp()
    assert(silent:bind('127.0.0.2', port))
    resolving({ localhost = { '127.0.0.2', '127.0.0.1' } }, function ()
      local nested
      local session = helper.connect(port, {
        host = 'localhost',
        retransmitTimeout = 5000,
        trace = function ()
          if nested then return end
          nested = true
          local over
          helper.after(60, function () over = true end)
          repeat uv.run('once') until over
        end,
      })
      local warnings = helper.record(session, 'warning')
      helper.runUntil(function () return session:getProtocol() end, 2000)
      assert.equal('127.0.0.1', session:remoteAddress().ip)
      assert.is_true(nested)
      assert.same({}, warnings)
      session:destroy()
    end)
    silent:close()
    helper.finish(server)
  end)

  it('does not lead on from an address that has answered, however slowly', function ()
    impatient(100)
    local silent, server, port, relay
    server, port = helper.echoServer()
    relay = helper.relay(port, function (data, _, number, send)
      if number < 2 then send(data) else helper.after(150, function () send(data) end) end
    end)
    silent = uv.new_udp()
    assert(silent:bind('127.0.0.2', relay.port))
    resolving({ localhost = { '127.0.0.1', '127.0.0.2' } }, function ()
      local session = helper.connect(relay.port, { host = 'localhost', retransmitTimeout = 1000 })
      helper.runUntil(function () return session:getProtocol() end)
      assert.equal('127.0.0.1', session:remoteAddress().ip)
      -- It has not begun anew either.
      assert.equal(1, server:stats().challenges)
      session:destroy()
    end)
    silent:close()
    relay.close()
    helper.finish(server)
  end)

  it('that does not resolve is an error', function ()
    local session = helper.connect(9, { host = 'no-such-host.invalid' })
    local seen = helper.record(session, 'error', 'close')
    helper.run(20000)
    assert.equal(2, #seen)
    assert.truthy(seen[1][3]:find('^EAI_'))
    assert.truthy(seen[1][2]:find('no-such-host.invalid', 1, true))
    assert.same({ 'close', 'error' }, seen[2])
  end)

  it('that looks like an address and is none does not resolve', function ()
    for _, host in ipairs({ '999.1.1.1', '::zz', '::1%nosuchif', '1.2.3.4.5' }) do
      local session = helper.connect(9, { host = host })
      local seen = helper.record(session, 'error')
      helper.run(20000)
      assert.truthy(seen[1][3]:find('^EAI_'), host)
    end
  end)

  it('need not be resolved to the end', function ()
    local cancelled
    local cancel = uv.cancel
    function uv.cancel(request)
      cancelled = request
      return cancel(request)
    end
    finally(function () uv.cancel = cancel end)
    local session = helper.connect(9, { host = 'localhost' })
    local seen = helper.record(session, 'error', 'close')
    session:close()
    session:destroy()
    helper.run()
    assert.same({ { 'close', 'closed' } }, seen)
    assert.truthy(cancelled)
  end)
end)

describe('a client', function ()
  it('that comes before its server waits for it, and is told that nobody listens yet', function ()
    local identity = helper.localhost()
    local taken = uv.new_udp()
    assert(taken:bind('127.0.0.1', 0))
    local port = taken:getsockname().port
    taken:close()
    local session = helper.connect(port)
    local warnings = helper.record(session, 'warning')
    helper.runUntil(function () return #warnings > 0 end)
    assert.equal('ECONNREFUSED', warnings[1][3])
    assert.truthy(warnings[1][2]:find('^ECONNREFUSED: '))
    local server = dtls.createServer({ cert = identity.cert, key = identity.key })
    assert(server:listen(port, '127.0.0.1'))
    helper.runUntil(function () return session:getProtocol() end)
    helper.finish(server)
  end)

  it('is told in the end that nobody listened, and how long it was to wait', function ()
    local taken = uv.new_udp()
    assert(taken:bind('127.0.0.1', 0))
    local port = taken:getsockname().port
    taken:close()
    local session = helper.connect(port, { handshakeTimeout = 300, retransmitTimeout = 50 })
    local errors = helper.record(session, 'error')
    helper.run()
    assert.equal('ETIMEDOUT: the handshake was not complete within 300 ms; '
      .. 'the network says that nobody listens there (ECONNREFUSED)', errors[1][2])
    local silent = uv.new_udp()
    assert(silent:bind('127.0.0.1', 0))
    session = helper.connect(silent:getsockname().port, { handshakeTimeout = 30 })
    errors = helper.record(session, 'error')
    helper.runUntil(function () return errors[1] end)
    silent:close()
    assert.equal('ETIMEDOUT: the handshake was not complete within 30 ms', errors[1][2])
    helper.run()
  end)

  it('holds a socket, what watches it, what goes on with a batch and a timer, and nothing else', function ()
    local function handles()
      local found = 0
      uv.walk(function (handle) if not handle:is_closing() then found = found + 1 end end)
      return found
    end
    local pair = helper.pair(nil, { host = 'localhost' })
    local before, watched = handles(), pair.client._endpoint._udp.batch ~= nil
    pair.client:destroy()
    assert.equal(before - (watched and 4 or 2), handles())
    helper.finish(pair.server)
  end)

  it('hears nobody but its peer', function ()
    local pair = helper.pair()
    local stranger = uv.new_udp()
    assert(stranger:bind('127.0.0.1', 0))
    stranger:try_send('boo', '127.0.0.1', pair.client:address().port)
    local heard = helper.record(pair.client, 'message')
    pair.peer:send('hello')
    helper.runUntil(function () return #heard == 1 end)
    stranger:close()
    helper.finish(pair.server)
    assert.same({ { 'message', 'hello' } }, heard)
  end)
end)

describe('an endpoint', function ()
  local function endpoint(options)
    local identity = helper.localhost()
    local made = dtls.createEndpoint(helper.merge({
      cert = identity.cert, key = identity.key, ca = identity.cert, retransmitTimeout = 100,
    }, options))
    made:on('connection', function (session)
      session:on('message', function (data) session:send('Echo: ' .. data) end)
    end)
    return made
  end

  it('connects from the socket that it listens on', function ()
    local one, two = endpoint(), endpoint()
    assert(one:listen(0, '127.0.0.1'))
    assert(two:listen(0, '127.0.0.1'))
    local bound, met = one:address(), helper.record(two, 'connection')
    local session = one:connect({ port = two:address().port, servername = 'localhost' })
    local answer = ask(session, 'hello')
    session:on('close', function ()
      one:close()
      two:close()
    end)
    helper.run()
    assert.equal('Echo: hello', answer())
    assert.same(bound, met[1][2]:remoteAddress())
  end)

  it('connects to many from a socket that does not listen', function ()
    local one = endpoint()
    local servers, answered = {}, 0
    for index = 1, 5 do
      servers[index] = endpoint()
      assert(servers[index]:listen(0, '127.0.0.1'))
      local session = one:connect({ port = servers[index]:address().port })
      session:on('secureConnection', function () session:send(tostring(index)) end)
      session:on('message', function (data)
        if data == 'Echo: ' .. index then answered = answered + 1 end
      end)
    end
    helper.runUntil(function () return answered == 5 end)
    helper.finish(one, unpack(servers))
  end)

  it('reaches IPv4 and IPv6 from a dual-stack socket', function ()
    local one, four, six = endpoint(), endpoint(), endpoint()
    assert(one:listen(0, '::'))
    assert(four:listen(0, '127.0.0.1'))
    assert(six:listen(0, '::1'))
    local toFour = one:connect({ port = four:address().port })
    local toSix = one:connect({ host = '::1', port = six:address().port })
    helper.runUntil(function () return toFour:getProtocol() and toSix:getProtocol() end)
    assert.same({ '127.0.0.1', '::1' }, { toFour:remoteAddress().ip, toSix:remoteAddress().ip })
    helper.finish(one, four, six)
  end)

  it('has one session with a peer: the second attempt is EALREADY', function ()
    local one, two = endpoint(), endpoint()
    assert(two:listen(0, '127.0.0.1'))
    local first = one:connect({ port = two:address().port })
    local second = one:connect({ port = two:address().port })
    local seen = helper.record(second, 'secureConnection', 'error', 'close')
    helper.runUntil(function () return first:getProtocol() and #seen == 2 end)
    assert.equal('EALREADY', seen[1][3])
    assert.truthy(seen[1][2]:find('^EALREADY: '))
    assert.same({ 'close', 'error' }, seen[2])
    -- The first is none the worse for it, and its place is free after its end.
    local again
    first:close(function () again = one:connect({ port = two:address().port }) end)
    helper.runUntil(function () return again and again:getProtocol() end)
    helper.finish(one, two)
  end)

  it('that is closed ends the sessions that still look for their peer', function ()
    local one = endpoint()
    local seen = helper.record(one:connect({ host = 'localhost', port = 9 }), 'error', 'close')
    one:close()
    assert.same({ { 'close', 'closed' } }, seen)
    helper.run()
  end)

  it('that is closed connects no more', function ()
    local one = endpoint()
    one:close()
    local seen = helper.record(one:connect({ port = 9 }), 'error', 'close')
    assert.same({}, seen)
    helper.run()
    assert.equal('ENOTCONN', seen[1][3])
    assert.same({ 'close', 'error' }, seen[2])
  end)

  it('passes its deadlines on to the sessions that it begins', function ()
    local one = endpoint({ handshakeTimeout = 50 })
    local silent = uv.new_udp()
    assert(silent:bind('127.0.0.1', 0))
    local session = one:connect({ port = silent:getsockname().port })
    local seen = helper.record(session, 'close')
    helper.runUntil(function () return #seen == 1 end, 1000)
    silent:close()
    helper.finish(one)
    assert.same({ { 'close', 'timeout' } }, seen)
  end)
end)
