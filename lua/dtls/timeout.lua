--- `session:setTimeout`, as the sockets of Luvit and Node have it: tells of silence, and ends nothing.
---
--- A message costs next to nothing by it. What was received last the core knows anyway, and is asked only
--- when the time has come: then the alarm is put off to what is left, as often as need be. After its event
--- it sleeps, out of the heap, until there is traffic: of that a message has to look at one field.

local Alarm = require('dtls/alarm')
local Session = require('dtls/session')
local loop = require('dtls/loop')
local options = require('dtls/options')

local function ring(alarm, now)
  if alarm.ms == 0 then return end
  local session = alarm.session
  local at = math.max(session._core:heard_at(), alarm.since) + alarm.ms
  if at > now then return alarm:set(at) end
  session._asleep = alarm
  -- The handler may throw.
  session._endpoint:_arm()
  session:emit('timeout')
end

--- Has the session emit `'timeout'` when nothing has been received or sent for `ms` milliseconds, and again
--- after the next silence that follows traffic. Nothing else happens: whoever wants the session to end
--- closes it, or has the option `idleTimeout`. What is received counts if it is the peer's own, and what is
--- sent if the socket took it. Starts when the handshake is complete, whose own deadline is
--- `handshakeTimeout`.
---
--- Fails with ENOTCONN after the end.
---
--- @param ms integer 0 for no such event any more
--- @param callback? fun() a listener of the next `'timeout'`
--- @return true|nil, string?, string?
function Session:setTimeout(ms, callback)
  local caller = 'session:setTimeout'
  options.checkValue(caller, 'ms', 'duration', ms)
  options.checkCallback(caller, callback)
  if self._state == 'closed' then return nil, 'ENOTCONN: the session is closed', 'ENOTCONN' end
  if callback and ms > 0 then self:once('timeout', callback) end
  local alarm = self._quiet or Alarm.new(self, ring)
  self._quiet, self._asleep = alarm, nil
  alarm.ms = ms
  self:_stir()
  return true
end

--- @private There was traffic, or there is a new timeout: it is counted from now.
function Session:_stir()
  local alarm = self._quiet
  self._asleep = nil
  alarm.since = loop.now()
  alarm:set(alarm.ms > 0 and alarm.since + alarm.ms or nil)
end
