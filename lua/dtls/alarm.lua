--- What a session wants to be woken for beside the core's own deadlines: in its endpoint's heap with them,
--- so that there is one timer for all.

local Session = require('dtls/session')

--- One reason to be woken.
--- @class (private) dtls.Alarm
--- @field session dtls.Session
--- @field ring fun(self: dtls.Alarm, now: integer) is called when it is due; it may be late, and what it was
---   set for may have been taken back meanwhile
local Alarm = {}
Alarm.__index = Alarm

function Alarm.new(session, ring)
  local self = setmetatable({ session = session, ring = ring }, Alarm)
  local alarms = session._alarms or {}
  alarms[#alarms + 1] = self
  session._alarms = alarms
  return self
end

--- Sets when it is due, in milliseconds on the loop's clock; nil for never. Does nothing for a session that
--- is not open.
function Alarm:set(at)
  if not self:isWanted() then return end
  local endpoint = self.session._endpoint
  endpoint._deadlines:set(self, at)
  endpoint:_arm()
end

--- @private
function Alarm:isWanted()
  local session = self.session
  return session._state == 'open' and session._core and not session._closing
end

--- @private It is due. By this name the endpoint tells alarms from sessions, which users may give fields.
function Alarm:_wake(now)
  if self:isWanted() then self:ring(now) end
end

--- @private Wakes nobody any more.
function Session:_disarm()
  local alarms = self._alarms
  for index = 1, alarms and #alarms or 0 do self._endpoint._deadlines:remove(alarms[index]) end
end

return Alarm
