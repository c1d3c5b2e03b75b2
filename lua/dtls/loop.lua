--- The event loop, wherever this runs.

-- Luvit preloads its loop as `uv`, and an outer `luv` on the path would be another loop.
local inLuvit = package.loaded.uv or package.preload.uv
local uv = require(inLuvit and 'uv' or 'luv')

local loop = { uv = uv }

--- The loop's monotonic clock, in whole milliseconds.
--- @return integer
function loop.now()
  return uv.now()
end

--- Brings the clock up to date: before `uv.run` it stands still while a script starts up.
function loop.refresh()
  uv.update_time()
end

--- Calls `fn(...)` from the loop's next turn.
function loop.defer(fn, ...)
  local timer, count, arguments = uv.new_timer(), select('#', ...), { ... }
  timer:start(0, 0, function ()
    timer:close()
    fn(unpack(arguments, 1, count))
  end)
end

return loop
