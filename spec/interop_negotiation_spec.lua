-- What is agreed on beside a cipher suite, with openssl at the other end.

local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local merge, sClient, sServer = helper.merge, peers.sClient, peers.sServer

local LABEL = 'EXPERIMENTAL interop'
local EXPORT = { '-keymatexport', LABEL, '-keymatexportlen', '48' }
-- As many bytes as the keys and salts of SRTP_AES128_CM_SHA1_80 are (RFC 5764 section 4.2).
local EXPORT_SRTP = { '-keymatexport', 'EXTRACTOR-dtls_srtp', '-keymatexportlen', '60' }

local ours = {}

-- A server of this process and, once it has one, its session.
local function serve(options)
  local identity = pki.identity('server')
  local met = {}
  local server, port = helper.echoServer(
    merge({ cert = identity.cert, key = identity.key }, options),
    function (session) met.session = session end)
  ours[#ours + 1] = server
  met.failures = helper.record(server, 'clientError')
  return port, met
end

local function sessionOf(met)
  helper.runUntil(function () return met.session end)
  return met.session
end

-- A client of this process, connected.
local function connect(port, options)
  local session = helper.connect(port, merge({ ca = pki.ca('authority').cert }, options))
  ours[#ours + 1] = session
  helper.runUntil(function () return session:getProtocol() end)
  return session
end

-- What openssl prints that it has exported.
local function exportedBy(peer)
  return (peer:waitFor('Keying material: (%x+)'))
end

local function hex(bytes)
  return (bytes:gsub('.', function (byte) return ('%02X'):format(byte:byte()) end))
end

local function srtpMaterial(keys)
  return hex(keys.clientKey .. keys.serverKey .. keys.clientSalt .. keys.serverSalt)
end

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  for _, each in ipairs(ours) do (each.destroy or each.close)(each) end
  ours = {}
  helper.run()
end)

describe('a server, with openssl s_client,', function ()
  it('agrees on a protocol', function ()
    local port, met = serve({ ALPNProtocols = { 'coap', 'mqtt' } })
    sClient(port, { '-alpn', 'http/1.1,mqtt' }):waitFor('ALPN protocol: mqtt')
    assert.equal('mqtt', sessionOf(met).alpnProtocol)
  end)

  it('agrees on none with one that offers none', function ()
    local port, met = serve({ ALPNProtocols = 'coap' })
    sClient(port):waitFor('No ALPN negotiated')
    assert.is_nil(sessionOf(met).alpnProtocol)
  end)

  it('refuses other protocols with an alert', function ()
    local port, met = serve({ ALPNProtocols = 'coap' })
    sClient(port, { '-alpn', 'mqtt' }):waitFor('alert no application protocol')
    helper.runUntil(function () return met.failures[1] end)
    assert.equal('EALPN', met.failures[1][3])
  end)

  it('exports the same keys', function ()
    local port, met = serve()
    local theirs = exportedBy(sClient(port, EXPORT))
    assert.equal(theirs, hex(sessionOf(met):exportKeyingMaterial(48, LABEL)))
    assert.is_true(met.session:usesExtendedMasterSecret())
  end)

  it('has the same SRTP keys', function ()
    local port, met = serve({ srtpProfiles = { 'SRTP_AEAD_AES_256_GCM', 'SRTP_AES128_CM_SHA1_80' } })
    local peer = sClient(port,
      peers.list({ '-use_srtp', 'SRTP_AES128_CM_SHA1_32:SRTP_AES128_CM_SHA1_80' }, EXPORT_SRTP))
    peer:waitFor('SRTP Extension negotiated, profile=SRTP_AES128_CM_SHA1_80')
    assert.equal(exportedBy(peer), srtpMaterial(sessionOf(met):getSrtpKeys()))
  end)

  it('sends one that wants short records no longer ones', function ()
    local port, met = serve()
    local peer = sClient(port, { '-maxfraglen', '512' })
    local session = sessionOf(met)
    assert.equal(512, session:maxPayload())
    local _, _, name = session:send(('x'):rep(513))
    assert.equal('EMSGSIZE', name)
    assert.is_true(session:send(('x'):rep(511) .. '.'))
    peer:waitFor(('x'):rep(511) .. '%.')
    peer:write('still here\n')
    peer:waitFor('Echo: still here')
  end)
end)

describe('a client, with openssl s_server,', function ()
  it('agrees on a protocol', function ()
    local peer, port = sServer({ '-alpn', 'mqtt,coap' })
    assert.equal('mqtt', connect(port, { ALPNProtocols = { 'coap', 'mqtt' } }).alpnProtocol)
    peer:waitFor('ALPN protocols selected: mqtt')
  end)

  it('agrees on none with one that has none', function ()
    local _, port = sServer()
    assert.is_nil(connect(port, { ALPNProtocols = 'coap' }).alpnProtocol)
  end)

  it('exports the same keys', function ()
    local peer, port = sServer(EXPORT)
    local session = connect(port)
    assert.equal(exportedBy(peer), hex(session:exportKeyingMaterial(48, LABEL)))
    assert.is_true(session:usesExtendedMasterSecret())
  end)

  it('has the same SRTP keys', function ()
    local peer, port = sServer(peers.list({ '-use_srtp', 'SRTP_AES128_CM_SHA1_80' }, EXPORT_SRTP))
    local session = connect(port, { srtpProfiles = { 'SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_SHA1_80' } })
    assert.equal('SRTP_AES128_CM_SHA1_80', session.srtpProfile)
    assert.equal(exportedBy(peer), srtpMaterial(session:getSrtpKeys()))
  end)

  it('gets and sends short records where it wants them', function ()
    local peer, port = sServer()
    local session = connect(port, { maxFragmentLength = 512 })
    assert.equal(512, session:maxPayload())
    assert.is_true(session:send(('x'):rep(511) .. '.'))
    peer:waitFor(('x'):rep(511) .. '%.')
    local _, _, name = session:send(('x'):rep(513))
    assert.equal('EMSGSIZE', name)
    local heard = helper.record(session, 'message')
    peer:write('still here\n')
    helper.runUntil(function () return heard[1] end)
    assert.equal('still here\n', heard[1][2])
  end)
end)
