--- The user's own errors: kept until everything is in order, and then raised as they were.

local guard = {}

-- An error value that is no string is the user's own, and is left alone.
local function traceback(err)
  return type(err) == 'string' and debug.traceback(err, 2) or err
end

-- LuaJIT's xpcall passes arguments on, plain Lua 5.1's does not.
local protected = jit and function (fn, ...) return xpcall(fn, traceback, ...) end or pcall

--- Calls `fn(...)`. Returns the first failure, which is `failure` where there was one before, and
--- then whether the call finished and what it returned.
function guard.call(failure, fn, ...)
  local finished, result = protected(fn, ...)
  if finished then return failure, true, result end
  return failure or { result }, false
end

--- Raises what has failed, if anything has.
function guard.raise(failure)
  if failure then error(failure[1], 0) end
end

return guard
