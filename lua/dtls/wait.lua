--- Waiting as a coroutine does, and as a program without one: the first yields, the second runs the loop.

local loop = require('dtls/loop')
local options = require('dtls/options')
local uv = loop.uv

--- Those that wait for the same thing, in the order they came.
--- @class (private) dtls.Wait
--- @field private first integer of the places in the line
--- @field private last integer
local Wait = {}
Wait.__index = Wait

--- @return dtls.Wait
function Wait.new()
  return setmetatable({ first = 1, last = 0 }, Wait)
end

-- The coroutine that this runs in. Where the main program counts as one it is none that could be resumed.
local function current()
  local routine, isMain = coroutine.running()
  return not isMain and routine or nil
end

-- Goes on with whoever waits, here and now: what it sends goes along with what else this turn of the loop
-- sends. What it throws is the user's own, with the place it was thrown at.
local function resume(routine)
  local finished, err = coroutine.resume(routine)
  if finished then return end
  error(type(err) == 'string' and debug.traceback(routine, err) or err, 0)
end

-- Runs the loop until somebody has put an end to `waiting`, or nothing in it could.
local function runUntilOver(waiting)
  while not waiting.over do
    if not uv.run('once') and not waiting.over then waiting.over = 'nothing' end
  end
  -- Handles are given back in a turn of the loop, and this may have been the program's last wait: luv crashes
  -- where one is half given back at the end.
  uv.run('nowait')
end

--- Waits until it is woken, for `ms` milliseconds at most. Says what has ended it: `'woken'`, `'timeout'`, or
--- `'nothing'` where the loop that it ran came to an end.
---
--- Raises, in the name of `caller`, where nothing could go on: outside a coroutine while the loop is running,
--- and in one that has been the first to require luv.
---
--- @param caller string
--- @param ms? integer
--- @return 'woken'|'timeout'|'nothing'
function Wait:wait(caller, ms)
  local routine = current()
  if not routine and uv.loop_mode() then
    options.raise('%s: it would have to wait in a callback of the loop: call it in a coroutine, '
      .. 'coroutine.wrap(function () … end)()', caller)
  end
  if routine and routine == loop.home then
    options.raise("%s: this coroutine was the first to require luv, which calls back on it, so it cannot wait: "
      .. "require('luv') outside it before", caller)
  end
  local waiting = { routine = routine }
  self.last = self.last + 1
  self[self.last] = waiting
  if ms then
    -- The clock stands still while the loop does.
    if not routine then loop.refresh() end
    waiting.timer = uv.new_timer()
    waiting.timer:start(ms, 0, function () self:_finish(waiting, 'timeout') end)
  end
  if routine then coroutine.yield() else runUntilOver(waiting) end
  return waiting.over
end

--- @private
function Wait:_finish(waiting, how)
  waiting.over = how
  if waiting.timer then waiting.timer:close() end
  if waiting.routine then resume(waiting.routine) end
end

--- Wakes the one that has waited longest. Says whether there was one.
--- @return boolean
function Wait:wake()
  while self.first <= self.last do
    local waiting = self[self.first]
    self[self.first] = nil
    self.first = self.first + 1
    if not waiting.over then
      self:_finish(waiting, 'woken')
      return true
    end
  end
  return false
end

--- Wakes all that wait now.
function Wait:wakeAll()
  local last = self.last
  while self.first <= last and self:wake() do end
end

--- Gives the loop a turn, where it is this program that has to: what has come is heard, what is due is done.
function Wait.turn()
  if not current() and not uv.loop_mode() then uv.run('nowait') end
end

return Wait
