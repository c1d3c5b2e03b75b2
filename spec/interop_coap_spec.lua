local coap = require('spec.support.coap')
local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local list = peers.list

-- libcoap's programs take keys as text.
local PSK = { identity = 'dev-1', key = 'secret key' }

-- How long a handshake may take that comes to no end: long enough for the Finished of a wrong key.
local DEADLINE = 400

-- What RFC 7252 has every device speak with a key, and with a certificate.
local WITH_KEY = { profile = 'iot', ciphers = 'PSK-AES128-CCM8', retransmitTimeout = 500 }
local WITH_CERTIFICATE = { profile = 'iot', ciphers = 'ECDHE-ECDSA-AES128-CCM8', retransmitTimeout = 500 }

-- A server that serves /hello.
local function server(options, onConnection)
  return ends.listen(options, function (session)
    coap.serve(session, 'world')
    if onConnection then onConnection(session) end
  end)
end

-- Asks an established session for a path, and returns the answer.
local function ask(session, path)
  local answer = coap.decode(ends.asked(session, coap.get(path, 0x1234)))
  assert.equal(0x1234, answer.id)
  assert.equal('dtls', answer.token)
  return answer
end

local function withPsk(psk, more)
  return list({ '-u', psk.identity, '-k', psk.key }, more or {})
end

local function withCertificate(identity, more)
  return list({ '-c', identity.certPath, '-j', identity.keyPath }, more or {})
end

local function trusting()
  return { '-R', pki.ca('authority').certPath }
end

setup(function ()
  for _, library in ipairs(coap.LIBRARIES) do
    for _, role in ipairs({ 'client', 'server' }) do
      program.need(('coap-%s-%s'):format(role, library))
    end
  end
end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('what specs know of CoAP', function ()
  it('is what the RFC has', function ()
    local request = '\68\1\18\52dtls\187.well-known\4core'
    assert.equal(request, coap.get('.well-known/core', 0x1234))
    local decoded = coap.decode(request)
    assert.same({ '.well-known', 'core' }, decoded.path)
    assert.equal('\100\69\18\52dtls\255hello', coap.answer(decoded, '2.05', 'hello'))
    -- Content-Format 40, and Uri-Port before Uri-Path.
    assert.equal('x', coap.decode('\96\69\18\52\193\40\255x').payload)
    assert.same({ 'hello' }, coap.decode('\65\1\18\52\1\114\142\14\69hello').path)
  end)
end)

for _, library in ipairs(coap.LIBRARIES) do
  describe('a server, to coap-client over ' .. library .. ',', function ()
    local function client(port, more) return coap.client(library, port, more) end

    it('answers with a pre-shared key', function ()
      local session
      local _, port = server({ psk = { [PSK.identity] = PSK.key }, pskIdentityHint = 'who are you' },
        function (each) session = each end)
      local peer = client(port, withPsk(PSK))
      assert.equal(0, peer:waitForEnd())
      assert.equal('world\n', peer.output)
      assert.equal('ECDHE-PSK-CHACHA20-POLY1305', session:getCipher().name)
      assert.equal('dev-1', session:getPskIdentity())
    end)

    it('asks a function for the key', function ()
      local _, port = server({
        psk = function (identity, _, done)
          helper.after(20, function () done(identity == PSK.identity and PSK.key or nil) end)
        end,
      })
      local peer = client(port, withPsk(PSK))
      peer:waitForEnd()
      assert.equal('world\n', peer.output)
    end)

    -- With a key it sends even an address as a name, against RFC 6066 section 3.
    it('answers by whatever name it is called', function ()
      local called
      local context = dtls.createContext({ psk = { [PSK.identity] = PSK.key } })
      local _, port = server({
        psk = { nobody = 'x' },
        sni = function (name)
          called = name
          return context
        end,
      })
      local peer = client(port, withPsk(PSK))
      peer:waitForEnd()
      assert.equal('world\n', peer.output)
      assert.equal('127.0.0.1', called)
    end)

    it('answers by the suites for constrained devices', function ()
      local identity = pki.identity('server')
      local ciphers = {}
      local function note(session) ciphers[#ciphers + 1] = session:getCipher().name end
      local _, first = server(helper.merge(WITH_KEY, { psk = { [PSK.identity] = PSK.key } }), note)
      local _, second = server(
        helper.merge(WITH_CERTIFICATE, { cert = identity.cert, key = identity.key }), note)
      for _, peer in ipairs({ client(first, withPsk(PSK)), client(second, trusting()) }) do
        peer:waitForEnd()
        assert.equal('world\n', peer.output)
      end
      table.sort(ciphers)
      assert.same({ WITH_CERTIFICATE.ciphers, WITH_KEY.ciphers }, ciphers)
    end)

    it('hears its close_notify', function ()
      local reason
      local _, port = server({ psk = { [PSK.identity] = PSK.key } }, function (session)
        session:on('close', function (...) reason = ... end)
      end)
      client(port, withPsk(PSK)):waitForEnd()
      helper.runUntil(function () return reason end)
      assert.equal('closed', reason)
    end)

    it('gives nothing to one with a wrong key', function ()
      local each, port = server({ psk = { [PSK.identity] = PSK.key }, handshakeTimeout = DEADLINE })
      local peer = client(port, withPsk({ identity = PSK.identity, key = 'another key' }))
      assert.equal('EPSKKEY', ends.clientErrorOf(each))
      assert.is_nil(peer.output:find('world'))
    end)

    it('gives nothing to one with an unknown identity', function ()
      local each, port = server({ psk = { [PSK.identity] = PSK.key } })
      local peer = client(port, withPsk({ identity = 'dev-2', key = PSK.key }, { '-B', 2 }))
      assert.equal('EPSKIDENTITY', ends.clientErrorOf(each))
      peer:waitForEnd()
      assert.is_nil(peer.output:find('world'))
    end)

    it('shows a certificate', function ()
      local identity = pki.identity('server')
      local _, port = server({ cert = identity.cert, key = identity.key })
      local peer = client(port, trusting())
      peer:waitForEnd()
      assert.equal('world\n', peer.output)
    end)

    it('asks for a certificate, and gets it', function ()
      local identity, name = pki.identity('server')
      local _, port = server({
        cert = identity.cert, key = identity.key, requestCert = true, ca = pki.ca('authority').cert,
      }, function (session)
        name = session.authorized and session:getPeerCertificate().subject.CN
      end)
      local peer = client(port, withCertificate(pki.identity('client'), trusting()))
      peer:waitForEnd()
      assert.equal('world\n', peer.output)
      assert.equal('client', name)
    end)

    it('gives nothing to one that does not trust it', function ()
      local identity = pki.identity('server')
      local each, port = server({ cert = identity.cert, key = identity.key })
      local peer = client(port, { '-R', pki.ca('stranger').certPath, '-B', 2 })
      assert.equal('EUNKNOWNCA', ends.clientErrorOf(each))
      peer:waitForEnd()
      assert.is_nil(peer.output:find('world'))
    end)

    it('answers 4.04', function ()
      local _, port = ends.listen({ psk = { [PSK.identity] = PSK.key } }, function (session)
        session:on('message', function (data) session:send(coap.answer(coap.decode(data), '4.04')) end)
      end)
      local peer = client(port, withPsk(PSK))
      peer:waitForEnd()
      assert.equal('4.04\n', peer.output)
    end)
  end)

  describe('a client, to coap-server over ' .. library .. ',', function ()
    it('asks with a pre-shared key', function ()
      local _, port = coap.server(library, { '-k', PSK.key })
      local answer = ask(ends.opened(ends.connect(port, { psk = PSK })), '.well-known/core')
      assert.equal('2.05', answer.code)
      assert.match('^</>;', answer.payload)
      assert.match('</time>', answer.payload)
    end)

    it('asks time and again', function ()
      local _, port = coap.server(library, { '-k', PSK.key })
      local session = ends.opened(ends.connect(port, { psk = PSK }))
      assert.equal('2.05', ask(session, 'time').code)
      assert.equal('4.04', ask(session, 'nowhere').code)
      assert.equal('2.05', ask(session, 'example_data').code)
    end)

    it('tells a function its hint', function ()
      local _, port = coap.server(library, { '-k', PSK.key, '-h', 'who are you' })
      local hint
      local session = ends.opened(ends.connect(port, {
        psk = function (given, _, done)
          hint = given
          done(PSK)
        end,
      }))
      assert.equal('2.05', ask(session, 'time').code)
      assert.equal('who are you', hint)
    end)

    it('waits in vain with a wrong key', function ()
      local _, port = coap.server(library, { '-k', 'another key' })
      local session = ends.connect(port, { psk = PSK, handshakeTimeout = DEADLINE })
      assert.equal('EPSKKEY', ends.failureOf(session))
    end)

    it('asks by the suites for constrained devices', function ()
      local _, port = coap.server(library, { '-k', PSK.key })
      local session = ends.opened(ends.connect(port, helper.merge(WITH_KEY, { psk = PSK })))
      assert.equal('2.05', ask(session, 'time').code)
      assert.equal(WITH_KEY.ciphers, session:getCipher().name)
      _, port = coap.server(library, withCertificate(pki.identity('server'), { '-n' }))
      session = ends.opened(
        ends.connect(port, helper.merge(WITH_CERTIFICATE, { ca = pki.ca('authority').cert })))
      assert.equal('2.05', ask(session, 'time').code)
      assert.equal(WITH_CERTIFICATE.ciphers, session:getCipher().name)
    end)

    it('verifies its certificate', function ()
      local _, port = coap.server(library, withCertificate(pki.identity('server'), { '-n' }))
      local session = ends.opened(ends.connect(port, { ca = pki.ca('authority').cert }))
      assert.is_true(session.authorized)
      assert.equal('2.05', ask(session, 'time').code)
    end)

    it('refuses one of an unknown CA', function ()
      local _, port = coap.server(library, withCertificate(pki.identity('server'), { '-n' }))
      assert.equal('EUNKNOWNCA', ends.failureOf(ends.connect(port, { ca = pki.ca('stranger').cert })))
    end)

    it('shows the certificate it is asked for', function ()
      local peer, port = coap.server(library, withCertificate(pki.identity('server'), trusting()))
      local identity = pki.identity('client')
      local session = ends.opened(ends.connect(port, {
        ca = pki.ca('authority').cert, cert = identity.cert, key = identity.key,
      }))
      assert.equal('2.05', ask(session, 'time').code)
      peer:waitFor("CN '[%w-]+' presented by client %(Certificate%)")
    end)

    it('hears that a certificate is missing', function ()
      local _, port = coap.server(library, withCertificate(pki.identity('server'), trusting()))
      assert.equal('ENOCERT', ends.failureOf(ends.connect(port, { ca = pki.ca('authority').cert })))
    end)

    it('ends with a close_notify each way', function ()
      local peer, port = coap.server(library, { '-k', PSK.key })
      local session = ends.opened(ends.connect(port, { psk = PSK }))
      assert.equal('2.05', ask(session, 'time').code)
      session:close()
      helper.runUntil(function () return session.seen[3] end)
      assert.same({ 'close', 'closed' }, session.seen[3])
      peer:waitFor('session disconnected')
    end)
  end)
end
