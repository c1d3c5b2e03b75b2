--- Control-C and its like: once they ask the program to end, the second time the system ends it.

local uv = require('dtls/loop').uv

local signals = {}

local watched

--- Calls back when the program is asked to end. Not by SIGHUP, which nohup(1) may have had ignored.
--- @param callback fun()
function signals.watch(callback)
  watched = {}
  for index, name in ipairs({ 'sigint', 'sigterm' }) do
    watched[index] = uv.new_signal()
    watched[index]:start(name, function ()
      signals.ignore()
      callback()
    end)
  end
end

--- Has writing fail where nobody reads any more: a command that has closed its input is no reason to end.
function signals.survivePipes()
  local pipe = uv.new_signal()
  pipe:start('sigpipe', function () end)
  pipe:unref()
end

--- Leaves those of `watch` to the system.
function signals.ignore()
  for _, each in ipairs(watched or {}) do each:close() end
  watched = nil
end

return signals
