--- Waiting as a coroutine does, and as a program without one: the first yields, the second runs the loop.

local loop = require('dtls/loop')
local options = require('dtls/options')
local uv = loop.uv

--- Those that wait for the same thing, in the order they came.
--- @class (private) dtls.Wait
local Wait = {}
Wait.__index = Wait

--- @return dtls.Wait
function Wait.new()
  return setmetatable({}, Wait)
end

-- The coroutine that this runs in. Where the main program counts as one it is none that could be resumed.
local function current()
  local routine, isMain = coroutine.running()
  return not isMain and routine or nil
end

--- Begins or goes on with a coroutine, here and now: what it sends goes along with what else this turn of the
--- loop sends. What it throws is the user's own, with the place it was thrown at.
--- @param routine thread
function Wait.resume(routine)
  local finished, err = coroutine.resume(routine)
  if finished then return end
  error(type(err) == 'string' and debug.traceback(routine, err) or err, 0)
end

-- Runs the loop until somebody has put an end to `waiting`. Says whether nothing in it could.
local function runUntilOver(waiting)
  local isAlive = true
  while isAlive and not waiting.over do isAlive = uv.run('once') end
  -- Handles are given back in a turn of the loop, and this may have been the program's last wait: luv crashes
  -- where one is half given back at the end.
  uv.run('nowait')
  return not waiting.over
end

-- Those that wait for one thing are few.
local function leave(line, waiting, how)
  for place, each in ipairs(line) do
    if each == waiting then
      table.remove(line, place)
      break
    end
  end
  waiting.over = how
  if waiting.timer then waiting.timer:close() end
end

-- Whether somebody waits in earnest. In plain Lua a coroutine that could not yield is in the line as well.
local function isThere(waiting)
  return not waiting.routine or coroutine.status(waiting.routine) == 'suspended'
end

local function finish(line, waiting, how)
  leave(line, waiting, how)
  if waiting.routine and isThere(waiting) then Wait.resume(waiting.routine) end
end

-- LuaJIT can yield out of a pcall, and so find out that it cannot out of something else.
local yield = jit and function () return pcall(coroutine.yield) end
  or function () return true, coroutine.yield() end

--- Raises, in the name of `caller`, where nothing could go on: outside a coroutine while the loop is running,
--- and in one that has been the first to require luv. To be called before what would be left half done.
---
--- @param caller string
--- @return thread? routine the coroutine that would wait
function Wait.check(caller)
  local routine = current()
  if not routine and uv.loop_mode() then
    options.raise('%s: it would have to wait in a callback of the loop: call it in a coroutine, '
      .. 'coroutine.wrap(function () … end)()', caller)
  end
  if routine and routine == loop.home then
    options.raise("%s: this coroutine was the first to require luv, which calls back on it, so it cannot "
      .. "wait: require('luv') outside it before", caller)
  end
  return routine
end

--- Waits until it is woken, or until `deadline` of the loop's clock. Says what has ended it: `'woken'`,
--- `'timeout'`, or `'nothing'` where the loop that it ran has come to its end.
---
--- Raises as `Wait.check` does, and where a coroutine cannot yield.
---
--- @param caller string
--- @param deadline? integer
--- @return 'woken'|'timeout'|'nothing'
function Wait:wait(caller, deadline)
  local routine = Wait.check(caller)
  local waiting = { routine = routine }
  self[#self + 1] = waiting
  if deadline then
    local ms = math.max(deadline - loop.now(), 0)
    waiting.timer = uv.new_timer()
    waiting.timer:start(ms, 0, function () finish(self, waiting, 'timeout') end)
  end
  if routine then
    repeat
      local yielded, err = yield()
      if not yielded then
        leave(self, waiting, 'nothing')
        options.raise('%s: it would have to wait in a function that C calls, and cannot: %s', caller, err)
      end
    until waiting.over
  elseif runUntilOver(waiting) then
    finish(self, waiting, 'nothing')
  end
  return waiting.over
end

--- Waits until `ready()`, which is looked at whenever it is woken; for `ms` milliseconds at most, where they
--- are given. Fails with ETIMEDOUT then, and with ECANCELED where the loop that it ran has come to its end.
--- `missing` says what has not happened.
---
--- @param caller string
--- @param ready fun(): any
--- @param ms? integer 0 for a look and no more
--- @param missing? string
--- @return true|nil, string?, string?
function Wait:await(caller, ready, ms, missing)
  if ready() then return true end
  if ms == 0 then Wait.turn() end
  local deadline = ms and Wait.now() + ms
  local how
  while not ready() do
    if ms == 0 or how == 'timeout' then
      return nil, ('ETIMEDOUT: %s within %d ms'):format(missing, ms), 'ETIMEDOUT'
    elseif how == 'nothing' then
      return nil, 'ECANCELED: the loop has come to its end, and nothing more can happen', 'ECANCELED'
    end
    how = self:wait(caller, deadline)
  end
  return true
end

--- Wakes the one that has waited longest. Says whether there was one.
--- @return boolean
function Wait:wake()
  local first = self[1]
  while first and not isThere(first) do
    leave(self, first, 'nothing')
    first = self[1]
  end
  if not first then return false end
  finish(self, first, 'woken')
  return true
end

--- Wakes all that wait now, and none that comes meanwhile.
function Wait:wakeAll()
  for _ = 1, #self do self:wake() end
end

--- The loop's clock, brought up to date: it stands still while the loop does, and while a callback works.
--- @return integer milliseconds
function Wait.now()
  loop.refresh()
  return loop.now()
end

--- Gives the loop a turn, where it is this program that has to: what has come is heard, what is due is done.
function Wait.turn()
  if not current() and not uv.loop_mode() then uv.run('nowait') end
end

return Wait
