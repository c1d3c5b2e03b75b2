--- One UDP socket: the table of its peers, what may enter it, one timer for all deadlines.

local Deadlines = require('dtls/deadlines')
local Emitter = require('dtls/emitter')
local Peers = require('dtls/peers')
local Session = require('dtls/session')
local Udp = require('dtls/udp')
local core = require('dtls_core')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local interpreted = require('dtls/interpreted')
local log = require('dtls/log')
local loop = require('dtls/loop')
local options = require('dtls/options')
local stats = require('dtls/stats')
local turns = require('dtls/turns')
local watch = require('dtls/watch')

-- How many bytes of handshakes may wait their turn: some thousands of them.
local BACKLOG_BYTES = 4 * 1024 * 1024

--- A UDP socket that accepts peers, connects to others, or both. Events:
---
--- - `'listening'` `()` the socket is bound.
--- - `'connection'` `(session: dtls.Session)` a peer's handshake is complete.
--- - `'clientError'` `(err: string, name: string, peer: { ip, port, family })` a peer's was not.
--- - `'warning'` `(err: string, name: string)` the socket reported something that it survives.
--- - `'error'` `(err: string, name: string)` it could not listen; `'close'` follows.
--- - `'close'` `()` it is closed, and so are its sessions.
---
--- @class dtls.Endpoint: dtls.Emitter
local Endpoint = Emitter:extend()

function Endpoint:initialize(context, opts)
  self._context = context
  self._handshakeTimeout = opts.handshakeTimeout
  self._idleTimeout = opts.idleTimeout
  self._sni = opts.sni
  -- What every accepted session is subject to, in the core's words.
  self._terms = {
    handshake_ms = self._handshakeTimeout or context.handshakeTimeout,
    idle_ms = self._idleTimeout or 5 * 60 * 1000,
    ask_server_name = self._sni ~= nil,
    trace = watch(opts.trace) ~= nil,
    totals = core.totals(),
  }
  self._trace = opts.trace
  self._maxSessions = opts.maxSessions or 100 * 1000
  self._peers = Peers.new()
  self._deadlines = Deadlines.new()
  -- Searches for a peer that this socket is to be used for: see client.lua.
  self._dials = {}
  self._stats = stats.new()
  -- Bytes of handshakes that have been read and not taken up.
  self._backlog = 0
end

--- @private Binds the socket to an IP address.
function Endpoint:_bind(ip, port)
  loop.refresh()
  local udp, err, name = Udp.bind(ip, port,
    function (data, from, fromPort) self:_receive(data, from, fromPort) end,
    function (failure, failureName) self:_warn(failure, failureName) end)
  if not udp then return nil, err, name end
  self._udp = udp
  self._timer = loop.uv.new_timer()
  return true
end

--- Where the socket is bound.
--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Endpoint:address()
  if not self._udp then return nil, 'ENOTCONN: the socket is not bound', 'ENOTCONN' end
  return self._udp:address()
end

--- What has happened since the endpoint was made: a copy of its counters.
--- @return dtls.EndpointStats
function Endpoint:stats()
  return stats.ofEndpoint(self)
end

--- The sessions that are established: not those whose handshakes are under way, nor those that are closing.
--- A list of its own, in no order, which stays as it is while sessions come and go.
--- @return dtls.Session[]
function Endpoint:sessions()
  local list = {}
  for _, session in ipairs(self._peers:list()) do
    if session._state == 'open' and not session._goodbye then list[#list + 1] = session end
  end
  return list
end

--- Closes every session with a close_notify, and then the socket.
--- @param callback? fun() called when all is closed
function Endpoint:close(callback)
  options.checkCallback('endpoint:close', callback)
  if callback then
    if self._gone then loop.defer(callback) else self:once('close', callback) end
  end
  if self._closed then return end
  self._closed = true
  local sessions = self._peers:list()
  -- Every close_notify is on its way before any handler runs.
  for _, session in ipairs(sessions) do
    session._core:close(loop.now())
    drain.flush(self, session)
  end
  self:_release(function ()
    self._gone = true
    self:emit('close')
  end)
  local failure
  for _, session in ipairs(sessions) do
    failure = drain.tellAll(failure, session)
    failure = guard.call(failure, drain.retire, self, session, 'closed')
  end
  failure = self:_cancelDials(failure)
  guard.raise(failure)
end

--- @private Ends every search for a peer that has not become a session.
function Endpoint:_cancelDials(failure)
  for dial in pairs(self._dials) do
    failure = guard.call(failure, dial.cancel, dial, 'closed')
  end
  return failure
end
interpreted(Endpoint._cancelDials)

--- @private Gives the socket and the timer back.
function Endpoint:_release(callback)
  if not self._udp then return callback and loop.defer(callback) end
  self._timer:close()
  self._udp:close(callback)
  self._udp, self._timer = nil, nil
end

-- In: one datagram from the socket to its session or to the gate.

--- @private A step of a handshake costs a hundred times what other datagrams do. So they may have to wait
--- their turn, and established sessions do not wait for them.
function Endpoint:_receive(data, ip, port)
  local counts = self._stats
  counts.datagramsIn = counts.datagramsIn + 1
  counts.bytesIn = counts.bytesIn + #data
  local session = self._peers:find(ip, port)
  if not session then
    self:_examine(data, ip, port)
  elseif session._state == 'open' and session._postponed == 0 then
    self:_deliver(session, data)
  else
    self:_postpone(data, ip, port, session)
  end
end

--- @private Takes a datagram up in this turn of the loop or in one to come. `session` is the one that it
--- belongs to, nil where the gate has admitted a stranger.
function Endpoint:_postpone(data, ip, port, session)
  if self._backlog + #data > BACKLOG_BYTES then return self:_drop('backlog', ip, port) end
  self._backlog = self._backlog + #data
  if session then session._postponed = session._postponed + 1 end
  turns.run(self._takeUp, self, data, ip, port, session)
end

--- @private
function Endpoint:_takeUp(data, ip, port, session)
  self._backlog = self._backlog - #data
  if session then session._postponed = session._postponed - 1 end
  if not self._udp then return end
  local current = self._peers:find(ip, port)
  if current then
    self:_deliver(current, data)
  elseif session then
    self:_examine(data, ip, port)
  else
    self:_admit(data, ip, port)
  end
end

--- @private Hands a datagram to its session.
function Endpoint:_deliver(session, data)
  local dropped = session._core:receive(data, loop.now())
  if dropped then self:_drop(dropped, session._ip, session._port) end
  -- Only a client's search looks for that, and a field that most sessions lack costs many thousand nothing.
  if session._heard == false then session._heard = true end
  drain.run(self, session)
end

--- @private Lets the gate judge a stranger.
function Endpoint:_examine(data, ip, port)
  if not self._gate then return self:_drop('unknown', ip, port) end
  local verdict, detail, stale = self._gate:examine(data, ip, port, os.time())
  if verdict == 'challenge' then
    local counts = self._stats
    counts.challenges = counts.challenges + 1
    if stale then counts.stale = counts.stale + 1 end
    drain.send(self, detail, ip, port)
  elseif verdict == 'discard' then
    self:_drop(detail, ip, port)
  else
    self:_postpone(data, ip, port)
  end
end

--- @private Makes a session for a peer that has returned its cookie.
function Endpoint:_admit(data, ip, port)
  local counts = self._stats
  if self._peers.count >= self._maxSessions then
    counts.refused = counts.refused + 1
    stats.count(counts.refusals, 'sessions')
    if log.debug then log.debug('refused %s port %d: %d sessions', ip, port, self._peers.count) end
    return
  end
  counts.admitted = counts.admitted + 1
  if log.debug then log.debug('admitted %s port %d', ip, port) end
  local made, err, name = self._context.core:accept(data, self._terms, loop.now())
  if not made then return self:_warn(err, name) end
  self:_adopt(Session:new(true, self._context, self._trace), made, ip, port)
end

--- @private Enters a session into the table and lets it act. `target` is where to send, where that
--- is not `ip`: luv reports an IPv6 address without its scope.
function Endpoint:_adopt(session, made, ip, port, target)
  session._core, session._endpoint = made, self
  session._ip, session._port = ip, port
  session._target = target ~= ip and target or nil
  -- A client that goes on to another address may have left some behind.
  session._postponed = session._postponed or 0
  if not session._isServer then self._stats.started = self._stats.started + 1 end
  self._peers:add(session, ip, port)
  drain.run(self, session)
end

--- @private Takes a session out of the table.
function Endpoint:_forget(session)
  self._peers:remove(session._ip, session._port)
  self._deadlines:remove(session)
  session:_seen()
  stats.keep(session)
  session._core = nil
end

-- Time: one timer, for whatever is due first.

--- @private
function Endpoint:_arm()
  local at = self._deadlines:next()
  if not self._timer or at == self._armed then return end
  self._armed = at
  if at then
    self._timer:start(math.max(at - loop.now(), 0), 0, function () self:_tick() end)
  else
    self._timer:stop()
  end
end

--- @private
function Endpoint:_tick()
  self._armed = nil
  local now = loop.now()
  local session = self._deadlines:take(now)
  while session do
    -- Where a handler throws, the timer has been armed for the rest.
    turns.run(self._expire, self, session)
    session = self._deadlines:take(now)
  end
  self:_arm()
end

--- @private
function Endpoint:_expire(session)
  if not session._core then return end
  session._core:expire(loop.now())
  drain.run(self, session)
end

-- What went wrong, where it matters to nobody but whoever watches.

--- @private
function Endpoint:_drop(cause, ip, port)
  stats.count(self._stats.drops, cause)
  if log.debug then log.debug('dropped a datagram of %s port %d: %s', ip, port, cause) end
end

--- @private
function Endpoint:_warn(err, name)
  if log.warn then log.warn('%s', err) end
  self:emit('warning', err, name)
end

return Endpoint
