local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local PSK = { identity = 'dev-1', key = '\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16' }
local WRONG = { identity = 'dev-1', key = ('\255'):rep(16) }
local STRANGER = { identity = 'dev-2', key = PSK.key }

-- A suite that all have, and that gnutls-cli survives.
local PLAIN = 'PSK-AES128-GCM-SHA256'
local SUITES = {
  'ECDHE-PSK-CHACHA20-POLY1305', 'DHE-PSK-AES128-GCM-SHA256', 'PSK-AES128-GCM-SHA256',
  'PSK-CHACHA20-POLY1305', 'PSK-AES128-CCM8',
}

-- How long a handshake may take that comes to no end: long enough for the Finished of a wrong key.
local DEADLINE = 400

-- The names of a suite's parts in GnuTLS's priority strings.
local GNUTLS = {
  ['ECDHE-PSK-CHACHA20-POLY1305'] = '+ECDHE-PSK:-CIPHER-ALL:+CHACHA20-POLY1305',
  ['DHE-PSK-AES128-GCM-SHA256'] = '+DHE-PSK:-CIPHER-ALL:+AES-128-GCM',
  ['PSK-AES128-GCM-SHA256'] = '+PSK:-CIPHER-ALL:+AES-128-GCM',
  ['PSK-CHACHA20-POLY1305'] = '+PSK:-CIPHER-ALL:+CHACHA20-POLY1305',
  ['PSK-AES128-CCM8'] = '+PSK:-CIPHER-ALL:+AES-128-CCM-8',
}

-- A list of suites that an OpenSSL of any security level takes, those with short tags as well.
local function relaxed(suite) return suite .. ':@SECLEVEL=0' end

local function server(options, onConnection)
  return ends.server(helper.merge({ psk = { [PSK.identity] = PSK.key } }, options), onConnection)
end

local function connect(port, options)
  return ends.connect(port, helper.merge({ psk = PSK }, options))
end

-- Peers with the key, unless told another.
local function sClient(port, psk, suite)
  return peers.sClient(port, peers.sClientPsk(psk or PSK, relaxed(suite or PLAIN)))
end

local function sServer(suite, hint)
  return peers.sServer(peers.sServerPsk(PSK, relaxed(suite or PLAIN), hint))
end

local function gnutlsCli(port, psk, suite)
  return peers.gnutlsCli(port, peers.gnutlsCliPsk(psk or PSK, GNUTLS[suite or PLAIN]))
end

local function gnutlsServ(suite, hint)
  return peers.gnutlsServ(peers.gnutlsServPsk(PSK, GNUTLS[suite or PLAIN], hint))
end

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a server with pre-shared keys, to openssl s_client,', function ()
  for _, suite in ipairs(SUITES) do
    it('speaks ' .. suite, function ()
      local session
      local _, port = server({ ciphers = relaxed(suite) }, function (each) session = each end)
      local peer = sClient(port, PSK, suite)
      peer:write('hello\n')
      peer:waitFor('Cipher is ' .. suite:gsub('%p', '%%%0') .. '\n')
      peer:waitFor('Echo: hello')
      assert.equal(suite, session:getCipher().name)
      assert.equal('dev-1', session:getPskIdentity())
      assert.is_nil(session:getPeerCertificate())
    end)
  end

  it('has a suite with forward secrecy by default', function ()
    local _, port = server()
    local peer = peers.sClient(port, peers.sClientPsk(PSK, 'ALL:PSK'))
    peer:write('hello\n')
    peer:waitFor('Cipher is ECDHE%-PSK%-CHACHA20%-POLY1305\n')
    peer:waitFor('Echo: hello')
  end)

  it('gives its hint', function ()
    local _, port = server({ ciphers = PLAIN, pskIdentityHint = 'who are you' })
    sClient(port):waitFor('PSK identity hint: who are you\n')
  end)

  it('gives none where there is none', function ()
    local _, port = server({ ciphers = PLAIN })
    sClient(port):waitFor('PSK identity hint: None\n')
  end)

  it('asks a function for the key, which may take its time', function ()
    local asked, connected
    local _, port = server({
      ciphers = PLAIN,
      psk = function (identity, session, done)
        asked = { identity, session }
        helper.after(20, function () done(PSK.key) end)
      end,
    }, function (session) connected = session end)
    local peer = sClient(port)
    peer:write('hello\n')
    peer:waitFor('Echo: hello')
    assert.equal('dev-1', asked[1])
    assert.equal(connected, asked[2])
  end)

  it('refuses an unknown identity and says so', function ()
    local each, port = server({ ciphers = PLAIN })
    local peer = sClient(port, STRANGER)
    peer:waitFor('SSL alert number 115')
    assert.equal('EPSKIDENTITY', ends.clientErrorOf(each))
    assert.match("'dev%-2' %(sent alert 115, ", each.failures[1][2])
    assert.equal(0, each:stats().sessions)
  end)

  it('refuses an identity for which a function has no key', function ()
    local each, port = server({ ciphers = PLAIN, psk = function (_, _, done) done(nil) end })
    sClient(port):waitFor('SSL alert number 115')
    assert.equal('EPSKIDENTITY', ends.clientErrorOf(each))
  end)

  -- A record under another key is one that anybody may have forged: it is dropped, and no alert is sent.
  for claim, row in pairs({
    ['waits in vain for the Finished of a wrong key'] = { WRONG, {}, 'EPSKKEY' },
    ['treats an unknown identity like a wrong key if told to'] = {
      STRANGER, { hideUnknownIdentity = true }, 'EPSKIDENTITY',
    },
  }) do
    it(claim, function ()
      local each, port = server(helper.merge({ ciphers = PLAIN, handshakeTimeout = DEADLINE }, row[2]))
      local peer = sClient(port, row[1])
      assert.equal(row[3], ends.clientErrorOf(each))
      assert.is_nil(each.failures[1][2]:find('alert'))
      assert.is_nil(peer.output:find('alert'))
      assert.equal(0, each:stats().sessions)
    end)
  end

  it('has no suite for a client without a key', function ()
    local each, port = server()
    peers.sClient(port):waitFor('alert handshake failure')
    assert.equal('ENOCIPHER', ends.clientErrorOf(each))
  end)

  it('has a certificate as well for whoever has no key', function ()
    local identity = pki.identity('server')
    local _, port = server({ cert = identity.cert, key = identity.key })
    local withKey = peers.sClient(port, peers.sClientPsk(PSK, 'ECDHE-PSK-CHACHA20-POLY1305'))
    withKey:write('hello\n')
    withKey:waitFor('Echo: hello')
    local without = peers.sClient(port, { '-verify_return_error' })
    without:write('hello\n')
    without:waitFor('Verify return code: 0 %(ok%)')
    without:waitFor('Echo: hello')
  end)
end)

describe('a client with a pre-shared key, to openssl s_server,', function ()
  for _, suite in ipairs(SUITES) do
    it('speaks ' .. suite, function ()
      local peer, port = sServer(suite)
      local session = ends.opened(connect(port, { ciphers = relaxed(suite) }))
      session:send('hello\n')
      peer:waitFor('\nhello\n')
      assert.equal(suite, session:getCipher().name)
      assert.equal('dev-1', session:getPskIdentity())
    end)
  end

  it('has a suite with forward secrecy by default', function ()
    local peer, port = sServer('ALL:PSK')
    local session = ends.opened(connect(port))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    assert.equal('ECDHE-PSK-CHACHA20-POLY1305', session:getCipher().name)
  end)

  it('gives its identity', function ()
    local peer, port = sServer()
    ends.opened(connect(port, { ciphers = PLAIN, psk = STRANGER }))
    peer:waitFor("client identity not what we expected %(got 'dev%-2' expected 'dev%-1'%)")
  end)

  for claim, row in pairs({
    ['tells a function the hint'] = { 'who are you', 'who are you' },
    ['tells a function that there is no hint'] = {},
  }) do
    it(claim .. ', and it may take its time', function ()
      local peer, port = sServer(PLAIN, row[1])
      local asked
      local session = connect(port, {
        ciphers = PLAIN,
        psk = function (hint, session, done)
          asked = { hint = hint, session = session }
          helper.after(20, function () done(PSK) end)
        end,
      })
      ends.opened(session):send('hello\n')
      peer:waitFor('\nhello\n')
      assert.equal(row[2], asked.hint)
      assert.equal(session, asked.session)
    end)
  end

  it('has the key that a function chooses by the hint', function ()
    local peer, port = sServer(PLAIN, 'the second')
    local keys = { ['the first'] = WRONG, ['the second'] = PSK }
    local session = connect(port, { ciphers = PLAIN, psk = function (hint) return keys[hint] end })
    ends.opened(session):send('hello\n')
    peer:waitFor('\nhello\n')
    assert.equal('dev-1', session:getPskIdentity())
  end)

  it('goes no further where a function has no key', function ()
    local peer, port = sServer()
    local session = connect(port, { ciphers = PLAIN, psk = function () return nil end })
    assert.equal('EPSKIDENTITY', ends.failureOf(session))
    peer:waitFor('SSL alert number 115')
  end)

  it('waits in vain for the Finished that answers a wrong key', function ()
    local _, port = sServer()
    local session = connect(port, { ciphers = PLAIN, psk = WRONG, handshakeTimeout = DEADLINE })
    assert.equal('EPSKKEY', ends.failureOf(session))
    assert.match("'dev%-1'", session.seen[1][2])
    assert.same({ 'close', 'timeout' }, session.seen[2])
  end)

  it('hears that a server has no keys', function ()
    local peer, port = peers.sServer()
    local session = connect(port, { ciphers = PLAIN })
    assert.equal('ENOCIPHER', ends.failureOf(session))
    assert.match('%(received alert 40, ', session.seen[1][2])
    peer:waitFor('no shared cipher')
  end)
end)

describe('a server with pre-shared keys, to gnutls-cli,', function ()
  -- It sleeps for 50 ms at every turn: what is sent to it twice makes it slower still.
  local PATIENT = { retransmitTimeout = 500 }

  for _, suite in ipairs({ 'PSK-AES128-GCM-SHA256', 'PSK-CHACHA20-POLY1305', 'PSK-AES128-CCM8' }) do
    it('speaks ' .. suite, function ()
      local session
      local _, port = server(
        helper.merge(PATIENT, { ciphers = relaxed(suite), pskIdentityHint = 'who are you' }),
        function (each) session = each end)
      local peer = gnutlsCli(port, PSK, suite)
      peer:waitFor('Handshake was completed')
      peer:write('hello\n')
      peer:waitFor('\nEcho: hello')
      peer:waitFor("PSK authentication%. PSK hint 'who are you'")
      peer:waitFor("PSK authentication%. Connected as 'dev%-1'")
      assert.equal(suite, session:getCipher().name)
    end)
  end

  -- What is sent to it after that it does not live to see.
  for _, suite in ipairs({ 'ECDHE-PSK-CHACHA20-POLY1305', 'DHE-PSK-AES128-GCM-SHA256' }) do
    it('completes a handshake with ' .. suite, function ()
      local session
      local _, port = server(PATIENT, function (each) session = each end)
      gnutlsCli(port, PSK, suite)
      helper.runUntil(function () return session end)
      assert.equal(suite, session:getCipher().name)
      assert.equal('dev-1', session:getPskIdentity())
    end)
  end

  it('waits in vain for the Finished of a wrong key', function ()
    local each, port = server(helper.merge(PATIENT, { ciphers = PLAIN, handshakeTimeout = 2 * DEADLINE }))
    gnutlsCli(port, WRONG)
    assert.equal('EPSKKEY', ends.clientErrorOf(each))
  end)

  it('refuses an unknown identity and says so', function ()
    local each, port = server({ ciphers = PLAIN })
    gnutlsCli(port, STRANGER):waitFor('Received alert %[115%]')
    assert.equal('EPSKIDENTITY', ends.clientErrorOf(each))
  end)
end)

describe('a client with a pre-shared key, to gnutls-serv,', function ()
  for _, suite in ipairs(SUITES) do
    it('speaks ' .. suite, function ()
      local _, port = gnutlsServ(suite)
      local session = ends.opened(connect(port, { ciphers = relaxed(suite) }))
      assert.equal('hello\n', ends.asked(session, 'hello\n'))
      assert.equal(suite, session:getCipher().name)
    end)
  end

  it('tells a function the hint', function ()
    local _, port = gnutlsServ(PLAIN, 'who are you')
    local hint
    local session = ends.opened(connect(port, {
      ciphers = PLAIN,
      psk = function (given, _, done)
        hint = given
        done(PSK)
      end,
    }))
    assert.equal('hello\n', ends.asked(session, 'hello\n'))
    assert.equal('who are you', hint)
  end)

  -- To GnuTLS an unknown identity is one with a key that nobody knows.
  for claim, psk in pairs({ ['a wrong key'] = WRONG, ['an unknown identity'] = STRANGER }) do
    it('waits in vain for the Finished that answers ' .. claim, function ()
      local peer, port = gnutlsServ()
      assert.equal('EPSKKEY', ends.failureOf(connect(port, {
        ciphers = PLAIN, psk = psk, handshakeTimeout = DEADLINE,
      })))
      peer:waitFor('invalid decryption')
    end)
  end
end)

describe('a pre-shared key', function ()
  for claim, psk in pairs({
    ['of one byte'] = { identity = 'dev-1', key = '\255' },
    ['of 64 bytes'] = { identity = 'dev-1', key = ('\0\255'):rep(32) },
    ['with an identity of 128 bytes'] = { identity = ('i'):rep(128), key = PSK.key },
    ['with an identity in UTF-8'] = { identity = 'Gerät', key = PSK.key },
  }) do
    it(claim .. ' is understood by openssl, both ways', function ()
      local _, port = server({ ciphers = PLAIN, psk = { [psk.identity] = psk.key } })
      local client = sClient(port, psk)
      client:write('hello\n')
      client:waitFor('Echo: hello')
      local peer, peerPort = peers.sServer(peers.sServerPsk(psk, PLAIN))
      ends.opened(connect(peerPort, { ciphers = PLAIN, psk = psk })):send('hello\n')
      peer:waitFor('\nhello\n')
      assert.is_nil(peer.output:find('PSK warning'))
    end)
  end
end)
