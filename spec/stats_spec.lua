--- What can be seen from outside: `endpoint:stats()`, `session:stats()` and `endpoint:sessions()`.

local dtls = require('dtls')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local strangers = require('spec.support.strangers')
local uv = helper.uv

-- A relay that counts what passes it, and holds every datagram back for a while.
local function countingRelay(port, delay)
  local seen = { toServer = 0, bytesToServer = 0, toClient = 0, bytesToClient = 0 }
  local relay = helper.relay(port, function (data, fromClient, _, send)
    local way = fromClient and 'Server' or 'Client'
    seen['to' .. way] = seen['to' .. way] + 1
    seen['bytesTo' .. way] = seen['bytesTo' .. way] + #data
    if delay then helper.after(delay, function () send(data) end) else send(data) end
  end)
  return relay, seen
end

-- Fails where a counter of `before` is larger than in `after`, or is missing there.
local function assertGrown(before, after)
  for name, value in pairs(before) do
    if type(value) == 'table' then
      assertGrown(value, after[name])
    elseif name ~= 'sessions' and name ~= 'roundTrip' then
      assert.is_true(after[name] >= value, name)
    end
  end
end

describe('session:stats', function ()
  it('counts messages and their bytes, and keeps them when the session ends', function ()
    local pair = helper.pair()
    pair.peer:on('message', function (data) pair.peer:send(data) end)
    local heard = helper.record(pair.client, 'message')
    pair.client:send('one')
    pair.client:send('twice')
    helper.runUntil(function () return #heard == 2 end)
    local function messages(stats)
      return { stats.messagesIn, stats.messageBytesIn, stats.messagesOut, stats.messageBytesOut }
    end
    assert.same({ 2, 8, 2, 8 }, messages(pair.peer:stats()))
    assert.same({ 2, 8, 2, 8 }, messages(pair.client:stats()))
    local before = pair.peer:stats()
    helper.finish(pair.client, pair.server)
    assert.same({ 2, 8, 2, 8 }, messages(pair.peer:stats()))
    assert.same({ 2, 8, 2, 8 }, messages(pair.server:stats()))
    assertGrown(before, pair.peer:stats())
  end)

  it('is all zeros before there is a handshake', function ()
    local session = dtls.connect({ host = 'localhost', port = 9, handshakeTimeout = 100 })
    session:on('error', function () end)
    local stats = session:stats()
    assert.same({}, stats.drops)
    stats.drops = nil
    for name, value in pairs(stats) do assert.equal(0, value, name) end
    session:destroy()
    helper.run()
  end)

  it('measures the round trip of both ends', function ()
    local relay
    local pair = helper.pair({ retransmitTimeout = 1000 }, { retransmitTimeout = 1000 }, function (port)
      relay = countingRelay(port, 40)
      return relay.port
    end)
    helper.runUntil(function () return pair.peer end)
    for _, session in ipairs({ pair.client, pair.peer }) do
      local stats = session:stats()
      assert.is_true(stats.roundTrip >= 78 and stats.roundTrip < 400 * helper.slowness, stats.roundTrip)
      assert.equal(0, stats.retransmissions)
    end
    local stats = pair.server:stats()
    assert.same({ 1, pair.peer:stats().roundTrip }, { stats.roundTrips, stats.roundTripSum })
    relay.close()
    pair.client:destroy()
    pair.peer:destroy()
    helper.finish(pair.server)
  end)

  it('measures none by a flight that was sent twice', function ()
    local relay, held
    local pair = helper.pair({}, {}, function (port)
      relay = helper.relay(port, function (data, fromClient, number, send)
        -- What the server says behind its HelloVerifyRequest is lost the first time.
        if not fromClient and number > 1 then
          held = held or uv.now()
          if uv.now() - held < 50 then return end
        end
        send(data)
      end)
      return relay.port
    end)
    local stats = pair.peer:stats()
    assert.is_true(stats.retransmissions >= 1)
    assert.is_nil(stats.roundTrip)
    assert.equal(stats.retransmissions, pair.server:stats().retransmissions)
    assert.equal(0, pair.server:stats().roundTrips)
    relay.close()
    pair.client:destroy()
    pair.peer:destroy()
    helper.finish(pair.server)
  end)

  it("counts what is dropped of the peer's address, by cause", function ()
    local relay
    local pair = helper.pair({}, {}, function (port)
      relay = countingRelay(port)
      return relay.port
    end)
    relay.inject('junk', true)
    relay.inject('junk', true)
    relay.inject('\23\254\253\0\1\0\0\0\0\0\9\0\4junk', true)
    helper.runUntil(function () return pair.peer:stats().drops.short end)
    assert.same({ malformed = 2, short = 1 }, pair.peer:stats().drops)
    assert.same({ malformed = 2, short = 1 }, pair.server:stats().drops)
    relay.close()
    pair.client:destroy()
    pair.peer:destroy()
    helper.finish(pair.server)
  end)
end)

describe('endpoint:stats', function ()
  it('counts the datagrams and bytes that the network sees', function ()
    local relay, seen
    local pair = helper.pair({}, {}, function (port)
      relay, seen = countingRelay(port)
      return relay.port
    end)
    pair.closed = helper.record(pair.client, 'close')
    pair.client:close()
    helper.runUntil(function () return #pair.closed == 1 end)
    local stats = pair.server:stats()
    assert.same({ seen.toServer, seen.bytesToServer, seen.toClient, seen.bytesToClient },
      { stats.datagramsIn, stats.bytesIn, stats.datagramsOut, stats.bytesOut })
    relay.close()
    helper.finish(pair.server)
  end)

  it('tells first hellos from those whose cookie is not accepted', function ()
    local server, port = helper.echoServer()
    local stranger = uv.new_udp()
    local random = ('r'):rep(32)
    for _, cookie in ipairs({ '', '', ('c'):rep(32) }) do
      stranger:try_send(hello.datagram({ random = random, cookie = cookie }), '127.0.0.1', port)
    end
    helper.runUntil(function () return server:stats().datagramsIn == 3 end)
    local stats = server:stats()
    assert.same({ 3, 1, 0 }, { stats.challenges, stats.stale, stats.admitted })
    helper.finish(stranger, server)
  end)

  it('counts every handshake once, by how it came out', function ()
    local server, port = helper.echoServer({ handshakeTimeout = 150 })
    server:on('clientError', function () end)
    -- One that is completed, one that is refused by its client, one that never goes on.
    local first = helper.connect(port)
    helper.runUntil(function () return server:stats().connected == 1 end)
    local other = helper.connect(port, { ca = helper.identity('other').cert })
    other:on('error', function () end)
    helper.runUntil(function () return server:stats().failed == 1 end)
    local stranger = strangers.new():begin(port)
    helper.runUntil(function () return server:stats().admitted == 3 end)
    helper.runUntil(function () return server:stats().failed == 2 end)
    -- One that is refused.
    server:setLimits({ maxSessions = 1 })
    local late = helper.connect(port)
    late:on('error', function () end)
    helper.runUntil(function () return server:stats().refused > 0 end)
    late:destroy()
    local stats = server:stats()
    assert.same({ 3, 1, 2, 0, 0 },
      { stats.admitted, stats.connected, stats.failed, stats.abandoned, stats.started })
    assert.same({ ETIMEDOUT = 1, EUNKNOWNCA = 1 }, stats.failures)
    assert.same({ maxSessions = stats.refused }, stats.refusals)
    assert.equal(1, stats.sessions)
    helper.finish(stranger, first, server)
  end)

  it('counts a handshake that its peer gives up for a newer one', function ()
    local server, port = helper.echoServer({ handshakeTimeout = 200 })
    local failed = helper.record(server, 'clientError')
    local stranger = strangers.admitted(port)
    stranger.random = hello.randomBytes(32)
    stranger:begin(port)
    helper.runUntil(function () return #failed == 1 end)
    local stats = server:stats()
    assert.same({ 2, 1, 1, 0, 0 },
      { stats.admitted, stats.superseded, stats.failed, stats.abandoned, stats.connected })
    helper.finish(stranger, server)
  end)

  it('counts what this end begins and gives up', function ()
    local server, port = helper.echoServer()
    local endpoint = dtls.createEndpoint({ ca = helper.localhost().cert })
    local opened = endpoint:connect({ port = port })
    helper.runUntil(function () return endpoint:stats().connected == 1 end)
    -- Nobody answers there.
    local silent = uv.new_udp()
    assert(silent:bind('127.0.0.1', 0))
    local given = endpoint:connect({ port = silent:getsockname().port })
    given:close()
    local stats = endpoint:stats()
    assert.same({ 2, 1, 0, 1, 0 },
      { stats.started, stats.connected, stats.failed, stats.abandoned, stats.admitted })
    helper.finish(silent, opened, endpoint, server)
  end)

  it('has every counter from the start, as a copy, and none goes down', function ()
    local server, port = helper.echoServer()
    local before = server:stats()
    before.connected = 99
    before.drops.junk = 99
    assert.same({ 0, {} }, { server:stats().connected, server:stats().drops })
    before = server:stats()
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() end)
    local open = server:stats()
    assertGrown(before, open)
    helper.finish(client, server)
    local after = server:stats()
    assertGrown(open, after)
    for name in pairs(after) do assert.truthy(before[name], name) end
  end)

  it('is there before the endpoint is bound and after it is closed', function ()
    local server = dtls.createServer({ cert = helper.localhost().cert, key = helper.localhost().key })
    assert.equal(0, server:stats().datagramsIn)
    helper.finish(server)
    assert.equal(0, server:stats().sessions)
    assert.same({}, server:sessions())
  end)
end)

describe('the page of counters', function ()
  local page = helper.read('doc/counters.md')
  local ofEndpoint, ofSession, causes = page:match('## Of an endpoint(.*)## Of a session(.*)## Causes(.*)')

  it('names every counter', function ()
    local pair = helper.pair()
    local function check(text, stats)
      for name in pairs(stats) do assert.truthy(text:find('`' .. name .. '`', 1, true), name) end
    end
    check(ofEndpoint, pair.server:stats())
    check(ofSession, pair.client:stats())
    helper.finish(pair.client, pair.server)
  end)

  it('names every cause that the core drops a datagram for', function ()
    for name in helper.read('src/discard.rs'):gmatch('=> "(%l+)"') do
      assert.truthy(causes:find('| `' .. name .. '` |', 1, true), name)
    end
  end)
end)

describe('endpoint:sessions', function ()
  it('lists the established sessions, and may be walked while they are closed', function ()
    local server, port = helper.echoServer()
    for _ = 1, 5 do helper.connect(port) end
    local under = uv.new_udp()
    under:try_send(hello.datagram({ random = ('r'):rep(32) }), '127.0.0.1', port)
    helper.runUntil(function () return server:stats().connected == 5 end)
    local list = server:sessions()
    assert.equal(5, #list)
    for _, session in ipairs(list) do
      assert(session:send('for all'))
      session:close()
      session:close()
    end
    assert.equal(5, #list)
    assert.same({}, server:sessions())
    helper.runUntil(function () return server:stats().sessions == 0 end)
    helper.finish(under, server)
  end)

  it('lists none of those that the closing of the endpoint ends', function ()
    local server, port = helper.echoServer()
    local clients, listed = {}, {}
    for index = 1, 3 do clients[index] = helper.connect(port) end
    helper.runUntil(function () return #server:sessions() == 3 end)
    for _, session in ipairs(server:sessions()) do
      session:on('close', function () listed[#listed + 1] = #server:sessions() end)
    end
    helper.finish(server, unpack(clients))
    assert.same({ 0, 0, 0 }, listed)
  end)

  it('has no session whose handshake is not complete', function ()
    local server, port = helper.echoServer()
    local seen
    -- The server has a session as soon as the client asks this.
    local client = helper.connect(port, { rejectUnauthorized = true, verify = function ()
      seen = { server:stats().sessions, #server:sessions() }
      return true
    end })
    helper.runUntil(function () return client:getProtocol() end)
    assert.same({ 1, 0 }, seen)
    helper.runUntil(function () return #server:sessions() == 1 end)
    assert.equal(client:address().port, server:sessions()[1]:remoteAddress().port)
    helper.finish(client, server)
  end)
end)
