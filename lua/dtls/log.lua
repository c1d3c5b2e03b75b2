--- Lines on standard error, as many as the environment asks for: `DTLS_LOG=error`, `warn`, `info`,
--- `debug` or `trace`. Without it, none.

local levels = { error = 1, warn = 2, info = 3, debug = 4, trace = 5 }

local log = {}

local threshold = levels[(os.getenv('DTLS_LOG') or ''):lower()] or 0

for name, level in pairs(levels) do
  if level > threshold then
    log[name] = false
  else
    -- Guard the call with `if log.debug then`: then its arguments cost nothing when it is off.
    log[name] = function (format, ...)
      -- One write a line: several processes may have the same standard error.
      io.stderr:write(('dtls %-5s %s\n'):format(name, format:format(...)))
    end
  end
end

return log
