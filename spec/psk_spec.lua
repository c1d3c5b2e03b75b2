-- Pre-shared keys (RFC 4279): who has which, what is agreed on with them, and what cannot be.

local dtls = require('dtls')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local uv = helper.uv

local me = helper.localhost()
local KEY = 'a key of 16 byte'
local LAMP = { identity = 'lamp-7', key = KEY }

after_each(function () helper.run() end)
teardown(pki.remove)

-- A server of these options alone, and a client of these alone: they have nothing by default.
local function meet(serverOptions, clientOptions)
  local play = { server = dtls.createServer(serverOptions) }
  play.atServer = helper.record(play.server, 'clientError')
  play.server:on('connection', function (session) play.peer = session end)
  assert(play.server:listen(0, '127.0.0.1'))
  play.client = dtls.connect(helper.merge({
    port = play.server:address().port, retransmitTimeout = 50,
  }, clientOptions))
  play.atClient = helper.record(play.client, 'error')
  return play
end

local function connect(serverOptions, clientOptions)
  local play = meet(serverOptions, clientOptions)
  helper.runUntil(function ()
    return play.atClient[1] or play.atServer[1] or play.peer and play.client:getProtocol()
  end)
  assert.is_nil(play.atClient[1] and play.atClient[1][2])
  assert.is_nil(play.atServer[1] and play.atServer[1][2])
  return play
end

-- What both ends say of a handshake that fails: the client's error, the server's.
local function fail(serverOptions, clientOptions)
  local play = meet(helper.merge({ retransmitTimeout = 50 }, serverOptions), clientOptions)
  helper.runUntil(function () return play.atClient[1] and play.atServer[1] end)
  play.server:close()
  helper.run()
  return play.atClient[1][2], play.atServer[1][2]
end

local function finish(play)
  play.server:close()
  helper.run()
end

describe('a pre-shared key', function ()
  for _, row in ipairs({
    { 'a pair', LAMP },
    { 'a table of identities', { ['lamp-7'] = KEY, ['lamp-8'] = 'another key' } },
    { 'a hook', function (identity) return identity == 'lamp-7' and KEY or nil end },
  }) do
    it('is known to a server by ' .. row[1], function ()
      local play = connect({ psk = row[2] }, { psk = LAMP })
      assert.equal('lamp-7', play.client:getPskIdentity())
      assert.equal('lamp-7', play.peer:getPskIdentity())
      -- No certificate has been asked for: the key is the proof.
      for _, session in ipairs({ play.client, play.peer }) do
        assert.is_true(session.authorized)
        assert.is_nil(session.authorizationError)
        assert.is_nil(session:getPeerCertificate())
      end
      finish(play)
    end)
  end

  it('is chosen by a client\'s hook, which hears the hint', function ()
    for _, hint in ipairs({ 'which lamp?', '\255\1', 'none' }) do
      local heard
      local play = connect(
        { psk = LAMP, pskIdentityHint = hint ~= 'none' and hint or nil },
        { psk = function (...)
          heard = { (...) }
          return LAMP
        end })
      assert.same({ hint ~= 'none' and hint or nil }, heard)
      finish(play)
    end
  end)

  for _, row in ipairs({
    { 'a key with NUL and 255', 'lamp-7', '\0\255\0\1' .. ('\255'):rep(12) },
    { 'a key of one byte', 'lamp-7', 'k' },
    { 'a key of 512 bytes', 'lamp-7', ('k'):rep(511) .. '\0' },
    { 'an identity of 256 bytes', ('i'):rep(256), KEY },
    { 'an identity of any bytes but NUL', '\1\255\n %s"', KEY },
    { 'an empty identity', '', KEY },
  }) do
    it('may be ' .. row[1], function ()
      local identity, key = row[2], row[3]
      for _, server in ipairs({
        { [identity] = key }, function (asked) return asked == identity and key or nil end,
      }) do
        for _, client in ipairs({
          { identity = identity, key = key }, function () return { identity = identity, key = key } end,
        }) do
          local play = connect({ psk = server }, { psk = client })
          assert.equal(identity, play.peer:getPskIdentity())
          finish(play)
        end
      end
    end)
  end

  it('has no identity where a certificate was used', function ()
    local play = connect({ psk = LAMP, cert = me.cert, key = me.key }, { ca = me.cert })
    assert.is_nil(play.client:getPskIdentity())
    assert.is_nil(play.peer:getPskIdentity())
    finish(play)
  end)
end)

describe('the two ends of a pre-shared key', function ()
  local short = { handshakeTimeout = 600 }

  it('both conclude that the key is another where it is', function ()
    for _, key in ipairs({ 'a key of 16 bytes', KEY .. '\0', 'A key of 16 byte' }) do
      local client, server = fail(helper.merge({ psk = LAMP }, short),
        helper.merge({ psk = { identity = 'lamp-7', key = key } }, short))
      assert.matches("^EPSKKEY: .* 'lamp%-7' ", client)
      assert.matches("^EPSKKEY: .* 'lamp%-7' ", server)
    end
  end)

  it('both know that the identity is unknown, by alert 115', function ()
    for _, psk in ipairs({ { identity = 'x', key = KEY }, { x = KEY }, function () end }) do
      local client, server = fail({ psk = psk }, { psk = LAMP })
      assert.equal("EPSKIDENTITY: nobody here knows the PSK identity 'lamp-7' "
        .. '(sent alert 115, unknown PSK identity)', server)
      assert.equal('EPSKIDENTITY: the server does not know our PSK identity '
        .. '(received alert 115, unknown PSK identity)', client)
    end
  end)

  it('do not, to the client, where the server hides it: that is a wrong key to it', function ()
    for _, psk in ipairs({ { x = KEY }, function () end }) do
      local client, server = fail(helper.merge({ psk = psk, hideUnknownIdentity = true }, short),
        helper.merge({ psk = LAMP }, short))
      assert.matches('^EPSKKEY: ', client)
      assert.matches("^EPSKIDENTITY: nobody here knows the PSK identity 'lamp%-7'$", server)
    end
  end)

  it('have no suite in common where only one has a key', function ()
    local client, server = fail({ cert = me.cert, key = me.key }, { psk = LAMP })
    assert.matches('^ENOCIPHER: .*received alert 40', client)
    assert.matches('^ENOCIPHER: .*sent alert 40', server)
    client, server = fail({ psk = LAMP }, { ca = me.cert })
    assert.matches('^ENOCIPHER: .*received alert 40', client)
    assert.matches('^ENOCIPHER: .*sent alert 40', server)
  end)

  it('both end where a client\'s hook has no key for this server', function ()
    local client, server = fail({ psk = LAMP }, { psk = function () end })
    assert.matches('^EPSKIDENTITY: there is no PSK identity for this server %(sent alert 115', client)
    assert.matches('^EPSKIDENTITY: .*received alert 115', server)
  end)
end)

describe('certificates and pre-shared keys', function ()
  local both = { psk = LAMP, cert = me.cert, key = me.key }

  it('are served on one port', function ()
    local server = dtls.createServer(both)
    local identities = {}
    server:on('connection', function (session)
      identities[#identities + 1] = session:getPskIdentity() or 'none'
    end)
    assert(server:listen(0, '127.0.0.1'))
    local port = server:address().port
    local withKey = dtls.connect({ port = port, psk = LAMP })
    helper.runUntil(function () return withKey:getCipher() and #identities == 1 end)
    local withCa = dtls.connect({ port = port, ca = me.cert })
    helper.runUntil(function () return withCa:getCipher() and #identities == 2 end)
    assert.same({ 'lamp-7', 'none' }, identities)
    assert.matches('PSK', withKey:getCipher().name)
    assert.not_matches('PSK', withCa:getCipher().name)
    assert.is_true(withCa.authorized)
    server:close()
  end)

  it('are both offered by a client that has a key and a ca', function ()
    local client = { psk = LAMP, ca = me.cert }
    finish(connect({ cert = me.cert, key = me.key }, client))
    local play = connect({ psk = LAMP }, client)
    assert.equal('lamp-7', play.client:getPskIdentity())
    finish(play)
  end)

  it('ask no peer with a key for a certificate, nor the verify hook about it', function ()
    local play = connect(
      helper.merge(both, { requestCert = true, ca = me.cert, verify = function () error('asked') end }),
      { psk = LAMP, verify = nil })
    assert.equal('lamp-7', play.peer:getPskIdentity())
    finish(play)
  end)
end)

describe('the cipher suites of pre-shared keys', function ()
  -- What a client is served that has these alone.
  local function agreed(ciphers, server, client)
    local play = connect(helper.merge({ psk = LAMP }, server),
      helper.merge({ psk = LAMP, ciphers = ciphers }, client))
    local name = play.client:getCipher().name
    assert.equal(name, play.peer:getCipher().name)
    finish(play)
    return name
  end

  it('are forward-secret ones first', function ()
    assert.equal('ECDHE-PSK-CHACHA20-POLY1305', agreed(nil))
    assert.equal('DHE-PSK-AES128-GCM-SHA256', agreed('PSK+AESGCM'))
  end)

  it('are then the plain ones', function ()
    for _, name in ipairs({
      'DHE-PSK-AES256-GCM-SHA384', 'PSK-AES128-GCM-SHA256', 'PSK-AES256-GCM-SHA384',
      'PSK-CHACHA20-POLY1305', 'PSK-AES128-CCM',
    }) do
      assert.equal(name, agreed(name))
    end
  end)

  it('have no 64-bit tags, but with the profile iot on both ends', function ()
    local client, server = fail({ psk = LAMP }, { psk = LAMP, ciphers = 'PSK-AES128-CCM8:@SECLEVEL=0' })
    assert.matches('^ENOCIPHER', client)
    assert.matches('^ENOCIPHER', server)
    local iot = { profile = 'iot', retransmitTimeout = 50 }
    assert.equal('PSK-AES128-CCM8', agreed(nil, iot, iot))
    -- One end's profile decides nothing for the other.
    assert.equal('ECDHE-PSK-CHACHA20-POLY1305', agreed(nil, iot))
    assert.equal('ECDHE-PSK-CHACHA20-POLY1305', agreed(nil, nil, iot))
  end)
end)

describe("the profile 'iot'", function ()
  local iot = { profile = 'iot', psk = LAMP }

  -- When a client of these options retransmits for the first time, and when it gives up, in milliseconds.
  local function patience(options)
    local udp = uv.new_udp()
    assert(udp:bind('127.0.0.1', 0))
    local session = dtls.connect(helper.merge({ port = udp:getsockname().port }, options))
    local first, last = session._endpoint._deadlines:next() - uv.now(), session._dial.endsAt - uv.now()
    session:destroy()
    udp:close()
    helper.run()
    return first, last
  end

  local function near(expected, got) assert.is_true(math.abs(got - expected) < 300, got) end

  it('is patient: 9 s for the first retransmission, 120 s in all', function ()
    local first, last = patience(iot)
    near(9000, first)
    near(120000, last)
    first, last = patience({ psk = LAMP })
    near(1000, first)
    near(30000, last)
  end)

  it('leaves what is given as it is', function ()
    local first, last = patience(helper.merge(iot, { retransmitTimeout = 2000, handshakeTimeout = 5000 }))
    near(2000, first)
    near(5000, last)
  end)

  it('is so on a server too, and wherever its context goes', function ()
    local context = dtls.createContext(iot)
    local function timeout(options) return dtls.createServer(options)._terms.handshake_ms end
    assert.equal(120000, timeout(iot))
    assert.equal(120000, timeout({ context = context }))
    assert.equal(7000, timeout({ context = context, handshakeTimeout = 7000 }))
    assert.equal(30000, timeout({ psk = LAMP }))
    local _, last = patience({ context = context })
    near(120000, last)
  end)

  it('has handshake datagrams of 512 bytes at most', function ()
    local server, port = helper.echoServer({
      profile = 'iot', cert = pki.longChain().cert, key = pki.longChain().key, retransmitTimeout = 1000,
    })
    local largest = 0
    local relay = helper.relay(port, function (data, _, _, send)
      largest = math.max(largest, #data)
      send(data)
    end)
    local session = dtls.connect({
      profile = 'iot', port = relay.port, servername = 'localhost', ca = pki.longChain().ca,
    })
    helper.runUntil(function () return session:getProtocol() end)
    assert.is_true(largest > 400 and largest <= 512, largest)
    assert.is_true(session:maxPayload() < 512)
    session:destroy()
    server:close()
    relay.close()
  end)
end)

describe('what cannot be a pre-shared key', function ()
  local function refused(caller, options, sentence)
    local ok, err = pcall(function ()
      dtls[caller](options)
    end)
    assert.is_false(ok)
    assert.matches('^spec/psk_spec.lua:%d+: dtls%.' .. caller .. ': options%.' .. sentence, err)
  end

  for _, row in ipairs({
    { 'an empty table', {}, 'psk is empty: nobody could connect' },
    { 'a string', KEY, 'psk must be a table .* or a function, got string' },
    { 'a number', 42, 'psk must be a table .*, got 42' },
    { 'a list', { KEY }, 'psk must be a table .*, got table' },
    { 'a number as a key', { ['lamp-7'] = 42 }, 'psk must be a table .*, got table' },
    { 'an identity with NUL', { ['lamp\0'] = KEY }, 'psk has an identity that holds a NUL' },
    { 'an identity of 257 bytes', { [('i'):rep(257)] = KEY }, 'psk has an identity that is longer than 256' },
    { 'an empty key', { ['lamp-7'] = '' }, "psk has a key for the identity 'lamp%-7' that is empty" },
    { 'a key of 513 bytes', { ['lamp-7'] = ('k'):rep(513) },
      "psk has a key for the identity 'lamp%-7' that is longer than 512 bytes" },
    { 'a pair with NUL', { identity = 'lamp\0', key = KEY }, 'psk has an identity that holds a NUL' },
    -- The name of a lamp would be the key of the identity `identity`.
    { 'half a pair', { identity = 'lamp-7' }, 'psk must be a table .* and nothing else; or' },
    { 'a pair and more', { identity = 'lamp-7', key = KEY, hint = 'x' }, 'psk must be .* and nothing else' },
  }) do
    it('is ' .. row[1], function ()
      refused('createServer', { psk = row[2] }, row[3])
      refused('connect', { psk = row[2], port = 9 }, row[3])
    end)
  end

  it('is a server\'s table, for a client', function ()
    refused('connect', { psk = { ['lamp-7'] = KEY }, port = 9 },
      'psk must be { identity = …, key = … } or a function for a client')
  end)

  it('is never told', function ()
    local _, err = pcall(dtls.createServer, { psk = { ['lamp\0'] = 'the secret' } })
    assert.not_matches('the secret', err)
  end)

  it('is a hint that is empty or longer than 256 bytes', function ()
    local function hint(text) return { psk = LAMP, pskIdentityHint = text } end
    refused('createServer', hint(''), 'pskIdentityHint must be a string')
    refused('createServer', hint(('h'):rep(257)), 'pskIdentityHint must be at most 256 bytes')
    refused('createServer', hint('a\0b'), 'pskIdentityHint must be at most 256 bytes')
  end)
end)

