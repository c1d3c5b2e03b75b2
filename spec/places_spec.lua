local Line = require('dtls/line')
local Places = require('dtls/places')
local helper = require('spec.helper')
local interpreted = require('dtls/interpreted')

-- Any order of events, against a list that is looked through from end to end.
describe('the places of a server', function ()
  it('are counted by host and by age, whatever happens', function ()
    math.randomseed(20261121)
    local places = Places.new({ maxSessions = 1e6, maxSessionsPerHost = 1e6, maxHandshakes = 1e6 })
    local all = {}
    local function pick() return all[math.random(#all)] end
    local function drop(session)
      for index, each in ipairs(all) do if each == session then return table.remove(all, index) end end
    end
    local steps = {
      function ()
        local host = 'host ' .. math.random(5)
        local session = { host = host, _ip = host, open = false }
        places:begin(session, session.host, false, 0)
        all[#all + 1] = session
      end,
      -- A restart beside an established session.
      function ()
        local older = pick()
        if not older or not older.open or older.restart then return end
        local session = { host = older._ip, _ip = older._ip, open = false, older = older }
        places:begin(session, session.host, true, 0)
        older.restart = session
        all[#all + 1] = session
      end,
      function ()
        local session = pick()
        if not session or session.open then return end
        places:establish(session, session.older)
        session.open = true
        local older = session.older
        if older then
          places:leave(drop(older))
          session.older = nil
        end
      end,
      function ()
        local session = pick()
        if not session then return end
        local heir = session.restart
        if heir then
          places:inherit(session, heir)
          heir.older = nil
          -- The youngest from now on.
          drop(heir)
          all[#all + 1] = heir
        end
        if session.older then session.older.restart = nil end
        places:leave(session)
        drop(session)
      end,
      -- A peer that moves counts where it did, until it restarts where it is.
      function ()
        local session = pick()
        if not session or not session.open or session.restart then return end
        session._ip = 'host ' .. math.random(5)
      end,
    }
    for _ = 1, 3000 / helper.slowness do
      steps[math.random(#steps)]()
      if #all > 40 then steps[4]() end
      local count, hosts, oldest, restarts, firsts = 0, {}, nil, 0, {}
      for _, each in ipairs(all) do
        if each.older then
          restarts = restarts + 1
        else
          count = count + 1
          hosts[each.host] = (hosts[each.host] or 0) + 1
          if not each.open then
            oldest = oldest or each
            firsts[each.host] = firsts[each.host] or each
          end
        end
      end
      assert.equal(count, places.places)
      assert.equal(restarts, places.restarts.count)
      assert.equal(oldest, places.newcomers.first)
      for index = 1, 5 do
        local host = 'host ' .. index
        local there = places.hosts[host]
        assert.equal(hosts[host], there and there.places)
        assert.equal(firsts[host], there and there.first)
      end
    end
    while #all > 0 do steps[4]() end
    assert.is_nil(next(places.hosts))
    assert.same({ 0, 0, 0 }, { places.places, places.newcomers.count, places.restarts.count })
  end)

  it('have the older of a newcomer and a restarting peer yield', function ()
    local places = Places.new({ maxHandshakes = 2 })
    local known, restart, newcomer = {}, {}, {}
    places:begin(known, 'a', false, 0)
    places:establish(known)
    places:begin(restart, 'a', true, 0)
    places:begin(newcomer, 'b', false, 0)
    assert.equal(restart, places:surplus('c', 1, 1))
    places:leave(restart)
    assert.is_nil(places:surplus('c', 1, 1))
    places:begin(restart, 'a', true, 0)
    assert.equal(newcomer, places:surplus('c', 1, 1))
  end)
end)

describe('the rate of a host', function ()
  -- How many of `count` handshakes a host may begin at a time.
  local function begin(places, host, now, count)
    for begun = 0, count - 1 do
      if places:refusal(host, false, now) then return begun end
      places:begin({}, host, false, now)
    end
    return count
  end

  for _, rate in ipairs({ 1, 3, 7, 1000, 3001 }) do
    it(('of %d is as many in a second, and no more, however they are spread'):format(rate), function ()
      local places = Places.new({ maxHandshakeRate = rate, maxSessionsPerHost = 1e6, maxSessions = 1e6 })
      assert.equal(rate, begin(places, 'a', 5000, rate + 5))
      assert.equal(0, begin(places, 'a', 5000 + math.floor(1000 / rate) - 1, rate > 999 and 0 or 5))
      assert.equal(rate, begin(places, 'b', 5000, rate + 5))
      local later = 0
      for now = 5001, 7000 do later = later + begin(places, 'a', now, rate) end
      assert.is_true(math.abs(later - 2 * rate) <= 1, later)
      -- All that is due has been had. After a second of nothing it is full again.
      assert.equal(rate, begin(places, 'a', 8001, rate + 5))
    end)
  end

  it('is known for two seconds at most, and of so many hosts', function ()
    if helper.slowness > 1 then return pending('it takes minutes with a collector that never rests') end
    local places = Places.new({ maxHandshakeRate = 1, maxSessions = 1e6 })
    local function clocks()
      local count = 0
      for _, each in ipairs({ places.clocks, places.earlier }) do
        for _ in pairs(each) do count = count + 1 end
      end
      return count
    end
    interpreted(clocks)
    local begun
    for index = 1, 200000 do
      local session = {}
      places:begin(session, 'host ' .. index, false, 0)
      places:leave(session)
      begun = index
    end
    assert.is_true(clocks() <= 2 * 65536, clocks())
    assert.equal(0, begin(places, 'host ' .. begun, 900, 1))
    begin(places, 'later', 1000, 1)
    begin(places, 'later', 2000, 1)
    assert.equal(2, clocks())
  end)
end)

describe('a line', function ()
  it('is left from either end and from the middle', function ()
    for _, order in ipairs({ { 1, 2, 3 }, { 3, 2, 1 }, { 2, 1, 3 }, { 2, 3, 1 } }) do
      local line, items = Line.new('_before', '_after'), { {}, {}, {} }
      for _, item in ipairs(items) do line:join(item) end
      local left = { true, true, true }
      for _, index in ipairs(order) do
        line:leave(items[index])
        left[index] = nil
        assert.same({}, items[index])
        local first = left[1] and items[1] or left[2] and items[2] or left[3] and items[3] or nil
        assert.equal(first, line.first)
      end
      assert.equal(0, line.count)
    end
  end)
end)
