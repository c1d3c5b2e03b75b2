-- Messages that the peer's close has overtaken. What may not make a session linger, and what may not end it
-- meanwhile, is for tests/suite/linger.rs to show.

local helper = require('spec.helper')
local uv = helper.uv

-- A pair whose relay holds what the client sends until it is told to let go: the last first.
local function reordered(serverOptions)
  local relay
  local held, holding = {}, false
  local pair = helper.pair(serverOptions, nil, function (port)
    relay = helper.relay(port, function (data, fromClient, _, send)
      if not (holding and fromClient) then return send(data) end
      held[#held + 1] = function () send(data) end
    end)
    return relay.port
  end)
  function pair.hold() holding = true end
  -- Lets the close_notify go, and the rest so many milliseconds later.
  function pair.release(count, ms)
    helper.runUntil(function () return #held == count end)
    held[count]()
    helper.after(ms, function ()
      for index = count - 1, 1, -1 do held[index]() end
    end)
  end
  function pair.finish()
    helper.runUntil(function () return pair.server:stats().sessions == 0 end)
    relay.close()
    helper.finish(pair.server)
  end
  return pair
end

describe('a message that the close has overtaken', function ()
  for _, row in ipairs({
    { 'is heard where it is a little late', nil, 30, true },
    { 'is lost where it is later than linger', 30 * helper.slowness, 100 * helper.slowness, false },
    { 'is lost where linger is 0', 0, 1, false },
  }) do
    local claim, linger, late, isHeard = unpack(row)
    it(claim, function ()
      local pair = reordered({ linger = linger })
      local seen = helper.record(pair.peer, 'message', 'error', 'close')
      local left
      pair.client:on('close', function () left = #seen end)
      pair.hold()
      pair.client:send('the first of the last')
      pair.client:send('the last')
      pair.client:close()
      pair.release(3, late)
      helper.runUntil(function () return left and seen[#seen] and seen[#seen][1] == 'close' end)
      assert.same(isHeard and {
        { 'message', 'the last' }, { 'message', 'the first of the last' }, { 'close', 'closed' },
      } or { { 'close', 'closed' } }, seen)
      -- Whoever closes does not wait for that.
      if isHeard then assert.equal(0, left) end
      pair.finish()
    end)
  end

  it('is heard by a handler that cannot send any more, and may close', function ()
    local pair = reordered()
    local seen = helper.record(pair.peer, 'message', 'error', 'close')
    local name
    pair.peer:on('message', function ()
      name = select(3, pair.peer:send('too late'))
      pair.peer:close()
    end)
    pair.hold()
    pair.client:send('one')
    pair.client:send('two')
    pair.client:close()
    pair.release(3, 10)
    pair.finish()
    assert.equal('ENOTCONN', name)
    assert.same({ { 'message', 'two' }, { 'close', 'closed' } }, seen)
  end)
end)

describe('a close that has overtaken nothing', function ()
  it('is at once', function ()
    local pair = helper.pair({ linger = 2000 })
    local closed = helper.record(pair.peer, 'close')
    pair.client:send('one')
    pair.client:send('two')
    pair.client:close()
    local before = uv.hrtime()
    helper.runUntil(function () return #closed == 1 end)
    assert.truthy((uv.hrtime() - before) / 1e6 < 1000)
    helper.finish(pair.server)
  end)
end)
