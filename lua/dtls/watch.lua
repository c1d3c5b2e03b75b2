--- Who is told what goes over the wire: the user's own trace hook, and the log at `DTLS_LOG=trace`.

local log = require('dtls/log')
local trace = require('dtls/trace')

local ladder = log.trace and trace(function (line) log.trace('%s', line) end)

--- The hook of a session that was given `hook`, or none; nil where nobody watches.
--- @param hook? dtls.TraceHook
--- @return dtls.TraceHook?
return function (hook)
  if not (ladder and hook) then return hook or ladder or nil end
  return function (event, session)
    ladder(event, session)
    hook(event, session)
  end
end
