-- Every way in which a session ends, at every stage and on either side: with one `close`, last, and
-- nothing left behind.

local dtls = require('dtls')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local HANDSHAKE_MS, IDLE_MS = 200 * helper.slowness, 250 * helper.slowness

-- A server and a client with a relay between them that acts when so many datagrams have passed, and
-- what both ends saw.
local function scene(passes, act)
  local it = { passed = 0 }
  it.server = helper.echoServer({ handshakeTimeout = HANDSHAKE_MS, idleTimeout = IDLE_MS }, function (session)
    it.peer = session
    it.atPeer = helper.record(session, 'message', 'error', 'close')
  end)
  it.atServer = helper.record(it.server, 'connection', 'clientError', 'error', 'close')
  it.relay = helper.relay(it.server:address().port, function (data, _, _, send)
    if it.silent then return end
    it.passed = it.passed + 1
    send(data)
    if it.passed == passes then act(it) end
  end)
  it.client = helper.connect(it.relay.port, { handshakeTimeout = HANDSHAKE_MS, idleTimeout = IDLE_MS })
  it.atClient = helper.record(it.client, 'secureConnection', 'message', 'error', 'close')
  it.client:on('secureConnection', function () it.client:send('hello') end)
  it.client:on('message', function () it.client:send('hello again') end)
  if passes == 0 then act(it) end
  return it
end

local function count(seen, name)
  local found = 0
  for _, event in ipairs(seen) do
    if event[1] == name then found = found + 1 end
  end
  return found
end

-- One `close` and last, at most one `error` and right before it. Returns the reason.
local function ending(seen, where)
  assert.equal(1, count(seen, 'close'), where)
  assert.equal('close', seen[#seen][1], where)
  assert.truthy(count(seen, 'error') <= 1, where)
  if count(seen, 'error') == 1 then assert.equal('error', seen[#seen - 1][1], where) end
  return seen[#seen][2]
end

-- 0 is before the first hello has gone; 1 to 3 are hello, HelloVerifyRequest and hello; then come the
-- flights, and from about 8 on messages, for ever.
local LAST_STAGE = 12

describe('exactly one end has a session', function ()
  for _, row in ipairs({
    -- What happens, and which reasons the ends may have: the client's, the server's. What happens to
    -- a session that is not there yet is nothing, and then it is idle until one end has enough.
    { 'that the client closes', function (it) it.client:close() end,
      { closed = true }, { closed = true, timeout = true } },
    { 'that the client closes twice', function (it) it.client:close() it.client:close() end,
      { closed = true }, { closed = true, timeout = true } },
    { 'that the client destroys', function (it) it.client:destroy() end,
      { destroyed = true }, { timeout = true } },
    { 'that the client closes and destroys', function (it) it.client:close() it.client:destroy() end,
      { closed = true, destroyed = true }, { closed = true, timeout = true } },
    { 'that the server closes, once it has it', function (it) if it.peer then it.peer:close() end end,
      { closed = true, timeout = true }, { closed = true, timeout = true } },
    { 'that the server destroys, once it has it', function (it) if it.peer then it.peer:destroy() end end,
      { closed = true, timeout = true }, { closed = true, destroyed = true, timeout = true } },
    { 'whose server is closed', function (it) it.server:close() end,
      { closed = true, timeout = true }, { closed = true } },
    { 'that both close at once', function (it) it.client:close() if it.peer then it.peer:close() end end,
      { closed = true }, { closed = true, timeout = true } },
    { 'whose network is gone', function (it) it.silent = true end,
      { timeout = true }, { timeout = true } },
    { 'that the client closes when the network is gone', function (it)
      it.silent = true
      it.client:close()
    end, { closed = true }, { timeout = true } },
  }) do
    local claim, act, ofClient, ofPeer = unpack(row)
    it(claim .. ', at whatever stage', function ()
      local scenes, over = {}, 0
      for stage = 0, LAST_STAGE do
        scenes[stage] = scene(stage, function (it)
          act(it)
          -- From here on nobody says more.
          helper.after(5, function () it.client:removeAllListeners('message') end)
        end)
      end
      local function isOver(it)
        return count(it.atClient, 'close') > 0 and it.server:stats().sessions == 0
      end
      helper.runUntil(function ()
        over = 0
        for stage = 0, LAST_STAGE do over = over + (isOver(scenes[stage]) and 1 or 0) end
        return over == LAST_STAGE + 1
      end)
      for stage = 0, LAST_STAGE do
        scenes[stage].server:close()
        scenes[stage].relay.close()
      end
      helper.run()
      for stage = 0, LAST_STAGE do
        local it, where = scenes[stage], ('%s, stage %d'):format(claim, stage)
        assert.truthy(ofClient[ending(it.atClient, where)], where .. ': ' .. it.client._reason)
        if it.peer then
          assert.truthy(ofPeer[ending(it.atPeer, where)], where .. ': ' .. it.peer._reason)
        end
        assert.equal(it.peer and 1 or 0, count(it.atServer, 'connection'), where)
        assert.equal(0, count(it.atServer, 'error'), where)
        assert.same({ 'close' }, it.atServer[#it.atServer], where)
        local stats = it.server:stats()
        assert.equal(count(it.atServer, 'clientError'), stats.failed, where)
        assert.equal(count(it.atServer, 'connection'), stats.connected, where)
      end
    end)
  end
end)

describe('after close', function ()
  it('no message is heard any more', function ()
    local pair = helper.pair()
    local seen = helper.record(pair.client, 'message', 'close')
    pair.peer:send('too late')
    pair.client:close()
    helper.finish(pair.server)
    assert.same({ { 'close', 'closed' } }, seen)
  end)

  it('a peer that does not answer is waited for, but not for long', function ()
    local relay, silent
    local pair = helper.pair({ idleTimeout = 200 }, nil, function (port)
      relay = helper.relay(port, function (data, _, _, send) if not silent then send(data) end end)
      return relay.port
    end)
    silent = true
    local before = uv.hrtime()
    local seen = helper.record(pair.client, 'close')
    pair.client:close()
    assert.same({}, seen)
    helper.runUntil(function () return #seen == 1 end)
    assert.truthy((uv.hrtime() - before) / 1e9 < 1.5 * helper.slowness)
    relay.close()
    helper.finish(pair.server)
  end)
end)

describe('an idle session', function ()
  it('is closed by the server, and the client is told', function ()
    local pair = helper.pair({ idleTimeout = 50 * helper.slowness })
    local atClient, atPeer = helper.record(pair.client, 'close'), helper.record(pair.peer, 'close')
    helper.runUntil(function () return #atClient == 1 and #atPeer == 1 end)
    assert.same({ 'close', 'timeout' }, atPeer[1])
    assert.same({ 'close', 'closed' }, atClient[1])
    helper.finish(pair.server)
  end)

  it('is closed by a client that has been told to', function ()
    local pair = helper.pair(nil, { idleTimeout = 50 * helper.slowness })
    local atClient, atPeer = helper.record(pair.client, 'close'), helper.record(pair.peer, 'close')
    helper.runUntil(function () return #atClient == 1 and #atPeer == 1 end)
    assert.same({ 'close', 'timeout' }, atClient[1])
    assert.same({ 'close', 'closed' }, atPeer[1])
    helper.finish(pair.server)
  end)

  it('is kept by messages and not by junk', function ()
    local relay
    local pair = helper.pair({ idleTimeout = 100 * helper.slowness }, nil, function (port)
      relay = helper.relay(port, function (data, _, _, send) send(data) end)
      return relay.port
    end)
    local closed = helper.record(pair.peer, 'close')
    local timer, ticks = uv.new_timer(), 0
    timer:start(0, 20 * helper.slowness, function ()
      ticks = ticks + 1
      -- Messages for three times as long as it may be idle, and junk from then on.
      if ticks <= 15 then
        assert.same({}, closed)
        pair.client:send('still here')
      else
        relay.inject('junk', true)
        relay.inject('\23\254\253\0\1\0\0\0\0\0\99\0\32' .. ('x'):rep(32), true)
      end
    end)
    helper.runUntil(function () return #closed == 1 end)
    assert.truthy(ticks > 15 and ticks < 30)
    timer:close()
    relay.close()
    pair.client:destroy()
    helper.finish(pair.server)
  end)

  it('is kept for ever where idleTimeout is 0', function ()
    local pair = helper.pair({ idleTimeout = 0 })
    assert.is_nil(pair.server._deadlines:next())
    helper.finish(pair.server)
  end)
end)

describe('closing a server', function ()
  it('comes last, after every session', function ()
    local order = {}
    local pair = helper.pair()
    pair.peer:on('close', function (reason) order[#order + 1] = 'session ' .. reason end)
    pair.server:on('close', function () order[#order + 1] = 'server' end)
    pair.server:close(function () order[#order + 1] = 'callback' end)
    helper.run()
    assert.same({ 'session closed', 'server', 'callback' }, order)
  end)

  it('tells every session even where a handler throws', function ()
    local server, port = helper.echoServer()
    local errors, closed = helper.errors(), 0
    server:on('connection', function (session)
      session:on('close', function ()
        closed = closed + 1
        error('of the user')
      end)
    end)
    for _ = 1, 3 do helper.connect(port) end
    helper.runUntil(function () return server:stats().connected == 3 end)
    local gone = helper.record(server, 'close')
    local ok, err = pcall(server.close, server)
    assert.is_false(ok)
    assert.matches('of the user', err)
    helper.run()
    assert.equal(3, closed)
    assert.same({ { 'close' } }, gone)
    assert.same({}, errors)
  end)

  it('from inside its own events is no different', function ()
    for _, event in ipairs({ 'connection', 'clientError' }) do
      local server, port = helper.echoServer({ handshakeTimeout = 200 * helper.slowness })
      local ca = event == 'clientError' and helper.identity('stranger').cert or nil
      local session = helper.connect(port, { ca = ca, handshakeTimeout = 400 * helper.slowness })
      local seen = helper.record(session, 'close')
      server:on(event, function () server:close() end)
      helper.run()
      assert.equal(1, #seen)
    end
  end)

  it('with a thousand sessions takes no longer than a second and leaves nothing', function ()
    local script = [[
      local dtls = require('dtls')
      local uv = dtls.uv
      local identity = dtls.generateCertificate()
      local context = dtls.createContext({ cert = identity.cert, key = identity.key, ca = identity.cert })
      local met, closed = 0, { client = 0, server = 0 }
      local server, before
      local function finish()
        before = uv.hrtime()
        server:close()
      end
      local port
      local function more()
        dtls.connect({ context = context, port = port, servername = 'localhost' }, function (session)
          session:on('close', function () closed.client = closed.client + 1 end)
        end)
      end
      server = dtls.createServer({ context = context }, function (session)
        met = met + 1
        -- Neither of them is waited for.
        session:setTimeout(60000)
        session:setKeepAlive({ message = 'ping', interval = 60000 })
        session:on('close', function () closed.server = closed.server + 1 end)
        if met <= 950 then more() end
        if met == 1000 then
          local timer = uv.new_timer()
          timer:start(200, 0, function () timer:close() finish() end)
        end
      end)
      assert(server:listen(0, '127.0.0.1'))
      port = server:address().port
      for _ = 1, 50 do more() end
      uv.run()
      local handles = 0
      uv.walk(function () handles = handles + 1 end)
      print(closed.client, closed.server, server:stats().sessions, handles,
        (uv.hrtime() - before) / 1e9 < 1 or 'too long')
    ]]
    local child = program.start('sh', { '-c', 'ulimit -n 4096 && exec luajit -e "$0"', script },
      { LUA_PATH = package.path, LUA_CPATH = package.cpath })
    local status, output = child:waitForEnd(30000), child.output
    program.stopAll()
    helper.run()
    assert.equal('1000\t1000\t0\t0\ttrue\n', output)
    assert.equal(0, status)
  end)
end)

describe('a server that has maxSessions', function ()
  it('gives the next peer no answer, counts that, and takes it once there is a place', function ()
    local server, port = helper.echoServer({ maxSessions = 2 })
    local events = helper.record(server, 'clientError', 'error', 'warning')
    local one, two = helper.connect(port), helper.connect(port)
    helper.runUntil(function () return server:stats().connected == 2 end)
    local third = helper.connect(port)
    local seen = helper.record(third, 'secureConnection', 'error', 'close')
    helper.runUntil(function () return server:stats().refused >= 2 end)
    assert.same({}, seen)
    assert.equal(2, server:stats().sessions)
    one:close()
    helper.runUntil(function () return #seen == 1 end)
    assert.same({ { 'secureConnection' } }, seen)
    assert.same({}, events)
    two:close()
    third:close()
    helper.finish(server)
  end)
end)

describe('a client that is destroyed', function ()
  it('leaves nothing, whether it looks for an address, a peer, or has one', function ()
    local server, port = helper.echoServer({ idleTimeout = 100 * helper.slowness })
    for _, options in ipairs({ { host = 'localhost' }, {} }) do
      local session = helper.connect(port, options)
      local seen = helper.record(session, 'secureConnection', 'error', 'close')
      session:destroy()
      session:destroy()
      session:close()
      assert.same({ { 'close', 'destroyed' } }, seen)
    end
    local session = dtls.connect({ port = port, ca = helper.localhost().cert })
    helper.runUntil(function () return session:getProtocol() end)
    session:destroy()
    helper.runUntil(function () return server:stats().sessions == 0 end)
    helper.finish(server)
  end)
end)
