-- What the two ends agree on beside a cipher suite.

local dtls = require('dtls')
local helper = require('spec.helper')

-- How a handshake ends that fails: the names of the errors at the client and at the server.
local function failures(serverOptions, clientOptions)
  local server, port = helper.echoServer(serverOptions)
  local refused = helper.record(server, 'clientError')
  local session = helper.connect(port, clientOptions)
  local seen = helper.record(session, 'error')
  helper.runUntil(function () return seen[1] and refused[1] end)
  helper.finish(server)
  return seen[1][3], refused[1][3]
end

-- What `fn` raises, which must be at the line of the call in it.
local function raised(fn)
  local ok, err = pcall(fn)
  assert.is_false(ok, 'nothing was raised')
  local file, line, sentence = tostring(err):match('^(.-):(%d+): (.*)$')
  local where = debug.getinfo(fn, 'S')
  assert.equal(where.short_src, file)
  assert.truthy(tonumber(line) >= where.linedefined and tonumber(line) <= where.lastlinedefined)
  return sentence
end

describe('ALPN', function ()
  it('agrees on the first of the server\'s own protocols that the client offers', function ()
    local pair = helper.pair({ ALPNProtocols = { 'coap', 'mqtt' } }, { ALPNProtocols = { 'mqtt', 'coap' } })
    assert.equal('coap', pair.client.alpnProtocol)
    assert.equal('coap', pair.peer.alpnProtocol)
    helper.finish(pair.client, pair.server)
  end)

  it('takes one protocol as a string', function ()
    local pair = helper.pair({ ALPNProtocols = 'coap' }, { ALPNProtocols = 'coap' })
    assert.equal('coap', pair.client.alpnProtocol)
    helper.finish(pair.client, pair.server)
  end)

  it('goes on without a protocol where one end has none', function ()
    for _, options in ipairs({ { { ALPNProtocols = 'coap' } }, { nil, { ALPNProtocols = 'coap' } } }) do
      local pair = helper.pair(options[1], options[2])
      assert.is_nil(pair.client.alpnProtocol)
      assert.is_nil(pair.peer.alpnProtocol)
      helper.finish(pair.client, pair.server)
    end
  end)

  it('fails with EALPN at both ends where they have no protocol in common', function ()
    local client, server = failures({ ALPNProtocols = 'coap' }, { ALPNProtocols = { 'mqtt', 'http/1.1' } })
    assert.equal('EALPN', client)
    assert.equal('EALPN', server)
  end)

  for _, row in ipairs({
    { 5, 'a string or a list of strings, got 5' },
    { '', 'a string or a list of strings, got an empty string' },
    { { 'a', '' }, 'names of 1 to 255 bytes, got one of 0' },
    { { ('x'):rep(256) }, 'names of 1 to 255 bytes, got one of 256' },
  }) do
    it('refuses a list of ' .. row[2], function ()
      local sentence = raised(function () dtls.createContext({ ALPNProtocols = row[1] }) end)
      assert.matches('^dtls%.createContext: options%.ALPNProtocols must', sentence)
      assert.truthy(sentence:find(row[2], 1, true), sentence)
    end)
  end
end)

local LABEL = 'EXPERIMENTAL spec'

-- A call that fails: `nil, err, name`.
local function fails(expected, result, err, name)
  assert.is_nil(result)
  assert.equal(expected, name)
  assert.matches('^' .. expected .. ': %S', err)
end

describe('session:exportKeyingMaterial', function ()
  it('gives both ends the same, and something else for another label or context', function ()
    local pair = helper.pair()
    local seen = {}
    local cases = { { LABEL }, { LABEL, '' }, { LABEL, 'x' }, { LABEL, '\0' }, { LABEL .. '.' } }
    for _, arguments in ipairs(cases) do
      local material = pair.client:exportKeyingMaterial(40, unpack(arguments))
      assert.equal(40, #material)
      assert.equal(material, pair.peer:exportKeyingMaterial(40, unpack(arguments)))
      assert.is_nil(seen[material])
      seen[material] = true
    end
    assert.equal(65535, #pair.client:exportKeyingMaterial(65535, LABEL, ('x'):rep(65535)))
    helper.finish(pair.client, pair.server)
  end)

  it('fails with ENOTCONN before the handshake is complete and from close on', function ()
    local session = helper.connect(9)
    fails('ENOTCONN', session:exportKeyingMaterial(32, LABEL))
    helper.finish(session)
    local pair = helper.pair()
    pair.client:close()
    fails('ENOTCONN', pair.client:exportKeyingMaterial(32, LABEL))
    helper.finish(pair.server)
    fails('ENOTCONN', pair.client:exportKeyingMaterial(32, LABEL))
    fails('ENOTCONN', pair.peer:exportKeyingMaterial(32, LABEL))
  end)

  it('raises at the caller what cannot be, and the session goes on', function ()
    local pair = helper.pair()
    for _, row in ipairs({
      { 'length must be an integer from 1 to 65535, got nil' },
      { 'length must be an integer from 1 to 65535, got string', '32', LABEL },
      { 'length must be an integer from 1 to 65535, got 0', 0, LABEL },
      { 'length must be an integer from 1 to 65535, got -1', -1, LABEL },
      { 'length must be an integer from 1 to 65535, got 1.5', 1.5, LABEL },
      { 'length must be an integer from 1 to 65535, got 65536', 65536, LABEL },
      { 'length must be an integer from 1 to 65535, got ' .. tostring(0 / 0), 0 / 0, LABEL },
      { 'length must be an integer from 1 to 65535, got inf', math.huge, LABEL },
      { 'label must be a string that is not empty, got nil', 32 },
      { 'label must be a string that is not empty, got 7', 32, 7 },
      { 'label must be a string that is not empty, got an empty string', 32, '' },
      { 'context must be a string, got 7', 32, LABEL, 7 },
      { 'context must be a string, got boolean', 32, LABEL, false },
      { 'the label must be 1 to 249 characters of ASCII', 32, ('x'):rep(250) },
      { 'the label must be 1 to 249 characters of ASCII', 32, '\255' },
      { 'the context must be at most 65535 bytes', 32, LABEL, ('x'):rep(65536) },
      { 'OpenSSL exports nothing by that label and context: tls illegal exporter label',
        32, 'master secret' },
    }) do
      local sentence = raised(function () return (pair.client:exportKeyingMaterial(unpack(row, 2, 4))) end)
      assert.equal('session:exportKeyingMaterial: ' .. row[1], sentence)
    end
    local heard = helper.record(pair.peer, 'message')
    pair.client:send('still here')
    helper.runUntil(function () return heard[1] end)
    helper.finish(pair.client, pair.server)
  end)

  it('does nothing worse than to raise or to fail, whatever it is given and whenever', function ()
    local values = {
      32, -1, 1.5, 0 / 0, '', LABEL, 'key expansion', ('x'):rep(100000), '\255\0', false, {},
    }
    local contexts = { '', ('x'):rep(100000), false }
    local function tryAll(session)
      local exported = 0
      for first = 0, #values do
        for second = 0, #values do
          for third = 0, #contexts do
            local called, result, err, name = pcall(session.exportKeyingMaterial, session,
              values[first], values[second], contexts[third])
            if not called then
              assert.matches('session:exportKeyingMaterial: ', result)
            elseif result then
              assert.equal(values[first], #result)
              exported = exported + 1
            else
              assert.matches('^' .. name .. ': ', err)
            end
          end
        end
      end
      return exported
    end
    local early, pair = helper.connect(9), helper.pair()
    assert.equal(0, tryAll(early))
    -- 32 bytes by LABEL, with no context and with the empty one.
    assert.equal(2, tryAll(pair.client))
    -- The loop has stood still so long.
    helper.uv.update_time()
    helper.finish(early, pair.client, pair.server)
    assert.equal(0, tryAll(pair.client))
  end)

  it('raises even before the handshake what can never be', function ()
    local session = helper.connect(9)
    assert.equal('session:exportKeyingMaterial: label must be a string that is not empty, got table',
      raised(function () return (session:exportKeyingMaterial(32, {})) end))
    helper.finish(session)
  end)
end)

describe('session:usesExtendedMasterSecret', function ()
  it('is true at both ends of this library, and nil before the handshake', function ()
    local session = helper.connect(9)
    assert.is_nil(session:usesExtendedMasterSecret())
    helper.finish(session)
    local pair = helper.pair()
    assert.is_true(pair.client:usesExtendedMasterSecret())
    assert.is_true(pair.peer:usesExtendedMasterSecret())
    helper.finish(pair.client, pair.server)
  end)
end)

describe('SRTP', function ()
  local FIRST, GCM = 'SRTP_AES128_CM_SHA1_80', 'SRTP_AEAD_AES_256_GCM'

  it('gets the same keys at both ends, each in its place', function ()
    local pair = helper.pair({ srtpProfiles = { GCM, FIRST } }, { srtpProfiles = { FIRST, GCM } })
    assert.equal(GCM, pair.client.srtpProfile)
    assert.equal(GCM, pair.peer.srtpProfile)
    local client, server = pair.client:getSrtpKeys(), pair.peer:getSrtpKeys()
    for _, name in ipairs({ 'profile', 'clientKey', 'clientSalt', 'serverKey', 'serverSalt' }) do
      assert.equal(client[name], server[name])
    end
    assert.equal(pair.client:exportKeyingMaterial(88, 'EXTRACTOR-dtls_srtp'),
      client.clientKey .. client.serverKey .. client.clientSalt .. client.serverSalt)
    assert.same({ client.clientKey, client.clientSalt }, { client.localKey, client.localSalt })
    assert.same({ client.serverKey, client.serverSalt }, { client.remoteKey, client.remoteSalt })
    assert.same({ client.remoteKey, client.remoteSalt }, { server.localKey, server.localSalt })
    assert.same({ client.localKey, client.localSalt }, { server.remoteKey, server.remoteSalt })
    helper.finish(pair.client, pair.server)
  end)

  it('fails with ENOSRTP where no profile was agreed on', function ()
    local pair = helper.pair({ srtpProfiles = FIRST })
    assert.is_nil(pair.client.srtpProfile)
    fails('ENOSRTP', pair.client:getSrtpKeys())
    fails('ENOSRTP', pair.peer:getSrtpKeys())
    helper.finish(pair.client, pair.server)
  end)

  it('fails with ENOTCONN before the handshake is complete and from close on', function ()
    local session = helper.connect(9, { srtpProfiles = FIRST })
    fails('ENOTCONN', session:getSrtpKeys())
    helper.finish(session)
    local pair = helper.pair({ srtpProfiles = FIRST }, { srtpProfiles = FIRST })
    pair.client:close()
    fails('ENOTCONN', pair.client:getSrtpKeys())
    helper.finish(pair.server)
    fails('ENOTCONN', pair.client:getSrtpKeys())
    fails('ENOTCONN', pair.peer:getSrtpKeys())
  end)

  it('refuses a profile that does not exist with a list of those that do', function ()
    for _, name in ipairs({ 'SRTP_NULL_SHA1_80', FIRST .. ':' .. GCM, '\255\0' }) do
      local sentence = raised(function () dtls.createContext({ srtpProfiles = { FIRST, name } }) end)
      local start = 'dtls.createContext: options.srtpProfiles must be among ' .. FIRST .. ', SRTP_AES128'
      assert.equal(start, sentence:sub(1, #start))
    end
  end)
end)

describe('maxFragmentLength', function ()
  it('makes the messages of both ends fit, and refuses others with EMSGSIZE', function ()
    local pair = helper.pair(nil, { maxFragmentLength = 512 })
    for _, way in ipairs({ { pair.client, pair.peer }, { pair.peer, pair.client } }) do
      local from, to = unpack(way)
      local heard = helper.record(to, 'message')
      assert.equal(512, from:maxPayload())
      fails('EMSGSIZE', from:send(('x'):rep(513)))
      assert.is_true(from:send(('x'):rep(512)))
      helper.runUntil(function () return heard[1] end)
      assert.equal(512, #heard[1][2])
    end
    helper.finish(pair.client, pair.server)
  end)

  it('refuses what cannot be asked for', function ()
    local sentence = raised(function () dtls.createContext({ maxFragmentLength = 500 }) end)
    assert.matches('options%.maxFragmentLength must be 512, 1024, 2048 or 4096 bytes, got 500$', sentence)
  end)
end)
