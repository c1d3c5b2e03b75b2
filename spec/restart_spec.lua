local ends = require('spec.support.ends')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local program = require('spec.support.program')

-- A session through a relay, which a spec may have speak in the client's name; `pair.hellos` are the
-- client's ClientHellos, `pair.ends` the events of the server's side in order.
local function relayed(serverOptions, clientOptions)
  local pair = { hellos = {}, ends = {}, served = {} }
  local server, port = ends.certified(serverOptions, function (session)
    pair.served[#pair.served + 1] = session
    pair.ends[#pair.ends + 1] = 'connection'
    session:on('close', function (reason) pair.ends[#pair.ends + 1] = reason end)
  end)
  pair.server = server
  pair.relay = helper.relay(port, function (data, fromClient, _, send)
    if fromClient and data:byte(14) == 1 and data:byte() == 22 then pair.hellos[#pair.hellos + 1] = data end
    if pair.onDatagram then pair.onDatagram(data, fromClient) end
    send(data)
  end)
  pair.client = ends.opened(ends.trusting(pair.relay.port, clientOptions))
  helper.runUntil(function () return pair.served[1] end)
  return pair
end

-- Closes everything, the relay behind the sessions.
local function finish(pair)
  pair.client:destroy()
  pair.relay.close()
end

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a peer that restarts', function ()
  it('after a kill -9 is connected at once, and its old session is closed as replaced', function ()
    local seen, sessions = {}, {}
    local server, port = ends.certified({}, function (session)
      sessions[#sessions + 1] = session
      seen[#seen + 1] = 'connection'
      session:on('close', function (reason) seen[#seen + 1] = reason end)
    end)
    local localPort = program.freePort()
    local first = program.script('child.lua', { 'client', port, localPort })
    first:waitFor('heard Echo: hello')
    first:stop()
    local second = program.script('child.lua', { 'client', port, localPort })
    second:waitFor('heard Echo: hello')
    assert.same({ 'connection', 'replaced', 'connection' }, seen)
    assert.equal(localPort, sessions[1]:remoteAddress().port)
    assert.equal(localPort, sessions[2]:remoteAddress().port)
    local stats = server:stats()
    assert.same({ 1, 1, 2 }, { stats.sessions, stats.replaced, stats.connected })
  end)

  it('needs no more round trips than a stranger: three, and two where it resumes its session', function ()
    local _, port = ends.certified()
    local turns, lastFromClient = 0, false
    local relay = helper.relay(port, function (data, fromClient, _, send)
      if fromClient and not lastFromClient then turns = turns + 1 end
      lastFromClient = fromClient
      send(data)
    end)
    local localPort = program.freePort()
    local counts, kept = {}, nil
    for _, resumes in ipairs({ false, false, true }) do
      turns, lastFromClient = 0, false
      local client = ends.trusting(relay.port, { localPort = localPort, session = resumes and kept or nil })
      ends.opened(client)
      counts[#counts + 1] = turns
      assert.equal(resumes, client:isSessionReused())
      kept = client:getSession()
      client:destroy()
      helper.uv.run('nowait')
    end
    relay.close()
    assert.same({ 3, 3, 2 }, counts)
  end)

  it('in the middle of its handshake is connected at once', function ()
    local _, port = ends.certified({ retransmitTimeout = 60000 })
    local localPort = program.freePort()
    local relay = helper.relay(port, function (data, fromClient, number, send)
      -- The first client's second flight never comes.
      if not fromClient or number ~= 3 then send(data) end
    end)
    local first = ends.trusting(relay.port, { localPort = localPort, retransmitTimeout = 60000 })
    helper.runUntil(function () return first._heard end)
    first:destroy()
    helper.uv.run('nowait')
    ends.opened(ends.trusting(relay.port, { localPort = localPort }))
    relay.close()
  end)

  it('is told of before the new session, in an order that no handler can upset', function ()
    local errors = helper.errors()
    local seen = {}
    local server, port
    server, port = ends.certified({}, function (session)
      seen[#seen + 1] = 'connection'
      session:on('close', function (reason)
        seen[#seen + 1] = reason
        if reason == 'replaced' then error('from the handler') end
      end)
    end)
    local localPort = program.freePort()
    for _ = 1, 2 do
      local client = ends.opened(ends.trusting(port, { localPort = localPort }))
      client:destroy()
      helper.uv.run('nowait')
    end
    helper.runUntil(function () return seen[3] end)
    assert.same({ 'connection', 'replaced', 'connection' }, seen)
    assert.truthy(errors[1]:find('from the handler', 1, true))
    assert.equal(1, server:stats().sessions)
  end)

  it('may find its endpoint closed by the end of its old session', function ()
    local seen = {}
    local server, port
    server, port = ends.certified({}, function (session)
      seen[#seen + 1] = 'connection'
      session:on('close', function (reason)
        seen[#seen + 1] = reason
        server:close()
      end)
    end)
    local localPort = program.freePort()
    for index = 1, 2 do
      local client = ends.trusting(port, { localPort = localPort })
      helper.runUntil(function () return seen[index] end)
      client:destroy()
      helper.uv.run('nowait')
    end
    helper.run()
    assert.same({ 'connection', 'replaced' }, seen)
  end)
end)

describe('an established session', function ()
  -- Has the server read a thousand datagrams from the client's address, no more at once than its socket
  -- can hold.
  local function flood(pair, datagram)
    local before = pair.server:stats().datagramsIn
    for index = 1, 1000 do
      pair.relay.inject(datagram(index), true)
      if index % 50 == 0 then
        helper.runUntil(function () return pair.server:stats().datagramsIn == before + index end)
      end
    end
    assert.equal('Echo: still there', ends.asked(pair.client, 'still there'))
    assert.same({ 'connection' }, pair.ends)
    assert.equal(1, pair.server:stats().sessions)
    assert.equal(1, pair.server:stats().admitted)
  end

  it('is left alone by a thousand hellos without a cookie', function ()
    local pair = relayed()
    flood(pair, function () return hello.datagram({ random = hello.randomBytes(32) }) end)
    assert.equal(1001, pair.server:stats().challenges)
    finish(pair)
  end)

  it('is left alone by a thousand hellos with a cookie that is not good', function ()
    local pair = relayed()
    flood(pair, function ()
      return hello.datagram({ random = hello.randomBytes(32), cookie = hello.randomBytes(32) })
    end)
    finish(pair)
  end)

  it('is left alone by its own hello, replayed a thousand times while its cookie is good', function ()
    local pair = relayed()
    flood(pair, function () return pair.hellos[2] end)
    finish(pair)
    -- Nor does it make another session when that one is over.
    pair.served[1]:destroy()
    local client = ends.opened(ends.trusting(pair.server:address().port))
    pair.relay.inject(pair.hellos[2], true)
    assert.equal('Echo: x', ends.asked(client, 'x'))
    assert.equal(2, pair.server:stats().admitted)
  end)

  it('is left alone by the hello of somebody at its address who goes no further', function ()
    local pair = relayed({ handshakeTimeout = 200 })
    local random = hello.randomBytes(32)
    local cookie
    pair.onDatagram = function (data, fromClient)
      if not fromClient then cookie = cookie or hello.answer(data) end
    end
    pair.relay.inject(hello.datagram({ random = random }), true)
    helper.runUntil(function () return cookie end)
    pair.relay.inject(hello.datagram({ random = random, cookie = cookie, sequence = 1 }), true)
    helper.runUntil(function () return pair.server:stats().sessions == 2 end)
    for index = 1, 20 do
      assert.equal('Echo: ' .. index, ends.asked(pair.client, tostring(index)))
    end
    -- And that one's place is free when its time is over.
    helper.runUntil(function () return pair.server:stats().sessions == 1 end)
    assert.same({ 'connection' }, pair.ends)
    assert.equal('ETIMEDOUT', pair.server.failures[1][3])
    assert.equal('Echo: after', ends.asked(pair.client, 'after'))
    finish(pair)
  end)
end)

describe('a hello', function ()
  it('makes one session, however often the network delivers it', function ()
    local server, port = ends.certified()
    local relay = helper.relay(port, function (data, _, _, send)
      for _ = 1, 3 do send(data) end
    end)
    local client = ends.opened(ends.trusting(relay.port))
    assert.equal('Echo: once', ends.asked(client, 'once'))
    local stats = server:stats()
    assert.same({ 1, 1, 1 }, { stats.sessions, stats.admitted, stats.connected })
    client:destroy()
    relay.close()
  end)

  it('fails once, however often it is repeated', function ()
    local server, port = ends.certified({ ciphers = 'ECDHE-ECDSA-AES256-GCM-SHA384' })
    local relay = helper.relay(port, function (data, fromClient, _, send)
      -- The client is not told.
      if fromClient or data:byte() ~= 21 then send(data) end
    end)
    local client = ends.trusting(relay.port, {
      ciphers = 'ECDHE-ECDSA-CHACHA20-POLY1305', handshakeTimeout = 500,
    })
    helper.runUntil(function () return client.seen[2] end)
    assert.equal(1, #server.failures)
    assert.equal(1, server:stats().admitted)
    assert.is_true(server:stats().drops.repeated > 0)
    relay.close()
  end)
end)
