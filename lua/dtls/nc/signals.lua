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

--- Leaves them to the system.
function signals.ignore()
  for _, each in ipairs(watched or {}) do each:close() end
  watched = nil
end

return signals
