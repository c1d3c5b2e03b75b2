local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, patientServer, connect, echoed = ends.certified, ends.patient, ends.trusting, ends.echoed
local sClient, sServer, gnutlsCli, gnutlsServ =
  peers.sClient, peers.sServer, peers.gnutlsCli, peers.gnutlsServ

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

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
    assert.equal('EALPN', ends.clientErrorOf(each))
    assert.equal(0, each:stats().sessions)
  end)

  it('may be missing in a hello', function ()
    local session
    local _, port = server(COAP, function (each) session = each end)
    local peer = sClient(port)
    echoed(peer)
    peer:waitFor('\nNo ALPN negotiated\n')
    assert.is_nil(session.alpnProtocol)
  end)

  it('is agreed on with openssl s_server', function ()
    local peer, port = sServer({ '-alpn', 'coap' })
    assert.equal('coap', ends.opened(connect(port, { ALPNProtocols = { 'h2', 'coap' } })).alpnProtocol)
    peer:waitFor('ALPN protocols advertised by the client: h2, coap\n')
    peer:waitFor('ALPN protocols selected: coap\n')
  end)

  it('may be refused by openssl s_server', function ()
    local peer, port = sServer({ '-alpn', 'h2' })
    assert.equal('EALPN', ends.failureOf(connect(port, COAP)))
    peer:waitFor('no application protocol')
  end)

  it('may be unknown to openssl s_server', function ()
    local _, port = sServer()
    assert.is_nil(ends.opened(connect(port, COAP)).alpnProtocol)
  end)

  it('is agreed on with gnutls-cli', function ()
    local session
    local _, port = patientServer(COAP, function (each) session = each end)
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
    assert.equal(profile, session.srtpProfile)
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
        local _, port = patientServer({ srtpProfiles = { profile } }, function (each) session = each end)
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
    peer:waitFor('SRTP Extension negotiated, profile=SRTP_AEAD_AES_128_GCM\n')
    helper.runUntil(function () return session end)
    assert.equal('SRTP_AEAD_AES_128_GCM', session.srtpProfile)
  end)

  it('is left out where nothing is in common', function ()
    local session
    local _, port = server({ srtpProfiles = { 'SRTP_AEAD_AES_128_GCM' } }, function (each) session = each end)
    local peer = sClient(port, { '-use_srtp', 'SRTP_AES128_CM_SHA1_80' })
    echoed(peer)
    assert.is_nil(session.srtpProfile)
    local keys, _, why = session:getSrtpKeys()
    assert.is_nil(keys)
    assert.equal('ENOSRTP', why)
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
    assert.is_true(session:usesExtendedMasterSecret())
    -- No context is another than an empty one (RFC 5705 section 4).
    assert.not_equal(material, session:exportKeyingMaterial(48, LABEL, ''))
  end)

  it('is that of openssl s_server', function ()
    local peer, port = sServer({ '-keymatexport', LABEL, '-keymatexportlen', 48 })
    local session = ends.opened(connect(port))
    assert.equal(peers.waitForHex(peer, 'Keying material: '), session:exportKeyingMaterial(48, LABEL))
    assert.is_true(session:usesExtendedMasterSecret())
  end)

  it('is that of gnutls-cli', function ()
    local session
    local _, port = patientServer({}, function (each) session = each end)
    local peer = gnutlsCli(port, { '--keymatexport', LABEL, '--keymatexportsize', 48 })
    local material = peers.waitForHex(peer, '%- Key material: ')
    helper.runUntil(function () return session end)
    assert.equal(material, session:exportKeyingMaterial(48, LABEL))
  end)
end)

describe('the maximum fragment length', function ()
  -- Nothing longer is sent, and what is as long arrives.
  local function assertShort(session)
    assert.equal(512, session:maxPayload())
    local sent, _, why = session:send(('x'):rep(513))
    assert.is_nil(sent)
    assert.equal('EMSGSIZE', why)
    assert.is_true(session:send(('y'):rep(511) .. '\n'))
  end

  it('is asked of openssl s_server', function ()
    local peer, port = sServer()
    local session = ends.opened(connect(port, { maxFragmentLength = 512 }))
    assertShort(session)
    peer:waitFor('\n' .. ('y'):rep(511) .. '\n')
    peer:write('still here\n')
    helper.runUntil(function () return session.seen[2] end)
    assert.same({ 'message', 'still here\n' }, session.seen[2])
  end)

  it('is asked of gnutls-serv', function ()
    local _, port = gnutlsServ()
    local session = ends.opened(connect(port, { maxFragmentLength = 512 }))
    assertShort(session)
    helper.runUntil(function () return session.seen[2] end)
    -- It echoes as much as its buffer holds.
    assert.match('^yyyy', session.seen[2][2])
  end)

  for name, start in pairs({
    ['openssl s_client'] = function (port) return sClient(port, { '-maxfraglen', 512 }) end,
    ['gnutls-cli'] = function (port) return gnutlsCli(port, { '--recordsize', 512 }) end,
  }) do
    it('is that which ' .. name .. ' asks for', function ()
      local session
      local _, port = patientServer({}, function (each) session = each end)
      local peer = start(port)
      helper.runUntil(function () return session end)
      assertShort(session)
      peer:waitFor(('y'):rep(511))
      echoed(peer)
    end)
  end
end)
