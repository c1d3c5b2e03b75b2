local Deadlines = require('dtls/deadlines')

-- What it must equal: a list that is searched.
local function earliest(items)
  local at
  for item in pairs(items) do
    if item._due and (not at or item._due < at) then at = item._due end
  end
  return at
end

describe('deadlines', function ()
  it('have nothing due while there are none', function ()
    local deadlines = Deadlines.new()
    assert.is_nil(deadlines:next())
    assert.is_nil(deadlines:take(math.huge))
  end)

  it('come out when they are due, earliest first', function ()
    local deadlines = Deadlines.new()
    for _, at in ipairs({ 30, 10, 20, 10 }) do deadlines:set({ name = at }, at) end
    local order = {}
    assert.is_nil(deadlines:take(9))
    for _ = 1, 3 do order[#order + 1] = deadlines:take(20).name end
    assert.same({ 10, 10, 20 }, order)
    assert.is_nil(deadlines:take(20))
    assert.equal(30, deadlines:next())
  end)

  it('may move earlier, later and away', function ()
    local deadlines = Deadlines.new()
    local item = {}
    deadlines:set(item, 20)
    deadlines:set(item, 10)
    assert.equal(10, deadlines:next())
    deadlines:set(item, 50)
    assert.is_nil(deadlines:take(49))
    assert.equal(item, deadlines:take(50))
    deadlines:set(item, 60)
    deadlines:set(item, nil)
    assert.is_nil(deadlines:next())
    deadlines:remove(item)
  end)

  it('cost no work while they only move later', function ()
    local deadlines = Deadlines.new()
    local items = {}
    for index = 1, 10 do
      items[index] = {}
      deadlines:set(items[index], index)
    end
    local slot = items[1]._slot
    deadlines:set(items[1], 100)
    assert.equal(slot, items[1]._slot)
  end)

  it('are what a list that is searched would say, whatever is done to them', function ()
    math.randomseed(42)
    local deadlines, items, now = Deadlines.new(), {}, 0
    for _ = 1, 300 do items[{}] = true end
    local list = {}
    for item in pairs(items) do list[#list + 1] = item end
    for _ = 1, 20000 do
      local item = list[math.random(#list)]
      local choice = math.random(10)
      if choice == 1 then
        deadlines:set(item, nil)
      elseif choice <= 8 then
        deadlines:set(item, now + math.random(1000))
      else
        now = now + math.random(50)
        local taken = deadlines:take(now)
        while taken do
          assert.truthy(taken._due <= now)
          taken._due = nil
          taken = deadlines:take(now)
        end
        local expected = earliest(items)
        assert.truthy(not expected or expected > now)
        -- It may be looked at too early, never too late.
        assert.truthy(not expected or deadlines:next() <= expected)
      end
    end
    for _, item in ipairs(list) do deadlines:set(item, nil) end
    assert.equal(0, deadlines.size)
    assert.is_nil(next(deadlines, 'size') or deadlines[1])
  end)
end)
