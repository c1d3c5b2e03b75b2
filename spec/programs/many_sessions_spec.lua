-- Many sessions on one endpoint: what bench/sessions.lua finds. DTLS_SPEC_SESSIONS says how many, 2000
-- without; 20000 take a minute.

local helper = require('spec.helper')
local program = require('spec.support.program')

local ASKED = tonumber(os.getenv('DTLS_SPEC_SESSIONS'))
local COUNT = ASKED or 2000
-- Messages a round, and rounds.
local EFFORT = ASKED and { 4000, 7 } or { 2000, 2 }
-- How much more processor time a message may take than with a hundred sessions. What it takes more is spent
-- waiting for memory: flat out, the hundred sessions never leave the processor's cache. Whoever asks for a
-- number has a machine that does nothing else.
local MOST_TIMES = ASKED and { steady = 1.2, ['flat out'] = 2 } or { steady = 2.5, ['flat out'] = 3 }
-- What a session may occupy in the server's process, in KiB.
local MOST_MEMORY = 96

describe('thousands of sessions', function ()
  local output

  setup(function ()
    local bench = program.start('luajit', { 'bench/sessions.lua', COUNT, unpack(EFFORT) }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = '',
    })
    local status = bench:waitForEnd(30000 + COUNT * 10)
    output = bench.output
    assert.equal(0, status, output)
  end)
  teardown(function ()
    program.stopAll()
    helper.run()
  end)

  local function numbers(pattern)
    local found = { output:match(pattern) }
    assert.truthy(found[1], output)
    for index, text in ipairs(found) do found[index] = tonumber(text) end
    return unpack(found)
  end

  it('are established, and echo at random', function ()
    assert.truthy(output:find('\n' .. COUNT .. ' sessions after ', 1, true), output)
    for _, load in ipairs({ 'steady', 'flat out' }) do
      local lost = numbers('\n' .. load .. ' +' .. COUNT .. ' +[%d.]+ us +[%d.]+ us +(%d+)\n')
      assert.is_true(lost < 40, output)
    end
  end)

  it('cost a message little more than a hundred do', function ()
    for load, most in pairs(MOST_TIMES) do
      local ratio = numbers('\n' .. load .. ' +ratio +([%d.]+)\n')
      assert.is_true(ratio < most, output)
    end
  end)

  it('occupy a bounded memory each', function ()
    local idle, busy = numbers('memory +([%d.]+) KiB a session when idle, ([%d.]+) after')
    assert.is_true(idle < MOST_MEMORY and busy < MOST_MEMORY, output)
  end)

  it('have one timer', function ()
    assert.equal(1, (numbers('timers +(%d+)\n')))
  end)

  it('are all closed with their endpoint, in time', function ()
    local count, seconds, sent, refused, left = numbers('closing +(%d+) sessions in ([%d.]+) s, '
      .. '(%d+) datagrams sent, (%d+) refused by the socket, (%d+) sessions left')
    assert.same({ COUNT, COUNT, 0, 0 }, { count, sent, refused, left })
    assert.is_true(seconds < 5, output)
  end)
end)
