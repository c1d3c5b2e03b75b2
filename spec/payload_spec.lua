-- What a message may hold. That it is exact in every cipher suite is for tests/suite/payload.rs to show.

local dtls = require('dtls')
local helper = require('spec.helper')

-- A pair whose datagrams pass a relay that notes how long they are.
local function measured(serverOptions, clientOptions)
  local relay
  local lengths = {}
  local pair = helper.pair(serverOptions, clientOptions, function (port)
    relay = helper.relay(port, function (data, fromClient, _, send)
      if fromClient then lengths[#lengths + 1] = #data end
      send(data)
    end)
    return relay.port
  end)
  function pair.finish()
    local closed
    pair.client:close(function () closed = true end)
    helper.runUntil(function () return closed and pair.server:stats().sessions == 0 end)
    relay.close()
    helper.finish(pair.server)
  end
  function pair.lengthOf(message)
    local before = #lengths
    assert(pair.client:send(message))
    helper.runUntil(function () return #lengths > before end)
    return lengths[#lengths]
  end
  pair.lengths = lengths
  return pair
end

local function fails(expected, sentence, result, err, name)
  assert.is_nil(result)
  assert.equal(expected, name)
  assert.equal(expected .. ': ' .. sentence, err)
end

describe('maxPayload', function ()
  local psk = { identity = 'device 1', key = ('k'):rep(16) }
  local ccm8 = { ciphers = 'ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0' }
  local cbc = { ciphers = 'ECDHE-ECDSA-AES128-SHA256' }
  for _, row in ipairs({
    { 'AES-GCM', {}, {} },
    { 'ChaCha20-Poly1305', { ciphers = 'ECDHE-ECDSA-CHACHA20-POLY1305' }, {} },
    { 'CCM_8', ccm8, ccm8 },
    { 'CBC', cbc, cbc },
    { 'a pre-shared key', { psk = { ['device 1'] = psk.key } },
      { psk = psk, ciphers = 'PSK-CHACHA20-POLY1305' } },
  }) do
    local suite, ofServer, ofClient = unpack(row)
    it('is as many bytes as fill the mtu, and one more is too many, with ' .. suite, function ()
      local pair = measured(ofServer, ofClient)
      for _, mtu in ipairs({ 1200, 700, 3000 }) do
        if mtu ~= 1200 then assert.is_true(pair.client:setMtu(mtu)) end
        local payload = pair.client:maxPayload()
        assert.truthy(pair.lengthOf(('x'):rep(payload)) <= mtu)
        assert.truthy(pair.lengthOf(('x'):rep(payload + 1)) > mtu)
      end
      pair.finish()
    end)
  end
end)

describe('setMtu', function ()
  it('holds for the handshake that is to come, and for messages then', function ()
    local relay
    local server, port = helper.echoServer({ ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256' })
    relay = helper.relay(port, function (data, fromClient, _, send)
      if fromClient then assert.truthy(#data <= 256) end
      send(data)
    end)
    for _, host in ipairs({ '127.0.0.1', 'localhost' }) do
      -- A hello that does not fit.
      local session = helper.connect(relay.port, { host = host, ciphers = 'ALL' })
      assert.is_true(session:setMtu(256))
      helper.runUntil(function () return session:getProtocol() end)
      assert.equal(256 - 37, session:maxPayload())
      assert.is_true(session:setMtu(65507))
      assert.equal(16384, session:maxPayload())
      local closed
      session:close(function () closed = true end)
      helper.runUntil(function () return closed end)
    end
    relay.close()
    helper.finish(server)
  end)

  it('is refused what no path has, and what OpenSSL cannot make', function ()
    local session = helper.connect(9)
    for _, row in ipairs({
      { 255, '255' }, { 65508, '65508' }, { 1200.5, '1200.5' }, { '1200', 'string' }, { nil, 'nil' },
      { 0 / 0, tostring(0 / 0) }, { -1, '-1' },
    }) do
      local bytes, got = row[1], row[2]
      local ok, err = pcall(session.setMtu, session, bytes)
      assert.is_false(ok)
      assert.matches('session:setMtu: bytes must be an integer from 256 to 65507, got ' .. got, err, 1, true)
    end
    helper.finish(session)
  end)

  it('fails with ENOTCONN after the end', function ()
    local session = helper.connect(9)
    session:destroy()
    fails('ENOTCONN', 'the session is closed', session:setMtu(1200))
    helper.run()
  end)
end)

describe('oversize', function ()
  it("'send', the default, sends whatever fits a record", function ()
    local pair = helper.pair()
    local heard = helper.record(pair.peer, 'message')
    pair.client:send(('x'):rep(16384))
    helper.runUntil(function () return #heard == 1 end)
    assert.equal(16384, #heard[1][2])
    helper.finish(pair.server)
  end)

  it("'error' refuses a message over maxPayload, on either end, and the session goes on", function ()
    local pair = helper.pair({ oversize = 'error' }, { oversize = 'error' })
    for from, to in pairs({ [pair.client] = pair.peer, [pair.peer] = pair.client }) do
      local heard = helper.record(to, 'message')
      local failure
      fails('EMSGSIZE',
        "a message of 1164 bytes makes a datagram of more than 1200, the path's MTU: 1163 is the most",
        from:send(('x'):rep(1164), function (...) failure = { ... } end))
      from:setMtu(9000)
      assert(from:send(('x'):rep(1164)))
      fails('EMSGSIZE', 'a message of 16385 bytes does not fit a DTLS record of at most 16384',
        from:send(('x'):rep(16385)))
      helper.runUntil(function () return #heard == 1 and failure end)
      assert.equal('EMSGSIZE', failure[2])
    end
    helper.finish(pair.server)
  end)

  it('of an endpoint is that of the sessions which it begins, unless they have their own', function ()
    local server, port = helper.echoServer()
    local one = dtls.createEndpoint({ ca = helper.localhost().cert, oversize = 'error' })
    for wanted, sent in pairs({ error = false, send = true }) do
      local session = one:connect({ port = port, oversize = wanted == 'send' and 'send' or nil })
      helper.runUntil(function () return session:getProtocol() end)
      assert.equal(sent, session:send(('x'):rep(1164)) ~= nil)
      session:close()
      helper.runUntil(function () return one:stats().sessions == 0 end)
    end
    helper.finish(one, server)
  end)
end)
