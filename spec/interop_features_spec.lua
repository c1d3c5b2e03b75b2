local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local list, merge = peers.list, helper.merge
local sClient, sServer, gnutlsCli, gnutlsServ =
  peers.sClient, peers.sServer, peers.gnutlsCli, peers.gnutlsServ

local function server(options, onConnection)
  local identity = pki.identity('server')
  return ends.server(merge({ cert = identity.cert, key = identity.key }, options), onConnection)
end

local function connect(port, options)
  return ends.connect(port, merge({ ca = pki.ca('authority').cert }, options))
end

-- Has a peer that prints its handshake complete it, and hear an echo.
local function echoed(peer)
  peer:write('hello\n')
  peer:waitFor('Echo: hello')
end

setup(function ()
  for _, command in ipairs({ 'setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv' }) do
    assert(program.exists(command), command .. ' is missing: see tools/deps.sh')
  end
end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('ALPN', function ()
  local COAP = { ALPNProtocols = { 'coap' } }

  it('is agreed on with openssl s_client', function ()
    local session
    local _, port = server(COAP, function (each) session = each end)
    local peer = sClient(port, { '-alpn', 'h2,coap' })
    echoed(peer)
    peer:waitFor('\nALPN protocol: coap\n')
    assert.equal('coap', session.alpnProtocol)
  end)

  it('is decided by the order of the server', function ()
    local _, port = server({ ALPNProtocols = { 'coap', 'h2' } })
    sClient(port, { '-alpn', 'h2,coap' }):waitFor('\nALPN protocol: coap\n')
  end)

  it('without anything in common is refused, and the client hears why', function ()
    local each, port = server(COAP)
    sClient(port, { '-alpn', 'h2' }):waitFor('SSL alert number 120')
    ends.clientErrorOf(each)
  end)

  it('may be missing in a hello', function ()
    local session
    local _, port = server(COAP, function (each) session = each end)
    local peer = sClient(port)
    echoed(peer)
    peer:waitFor('\nNo ALPN negotiated\n')
    assert.is_falsy(session.alpnProtocol)
  end)

  it('is agreed on with openssl s_server', function ()
    local peer, port = sServer({ '-alpn', 'coap' })
    assert.equal('coap', ends.opened(connect(port, { ALPNProtocols = { 'h2', 'coap' } })).alpnProtocol)
    peer:waitFor('ALPN protocols advertised by the client: h2, coap\n')
    peer:waitFor('ALPN protocols selected: coap\n')
  end)

  it('may be refused by openssl s_server', function ()
    local peer, port = sServer({ '-alpn', 'h2' })
    assert.equal('EALERT', ends.failureOf(connect(port, COAP)))
    peer:waitFor('no application protocol')
  end)

  it('may be unknown to openssl s_server', function ()
    local _, port = sServer()
    assert.is_falsy(ends.opened(connect(port, COAP)).alpnProtocol)
  end)

  it('is agreed on with gnutls-cli', function ()
    local session
    local _, port = server(COAP, function (each) session = each end)
    local peer = gnutlsCli(port, { '--alpn', 'h2', '--alpn', 'coap' })
    echoed(peer)
    peer:waitFor('%- Application protocol: coap\n')
    assert.equal('coap', session.alpnProtocol)
  end)

  it('is agreed on with gnutls-serv', function ()
    local _, port = gnutlsServ({ '--alpn', 'coap', '--alpn-fatal' })
    assert.equal('coap', ends.opened(connect(port, { ALPNProtocols = { 'h2', 'coap' } })).alpnProtocol)
  end)

  -- It keeps the alert to itself.
  it('may be refused by gnutls-serv', function ()
    local peer, port = gnutlsServ({ '--alpn', 'coap', '--alpn-fatal' })
    connect(port, { ALPNProtocols = { 'h2' } })
    peer:waitFor('No common application protocol')
  end)
end)

describe('SRTP', function ()
  local LABEL = 'EXTRACTOR-dtls_srtp'

  -- Of each profile: what GnuTLS calls it, and the bytes of a key and of a salt.
  local PROFILES = {
    SRTP_AES128_CM_SHA1_80 = { 'SRTP_AES128_CM_HMAC_SHA1_80', 16, 14 },
    SRTP_AES128_CM_SHA1_32 = { 'SRTP_AES128_CM_HMAC_SHA1_32', 16, 14 },
    -- GnuTLS does not know those of RFC 7714.
    SRTP_AEAD_AES_128_GCM = { nil, 16, 12 },
    SRTP_AEAD_AES_256_GCM = { nil, 32, 12 },
  }

  -- The keys in the order in which they are exported (RFC 5764 section 4.2).
  local function joined(session, profile)
    local keys = session:getSrtpKeys()
    assert.equal(profile, keys.profile)
    local _, key, salt = unpack(PROFILES[profile], 1, 3)
    assert.same({ key, key, salt, salt },
      { #keys.clientKey, #keys.serverKey, #keys.clientSalt, #keys.serverSalt })
    return keys.clientKey .. keys.serverKey .. keys.clientSalt .. keys.serverSalt
  end

  local function exported(profile) return 2 * (PROFILES[profile][2] + PROFILES[profile][3]) end

  for profile, row in pairs(PROFILES) do
    it('has the keys of openssl s_client for ' .. profile, function ()
      local session
      local _, port = server({ srtpProfiles = { profile } }, function (each) session = each end)
      local peer = sClient(port, {
        '-use_srtp', profile, '-keymatexport', LABEL, '-keymatexportlen', exported(profile),
      })
      peer:waitFor('SRTP Extension negotiated, profile=' .. profile .. '\n')
      local material = peers.waitForHex(peer, 'Keying material: ')
      helper.runUntil(function () return session end)
      assert.equal(material, joined(session, profile))
    end)

    it('has the keys of openssl s_server for ' .. profile, function ()
      local peer, port = sServer({
        '-use_srtp', profile, '-keymatexport', LABEL, '-keymatexportlen', exported(profile),
      })
      local session = ends.opened(connect(port, { srtpProfiles = { profile } }))
      peer:waitFor('SRTP Extension negotiated, profile=' .. profile .. '\n')
      assert.equal(peers.waitForHex(peer, 'Keying material: '), joined(session, profile))
    end)

    if row[1] then
      it('has the keys of gnutls-cli for ' .. profile, function ()
        local session
        local _, port = server({ srtpProfiles = { profile } }, function (each) session = each end)
        local peer = gnutlsCli(port, {
          '--srtp-profiles=' .. row[1], '--keymatexport', LABEL, '--keymatexportsize', exported(profile),
        })
        peer:waitFor('%- SRTP profile: ' .. row[1] .. '\n')
        local material = peers.waitForHex(peer, '%- Key material: ')
        helper.runUntil(function () return session end)
        assert.equal(material, joined(session, profile))
      end)

      -- It tells nobody its keys.
      it('agrees with gnutls-serv on ' .. profile, function ()
        local _, port = gnutlsServ({ '--srtp-profiles=' .. row[1] })
        local session = ends.opened(connect(port, { srtpProfiles = { profile } }))
        assert.equal(exported(profile), #joined(session, profile))
      end)
    end
  end

  it('is decided by the order of the server', function ()
    local session
    local _, port = server({ srtpProfiles = { 'SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_SHA1_80' } },
      function (each) session = each end)
    local peer = sClient(port, { '-use_srtp', 'SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM' })
    peer:waitFor('SRTP Extension negotiated, profile=')
    helper.runUntil(function () return session end)
    peer:waitFor('profile=' .. session:getSrtpKeys().profile)
  end)

  it('is left out where nothing is in common', function ()
    local session
    local _, port = server({ srtpProfiles = { 'SRTP_AEAD_AES_128_GCM' } }, function (each) session = each end)
    local peer = sClient(port, { '-use_srtp', 'SRTP_AES128_CM_SHA1_80' })
    echoed(peer)
    assert.is_nil(session:getSrtpKeys())
    assert.is_nil(peer.output:find('SRTP Extension'))
  end)
end)

describe('exported keying material', function ()
  local LABEL = 'EXPERIMENTAL-dtls'

  it('is that of openssl s_client', function ()
    local session
    local _, port = server({}, function (each) session = each end)
    local peer = sClient(port, { '-keymatexport', LABEL, '-keymatexportlen', 48 })
    local material = peers.waitForHex(peer, 'Keying material: ')
    helper.runUntil(function () return session end)
    assert.equal(48, #material)
    assert.equal(material, session:exportKeyingMaterial(48, LABEL))
    -- No context is another than an empty one (RFC 5705 section 4).
    assert.not_equal(material, session:exportKeyingMaterial(48, LABEL, ''))
  end)

  it('is that of openssl s_server', function ()
    local peer, port = sServer({ '-keymatexport', LABEL, '-keymatexportlen', 48 })
    local session = ends.opened(connect(port))
    assert.equal(peers.waitForHex(peer, 'Keying material: '), session:exportKeyingMaterial(48, LABEL))
  end)

  it('is that of gnutls-cli', function ()
    local session
    local _, port = server({}, function (each) session = each end)
    local peer = gnutlsCli(port, { '--keymatexport', LABEL, '--keymatexportsize', 48 })
    local material = peers.waitForHex(peer, '%- Key material: ')
    helper.runUntil(function () return session end)
    assert.equal(material, session:exportKeyingMaterial(48, LABEL))
  end)
end)

describe('a server of several names', function ()
  local function context(id)
    local identity = pki.identity(id)
    return dtls.createContext({ cert = identity.cert, key = identity.key })
  end

  -- What a client calls the server, and the certificate it is shown.
  local CLAIMS = {
    ['-servername a.test'] = 'sni-a', ['-servername A.Test'] = 'sni-a', ['-servername x.b.test'] = 'sni-b',
    ['-servername c.test'] = 'sni-rest', ['-servername b.test'] = 'sni-rest', ['-noservername'] = 'sni-rest',
  }

  for options, shown in pairs(CLAIMS) do
    it('shows openssl s_client its certificate for ' .. options, function ()
      local _, port = server({
        sni = { ['a.test'] = context('sni-a'), ['*.b.test'] = context('sni-b'), ['*'] = context('sni-rest') },
      })
      local peer = sClient(port, { options:match('^%S+'), options:match('^%S+ (.+)$') })
      echoed(peer)
      peer:waitFor('\n 0 s:CN = ' .. shown:gsub('%p', '%%%0') .. '\n')
    end)
  end

  it('asks a function, which may take its time', function ()
    local asked, connected
    local _, port = server({
      sni = function (name, session, done)
        asked = { name, session }
        helper.after(20, function () done(context('sni-a')) end)
      end,
    }, function (session) connected = session end)
    local peer = sClient(port, { '-servername', 'a.test' })
    echoed(peer)
    peer:waitFor('\n 0 s:CN = sni%-a\n')
    assert.equal('a.test', asked[1])
    assert.equal(connected, asked[2])
  end)

  it('shows gnutls-cli its certificate', function ()
    local _, port = server({ sni = { ['a.test'] = context('sni-a') } })
    local peer = gnutlsCli(port, { '--sni-hostname', 'a.test', '--verify-hostname', 'localhost' })
    echoed(peer)
    peer:waitFor('subject `CN=sni%-a\'')
  end)
end)

describe('a client of a server of several names', function ()
  it('is shown by openssl s_server what it asks for', function ()
    local second = pki.identity('sni-second', 'ecdsa', 'DNS:b.test')
    local peer, port = sServer({
      '-servername', 'b.test', '-cert2', second.certPath, '-key2', second.keyPath, '-servername_fatal',
    })
    local session = ends.opened(connect(port, { servername = 'b.test' }))
    peer:waitFor('Hostname in TLS extension: "b%.test"\n')
    peer:waitFor('Switching server context%.\n')
    assert.equal('sni-second', session:getPeerCertificate().subject.CN)
  end)

  it('hears from openssl s_server that a name is unknown', function ()
    local _, port = sServer({
      '-servername', 'b.test', '-cert2', pki.identity('server').certPath,
      '-key2', pki.identity('server').keyPath, '-servername_fatal',
    })
    assert.equal('EALERT', ends.failureOf(connect(port, { servername = 'c.test' })))
  end)

  -- It has the certificate of another.
  it('is known to gnutls-serv by the name it asks for', function ()
    local _, port = gnutlsServ({ '--sni-hostname', 'b.test', '--sni-hostname-fatal' })
    ends.opened(connect(port, { servername = 'b.test', rejectUnauthorized = false }))
  end)

  -- It keeps the alert to itself.
  it('may be refused by gnutls-serv for the name it asks for', function ()
    local peer, port = gnutlsServ({ '--sni-hostname', 'b.test', '--sni-hostname-fatal' })
    connect(port, { servername = 'c.test' })
    peer:waitFor('SNI host name not recognised')
  end)
end)

describe('tickets', function ()
  local FIRST, SECOND = ('1'):rep(48), ('2'):rep(48)

  -- A session of openssl s_client that ends in good order, and whether it was a new one.
  local function visit(port, more)
    local peer = sClient(port, more)
    echoed(peer)
    local kind = peer:waitFor('\n(%u%l+), TLSv1%.2, Cipher is ')
    peer:write('Q\n')
    peer:waitForEnd()
    return kind
  end

  local function fileOf(name) return pki.path(name .. '.session') end

  it('are taken back from openssl s_client', function ()
    local reused = {}
    local _, port = server({}, function (session) reused[#reused + 1] = session:isSessionReused() end)
    local file = fileOf('plain')
    assert.equal('New', visit(port, { '-sess_out', file }))
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    assert.same({ false, true }, reused)
  end)

  it('are taken back by another server with the same keys', function ()
    local _, first = server({ ticketKeys = { FIRST } })
    local _, second = server({ ticketKeys = { FIRST } })
    local file = fileOf('shared')
    assert.equal('New', visit(first, { '-sess_out', file }))
    assert.equal('Reused', visit(second, { '-sess_in', file }))
  end)

  -- (s_client takes a renewed ticket, and keeps it to itself.)
  it('are taken back as long as their key is in the list', function ()
    local each, port = server({ ticketKeys = { FIRST } })
    local file = fileOf('old')
    visit(port, { '-sess_out', file })
    each:setTicketKeys({ SECOND, FIRST })
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    each:setTicketKeys({ SECOND })
    assert.equal('New', visit(port, { '-sess_in', file }))
  end)

  it('are not taken back by a server that has made up keys of its own', function ()
    local _, first = server()
    local _, second = server()
    local file = fileOf('own')
    visit(first, { '-sess_out', file })
    assert.equal('New', visit(second, { '-sess_in', file }))
  end)

  it('say how long they last', function ()
    local _, port = server({ sessionTimeout = 123 })
    sClient(port):waitFor('TLS session ticket lifetime hint: 123 %(seconds%)')
  end)

  it('keep whom a certificate has shown', function ()
    local seen = {}
    local _, port = server({ requestCert = true, ca = pki.ca('authority').cert }, function (session)
      local certificate = session:getPeerCertificate()
      seen[#seen + 1] = {
        session:isSessionReused(), session.authorized, certificate and certificate.subject.CN,
      }
    end)
    local identity, file = pki.identity('client'), fileOf('identity')
    local shown = { '-cert', identity.certPath, '-key', identity.keyPath }
    visit(port, list({ '-sess_out', file }, shown))
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    assert.same({ { false, true, 'client' }, { true, true, 'client' } }, seen)
  end)

  it('are taken back from gnutls-cli', function ()
    local reused = {}
    local _, port = server({}, function (session) reused[#reused + 1] = session:isSessionReused() end)
    local peer = gnutlsCli(port, { '--resume' })
    peer:waitFor('This is a resumed session')
    echoed(peer)
    assert.same({ false, true }, reused)
  end)

  for name, start in pairs({
    -- With `-listen` it serves one client only.
    ['openssl s_server'] = function () return sServer({}, nil, { '-dtls1_2' }) end,
    ['gnutls-serv'] = gnutlsServ,
  }) do
    it('are given back to ' .. name, function ()
      local peer, port = start()
      local first = ends.opened(connect(port))
      assert.is_false(first:isSessionReused())
      local blob = first:getSession()
      assert.is_string(blob)
      first:close()
      helper.runUntil(function () return first.seen[#first.seen][1] == 'close' end)
      local second = ends.opened(connect(port, { session = blob }))
      assert.is_true(second:isSessionReused())
      assert.is_true(second.authorized)
      if name == 'openssl s_server' then peer:waitFor('Reused session%-id') end
    end)
  end

  it('mean nothing to a server of other keys', function ()
    local _, first = sServer({}, nil, { '-dtls1_2' })
    local blob = ends.opened(connect(first)):getSession()
    local peer, second = sServer({}, nil, { '-dtls1_2' })
    local session = ends.opened(connect(second, { session = blob }))
    assert.is_false(session:isSessionReused())
    session:send('hello\n')
    peer:waitFor('\nhello\n')
  end)
end)

describe('OCSP responses', function ()
  it('are stapled for openssl s_client', function ()
    local _, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = sClient(port, { '-status' })
    echoed(peer)
    peer:waitFor('OCSP Response Status: successful')
    peer:waitFor('Cert Status: good')
  end)

  it('are left out where nobody asks', function ()
    local _, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = sClient(port)
    echoed(peer)
    assert.is_nil(peer.output:find('OCSP Response Status'))
  end)

  it('may be missing', function ()
    local _, port = server()
    local peer = sClient(port, { '-status' })
    echoed(peer)
    peer:waitFor('OCSP response: no response sent')
  end)

  it('satisfy gnutls-cli', function ()
    local _, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = gnutlsCli(port, { '--ocsp' })
    echoed(peer)
    peer:waitFor('OCSP status request')
  end)

  it('tell gnutls-cli of a revocation', function ()
    local each, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'), true)) })
    gnutlsCli(port):waitFor('revoked via OCSP')
    assert.equal('EALERT', ends.clientErrorOf(each))
  end)

  for name, start in pairs({
    ['openssl s_server'] = function (path) return sServer({ '-status_file', path }) end,
    ['gnutls-serv'] = function (path) return gnutlsServ({ '--ocsp-response', path }) end,
  }) do
    it('are had from ' .. name, function ()
      local der, path = pki.ocspResponse(pki.identity('server'))
      local _, port = start(path)
      assert.equal(der, ends.opened(connect(port, { requestOCSP = true })):getOCSPResponse())
    end)

    it('are not had from ' .. name .. ' unasked', function ()
      local _, path = pki.ocspResponse(pki.identity('server'))
      local _, port = start(path)
      assert.is_nil(ends.opened(connect(port)):getOCSPResponse())
    end)
  end

  it('may be missing at openssl s_server', function ()
    local _, port = sServer()
    assert.is_nil(ends.opened(connect(port, { requestOCSP = true })):getOCSPResponse())
  end)
end)

describe('a list of revoked certificates', function ()
  it('lets a client refuse openssl s_server, which hears why', function ()
    local peer, port = sServer()
    local session = connect(port, { crl = (pki.crl(pki.identity('server'))) })
    assert.match('^ECERT', ends.failureOf(session))
    peer:waitFor('alert certificate revoked')
  end)

  it('lets a client accept openssl s_server where it is not in it', function ()
    local _, port = sServer()
    assert.is_true(ends.opened(connect(port, { crl = (pki.crl(pki.identity('client'))) })).authorized)
  end)

  it('lets a server refuse openssl s_client, which hears why', function ()
    local client = pki.identity('client')
    local each, port = server({ requestCert = true, ca = pki.ca('authority').cert, crl = (pki.crl(client)) })
    sClient(port, { '-cert', client.certPath, '-key', client.keyPath }):waitFor('alert certificate revoked')
    assert.match('^ECERT', ends.clientErrorOf(each))
  end)

  it('lets a server accept openssl s_client where it is not in it', function ()
    local client = pki.identity('client')
    local _, port = server({
      requestCert = true, ca = pki.ca('authority').cert, crl = (pki.crl(pki.identity('server'))),
    })
    echoed(sClient(port, { '-cert', client.certPath, '-key', client.keyPath }))
  end)

  -- The programs' own, so that it is known that theirs and ours are lists of the same kind.
  it('is one to openssl and to GnuTLS', function ()
    local each, port = server()
    local _, path = pki.crl(pki.identity('server'))
    sClient(port, { '-CRL', path, '-crl_check', '-verify_return_error' }):waitFor('certificate revoked')
    assert.equal('EALERT', ends.clientErrorOf(each))
    gnutlsCli(port, { '--x509crlfile', path }):waitFor('The certificate chain is revoked')
  end)
end)

describe('fingerprints', function ()
  it('are enough to trust openssl s_server', function ()
    local stranger = pki.ca('stranger')
    local peer, port = sServer({}, stranger)
    local session = ends.opened(ends.connect(port, { fingerprints = { pki.fingerprint(stranger) } }))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    assert.is_true(session.authorized)
  end)

  it('of another refuse openssl s_server', function ()
    local _, port = sServer()
    assert.match('^ECERT', ends.failureOf(ends.connect(port, {
      fingerprints = { pki.fingerprint(pki.ca('stranger')) },
    })))
  end)

  it('are enough to trust openssl s_client', function ()
    local stranger = pki.ca('stranger')
    local _, port = server({ requestCert = true, fingerprints = { pki.fingerprint(stranger) } })
    echoed(sClient(port, { '-cert', stranger.certPath, '-key', stranger.keyPath }))
  end)

  it('of another refuse openssl s_client', function ()
    local client = pki.identity('client')
    local each, port = server({ requestCert = true, fingerprints = { pki.fingerprint(pki.ca('stranger')) } })
    sClient(port, { '-cert', client.certPath, '-key', client.keyPath }):waitFor('alert')
    assert.match('^ECERT', ends.clientErrorOf(each))
  end)
end)

describe('raw public keys', function ()
  local function raw(identity, known)
    return { key = identity.key, rawPublicKeys = { (pki.publicKey(known)) } }
  end

  -- It cannot verify one: it is told not to mind.
  local function client(port, identity)
    return gnutlsCli(port, list({ '--insecure' }, peers.gnutlsRaw(identity)))
  end

  it('are shown to gnutls-cli, and asked of it', function ()
    local ours, theirs = pki.identity('server'), pki.identity('client')
    local session
    local _, port = ends.server(merge(raw(ours, theirs), { requestCert = true }),
      function (each) session = each end)
    local peer = client(port, theirs)
    peer:waitFor('Certificate type: Raw Public Key')
    echoed(peer)
    peer:waitFor('%(DTLS1%.2%-Raw Public Key%)')
    assert.is_true(session.authorized)
    assert.is_nil(session:getPeerCertificate())
  end)

  it('are shown to gnutls-cli, and not asked of it', function ()
    local _, port = ends.server({ key = pki.identity('server').key })
    local peer = client(port, pki.identity('client'))
    peer:waitFor('Certificate type: Raw Public Key')
    echoed(peer)
  end)

  it('of others are refused to gnutls-cli', function ()
    local each, port = ends.server(
      merge(raw(pki.identity('server'), pki.identity('other')), { requestCert = true }))
    client(port, pki.identity('client')):waitFor('alert')
    assert.is_string(ends.clientErrorOf(each))
    assert.equal(0, each:stats().sessions)
  end)

  it('are all that a server has, and gnutls-cli without them hears of it', function ()
    local each, port = ends.server({ key = pki.identity('server').key })
    gnutlsCli(port)
    assert.is_string(ends.clientErrorOf(each))
  end)

  it('are shown to gnutls-serv, and asked of it', function ()
    local ours, theirs = pki.identity('client'), pki.identity('server')
    local _, port = gnutlsServ(list({ '--require-client-cert' }, peers.gnutlsRaw(theirs)))
    local session = ends.opened(ends.connect(port, raw(ours, theirs)))
    assert.equal('hello\n', ends.asked(session, 'hello\n'))
    assert.is_true(session.authorized)
  end)

  it('of others are refused to gnutls-serv', function ()
    local peer, port = gnutlsServ(peers.gnutlsRaw(pki.identity('server')))
    local session = ends.connect(port, raw(pki.identity('client'), pki.identity('other')))
    assert.is_string(ends.failureOf(session))
    peer:waitFor('[Aa]lert')
  end)
end)

describe('a key log', function ()
  local LINE = '^CLIENT_RANDOM %x+ %x+$'

  -- The line that another program has written to its file.
  local function lineOf(path)
    local line
    helper.runUntil(function ()
      local file = io.open(path)
      if not file then return false end
      line = file:read('*a'):match('(CLIENT_RANDOM %x+ %x+)\n')
      file:close()
      return line
    end)
    return line
  end

  it('of a server has the line of openssl s_client', function ()
    local lines, session = {}, nil
    local _, port = server({ keylog = function (...) lines[#lines + 1] = { ... } end },
      function (each) session = each end)
    local path = pki.path('s_client.keys')
    echoed(sClient(port, { '-keylogfile', path }))
    assert.equal(1, #lines)
    assert.match(LINE, lines[1][1])
    assert.equal(lineOf(path), lines[1][1])
    assert.equal(session, lines[1][2])
  end)

  it('of a client has the line of openssl s_server', function ()
    local lines, path = {}, pki.path('s_server.keys')
    local _, port = sServer({ '-keylogfile', path })
    local session = ends.opened(connect(port, { keylog = function (...) lines[#lines + 1] = { ... } end }))
    assert.equal(1, #lines)
    assert.equal(lineOf(path), lines[1][1])
    assert.equal(session, lines[1][2])
  end)

  it('may be a file', function ()
    local ours, theirs = pki.path('ours.keys'), pki.path('theirs.keys')
    local _, port = sServer({ '-keylogfile', theirs })
    ends.opened(connect(port, { keylog = ours }))
    assert.equal(lineOf(theirs), lineOf(ours))
  end)
end)

describe('the maximum fragment length', function ()
  for name, start in pairs({ ['openssl s_server'] = sServer, ['gnutls-serv'] = gnutlsServ }) do
    it('is agreed on with ' .. name, function ()
      local peer, port = start()
      local session = ends.opened(connect(port, { maxFragmentLength = 512 }))
      local sent, _, why = session:send(('x'):rep(513))
      assert.is_nil(sent)
      assert.equal('EMSGSIZE', why)
      assert.is_true(session:send(('y'):rep(511) .. '\n'))
      if name == 'openssl s_server' then peer:waitFor('\n' .. ('y'):rep(511) .. '\n') end
    end)
  end

  it('is agreed on with gnutls-cli', function ()
    local session
    local _, port = server({}, function (each) session = each end)
    gnutlsCli(port, { '--recordsize', 512 }):waitFor('Handshake was completed')
    helper.runUntil(function () return session end)
    local _, _, why = session:send(('x'):rep(513))
    assert.equal('EMSGSIZE', why)
  end)
end)
