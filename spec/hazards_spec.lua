-- doc/hazards.md, whose tests must be there, and the hazard that has no other place.

local cited = require('spec.support.cited')
local helper = require('spec.helper')
local hello = require('spec.support.hello')
local program = require('spec.support.program')

describe('the page of hazards', function ()
  local rows = {}
  for line in helper.read('doc/hazards.md'):gmatch('[^\n]+') do
    local hazard, proofs = line:match('^| ([^|]+) | [^|]+ | ([^|]+) |$')
    if hazard and hazard ~= 'what goes wrong' then rows[#rows + 1] = { hazard = hazard, proofs = proofs } end
  end

  it('has a test for each, which is where it says', function ()
    assert.is_true(#rows > 25)
    for _, row in ipairs(rows) do
      local count = 0
      local rest = row.proofs:gsub('`([^`]+)` "([^"]+)"', function (file, title)
        assert(cited.exists(file, title), ('%s: %s has no test %q'):format(row.hazard, file, title))
        count = count + 1
        return ''
      end)
      assert(count > 0, row.hazard .. ' has no test')
      assert.equal('', (rest:gsub('[; ]', '')), row.hazard)
    end
  end)

  it('would say which one is missing', function ()
    local title = 'has a test for each, which is not where' .. ' it says'
    assert.is_false(cited.exists('spec/hazards_spec.lua', title))
    assert.is_false(cited.exists('tests/memory.rs', 'no_stranger'))
  end)
end)

describe('a flood', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('junk is not logged above debug', function ()
    local server = program.start('luajit', { 'examples/echo-server.lua', '127.0.0.1', 0 }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = 'info',
    })
    local port = tonumber((server:waitFor('listening on .- port (%d+)')))
    local before = server.output
    local stranger = helper.uv.new_udp()
    for index = 1, 100 do
      local datagram = index % 2 == 0 and 'junk' or hello.datagram({ random = ('r'):rep(32) })
      stranger:try_send(datagram, '127.0.0.1', port)
    end
    stranger:close()
    -- What it does for a real client comes behind all that.
    local client = helper.connect(port, { rejectUnauthorized = false })
    local first = server:waitFor('dtls (%l+) ')
    assert.equal('info', first)
    assert.matches('^dtls info  connected ', server.output:sub(#before + 1))
    client:destroy()
  end)
end)
