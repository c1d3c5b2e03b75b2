--- The option `keepAlive`: tells a peer that is gone from one that is quiet, as far as DTLS 1.2 allows.
---
--- TCP's keepalive works because TCP must answer. DTLS 1.2 has nothing left that must be:
---
--- - Heartbeats (RFC 6520) were made for this, and are gone from OpenSSL since 3.0, and from most peers.
--- - An empty record cannot be sent with OpenSSL, and is skipped without a word by whoever gets it.
--- - A repeated Finished makes an OpenSSL server repeat its last flight; but it counts them and ends the
---   session at the thirteenth, and a client, or the server of a resumed session, has no flight to repeat.
--- - HelloRequest and a renegotiating ClientHello are refused here and nearly everywhere, and should be
---   (RFC 9325 section 3.5). What answers a fresh ClientHello shows that somebody speaks DTLS there, and is
---   authenticated by nothing: whoever sees the hello can answer.
--- - ICMP's port unreachable comes only where the host is up and the program is not, and anybody can forge
---   it. It is reported (`'warning'`, ECONNREFUSED) and ends nothing: only the peer can end a session.
---
--- So what must be answered is a matter of the protocol inside, and only the application knows a message that
--- is: CoAP's ping (RFC 7252 section 4.3), a query of one's own. There is no default, since a message that
--- the other side does not expect could do anything.
---
--- Any authenticated record of the peer's counts as an answer, whatever it answers. So an application that is
--- being talked to never sends a probe; one that only talks itself does, as nothing else would tell it that
--- nobody listens. Neither forged datagrams nor replays put anything off.
---
--- Defaults: a probe after 30 s of silence, which is also what keeps the mapping of most NATs (they should
--- keep it for two minutes, RFC 4787 section 4.3, and some keep it for half of one); the peer is gone after
--- three probes without an answer, so after two minutes, since datagrams may be lost and three in a row,
--- half a minute apart, hardly are.

local Alarm = require('dtls/alarm')
local Session = require('dtls/session')
local drain = require('dtls/drain')
local loop = require('dtls/loop')
local options = require('dtls/options')

local INTERVAL_MS, PROBES = 30 * 1000, 3

--- What a quiet peer is asked: `doc/session.md#silence`.
--- @class dtls.KeepAlive
--- @field message string|fun(session: dtls.Session): string? what the peer answers, by the protocol that is
---   spoken inside. A function makes one for each probe, and returns nil for none this time, which counts
---   as none. Where it returns anything else, or the socket refuses the probe, that is a `'warning'` of the
---   endpoint's, or of a client that has a socket of its own
--- @field interval? integer after how much silence of the peer's, and of how much again, a probe is sent
---   (default: 30000)
--- @field probes? integer how many unanswered ones mean that it is gone (default: 3)

local function probe(session, message)
  if type(message) == 'function' then message = message(session) end
  if message == nil or not session._core then return false end
  if type(message) ~= 'string' then
    local err = ('EINVAL: keepAlive.message returned a %s, no string'):format(type(message))
    session._endpoint:_warn(err, 'EINVAL')
    return false
  end
  local sent, err, name = session:_send(message)
  drain.tell(session)
  -- A datagram that is lost here is as good as one that is lost elsewhere.
  if not sent and name ~= 'ENOTCONN' and session._endpoint then session._endpoint:_warn(err, name) end
  return true
end

local function ring(alarm, now)
  if not alarm.message then return end
  local session = alarm.session
  local heard = session._core:heard_at()
  if heard > alarm.heard then
    alarm.heard, alarm.unanswered, alarm.next = heard, 0, heard + alarm.interval
  end
  if alarm.next > now then return alarm:set(alarm.next) end
  if alarm.unanswered >= alarm.probes then
    session._core:give_up(('the peer has answered none of %d keepAlive messages, and said nothing for %d ms')
      :format(alarm.probes, now - heard), now)
    return drain.run(session._endpoint, session)
  end
  -- There is a next time, whatever the user's function does.
  alarm.next = now + alarm.interval
  alarm:set(alarm.next)
  if probe(session, alarm.message) then alarm.unanswered = alarm.unanswered + 1 end
end

--- Has the peer asked for a sign of life when it has said nothing for a while: see the option `keepAlive`,
--- which this replaces for one session. Where it gives none, the session ends with ETIMEDOUT and the reason
--- `timeout`.
---
--- Fails with ENOTCONN after the end.
---
--- @param given dtls.KeepAlive|false
--- @return true|nil, string?, string?
function Session:setKeepAlive(given)
  options.checkValue('session:setKeepAlive', 'keepAlive', 'keepAlive', given)
  if self._state == 'closed' then return nil, 'ENOTCONN: the session is closed', 'ENOTCONN' end
  self._keepAlive = given
  if self._state == 'open' then self:_beginKeepAlive() end
  return true
end

--- @private Begins to watch over the peer, as the session's options or its endpoint's have it.
function Session:_beginKeepAlive()
  local given = self._keepAlive
  if given == nil then given = self._endpoint._keepAlive end
  local alarm = self._keeper
  if not given then
    if alarm then
      alarm.message = nil
      alarm:set(nil)
    end
    return
  end
  alarm = alarm or Alarm.new(self, ring)
  self._keeper = alarm
  alarm.message, alarm.interval = given.message, given.interval or INTERVAL_MS
  alarm.probes, alarm.unanswered, alarm.heard = given.probes or PROBES, 0, self._core:heard_at()
  alarm.next = loop.now() + alarm.interval
  alarm:set(alarm.next)
end
