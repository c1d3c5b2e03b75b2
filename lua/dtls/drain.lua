--- The second law: mutate, then drain. What a session wants done is done to the last of it, and
--- user code runs nowhere else.

local core = require('dtls_core')
local guard = require('dtls/guard')
local log = require('dtls/log')
local question = require('dtls/question')
local resumption = require('dtls/resumption')
local stats = require('dtls/stats')

local drain = {}

-- `poll` says by a number what there is: see src/lua/session.rs.
local kinds = core.kinds

-- Counts a datagram that was not sent. Returns the name of the counter.
local function countLoss(endpoint, dropped)
  local counts, counter = endpoint._stats, dropped and 'sendDrops' or 'sendErrors'
  counts[counter] = counts[counter] + 1
  return counter
end

--- Sends a datagram, by `own` where a session has a socket of its own. One that the socket refuses is a lost
--- one, and counted: `sendDrops` where too many wait, `sendErrors` where the system does not want it.
--- `atOnce`: what becomes of it is not to be found out later.
--- @return true|nil, string?, string?
function drain.send(endpoint, datagram, ip, port, own, atOnce)
  local udp = own or endpoint._udp
  if not udp then return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' end
  local sent, err, name, dropped = udp:send(datagram, ip, port, atOnce)
  if sent then return true end
  return nil, err, name, countLoss(endpoint, dropped)
end

--- Sends a session's datagram to its peer.
--- @return true|nil, string?, string?
function drain.sendTo(endpoint, session, datagram, atOnce)
  local target = session._target or session._ip
  local sent, err, name, counter =
    drain.send(endpoint, datagram, target, session._port, session._socket, atOnce)
  if sent then return true end
  if counter then stats.note(session, counter) end
  return nil, err, name
end

--- Sees to a session's datagram that its transport has not taken, for a reason of this number.
--- @return true|nil, string?, string?
function drain.refused(endpoint, session, number, datagram)
  local target = session._target or session._ip
  local sent, err, name, dropped = endpoint._udp.batch:refused(number, datagram, target, session._port)
  if sent then return true end
  stats.note(session, countLoss(endpoint, dropped))
  return nil, err, name
end

-- Warns of a datagram that is lost before it has left. In a handshake there will be smaller ones.
local function warn(endpoint, session, datagram, err, name)
  local handshake = name == 'EMSGSIZE' and session and session._core
  local lower = handshake and handshake:lower_mtu(#datagram)
  if lower then err = ('%s: the handshake goes on with an mtu of %d'):format(err, lower) end
  endpoint:_warn(err, name)
end

--- Tells of a datagram that was gathered with others and could not be sent with them. Nobody is told of an
--- answer to a stranger.
function drain.lost(endpoint, err, name, dropped, datagram, ip, port, strange)
  local counter = countLoss(endpoint, dropped)
  if strange then return end
  local session = endpoint._peers:find(ip, port)
  if session then stats.note(session, counter) end
  warn(endpoint, session, datagram, err, name)
end

-- Sends what is of the protocol's own making: only a warning tells of its loss.
local function transmit(endpoint, session, datagram)
  local sent, err, name = drain.sendTo(endpoint, session, datagram)
  if not sent then warn(endpoint, session, datagram, err, name) end
end

-- Tells of a session whose handshake is complete.
local function announce(endpoint, session)
  -- The end of the one that it replaces may have been the end of it as well.
  if not session._core then return end
  if session._isServer then
    endpoint:emit('connection', session)
  else
    session:emit('secureConnection')
  end
end

-- A handshake is complete.
local function welcome(endpoint, session)
  local counts = endpoint._stats
  counts.connected = counts.connected + 1
  session:_establish()
  if log.info then
    log.info('connected %s port %d: %s %s', session._ip, session._port, session:getProtocol(),
      session:getCipher().name)
  end
  local older = endpoint._peers:establish(session)
  if session._isServer then endpoint._places:establish(session, older) end
  if not older then return announce(endpoint, session) end
  counts.replaced = counts.replaced + 1
  local failure = guard.call(nil, drain.retire, endpoint, older, 'replaced')
  failure = guard.call(failure, announce, endpoint, session)
  guard.raise(failure)
end

--- Tells a session's trace hook what has gone over the wire since it was told last.
function drain.tell(session)
  if not session._trace or session._silent then return end
  -- The hook may end the session.
  while session._core do
    local event = session._core:take_trace()
    if not event then return end
    session._trace(event, session)
  end
end

--- The same to the last event, even if the hook throws: returns the first failure.
function drain.tellAll(failure, session)
  local finished
  repeat
    failure, finished = guard.call(failure, drain.tell, session)
  until finished
  return failure
end

--- Takes a session out, and tells nobody yet: its place is free before anybody hears of it.
--- @return boolean whether it was there
function drain.takeOut(endpoint, session, reason, err, name)
  if not session._core then return false end
  if log.info then
    log.info('closed %s port %d: %s%s', session._ip, session._port, reason, err and ' (' .. err .. ')' or '')
  end
  endpoint:_forget(session)
  if session._met then return true end
  local counts = endpoint._stats
  if err then
    counts.failed = counts.failed + 1
    stats.count(counts.failures, name)
  elseif reason == 'replaced' then
    counts.superseded = counts.superseded + 1
  else
    counts.abandoned = counts.abandoned + 1
  end
  if session._isServer then session._state, session._reason = 'closed', reason end
  return true
end

-- Tells the end of a session that has been taken out.
local function tellEnd(endpoint, session, reason, err, name)
  if session._met or not session._isServer then return session:_finish(reason, err, name) end
  -- Nobody has met this session, but for the hooks that were handed it: the server has its failure.
  local failure
  if err then
    failure = guard.call(nil, endpoint.emit, endpoint, 'clientError', err, name, session:remoteAddress())
  end
  guard.raise((guard.call(failure, session.emit, session, 'close', reason)))
end

--- Tells the ends of sessions that have been taken out in the midst of their handshakes with a server, and
--- not for a failure of theirs. Returns the first failure of a handler.
--- @param ended? dtls.Session[]
function drain.tellEnds(failure, endpoint, ended)
  for index = 1, ended and #ended or 0 do
    failure = guard.call(failure, tellEnd, endpoint, ended[index], ended[index]._reason)
  end
  return failure
end

--- Ends a session.
function drain.retire(endpoint, session, reason, err, name)
  if not drain.takeOut(endpoint, session, reason, err, name) then return end
  tellEnd(endpoint, session, reason, err, name)
end

-- Acts on outputs until the last, and returns when the session is due again.
local function act(endpoint, session)
  while session._core do
    drain.tell(session)
    if not session._core then return end
    local number, a, b, c = session._core:poll()
    local kind = kinds[number]
    if kind == 'message' then
      if session._asleep then session:_stir() end
      session:emit('message', a)
    elseif kind == 'timeout' then
      return a
    elseif kind == 'transmit' then
      transmit(endpoint, session, a)
    elseif kind == 'question' then
      -- The answer may come in this very call, which then is part of this drain.
      question.ask(session, a, b, c, drain.run)
    elseif kind == 'keylog' then
      session._context.hooks.keylog(a, session)
    elseif kind == 'session' then
      resumption.keep(session, a, b)
    elseif kind == 'connected' then
      welcome(endpoint, session)
    elseif kind == 'trail' then
      endpoint._roam:enter(session, a)
    else
      drain.retire(endpoint, session, a, b, c)
    end
  end
end

-- How many drains are under way, one inside the other where a handler runs the loop.
local depth = 0

--- Whether no session is in the midst of a drain.
function drain.isIdle()
  return depth == 0
end

--- Does what a session wants done. A call from inside returns at once, and the one outside does the
--- rest. A user's own error comes out at the end, when everything is in order.
function drain.run(endpoint, session)
  if session._draining then
    session._draining = 'again'
    return
  end
  session._draining = true
  depth = depth + 1
  local failure, finished, due
  repeat
    failure, finished, due = guard.call(failure, act, endpoint, session)
  until finished
  depth = depth - 1
  session._draining = false
  if session._core then endpoint._deadlines:set(session, due) end
  endpoint:_arm()
  guard.raise(failure)
end

-- The session whose message is being told of by `drain.message`.
local told

--- Tells of a session's message, which its transport has taken out of the core already: a drain of one
--- output, and of the rest where there is `more`. No deadline is nearer for it: when the old one comes up,
--- the core says that it has been put off.
---
--- Where the handler throws, `drain.afterFailure` has to follow.
function drain.message(endpoint, session, data, more)
  session._draining = true
  depth, told = depth + 1, session
  if session._asleep then session:_stir() end
  session:emit('message', data)
  -- There was none before: no message comes this way in the midst of a drain.
  depth, told = depth - 1, nil
  local again = more or session._draining == 'again'
  session._draining = false
  if again then drain.run(endpoint, session) end
end

--- The session whose message is being told of, if one is: then what is sent may be gathered with what is sent
--- next, as a batch is being told of, and ends soon.
--- @return dtls.Session?
function drain.toldOf()
  return told
end

--- Ends a drain that a handler has broken off, if one has: `before` was being told of before.
function drain.afterFailure(before)
  local session = told
  if session == before then return end
  depth, told = depth - 1, before
  session._draining = false
  if session._core then drain.run(session._endpoint, session) end
end

--- Sends what a session still has to send, and nothing else: nobody will hear more of it.
function drain.flush(endpoint, session)
  local number, kind, datagram
  repeat
    number, datagram = session._core:poll()
    kind = kinds[number]
    if kind == 'transmit' then drain.sendTo(endpoint, session, datagram) end
  until kind == 'timeout'
end

return drain
