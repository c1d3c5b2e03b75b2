-- What handlers may do: everything. Each of these calls every function from inside every event, lets
-- go of what it holds, or throws.

local Udp = require('dtls/udp')
local helper = require('spec.helper')

-- Everything that can be called on a session, with what it is called.
local calls = {
  { 'send', function (session) session:send('from inside') end },
  { 'send with a callback', function (session) session:send('from inside', function () end) end },
  { 'close', function (session) session:close() end },
  { 'close with a callback', function (session) session:close(function () end) end },
  { 'close twice', function (session) session:close() session:close() end },
  { 'destroy', function (session) session:destroy() end },
  { 'close and destroy', function (session) session:close() session:destroy() end },
  { 'setMtu', function (session) session:setMtu(512) end },
  { 'setTimeout', function (session) session:setTimeout(1) end },
  { 'setKeepAlive', function (session) session:setKeepAlive({ message = 'ping', interval = 2 }) end },
  { 'the getters', function (session)
    session:address()
    session:remoteAddress()
    session:maxPayload()
    session:getProtocol()
    session:getCipher()
    session:getPeerCertificate()
  end },
  { 'collectgarbage', function () collectgarbage() end },
  { 'server:close', function (_, server) server:close() end },
  { 'server:stats', function (_, server) server:stats() end },
  { 'server:sessions', function (_, server) server:sessions() end },
  { 'session:stats', function (session) session:stats() end },
  { 'another connect', function (_, server)
    local address = server:address()
    if not address then return end
    local other = helper.connect(address.port)
    other:on('secureConnection', function () other:destroy() end)
    other:on('error', function () end)
    helper.after(15, function () other:destroy() end)
  end },
}

describe('from inside', function ()
  for _, event in ipairs({
    'secureConnection', 'connection', 'message', 'peer message', 'timeout', 'peer timeout', 'close',
    'peer close',
  }) do
    it(("'%s' anything may be called, and both ends end once"):format(event), function ()
      for _, call in ipairs(calls) do
        local name, act = call[1], call[2]
        local ends = { client = 0, peer = 0 }
        local server, client, atServer
        -- Acts the first time the event comes, and collects garbage in the midst of it.
        local function acting(which)
          local done = false
          return function ()
            if done or which ~= event then return end
            done = true
            collectgarbage()
            act(which:match('^peer') and atServer or which == 'connection' and atServer or client, server)
            collectgarbage()
          end
        end
        local port
        server, port = helper.echoServer({ idleTimeout = 2000 }, function (session)
          if atServer then return end
          atServer = session
          session:on('close', function () ends.peer = ends.peer + 1 end)
          session:on('message', acting('peer message'))
          session:on('close', acting('peer close'))
          session:on('timeout', acting('peer timeout'))
          session:setTimeout(5)
          acting('connection')()
        end)
        client = helper.connect(port, { handshakeTimeout = 300 })
        client:on('close', function () ends.client = ends.client + 1 end)
        client:on('error', function () end)
        client:on('secureConnection', acting('secureConnection'))
        client:on('secureConnection', function () client:send('hello') end)
        client:on('message', acting('message'))
        client:on('close', acting('close'))
        client:on('timeout', acting('timeout'))
        client:setTimeout(5)
        -- Whatever came of it, this ends it.
        helper.after(20, function () client:close() end)
        helper.after(40, function () client:destroy() end)
        client:on('close', function () helper.after(20, function () server:close() end) end)
        helper.run()
        assert.equal(1, ends.client, name)
        assert.equal(atServer and 1 or 0, ends.peer, name)
      end
    end)
  end
end)

describe('what a handler brings about', function ()
  it('comes when it has returned', function ()
    local pair = helper.pair()
    local order = {}
    pair.client:on('message', function ()
      pair.client:destroy()
      order[#order + 1] = 'returned'
    end)
    pair.client:on('close', function () order[#order + 1] = 'close' end)
    pair.peer:send('x')
    helper.runUntil(function () return #order == 2 end)
    assert.same({ 'returned', 'close' }, order)
    pair.peer:destroy()
    helper.finish(pair.server)
  end)
end)

describe('a session that nobody holds', function ()
  it('lives on, and hears its messages', function ()
    local server, port = helper.echoServer()
    local heard
    do
      local session = helper.connect(port)
      session:on('secureConnection', function () session:send('hello') end)
      session:on('message', function (data)
        heard = data
        session:close()
      end)
      session:on('close', function () server:close() end)
    end
    for _ = 1, 5 do
      helper.after(1, collectgarbage)
    end
    helper.run()
    assert.equal('Echo: hello', heard)
  end)

  it('is collected when it is over', function ()
    local server, port = helper.echoServer()
    local weak = setmetatable({}, { __mode = 'k' })
    for _ = 1, 5 do
      local session = helper.connect(port)
      weak[session] = true
      helper.runUntil(function () return session:getProtocol() end)
      local over = false
      session:close(function () over = true end)
      helper.runUntil(function () return over end)
    end
    helper.finish(server)
    collectgarbage()
    collectgarbage()
    local left = 0
    for _ in pairs(weak) do left = left + 1 end
    -- The loop's own variable may keep the last of them.
    assert.truthy(left <= 1, left .. ' sessions are left')
  end)
end)

describe('hundreds of sessions one after the other', function ()
  local function churn(port, count)
    for _ = 1, count do
      local session = helper.connect(port)
      local over = false
      session:on('secureConnection', function () session:close() end)
      session:on('close', function () over = true end)
      helper.runUntil(function () return over end)
      collectgarbage('step')
    end
    collectgarbage()
    collectgarbage()
  end

  local function resident()
    local file = io.open('/proc/self/statm')
    local pages = file:read('*a'):match('^%d+ (%d+)')
    file:close()
    return pages * 4
  end

  it('leave no memory behind', function ()
    local server, port = helper.echoServer()
    churn(port, 200 / helper.slowness)
    local lua, process = collectgarbage('count'), resident()
    churn(port, 800 / helper.slowness)
    lua, process = collectgarbage('count') - lua, resident() - process
    assert.truthy(lua < 200, ('Lua has grown by %d KiB'):format(lua))
    assert.truthy(process < 4096, ('the process has grown by %d KiB'):format(process))
    assert.equal(0, server:stats().sessions)
    helper.finish(server)
  end)
end)

describe('an error that a handler throws', function ()
  -- A pair whose server-side session throws at the message 'throw', and echoes any other.
  local function throwing(value)
    local pair = helper.pair()
    pair.peer:on('message', function (data)
      if data == 'throw' then error(value, 0) end
      pair.peer:send(data)
    end)
    return pair
  end

  local function throw(value)
    local pair = throwing(value)
    local errors = helper.errors()
    local heard = helper.record(pair.client, 'message')
    pair.client:send('throw')
    pair.client:send('and on')
    helper.runUntil(function () return #heard == 1 end)
    helper.finish(pair.client, pair.server)
    return errors, heard
  end

  it('comes out of the loop once, and the next datagram is processed', function ()
    local errors, heard = throw('of the user')
    assert.equal(1, #errors)
    assert.matches('^of the user\n?', errors[1])
    assert.same({ { 'message', 'and on' } }, heard)
  end)

  it('shows where it was thrown', function ()
    assert.matches('reentrancy_spec%.lua', throw('of the user')[1])
  end)

  it('stays what it is where it is no string', function ()
    local value = {}
    assert.equal(value, throw(value)[1])
  end)

  for _, event in ipairs({ 'secureConnection', 'close' }) do
    it(("in '%s' leaves everything in order"):format(event), function ()
      local server, port = helper.echoServer()
      local errors = helper.errors()
      local session = helper.connect(port)
      local closed
      session:on(event, function () error('of the user') end)
      session:on('close', function (reason) closed = reason end)
      helper.runUntil(function () return session:getProtocol() end)
      helper.after(20, function () session:close() end)
      helper.after(60, function () server:close() end)
      helper.run()
      assert.equal(1, #errors)
      -- A handler behind the one that throws is not reached.
      assert.equal(event == 'secureConnection' and 'closed' or nil, closed)
    end)
  end

  it("in the 'warning' of an endpoint that connects comes from the loop, and the session goes on", function ()
    local server, port = helper.echoServer()
    local one = helper.echoServer({ ca = helper.localhost().cert })
    local errors, send = helper.errors(), Udp.send
    one:on('warning', function () error('of the user') end)
    function Udp:send(...)
      if self == one._udp then return nil, 'EPERM: operation not permitted', 'EPERM' end
      return send(self, ...)
    end
    finally(function () Udp.send = send end)
    local events = {}
    local function trace(event) events[#events + 1] = event end
    local session = one:connect({ port = port, trace = trace })
    assert.equal(0, #errors)
    helper.runUntil(function () return errors[1] end)
    assert.matches('of the user', errors[1])
    -- It can be traced, and goes on.
    Udp.send = send
    helper.runUntil(function () return session:getProtocol() end)
    assert.truthy(#events > 0)
    helper.finish(one, server)
    assert.equal(1, #errors)
  end)

  it("in 'connection' concerns no other peer", function ()
    local first = true
    local server, port = helper.echoServer({}, function ()
      if first then
        first = false
        error('of the user')
      end
    end)
    local errors = helper.errors()
    local one = helper.connect(port)
    helper.runUntil(function () return #errors == 1 end)
    local other = helper.connect(port)
    local heard = helper.record(other, 'message')
    other:on('secureConnection', function () other:send('hello') end)
    helper.runUntil(function () return #heard == 1 end)
    one:destroy()
    other:destroy()
    helper.finish(server)
  end)
end)

describe('a timer that is due', function ()
  it('in the turn in which its session ends does no harm', function ()
    for _ = 1, 200 / helper.slowness do
      -- The relay swallows everything, so that the retransmission is due as often as it can be.
      local relay = helper.relay(9, function () end)
      local session = helper.connect(relay.port, { retransmitTimeout = 1, handshakeTimeout = 2 })
      local ends = 0
      session:on('error', function () end)
      session:on('close', function () ends = ends + 1 end)
      helper.after(1, function () session:close() end)
      helper.after(2, function ()
        session:destroy()
        relay.close()
      end)
      helper.run()
      assert.equal(1, ends)
    end
  end)
end)

describe('a message handler that runs the loop', function ()
  local uv = helper.uv

  -- Runs the loop until `done()`, or for a fifth of a second. Says whether it was done.
  local function loopUntil(done)
    local late = false
    helper.after(200, function () late = true end)
    repeat uv.run('once') until late or done()
    return done()
  end

  -- A server with so many clients.
  local function crowd(count)
    local peers, clients = {}, {}
    local server, port = helper.echoServer({}, function (session)
      session:removeAllListeners('message')
      peers[#peers + 1] = session
    end)
    for index = 1, count do
      clients[index] = helper.connect(port)
      helper.runUntil(function () return peers[index] and clients[index]:getProtocol() end)
    end
    return server, peers, clients
  end

  it('has what it has sent sent', function ()
    local server, peers, clients = crowd(1)
    local heard, inTime
    clients[1]:on('message', function () heard = true end)
    peers[1]:on('message', function ()
      peers[1]:send('in hand')
      inTime = loopUntil(function () return heard end)
    end)
    clients[1]:send('do it')
    helper.runUntil(function () return inTime ~= nil end)
    assert.is_true(inTime)
    helper.finish(clients[1], server)
  end)

  it('meets there what came together with its message, even where those handlers run the loop', function ()
    local server, peers, clients = crowd(3)
    local heard, inTime = 0, {}
    for index, peer in ipairs(peers) do
      peer:on('message', function ()
        heard = heard + 1
        inTime[index] = loopUntil(function () return heard == 3 end)
      end)
    end
    -- All are in the socket when the loop has its turn.
    for _, client in ipairs(clients) do client:send('hello') end
    helper.runUntil(function () return #inTime == 3 end)
    assert.same({ true, true, true }, inTime)
    helper.finish(clients[1], clients[2], clients[3], server)
  end)

  it('leaves the loop as it was', function ()
    local server, peers, clients = crowd(2)
    local heard = 0
    peers[1]:on('message', function ()
      for _ = 1, 5 do uv.run('nowait') end
      heard = heard + 1
    end)
    peers[2]:on('message', function () heard = heard + 1 end)
    for _ = 1, 3 do
      clients[1]:send('one')
      clients[2]:send('two')
    end
    helper.runUntil(function () return heard == 6 end)
    -- Something that keeps it from sleeping would make thousands of these.
    local turns, counter = 0, uv.new_prepare()
    counter:start(function () turns = turns + 1 end)
    helper.after(50, function () counter:close() end)
    helper.runUntil(function () return counter:is_closing() end)
    assert.truthy(turns < 100, turns .. ' turns')
    helper.finish(clients[1], clients[2], server)
  end)
end)
