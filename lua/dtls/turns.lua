--- Work that may wait its turn: a little of it in each of the loop's turns, so that a burst of it keeps
--- neither sockets nor timers waiting.

local guard = require('dtls/guard')
local loop = require('dtls/loop')

local turns = {}

--- How much of a turn it may take, in milliseconds. What has been begun is ended, so it is a little more: a
--- step of a handshake takes a third of a millisecond.
turns.budget = 1

local queue, first, last = {}, 1, 0
-- An idle handle runs once in each turn, and lets the loop not sleep meanwhile. (libuv up to 1.44 would run
-- a timer of 0 ms that its own callback starts again at once, and never come to the sockets.)
local idle
-- The turn that was worked in last, by the loop's clock, and for how long, in nanoseconds.
local turn, spent = -1, 0

-- A job may run the user's code, and that the loop: then this is called from within itself, and takes what
-- is left, since whoever runs the loop in a handler may wait for what another job brings. The call outside
-- may find nothing more in the queue, and the handle gone.
local function work()
  local begin, failure = loop.uv.hrtime(), nil
  while first <= last do
    local job = queue[first]
    queue[first] = nil
    first = first + 1
    failure = guard.call(failure, job.fn, job.a, job.b, job.c, job.d, job.e, job.f)
    spent = loop.uv.hrtime() - begin
    if spent >= turns.budget * 1e6 then break end
  end
  turn = loop.now()
  if idle and first > last then
    idle:close()
    idle, first, last = nil, 1, 0
  end
  guard.raise(failure)
end

--- Calls `fn(a, b, c, d, e, f)` in a turn to come, after all that was added before.
function turns.add(fn, a, b, c, d, e, f)
  last = last + 1
  queue[last] = { fn = fn, a = a, b = b, c = c, d = d, e = e, f = f }
  if idle then return end
  idle = loop.uv.new_idle()
  idle:start(work)
end

--- Calls `fn(a, b, c, d, e, f)` at once where this turn has time for it and nothing else waits; in a turn to
--- come otherwise.
function turns.run(fn, a, b, c, d, e, f)
  local now = loop.now()
  if now ~= turn then turn, spent = now, 0 end
  if idle or spent >= turns.budget * 1e6 then return turns.add(fn, a, b, c, d, e, f) end
  local begin = loop.uv.hrtime()
  fn(a, b, c, d, e, f)
  spent = spent + (loop.uv.hrtime() - begin)
end

return turns
