-- What stands in for a CA, or beside one: fingerprints, raw public keys, revocation lists, OCSP responses.

local dtls = require('dtls')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

-- Connects and runs until both ends have come to an end or to a session.
-- @return the client session, `{ session, err, name }` of the server, `{ err, name }` of the client
local function meet(serverOptions, clientOptions)
  local met, failed = {}, {}
  local server = dtls.createServer(helper.merge({ retransmitTimeout = 100 }, serverOptions),
    function (session) met.session = session end)
  assert(server:listen(0, '127.0.0.1'))
  local port = server:address().port
  server:on('clientError', function (err, name) met.err, met.name = err, name end)
  local client = dtls.connect(helper.merge({
    host = '127.0.0.1', port = port, retransmitTimeout = 100,
  }, clientOptions))
  client:on('error', function (err, name) failed.err, failed.name = err, name end)
  helper.runUntil(function ()
    return (failed.err or client:getProtocol()) and (met.session or met.err)
  end)
  helper.finish(client, server)
  return client, met, failed
end

-- What createContext raises.
local function refusalOf(options)
  local made, err = pcall(dtls.createContext, options)
  assert.is_false(made, 'nothing was raised')
  return err
end

after_each(function ()
  program.stopAll()
  helper.run()
end)
teardown(pki.remove)

describe('options.fingerprints', function ()
  local mine, yours = dtls.generateCertificate(), dtls.generateCertificate({ names = 'nobody' })

  it('lets two peers meet that know each other by nothing else, as in WebRTC', function ()
    local client, met, failed = meet(
      { cert = mine.cert, key = mine.key, requestCert = true, fingerprints = { yours.fingerprint256 } },
      { cert = yours.cert, key = yours.key, fingerprints = 'sha-256 ' .. mine.fingerprint256 })
    assert.is_nil(failed.err)
    assert.is_true(client.authorized)
    assert.is_true(met.session.authorized)
    assert.equal(mine.fingerprint256, client:getPeerCertificate().fingerprint256)
    assert.equal(yours.fingerprint256, met.session:getPeerCertificate().fingerprint256)
  end)

  it('refuses everybody else', function ()
    local _, met, failed = meet(
      { cert = mine.cert, key = mine.key }, { ca = mine.cert, fingerprints = yours.fingerprint256 })
    assert.matches('^EFINGERPRINT: .* %(sent alert 42, bad certificate%)$', failed.err)
    assert.equal('EFINGERPRINT', failed.name)
    assert.equal('ECERT', met.name)
  end)

  it('only tells, where nobody is rejected', function ()
    local client = meet({ cert = mine.cert, key = mine.key },
      { fingerprints = yours.fingerprint256, rejectUnauthorized = false })
    assert.is_false(client.authorized)
    assert.matches('^EFINGERPRINT: ', client.authorizationError)
  end)

  it('leaves the last word to a verify hook', function ()
    local seen
    local client = meet({ cert = mine.cert, key = mine.key }, {
      fingerprints = yours.fingerprint256,
      verify = function (peer)
        seen = peer
        return true
      end,
    })
    assert.equal('EFINGERPRINT', seen.name)
    assert.is_true(client.authorized)
  end)

  it('must be SHA-256', function ()
    assert.matches("options%.fingerprints holds 'sha%-1 AB:CD', which is no SHA%-256",
      refusalOf({ fingerprints = 'sha-1 AB:CD' }))
    assert.matches('options%.fingerprints is an empty list', refusalOf({ fingerprints = {} }))
    assert.matches('options%.fingerprints must be a string or a list of strings',
      refusalOf({ fingerprints = 5 }))
  end)
end)

describe('options.crl', function ()
  local server, serving, trusting

  setup(function ()
    server = pki.identity('server')
    serving = { cert = server.cert, key = server.key }
    trusting = { ca = pki.ca('authority').cert }
  end)

  it('refuses who has been revoked, and both ends say so', function ()
    local _, met, failed = meet(serving, helper.merge(trusting, { crl = (pki.crl(server)) }))
    assert.matches('^ECERTREVOKED: .* %(sent alert 44, certificate revoked%)$', failed.err)
    assert.matches('^ECERTREVOKED: .* %(received alert 44, certificate revoked%)$', met.err)
  end)

  it('accepts everybody else', function ()
    local list = pki.crl(pki.identity('client'))
    assert.is_true(meet(serving, helper.merge(trusting, { crl = { list } })).authorized)
  end)

  it('refuses whose CA has no list', function ()
    local other = pki.ca('other')
    local _, met, failed = meet({ cert = other.cert, key = other.key },
      { ca = other.cert, servername = 'localhost', crl = (pki.crl(server)) })
    assert.is_nil(met.session)
    assert.matches('^ECERT', failed.name)
  end)

  it('must be PEM', function ()
    assert.matches('options%.crl is not a CRL in PEM', refusalOf({ crl = 'revoked.crl' }))
    assert.matches('options%.crl is not a CRL in PEM', refusalOf({ crl = server.cert }))
    assert.matches('options%.crl is an empty list', refusalOf({ crl = {} }))
    assert.matches('options%.crl says nothing beside fingerprints',
      refusalOf({ crl = (pki.crl(server)), fingerprints = ('00'):rep(32) }))
  end)
end)

describe('options.ocspResponse', function ()
  local server, trusting, good, revoked

  setup(function ()
    server = pki.identity('server')
    trusting = { ca = pki.ca('authority').cert, requireOCSP = true }
    good, revoked = (pki.ocspResponse(server)), (pki.ocspResponse(server, true))
  end)

  local function serving(response)
    return { cert = server.cert, key = server.key, ocspResponse = response }
  end

  it('is stapled for clients that want it, and verified', function ()
    local client, met = meet(serving(good), trusting)
    assert.is_true(client.authorized)
    assert.equal(good, client:getOCSPResponse())
    assert.is_nil(met.session:getOCSPResponse())
    assert.is_nil(meet(serving(good), { ca = trusting.ca }):getOCSPResponse())
  end)

  it('that says "revoked" has the server refused', function ()
    local _, met, failed = meet(serving(revoked), trusting)
    assert.equal('ECERTREVOKED', failed.name)
    assert.equal('ECERTREVOKED', met.name)
  end)

  it('may be missing, unless it is required', function ()
    local client = meet(serving(nil), { ca = trusting.ca, requestOCSP = true })
    assert.is_true(client.authorized)
    assert.is_nil(client:getOCSPResponse())
    local _, met, failed = meet(serving(nil), trusting)
    assert.matches('^EOCSP: the server has stapled no OCSP response, and one is required', failed.err)
    assert.equal('EOCSP', met.name)
  end)

  it('may come from a hook, at once or later, which is asked only where one is wanted', function ()
    local asked
    local function atOnce(request, session)
      asked = { request = request, ip = session:remoteAddress().ip }
      return good
    end
    local function later(_, _, done)
      helper.after(10, function () done({ good }) end)
    end
    assert.equal(good, meet(serving(atOnce), trusting):getOCSPResponse())
    assert.equal('127.0.0.1', asked.ip)
    assert.is_nil(asked.request.servername)
    assert.equal(1, #asked.request.certificates)
    assert.same({ 'DNS:localhost', 'IP:127.0.0.1' }, asked.request.certificates[1].subjectAltName)
    assert.equal(good, meet(serving(later), trusting):getOCSPResponse())
    asked = nil
    assert.is_true(meet(serving(atOnce), { ca = trusting.ca }).authorized)
    assert.is_nil(asked)
  end)

  it('of a hook may be none, and nonsense costs one handshake', function ()
    local function answering(value)
      return serving(function () return value end)
    end
    local wanting = { ca = trusting.ca, requestOCSP = true }
    assert.is_true(meet(answering(nil), wanting).authorized)
    for value, sentence in pairs({
      [5] = 'must answer an OCSP response in DER, a list of them, or nil for none, got number',
      [{ 5 }] = 'must answer an OCSP response in DER',
      nonsense = 'the answer of the ocspResponse hook is not an OCSP response in DER',
    }) do
      local _, met, failed = meet(answering(value), wanting)
      assert.equal('EHOOK', met.name)
      assert.truthy(met.err:find(sentence, 1, true), met.err)
      assert.equal('EALERT', failed.name)
    end
  end)

  it('is seen by a verify hook', function ()
    local seen
    local client = meet(serving(revoked), helper.merge(trusting, {
      verify = function (peer)
        seen = peer
        return true
      end,
    }))
    assert.is_true(client.authorized)
    assert.equal(revoked, seen.ocspResponse)
    assert.equal('ECERTREVOKED', seen.name)
  end)

  it('must be about the certificate that it is stapled to', function ()
    local function refused(response, identity)
      return refusalOf({ cert = identity.cert, key = identity.key, ocspResponse = response })
    end
    assert.matches('options%.ocspResponse is about none of the certificates in cert',
      refused(good, pki.identity('client')))
    assert.matches('options%.ocspResponse is not an OCSP response in DER', refused('server.der', server))
    assert.matches('options%.ocspResponse is an empty list', refused({}, server))
    assert.matches('options%.ocspResponse must be a string, a list of strings or a function, got an empty',
      refused('', server))
    assert.matches('options%.ocspResponse needs a certificate', refusalOf({ ocspResponse = good }))
    assert.matches('options%.requireOCSP says nothing beside fingerprints',
      refusalOf({ requireOCSP = true, fingerprints = ('00'):rep(32) }))
  end)
end)

describe('options.rawPublicKeys', function ()
  local ours, theirs, ourKey, theirKey

  setup(function ()
    ours, theirs = pki.identity('server'), pki.identity('client')
    ourKey, theirKey = (pki.publicKey(ours)), (pki.publicKey(theirs))
  end)

  it('lets two peers meet that have nothing but their keys', function ()
    local client, met = meet(
      { key = ours.key, requestCert = true, rawPublicKeys = theirKey },
      { key = theirs.key, rawPublicKeys = { theirKey, ourKey } })
    assert.is_true(client.authorized)
    assert.is_true(met.session.authorized)
    assert.is_nil(client:getPeerCertificate())
    assert.equal(ourKey, client:getPeerPublicKey())
    assert.equal(theirKey, met.session:getPeerPublicKey())
  end)

  it('refuses every other key', function ()
    local _, met, failed = meet({ key = ours.key }, { rawPublicKeys = theirKey })
    assert.matches('^EPUBLICKEY: .* %(sent alert 42, bad certificate%)$', failed.err)
    assert.equal('ECERT', met.name)
  end)

  it('is for one kind of client on a port that serves both', function ()
    local both = { cert = ours.cert, key = ours.key }
    assert.is_nil(meet(both, { rawPublicKeys = ourKey }):getPeerCertificate())
    local client = meet(both, { ca = pki.ca('authority').cert })
    assert.is_table(client:getPeerCertificate())
    assert.equal(ourKey, client:getPeerPublicKey())
  end)

  it('may be empty where a verify hook knows the keys', function ()
    local seen
    local client = meet({ key = ours.key }, {
      rawPublicKeys = {},
      verify = function (peer)
        seen = peer
        return peer.publicKey == ourKey
      end,
    })
    assert.is_true(client.authorized)
    assert.equal('EPUBLICKEY', seen.name)
    assert.is_nil(seen.certificate)
  end)

  it('must be public keys in PEM', function ()
    assert.matches('options%.rawPublicKeys holds what is not a public key in PEM',
      refusalOf({ rawPublicKeys = ours.key }))
    assert.matches('options%.rawPublicKeys holds what is not a public key in PEM',
      refusalOf({ rawPublicKeys = { ourKey, 'key.pub' } }))
    assert.matches('options%.rawPublicKeys is an empty list', refusalOf({ rawPublicKeys = {} }))
  end)
end)

describe('certificates', function ()
  local ecdsa, rsa, trusting

  setup(function ()
    ecdsa, rsa = pki.identity('server'), pki.identity('server-rsa', 'rsa')
    trusting = { ca = pki.ca('authority').cert }
  end)

  -- The kind of key that the server has shown to a client with this cipher list.
  local function shownTo(ciphers, serverOptions)
    local client = meet(serverOptions,
      helper.merge(trusting, { servername = 'localhost', ciphers = ciphers }))
    local shown = client:getPeerCertificate().pem
    return shown == ecdsa.cert and 'ecdsa' or shown == rsa.cert and 'rsa'
  end

  it('of several kinds are presented to who can use them, on a port and on each host of it', function ()
    local several = { cert = { rsa.cert, ecdsa.cert }, key = { rsa.key, ecdsa.key } }
    local hosts = { sni = { localhost = dtls.createContext(several) } }
    for _, options in ipairs({ several, hosts }) do
      assert.equal('rsa', shownTo('ECDHE-RSA-AES128-GCM-SHA256', options))
      assert.equal('ecdsa', shownTo('ECDHE-ECDSA-AES128-GCM-SHA256', options))
    end
  end)

  it('are shown with those they came with, to either end', function ()
    local chain = pki.longChain()
    local options = { cert = chain.cert, key = chain.key, ca = chain.ca }
    local client, met = meet(helper.merge(options, { requestCert = true, rejectUnauthorized = false }),
      helper.merge(options, { servername = 'localhost' }))
    for _, session in ipairs({ client, met.session }) do
      local certificate = session:getPeerCertificate()
      local names = {}
      for index, each in ipairs(certificate.chain) do names[index] = each.subject.CN end
      assert.same({ 'chain-leaf', 'chain-lower', 'chain-upper' }, names)
      assert.equal(certificate, certificate.chain[1])
    end
  end)
end)

describe('generateCertificate', function ()
  it('makes a self-signed one with an ECDSA key on P-256, and its fingerprint', function ()
    local made = dtls.generateCertificate({ names = { 'a.test', '192.0.2.1', '2001:db8::1' }, days = 30 })
    local identity = { certPath = pki.write('generated.pem', made.cert) }
    assert.equal(pki.fingerprint(identity), made.fingerprint256)
    local text = program.start('openssl', {
      'x509', '-in', identity.certPath, '-noout', '-text', '-checkend', tostring(29 * 24 * 3600),
    })
    assert.equal(0, text:waitForEnd())
    assert.matches('ASN1 OID: prime256v1', text.output)
    assert.matches('Signature Algorithm: ecdsa%-with%-SHA256', text.output)
    assert.matches('DNS:a%.test, IP Address:192%.0%.2%.1, IP Address:2001:DB8:0:0:0:0:0:1', text.output)
    assert.equal(text.output:match('Issuer: ([^\n]*)'), text.output:match('Subject: ([^\n]*)'))
  end)

  it('makes another each time', function ()
    local first, second = dtls.generateCertificate(), dtls.generateCertificate()
    assert.not_equal(first.fingerprint256, second.fingerprint256)
    assert.not_equal(first.key, second.key)
  end)
end)
