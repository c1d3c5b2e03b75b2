--- Work that may wait its turn: a few milliseconds of it in each of the loop's turns, so that sockets and
--- timers are not kept waiting by a burst of it.

local guard = require('dtls/guard')
local loop = require('dtls/loop')

local turns = {}

--- How much of a turn it may take, in milliseconds; what has been begun is ended.
turns.budget = 5

local queue, first, last = {}, 1, 0
-- An idle handle runs once in each turn, and lets the loop not sleep meanwhile. (libuv up to 1.44 would run
-- a timer of 0 ms that its own callback starts again at once, and never come to the sockets.)
local idle

local function work()
  local endsAt = loop.uv.hrtime() + turns.budget * 1e6
  local failure
  repeat
    local job = queue[first]
    queue[first] = nil
    first = first + 1
    failure = guard.call(failure, job[1], job[2], job[3], job[4])
  until first > last or loop.uv.hrtime() >= endsAt
  if first > last then
    idle:close()
    idle, first, last = nil, 1, 0
  end
  guard.raise(failure)
end

--- Calls `fn(a, b, c)` in a turn of the loop, after all that was added before.
function turns.add(fn, a, b, c)
  last = last + 1
  queue[last] = { fn, a, b, c }
  if idle then return end
  idle = loop.uv.new_idle()
  idle:start(work)
end

return turns
