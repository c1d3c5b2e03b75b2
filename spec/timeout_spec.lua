-- `session:setTimeout`: what Luvit's and Node's sockets have.

local helper = require('spec.helper')
local uv = helper.uv

local MS = 60 * helper.slowness

local function wait(ms)
  local over
  helper.after(ms, function () over = true end)
  helper.runUntil(function () return over end)
end

local function now() return uv.hrtime() / 1e6 end

local function handles()
  local found = 0
  uv.walk(function (handle) if not handle:is_closing() then found = found + 1 end end)
  return found
end

describe('setTimeout', function ()
  for _, side in ipairs({ 'client', 'peer' }) do
    it('tells the ' .. side .. ' of silence, once, and ends nothing', function ()
      local pair = helper.pair()
      local session = pair[side]
      local seen = helper.record(session, 'timeout', 'error', 'close')
      local before = now()
      assert.is_true(session:setTimeout(MS))
      helper.runUntil(function () return #seen > 0 end)
      local after = now() - before
      -- The loop's clock stands still during a turn, so that it may begin a little early.
      assert.truthy(after >= MS - 5 * helper.slowness and after < 3 * MS, after .. ' ms')
      wait(2 * MS)
      assert.same({ { 'timeout' } }, seen)
      assert.is_true(session:send('still there'))
      helper.finish(pair.server)
    end)

    -- What is traffic, and when the event then comes again.
    for _, row in ipairs({
      { 'receives', function (one, other) other:send('x') return one end },
      { 'sends', function (one) one:send('x') return one end },
    }) do
      local verb, talk = unpack(row)
      it(('is put off while the %s %s, and comes again after more silence'):format(side, verb), function ()
        local pair = helper.pair()
        local session, other = pair[side], pair[side == 'client' and 'peer' or 'client']
        local seen = helper.record(session, 'timeout', 'close')
        session:setTimeout(MS)
        for round = 1, 2 do
          for _ = 1, 6 do
            talk(session, other)
            wait(MS / 3)
            assert.equal(round - 1, #seen)
          end
          helper.runUntil(function () return #seen == round end)
        end
        helper.finish(pair.server)
      end)
    end
  end

  it('is put off by no forgery and no replay', function ()
    local relay, carried
    local pair = helper.pair(nil, nil, function (port)
      relay = helper.relay(port, function (data, fromClient, _, send)
        if fromClient then carried = data end
        send(data)
      end)
      return relay.port
    end)
    local heard, seen = helper.record(pair.peer, 'message'), helper.record(pair.peer, 'timeout')
    pair.client:send('hello')
    helper.runUntil(function () return #heard == 1 end)
    pair.peer:setTimeout(MS)
    local timer, before = uv.new_timer(), now()
    timer:start(0, 5, function ()
      relay.inject(carried, true)
      relay.inject('\23\254\253\0\1\0\0\0\0\0\99\0\32' .. ('x'):rep(32), true)
    end)
    helper.runUntil(function () return #seen == 1 end)
    assert.truthy(now() - before < 2 * MS)
    timer:close()
    assert.equal(1, #heard)
    relay.close()
    pair.client:destroy()
    helper.finish(pair.server)
  end)

  it('calls back once, with the first event', function ()
    local pair = helper.pair()
    local called = 0
    pair.client:setTimeout(MS, function () called = called + 1 end)
    local seen = helper.record(pair.client, 'timeout')
    helper.runUntil(function () return #seen == 1 end)
    pair.client:send('x')
    helper.runUntil(function () return #seen == 2 end)
    assert.equal(1, called)
    helper.finish(pair.server)
  end)

  it('can be changed, and taken back', function ()
    local pair = helper.pair()
    local seen = helper.record(pair.client, 'timeout')
    pair.client:setTimeout(100000)
    pair.client:setTimeout(MS)
    helper.runUntil(function () return #seen == 1 end)
    pair.client:setTimeout(MS)
    pair.client:setTimeout(0)
    wait(2 * MS)
    assert.equal(1, #seen)
    pair.client:send('x')
    wait(2 * MS)
    assert.equal(1, #seen)
    assert.equal(0, pair.client._endpoint._deadlines.size)
    helper.finish(pair.server)
  end)

  it('starts when the handshake is complete', function ()
    local relay
    local server, port = helper.echoServer()
    relay = helper.relay(port, function (data, _, number, send)
      helper.after(number == 1 and 3 * MS or 1, function () send(data) end)
    end)
    local session = helper.connect(relay.port, { retransmitTimeout = 10000 })
    local seen = helper.record(session, 'secureConnection', 'timeout')
    assert.is_true(session:setTimeout(MS))
    helper.runUntil(function () return #seen == 2 end)
    assert.same({ { 'secureConnection' }, { 'timeout' } }, seen)
    session:destroy()
    helper.runUntil(function () return server:stats().sessions == 1 end)
    relay.close()
    helper.finish(server)
  end)

  it('takes no timer of its own, and leaves nothing behind', function ()
    local pair = helper.pair({ idleTimeout = 0 })
    local before = handles()
    for _, session in ipairs({ pair.client, pair.peer }) do session:setTimeout(1000000) end
    assert.equal(before, handles())
    assert.equal(1, pair.server._deadlines.size)
    pair.peer:destroy()
    assert.equal(0, pair.server._deadlines.size)
    pair.client:destroy()
    helper.finish(pair.server)
  end)

  it('says no more after close', function ()
    local relay, silent
    local pair = helper.pair(nil, nil, function (port)
      relay = helper.relay(port, function (data, _, _, send) if not silent then send(data) end end)
      return relay.port
    end)
    silent = true
    local seen = helper.record(pair.client, 'timeout', 'close')
    pair.client:setTimeout(MS)
    -- It waits a second for an answer.
    pair.client:close()
    pair.client:setTimeout(MS)
    helper.runUntil(function () return #seen > 0 end)
    assert.same({ { 'close', 'closed' } }, seen)
    local _, err, name = pair.client:setTimeout(MS)
    assert.same({ 'ENOTCONN: the session is closed', 'ENOTCONN' }, { err, name })
    pair.peer:destroy()
    relay.close()
    helper.finish(pair.server)
  end)

  for _, ending in ipairs({ 'close', 'destroy' }) do
    it(('may have a handler that calls %s, in the turn of the idle timeout'):format(ending), function ()
      local pair = helper.pair({ idleTimeout = MS })
      local seen = helper.record(pair.peer, 'error', 'close')
      pair.peer:setTimeout(MS - 1)
      pair.peer:on('timeout', function () pair.peer[ending](pair.peer) end)
      -- Both are due when the loop looks again.
      local before = now()
      while now() - before < 2 * MS do end
      helper.runUntil(function () return #seen == 1 end)
      assert.equal('close', seen[1][1])
      pair.client:destroy()
      helper.finish(pair.server)
      assert.equal(1, #seen)
    end)
  end

  it('may have a handler that throws, and the other sessions have their events', function ()
    local server, port = helper.echoServer()
    local errors, told = helper.errors(), 0
    server:on('connection', function (session)
      session:setTimeout(MS)
      session:on('timeout', function ()
        told = told + 1
        error('of the user')
      end)
    end)
    for _ = 1, 3 do helper.connect(port):on('secureConnection', function () end) end
    helper.runUntil(function () return told == 3 end)
    for _, session in ipairs(server._peers:list()) do session:removeAllListeners('timeout') end
    local gone = server:stats().connected
    assert.equal(3, gone)
    helper.finish(server)
    -- luv's own callback takes one error at a time; each came out of the loop.
    assert.equal(3, #errors)
  end)

  it('is refused what no timeout can be', function ()
    local session = helper.connect(9)
    for _, row in ipairs({
      { nil, 'nil' }, { '100', 'string' }, { -1, '-1' }, { 1.5, '1.5' }, { 2 ^ 31, tostring(2 ^ 31) },
    }) do
      local ok, err = pcall(session.setTimeout, session, row[1])
      assert.is_false(ok)
      local expected = 'ms must be a whole number of milliseconds, or 0 for none, got ' .. row[2]
      assert.matches('session:setTimeout: ' .. expected, err, 1, true)
    end
    local ok, err = pcall(session.setTimeout, session, 1, 'callback')
    assert.is_false(ok)
    assert.matches('session:setTimeout: the callback must be a function, got string', err, 1, true)
    helper.finish(session)
  end)
end)
