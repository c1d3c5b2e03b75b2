-- `keepAlive`: who is gone, and who is only quiet.

local dtls = require('dtls')
local helper = require('spec.helper')
local uv = helper.uv

local MS = 50 * helper.slowness

local function now() return uv.hrtime() / 1e6 end

local function wait(ms)
  local over
  helper.after(ms, function () over = true end)
  helper.runUntil(function () return over end)
end

-- The options of one side of two.
local function on(side, keepAlive)
  if side == 'peer' then return { keepAlive = keepAlive }, nil end
  return nil, { keepAlive = keepAlive }
end

for _, side in ipairs({ 'client', 'peer' }) do
  local other = side == 'client' and 'peer' or 'client'

  describe('keepAlive of the ' .. side, function ()
    it('asks a quiet peer and keeps one that answers', function ()
      local pair = helper.pair(on(side, { message = 'ping', interval = MS, probes = 2 }))
      local asked, ended = helper.record(pair[other], 'message'), helper.record(pair[side], 'error', 'close')
      pair[other]:on('message', function () pair[other]:send('pong') end)
      helper.runUntil(function () return #asked == 6 end)
      assert.same({}, ended)
      assert.same({ 'message', 'ping' }, asked[1])
      helper.finish(pair.server)
    end)

    it('ends a session whose peer answers none', function ()
      local pair = helper.pair(on(side, { message = 'ping', interval = MS, probes = 3 }))
      local asked = helper.record(pair[other], 'message')
      local seen, atOther = helper.record(pair[side], 'error', 'close'), helper.record(pair[other], 'close')
      local before = now()
      helper.runUntil(function () return #seen == 2 and #atOther == 1 end)
      local after = now() - before
      assert.truthy(after > 3.5 * MS and after < 6 * MS, after .. ' ms')
      assert.equal('ETIMEDOUT', seen[1][3])
      assert.matches('^ETIMEDOUT: the peer has answered none of 3 keepAlive messages, ' ..
        'and said nothing for %d+ ms$', seen[1][2])
      assert.same({ 'close', 'timeout' }, seen[2])
      assert.equal(3, #asked)
      -- The peer, which is there and does not know that protocol, is told.
      assert.same({ 'close', 'closed' }, atOther[1])
      assert.equal(0, pair.server:stats().sessions)
      helper.finish(pair.server)
    end)

    it('asks nothing while the peer talks, and asks while only this end does', function ()
      local pair = helper.pair(on(side, { message = 'ping', interval = MS, probes = 100 }))
      local asked = helper.record(pair[other], 'message')
      for _ = 1, 8 do
        pair[other]:send('x')
        wait(MS / 3)
      end
      assert.same({}, asked)
      for _ = 1, 8 do
        pair[side]:send('x')
        wait(MS / 3)
      end
      local pings = 0
      for _, message in ipairs(asked) do pings = pings + (message[2] == 'ping' and 1 or 0) end
      assert.truthy(pings >= 1)
      helper.finish(pair.server)
    end)
  end)
end

describe('keepAlive', function ()
  it('is not put off by forgeries and replays', function ()
    local relay, carried, silent
    local pair = helper.pair({ keepAlive = { message = 'ping', interval = MS, probes = 2 } }, nil,
      function (port)
        relay = helper.relay(port, function (data, fromClient, _, send)
          if fromClient then carried = data end
          if not silent then send(data) end
        end)
        return relay.port
      end)
    local heard, seen = helper.record(pair.peer, 'message'), helper.record(pair.peer, 'error', 'close')
    pair.client:send('hello')
    helper.runUntil(function () return #heard == 1 end)
    silent = true
    local timer = uv.new_timer()
    timer:start(0, 5, function ()
      relay.inject(carried, true)
      relay.inject('\23\254\253\0\1\0\0\0\0\0\99\0\32' .. ('x'):rep(32), true)
    end)
    helper.runUntil(function () return #seen == 2 end)
    assert.equal('ETIMEDOUT', seen[1][3])
    timer:close()
    pair.client:destroy()
    relay.close()
    helper.finish(pair.server)
  end)

  it('may make a message for each time, or none', function ()
    local made = 0
    local pair = helper.pair(nil, { keepAlive = {
      message = function (session)
        made = made + 1
        assert.equal('DTLSv1.2', session:getProtocol())
        if made % 2 == 0 then return 'ping ' .. made end
      end,
      interval = MS / 2, probes = 2,
    } })
    local asked, seen = helper.record(pair.peer, 'message'), helper.record(pair.client, 'close')
    helper.runUntil(function () return #seen == 1 end)
    -- What was not asked was not left unanswered.
    assert.same({ { 'message', 'ping 2' }, { 'message', 'ping 4' } }, asked)
    assert.equal(4, made)
    helper.finish(pair.server)
  end)

  it('says where its function answers nonsense, and goes on', function ()
    local answers = { 5, {}, '' }
    local pair = helper.pair({ keepAlive = {
      message = function () return table.remove(answers, 1) end, interval = MS / 2,
    } })
    local warnings = helper.record(pair.server, 'warning')
    helper.runUntil(function () return #warnings == 3 end)
    local ofNumber = 'EINVAL: keepAlive.message returned a number, no string'
    assert.same({ 'warning', ofNumber, 'EINVAL' }, warnings[1])
    assert.equal('EINVAL: keepAlive.message returned a table, no string', warnings[2][2])
    assert.equal('EINVAL', warnings[3][3])
    helper.finish(pair.server)
  end)

  it('may have a function that throws, closes or destroys', function ()
    for _, act in ipairs({
      function () error('of the user') end,
      function (session) session:close() return 'ping' end,
      function (session) session:destroy() return 'ping' end,
    }) do
      local errors = helper.errors()
      local called = 0
      local pair = helper.pair(nil, { keepAlive = {
        message = function (session)
          called = called + 1
          return act(session)
        end,
        interval = MS / 2, probes = 2,
      } })
      local warnings = helper.record(pair.client, 'warning', 'error')
      helper.runUntil(function () return called >= 1 end)
      wait(MS)
      assert.same({}, warnings)
      if errors[1] then
        assert.matches('of the user', errors[1])
        assert.truthy(called >= 2)
      else
        assert.equal(1, called)
      end
      pair.client:destroy()
      helper.finish(pair.server)
    end
  end)

  it('can be set and taken back for one session', function ()
    local pair = helper.pair({ keepAlive = { message = 'ping', interval = MS } })
    local asked = helper.record(pair.client, 'message')
    helper.runUntil(function () return #asked == 1 end)
    assert.is_true(pair.peer:setKeepAlive(false))
    -- What is left is the idle timeout.
    assert.equal(1, pair.server._deadlines.size)
    wait(2 * MS)
    assert.equal(1, #asked)
    assert.is_true(pair.peer:setKeepAlive({ message = 'pong', interval = MS / 2, probes = 1 }))
    local seen = helper.record(pair.peer, 'close')
    helper.runUntil(function () return #seen == 1 end)
    assert.same({ { 'message', 'ping' }, { 'message', 'pong' } }, asked)
    assert.equal('ENOTCONN', select(3, pair.peer:setKeepAlive({ message = 'ping' })))
    helper.finish(pair.server)
  end)

  it('of an endpoint is that of its clients too, unless they have their own or none', function ()
    local server, port = helper.echoServer()
    local asked = {}
    server:on('connection', function (session)
      session:on('message', function (data) asked[data] = (asked[data] or 0) + 1 end)
    end)
    local one = dtls.createEndpoint({
      ca = helper.localhost().cert, keepAlive = { message = 'of the endpoint', interval = MS },
    })
    for _, given in ipairs({ { message = 'own', interval = MS }, false, 'default' }) do
      if given == 'default' then given = nil end
      local session = one:connect({ port = port, keepAlive = given })
      helper.runUntil(function () return session:getProtocol() end)
      wait(2.5 * MS)
      session:close()
      helper.runUntil(function () return one:stats().sessions == 0 end)
      if given == false then assert.is_nil(asked['of the endpoint']) end
    end
    assert.truthy(asked.own >= 1 and asked['of the endpoint'] >= 1)
    helper.finish(one, server)
  end)

  it('is refused what it cannot be', function ()
    for _, row in ipairs({
      { true, 'boolean' }, { 'ping', 'string' }, { {}, 'table' }, { { message = '' }, 'table' },
      { { message = 5 }, 'table' }, { { message = 'x', interval = 0 }, 'table' },
      { { message = 'x', interval = '5' }, 'table' }, { { message = 'x', probes = 0 }, 'table' },
      { { message = 'x', probes = 1.5 }, 'table' }, { { message = 'x', times = 3 }, 'table' },
      { { 'x' }, 'table' },
    }) do
      local value, got = unpack(row)
      local expected = 'must be a table { message = …, interval = …, probes = … } with a message, ' ..
        'a string or function; or false, got ' .. got
      local ok, err = pcall(dtls.createEndpoint, { keepAlive = value })
      assert.is_false(ok)
      assert.matches('dtls.createEndpoint: options.keepAlive ' .. expected, err, 1, true)
      local session = helper.connect(9)
      ok, err = pcall(session.setKeepAlive, session, value)
      assert.is_false(ok)
      assert.matches('session:setKeepAlive: keepAlive ' .. expected, err, 1, true)
      helper.finish(session)
    end
  end)
end)
