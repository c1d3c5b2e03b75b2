--- One UDP socket: the table of its peers, what may enter it, one timer for all deadlines.

local Deadlines = require('dtls/deadlines')
local Emitter = require('dtls/emitter')
local Peers = require('dtls/peers')
local Udp = require('dtls/udp')
local Roam = require('dtls/roam')
local arrival = require('dtls/arrival')
local core = require('dtls_core')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local heap = require('dtls/heap')
local interpreted = require('dtls/interpreted')
local log = require('dtls/log')
local loop = require('dtls/loop')
local options = require('dtls/options')
local peerSocket = require('dtls/peer_socket')
local stats = require('dtls/stats')
local turns = require('dtls/turns')
local watch = require('dtls/watch')

--- A UDP socket that accepts peers, connects to others, or both. Events:
---
--- - `'listening'` `()` the socket is bound.
--- - `'connection'` `(session: dtls.Session)` a peer's handshake is complete.
--- - `'clientError'` `(err: string, name: string, peer: { ip, port, family })` a peer's was not.
--- - `'warning'` `(err: string, name: string)` the socket reported something that it survives.
--- - `'drain'` `()` all that waited has been sent, after a datagram was dropped since too much did.
--- - `'error'` `(err: string, name: string)` it could not listen; `'close'` follows.
--- - `'close'` `()` it is closed, and so are its sessions.
---
--- @class dtls.Endpoint: dtls.Emitter
local Endpoint = Emitter:extend()

--- @private
function Endpoint:initialize(context, opts)
  self._context = context
  self._handshakeTimeout = opts.handshakeTimeout
  self._idleTimeout = opts.idleTimeout
  self._linger, self._oversize, self._keepAlive = opts.linger, opts.oversize, opts.keepAlive
  self._sni = opts.sni
  -- What every accepted session is subject to, in the core's words.
  self._terms = {
    handshake_ms = self._handshakeTimeout or context.handshakeTimeout,
    idle_ms = self._idleTimeout or 5 * 60 * 1000,
    linger_ms = self._linger,
    refuse_oversize = self._oversize == 'error',
    ask_server_name = self._sni ~= nil,
    trace = watch(opts.trace) ~= nil,
    roams = opts.roaming,
    totals = core.totals(),
  }
  self._trace = opts.trace
  self._peers = Peers.new()
  self._roam = opts.roaming and Roam.new(self) or nil
  self._deadlines = Deadlines.new()
  -- Searches for a peer that this socket is to be used for: see client.lua.
  self._dials = {}
  -- Those of them that wait while the host name to listen on is resolved; nil when none is.
  self._resolving = nil
  self._stats = stats.new()
  -- Bytes of handshakes that have been read and not taken up.
  self._backlog = 0
  -- What its socket is to be, and how many there are beside it: see peer_socket.lua.
  self._sockets = opts.sockets or {}
  self._peerSockets = 0
end

--- @private Binds the socket to an IP address, or takes the one that the user has brought.
function Endpoint:_bind(ip, port)
  if self._udp then return nil, 'EALREADY: the endpoint has a socket already', 'EALREADY' end
  loop.refresh()
  self._ears = {
    onDatagram = function (data, from, fromPort) arrival.receive(self, data, from, fromPort) end,
    onWarning = function (failure, failureName) self:_warn(failure, failureName) end,
    onLost = function (failure, failureName)
      self._stats.sendErrors = self._stats.sendErrors + 1
      self:_warn(failure, failureName)
    end,
    onDrain = function () self:emit('drain') end,
    onMessage = function (session, data, more) drain.message(self, session, data, more) end,
    onStirred = function (session) drain.run(self, session) end,
    onDropped = function (session, cause, data) arrival.dropped(self, session, cause, data) end,
    onAdmitted = function (data, from, fromPort, pass) arrival.admitted(self, data, from, fromPort, pass) end,
    onRefused = function (...) drain.lost(self, ...) end,
    isIdle = drain.isIdle,
    toldOf = drain.toldOf,
    isBusy = function () return self.busy end,
    afterFailure = drain.afterFailure,
    counts = self._stats,
    totals = self._terms.totals,
  }
  local udp, err, name = Udp.open(self._sockets, ip, port, self._ears)
  if not udp then return nil, err, name end
  self._udp, self._peers.batch = udp, udp.batch
  self._timer = loop.uv.new_timer()
  return true
end

--- Where the socket is bound.
--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Endpoint:address()
  if not self._udp then return nil, 'ENOTCONN: the socket is not bound', 'ENOTCONN' end
  return self._udp:address()
end

--- How many bytes the system keeps of what has arrived and not been read, as it counts them: Linux answers
--- with twice what `recvBufferSize` asked for, and with less where `net.core.rmem_max` is less.
--- @return integer|nil, string?, string?
function Endpoint:getRecvBufferSize()
  if not self._udp then return nil, 'ENOTCONN: the socket is not bound', 'ENOTCONN' end
  return self._udp:bufferSize('recv')
end

--- The same of what is to be sent: `sendBufferSize`, `net.core.wmem_max`.
--- @return integer|nil, string?, string?
function Endpoint:getSendBufferSize()
  if not self._udp then return nil, 'ENOTCONN: the socket is not bound', 'ENOTCONN' end
  return self._udp:bufferSize('send')
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
    if session._state == 'open' and not session._closing then list[#list + 1] = session end
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
    session._closing = true
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
  self._peers.batch = nil
  self._udp:close(callback and function () peerSocket.whenNone(self, callback) end)
  self._udp, self._timer = nil, nil
end

-- In: one datagram from a socket to its session or to the gate.

--- @private
Endpoint._receive = arrival.receive

--- @private Enters a session into the table and lets it act. `target` is where to send, where that
--- is not `ip`: luv reports an IPv6 address without its scope.
function Endpoint:_adopt(session, made, ip, port, target)
  session._core, session._endpoint = made, self
  session._ip, session._port = ip, port
  -- A field that most sessions lack costs many thousand of them nothing.
  local other = target ~= ip and target or nil
  if other ~= session._target then session._target = other end
  -- A client that goes on to another address may have left some behind.
  session._postponed = session._postponed or 0
  if not session._isServer then self._stats.started = self._stats.started + 1 end
  self._peers:add(session)
  heap.take()
  local failure
  -- Where there is none for it, a handler is told, which may throw: the session begins all the same.
  if self._sockets.perPeerSocket and session._isServer then
    failure = guard.call(nil, peerSocket.open, self, session)
  end
  guard.raise((guard.call(failure, drain.run, self, session)))
end

--- @private Takes a session out of the table.
function Endpoint:_forget(session)
  self._peers:remove(session)
  if session._isServer then
    local heir = self._peers:findServer(session._ip, session._port)
    if heir then self._places:inherit(session, heir) end
    self._places:leave(session)
  end
  if self._roam then self._roam:leave(session) end
  self._deadlines:remove(session)
  session:_disarm()
  peerSocket.close(self, session)
  if session._past then stats.keep(session) end
  session._past, session._core = session._core, nil
  -- What it holds is freed now, not when the collector finds it, to whom it looks as small as any userdata.
  session._past:forget()
  heap.give()
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
function Endpoint:_expire(item)
  -- An alarm (alarm.lua), or a session.
  if item._wake then return item:_wake(loop.now()) end
  -- It may have had to wait for its turn, and have ended meanwhile, or gone on from another endpoint.
  if not item._core or item._endpoint ~= self then return end
  item._core:expire(loop.now())
  drain.run(self, item)
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
