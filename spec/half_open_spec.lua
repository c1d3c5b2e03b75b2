-- Thousands of peers that have proved their address and go no further, of few hosts and of many.

local ends = require('spec.support.ends')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local COUNT = 5000
local TIMEOUT = 4000
-- How long an echo may take meanwhile. It takes 10 to 30 ms.
local MOST_MS = 400

local why = helper.slowness > 1 and 'it takes minutes with a collector that never rests'

local function claim(title, fn)
  it(title, function ()
    if why then return pending(why) end
    fn()
  end)
end

-- Echoes all the while on an established session. Returns how long the slowest has taken, in milliseconds,
-- and how many there were, when it is called.
local function echoing(session)
  local slowest, count, sentAt = 0, 0, nil
  local function ask()
    sentAt = uv.hrtime()
    assert(session:send('tick'))
  end
  local ticker = uv.new_timer()
  session:on('message', function ()
    slowest, count, sentAt = math.max(slowest, (uv.hrtime() - sentAt) / 1e6), count + 1, nil
  end)
  ticker:start(0, 5, function () if not sentAt then ask() end end)
  return function ()
    -- One that never came counts as well.
    if sentAt then slowest = math.max(slowest, (uv.hrtime() - sentAt) / 1e6) end
    ticker:close()
    return slowest, count
  end
end

-- A server in the midst of a flood from so many hosts, with an established session, and an honest client that
-- comes when half of the flood is in.
local function flooded(hosts, limits)
  local server, port = ends.certified(helper.merge({ handshakeTimeout = TIMEOUT }, limits))
  local established = ends.opened(ends.trusting(port))
  local before = helper.residentKiB()
  local finish = echoing(established)
  local child = program.script('half_open.lua', { port, COUNT, hosts })
  helper.runUntil(function () return server:stats().admitted > COUNT / 2 end, 20000)
  local begin = uv.hrtime()
  local honest = ends.opened(ends.trusting(port))
  local waited = (uv.hrtime() - begin) / 1e6
  child:waitFor('begun ' .. COUNT, 20000)
  return server, { finish = finish, waited = waited, before = before, honest = honest }
end

local function assertServed(server, flood)
  local slowest, count = flood.finish()
  assert.is_true(count > 20, count .. ' echoes')
  assert.is_true(slowest < MOST_MS, ('the slowest echo took %d ms'):format(slowest))
  assert.is_true(flood.waited < TIMEOUT, ('the honest client waited for %d ms'):format(flood.waited))
  assert.equal('Echo: hello', ends.asked(flood.honest, 'hello'))
  assert.same({}, server:stats().refusals)
end

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a server, while five thousand peers go no further than their cookie,', function ()
  claim('lets an honest one in, echoes without delay, and gets its memory back', function ()
    local server, flood = flooded(2500)
    local most = helper.residentKiB()
    helper.runUntil(function () return server:stats().sessions == 2 end, TIMEOUT + 10000)
    -- The memory goes back in turns of its own; in pages that others do not live in as well.
    local bound = flood.before + (most - flood.before) / 4
    pcall(helper.runUntil, function () return helper.residentKiB() < bound end)
    assert.is_true(helper.residentKiB() < bound, ('%d KiB before, %d at most, %d after')
      :format(flood.before, most, helper.residentKiB()))
    assertServed(server, flood)
    assert.is_true(most - flood.before > 150 * 1024, ('%d KiB'):format(most - flood.before))
    local stats = server:stats()
    assert.same({ COUNT, 0, 2 }, { stats.failures.ETIMEDOUT, stats.yielded, stats.connected })
  end)

  claim('does so when each host has as many handshakes as it may', function ()
    local server, flood = flooded(3)
    local stats = server:stats()
    assert.is_true(stats.yielded >= COUNT - 3 * 1000 or stats.failed > 0)
    assert.is_true(stats.sessions <= 3 * 1000 + 2)
    assertServed(server, flood)
  end)

  claim('does so when there are as many handshakes as there may be', function ()
    local server, flood = flooded(2500, { maxHandshakes = 500 })
    local stats = server:stats()
    assert.same({ COUNT - 500, 502 }, { stats.yielded, stats.sessions })
    assert.is_true(helper.residentKiB() - flood.before < 80 * 1024)
    assertServed(server, flood)
  end)
end)

describe('a server that all addresses of an IPv6 network come to', function ()
  it('takes them for one host', function ()
    if os.execute('unshare -n true 2>/dev/null') ~= 0 then
      return pending('this needs the right to make a network namespace')
    end
    local child = program.start('unshare', { '-n', 'sh', '-c', [[
      ip link set lo up
      { for n in $(seq 1 2000); do printf 'address add 2001:db8::%x/64 dev lo nodad\n' $n; done
        echo 'address add 2001:db8:0:1::1/64 dev lo nodad'; } | ip -6 -batch - || exit
      exec luajit spec/support/one_network.lua 2000
    ]] }, { LUA_PATH = package.path, LUA_CPATH = package.cpath })
    assert.equal(0, child:waitForEnd(20000), child.output)
    assert.equal('sessions 101 yielded 1900 other true\n', child.output)
  end)
end)
