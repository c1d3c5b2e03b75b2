-- Work that waits its turn may run the user's code, which may do anything: run the loop, too.

local helper = require('spec.helper')
local turns = require('dtls/turns')
local uv = helper.uv

describe('work that runs the loop itself', function ()
  for _, row in ipairs({
    { 'while nothing else waits', 0 },
    { 'while more of it waits', 3 },
  }) do
    it(row[1] .. ' leaves nothing undone, and its failure comes out', function ()
      local errors, order = helper.errors(), {}
      turns.add(function ()
        order[#order + 1] = 'first'
        for _ = 1, 5 do uv.run('nowait') end
        assert.equal(row[2] + 1, #order)
        error('of the first')
      end)
      for index = 1, row[2] do turns.add(function () order[#order + 1] = index end) end
      helper.runUntil(function () return #errors > 0 end)
      helper.run()
      local expected = { 'first' }
      for index = 1, row[2] do expected[#expected + 1] = index end
      assert.same(expected, order)
      assert.equal(1, #errors, table.concat(errors, '\n'))
      assert.matches('of the first', errors[1])
    end)
  end

  it('may add more when all the rest is done', function ()
    local order = {}
    turns.add(function ()
      for _ = 1, 3 do uv.run('nowait') end
      turns.add(function ()
        order[#order + 1] = 'inner'
        turns.add(function () order[#order + 1] = 'last' end)
        uv.run()
        order[#order + 1] = 'outer'
      end)
    end)
    turns.add(function () order[#order + 1] = 'second' end)
    helper.run()
    assert.same({ 'second', 'inner', 'last', 'outer' }, order)
    turns.add(function () order[#order + 1] = 'later' end)
    helper.run()
    assert.equal('later', order[5])
  end)
end)
