-- several-processes.lua: they share a port and the secrets, and they live and end together. Linux.

local ends = require('spec.support.ends')
local example = require('spec.support.example')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local uv = helper.uv

local WORKERS = 3

local first, port, pids

before_each(function ()
  first = example.start('several-processes.lua', '127.0.0.1', 0, WORKERS)
  first:waitFor(('process %d+ listens on 127%.0%.0%.1 port %d+\n'):rep(WORKERS))
  port, pids = example.portOf(first), {}
  for pid in first.output:gmatch('process (%d+) listens') do pids[#pids + 1] = tonumber(pid) end
end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

-- Waits until none of the workers is there. One that has ended, and that nobody has been told of, has no
-- command line.
local function waitForEnds()
  helper.runUntil(function ()
    for _, pid in ipairs(pids) do
      local file = io.open('/proc/' .. pid .. '/cmdline')
      local words = file and file:read('*a') or ''
      if file then file:close() end
      if words ~= '' then return false end
    end
    return true
  end)
end

-- Connects, and says who answers.
local function visit(kept)
  local session = ends.opened(ends.connect(port, { ca = helper.localhost().cert, session = kept }))
  local pid, text = ends.asked(session, 'hello'):match('^Process (%d+): (.*)$')
  assert.equal('hello', text)
  return tonumber(pid), session
end

it('several processes share one port, and take each other\'s sessions', function ()
  local met, count, kept = {}, 0, nil
  for _ = 1, 200 do
    local pid, session = visit(kept)
    assert.equal(kept ~= nil, session:isSessionReused())
    kept = session:getSession()
    if not met[pid] then met[pid], count = true, count + 1 end
    if count == WORKERS then break end
  end
  for _, pid in ipairs(pids) do assert.is_true(met[pid], 'nobody has met ' .. pid) end
end)

it('all of them end at an interrupt, in good order', function ()
  local _, session = visit()
  assert.equal(0, example.interrupt(first))
  waitForEnds()
  helper.runUntil(function () return session.seen[#session.seen][1] == 'close' end)
  assert.same({ 'close', 'closed' }, session.seen[#session.seen])
end)

it('an interrupt of the whole group, as a terminal sends it, is left to the first', function ()
  for _, pid in ipairs(pids) do uv.kill(pid, 'sigint') end
  visit()
  assert.equal(0, example.interrupt(first))
  waitForEnds()
end)

it('none is left when the first is killed', function ()
  first:kill('sigkill')
  waitForEnds()
end)

it('one that is killed takes all with it', function ()
  uv.kill(pids[2], 'sigkill')
  assert.equal(1, first:waitForEnd())
  waitForEnds()
end)

it('what a worker is called with is no secret', function ()
  for _, pid in ipairs(pids) do
    local words = {}
    for word in helper.read('/proc/' .. pid .. '/cmdline'):gmatch('[^%z]+') do words[#words + 1] = word end
    assert.same({ '127.0.0.1', tostring(port), 'worker', 'cert.pem', 'key.pem' }, { unpack(words, 3) })
  end
end)
