-- doc/errors.md, compared with what the code can say.

local helper = require('spec.helper')
local lfs = require('lfs')

local page = helper.read('doc/errors.md'):match('^(.-)\n## When the two ends do not agree')

-- The rows of its tables by the names in their first cell: what stands in the others.
local rows = {}
for names, cause, remedy in page:gmatch('\n| (`E[^|]*`) |([^\n]-)| ([^\n|]*[^\n]-) |%f[\n]') do
  for name in names:gmatch('`(E[%u_]+)`') do rows[name] = { cause = cause, remedy = remedy } end
end

-- A name that is only looked at, never told: a socket that is full has its datagrams wait.
local untold = { EAGAIN = true }

local function told()
  local names = {}
  for name in helper.read('src/error.rs'):gmatch('=> "(E%u+)"') do names[name] = 'src/error.rs' end
  for file in lfs.dir('lua/dtls') do
    if file:match('%.lua$') then
      for name in helper.read('lua/dtls/' .. file):gmatch('[\'"](E[%u_]+)[\'":]') do
        if not untold[name] then names[name] = file end
      end
    end
  end
  return names
end

describe('doc/errors.md', function ()
  for name, file in pairs(told()) do
    it(('says of %s (%s) what it comes from and what to do about it'):format(name, file), function ()
      local row = rows[name]
      assert.truthy(row, 'there is no row for it')
      assert.truthy(#row.cause > 20 and #row.remedy > 10, 'its row is empty')
    end)
  end

  it('has one row for each name', function ()
    local seen = {}
    for names in page:gmatch('\n| (`E[^|]*`) |') do
      for name in names:gmatch('`(E[%u_]+)`') do
        assert.is_nil(seen[name], name .. ' has two')
        seen[name] = true
      end
    end
  end)
end)
