local helper = require('spec.helper')
local hello = require('spec.support.hello')
local program = require('spec.support.program')
local uv = helper.uv

local EVENTS = { 'connection', 'clientError', 'warning', 'error' }
local SERVER_HELLO = 2

-- A stranger's socket, which says what it likes.
local function stranger()
  local udp = uv.new_udp()
  assert(udp:bind('127.0.0.1', 0))
  local self = { received = {} }
  udp:recv_start(function (_, data, from)
    if not from then return end
    self.received[#self.received + 1] = data
    if self.onDatagram then self.onDatagram(data) end
  end)
  function self.send(data, port) assert(udp:try_send(data, '127.0.0.1', port)) end
  -- Sends a datagram, and returns the one that comes back.
  function self.ask(data, port)
    local before = #self.received
    self.send(data, port)
    helper.runUntil(function () return #self.received > before end)
    return self.received[before + 1]
  end
  function self.close() udp:close() end
  return self
end

local RANDOM = hello.randomBytes(32)

-- Where a second hello with the cookie leads: to a session, or back to the gate.
local function admits(datagram) return datagram:byte(14) == SERVER_HELLO end
local function challenges(datagram) return hello.answer(datagram) ~= nil end

after_each(function ()
  program.stopAll()
  helper.run()
end)

describe('a server that 100000 hellos without a cookie and as much junk come to', function ()
  local count = 100000
  local why = helper.slowness > 1 and 'it takes minutes with a collector that never rests'
  local before, after, report, stats, events, answered

  -- Waits until nothing of a flood is left in the server's socket.
  local function subsided(server)
    local last
    repeat
      last = server:stats().datagramsIn
      local over
      helper.after(50, function () over = true end)
      helper.runUntil(function () return over end)
    until server:stats().datagramsIn == last
  end

  -- The flood is let loose once, and what came of it judged afterwards.
  setup(function ()
    if why then return end
    local server, port = helper.echoServer()
    local function flood(times)
      local child = program.script('flood.lua', { port, times })
      child:waitFor('flooding')
      return child
    end
    flood(count / 10):waitForEnd(60000)
    subsided(server)
    before = helper.residentKiB()
    local seen = helper.record(server, unpack(EVENTS))
    local child = flood(count)
    local challenged = server:stats().challenges + count / 100
    helper.runUntil(function () return server:stats().challenges > challenged end)

    -- A real client, with the flood around it.
    local session = helper.connect(port, {}, function (session) session:send('hello') end)
    session:on('message', function (data)
      answered = { data = data, flooding = not child.status }
      session:destroy()
    end)
    child:waitForEnd(60000)
    helper.runUntil(function () return answered end)
    subsided(server)
    after, events = helper.residentKiB(), seen
    report = {}
    for name, value in child.output:gmatch('(%a+) (%d+)') do report[name] = tonumber(value) end
    stats = server:stats()
    server:close()
    program.stopAll()
    helper.run()
  end)

  local function claim(title, fn)
    it(title, function ()
      if why then return pending(why) end
      fn()
    end)
  end

  claim('receives it, or the rest of this would mean nothing', function ()
    assert.is_true(report.sent >= 2 * count)
    assert.is_true(report.answers > count / 2)
    assert.is_true(stats.drops.malformed + stats.drops.unknown > count / 2)
  end)

  claim('uses no more memory than before', function ()
    assert.is_true(after - before < 2048, ('%d KiB before, %d after'):format(before, after))
  end)

  claim('has no more sessions than before, and has raised no event but that of the real client', function ()
    assert.equal(1, stats.sessions)
    assert.equal(1, stats.admitted)
    assert.equal(1, #events)
    assert.equal('connection', events[1][1])
  end)

  claim('answers no datagram twice, none that is no hello, and none with more bytes than it has', function ()
    assert.equal(0, report.unasked)
    assert.equal(0, report.longer)
    assert.is_true(report['in'] <= report.out)
  end)

  claim('serves a real client all the while', function ()
    assert.same({ data = 'Echo: hello', flooding = true }, answered)
  end)
end)

describe('a cookie', function ()
  -- A server of this process, a stranger, and the cookie that the one has sent to the other.
  local function meet(options)
    local server, port = helper.echoServer(options)
    local peer = stranger()
    local cookie = hello.answer(peer.ask(hello.datagram({ random = RANDOM }), port))
    return server, port, peer, cookie
  end

  it('admits its hello', function ()
    local server, port, peer, cookie = meet()
    assert.is_true(admits(peer.ask(hello.datagram({ random = RANDOM, cookie = cookie }), port)))
    assert.equal(1, server:stats().sessions)
    server:close()
    peer.close()
  end)

  it('is worth nothing from another port', function ()
    local server, port, peer, cookie = meet()
    local other = stranger()
    assert.is_true(challenges(other.ask(hello.datagram({ random = RANDOM, cookie = cookie }), port)))
    assert.equal(0, server:stats().sessions)
    server:close()
    peer.close()
    other.close()
  end)

  it('is worth nothing for another hello', function ()
    local server, port, peer, cookie = meet()
    local other = hello.randomBytes(32)
    assert.is_true(challenges(peer.ask(hello.datagram({ random = other, cookie = cookie }), port)))
    assert.equal(0, server:stats().sessions)
    server:close()
    peer.close()
  end)

  it('is worth nothing with any of its bytes changed, or without the last', function ()
    local server, port, peer, cookie = meet()
    local function refused(changed)
      return challenges(peer.ask(hello.datagram({ random = RANDOM, cookie = changed }), port))
    end
    for index = 1, #cookie do
      local byte = string.char((cookie:byte(index) + 1) % 256)
      assert.is_true(refused(cookie:sub(1, index - 1) .. byte .. cookie:sub(index + 1)), index)
    end
    assert.is_true(refused(cookie:sub(1, -2)))
    assert.equal(0, server:stats().sessions)
    server:close()
    peer.close()
  end)

  local SECRET = ('s'):rep(16)

  -- The first hello to a server of another process, the second to one of this.
  local function acrossProcesses(theirs, ours)
    local child = program.script('child.lua', { 'server' }, { COOKIE_SECRET = theirs })
    local server, port = helper.echoServer({ cookieSecret = ours })
    local peer = stranger()
    local first = hello.datagram({ random = RANDOM })
    local cookie = hello.answer(peer.ask(first, tonumber(child:waitFor('port (%d+)'))))
    local answer = peer.ask(hello.datagram({ random = RANDOM, cookie = cookie }), port)
    server:close()
    peer.close()
    return answer
  end

  it('of one process admits to another that has the same secret', function ()
    assert.is_true(admits(acrossProcesses(SECRET, SECRET)))
    assert.is_true(admits(acrossProcesses(SECRET, { ('n'):rep(16), SECRET })))
  end)

  it('of one process is worth nothing to another that has not', function ()
    assert.is_true(challenges(acrossProcesses(SECRET, ('n'):rep(16))))
    assert.is_true(challenges(acrossProcesses(nil, nil)))
  end)
end)

describe('a server, while hundreds of peers go no further than their cookie,', function ()
  it('keeps echoing to a session, and has only that one left after the handshake timeout', function ()
    local PEERS, TIMEOUT = 400 / helper.slowness, 1500 * helper.slowness
    local server, port = helper.echoServer({ handshakeTimeout = TIMEOUT })
    local failures, unlike = 0, 0
    server:on('clientError', function (_, name)
      failures = failures + 1
      if name ~= 'ETIMEDOUT' then unlike = unlike + 1 end
    end)
    local sent, echoes = 0, 0
    local session = helper.connect(port)
    session:on('message', function () echoes = echoes + 1 end)
    helper.runUntil(function () return session:getProtocol() end)
    local ticker = uv.new_timer()
    ticker:start(0, 20, function ()
      sent = sent + 1
      session:send('tick')
    end)

    local peers, most = {}, 0
    for index = 1, PEERS do
      local peer, random = stranger(), hello.randomBytes(32)
      peer.onDatagram = function (data)
        local cookie = hello.answer(data)
        if cookie then peer.send(hello.datagram({ random = random, cookie = cookie, sequence = 1 }), port) end
      end
      peer.send(hello.datagram({ random = random }), port)
      peers[index] = peer
      -- Few at a time, since none of them sends anything twice.
      helper.runUntil(function () return server:stats().admitted > index - 20 end)
      most = math.max(most, server:stats().sessions)
    end
    helper.runUntil(function () return failures == PEERS end, TIMEOUT + 5000)
    local left = server:stats().sessions
    ticker:close()
    helper.runUntil(function () return echoes == sent end)

    assert.is_true(most > PEERS / 2)
    assert.equal(1, left)
    assert.equal(0, unlike)
    assert.is_true(echoes > 10)
    session:destroy()
    for _, peer in ipairs(peers) do peer.close() end
    server:close()
  end)
end)
