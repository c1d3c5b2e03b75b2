--- The event loop, wherever this runs.

local guard = require('dtls/guard')

-- Luvit preloads its loop as `uv`, and an outer `luv` on the path would be another loop.
local inLuvit = package.loaded.uv or package.preload.uv
local isFirst = not (inLuvit or package.loaded.luv)
local uv = require(inLuvit and 'uv' or 'luv')

-- luv calls back on whatever thread it was first required in: Luvit's main one, as it should be.
local routine, isMain = coroutine.running()

local loop = {
  uv = uv,
  --- The coroutine on which luv calls back, where it is one: it must live, and cannot wait.
  home = isFirst and not isMain and routine or nil,
}

--- The loop's monotonic clock, in whole milliseconds.
--- @return integer
function loop.now()
  return uv.now()
end

--- Brings the clock up to date: before `uv.run` it stands still while a script starts up.
function loop.refresh()
  uv.update_time()
end

-- What is to be called in the loop's next turn, in order; nil while there is nothing.
local waiting

local function callAll(calls)
  local failure
  for index = 1, calls.count do
    local call = calls[index]
    failure = guard.call(failure, call.fn, unpack(call, 1, call.count))
  end
  guard.raise(failure)
end

--- Calls `fn(...)` from the loop's next turn.
function loop.defer(fn, ...)
  if not waiting then
    local calls, timer = { count = 0 }, uv.new_timer()
    timer:start(0, 0, function ()
      timer:close()
      waiting = nil
      callAll(calls)
    end)
    waiting = calls
  end
  waiting.count = waiting.count + 1
  waiting[waiting.count] = { fn = fn, count = select('#', ...), ... }
end

return loop
