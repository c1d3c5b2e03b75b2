--- One UDP socket: the table from peer address to session, one timer for all deadlines, the drain.

local Deadlines = require('dtls/deadlines')
local Emitter = require('dtls/emitter')
local Session = require('dtls/session')
local Udp = require('dtls/udp')
local log = require('dtls/log')
local loop = require('dtls/loop')

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
  self._handshakeTimeout = opts.handshakeTimeout or 30 * 1000
  self._idleTimeout = opts.idleTimeout
  self._maxSessions = opts.maxSessions or 100 * 1000
  self._gate = opts.gate
  -- Sessions by the peer's address and then port, as luv writes them.
  self._peers = {}
  self._count = 0
  self._deadlines = Deadlines.new()
  self._stats = {
    datagramsIn = 0, datagramsOut = 0, challenges = 0, admitted = 0, refused = 0,
    connected = 0, failed = 0, sendErrors = 0, drops = {},
  }
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

--- Counters since the endpoint was made, and how many `sessions` there are now.
--- `drops` counts what was dropped by cause.
--- @return table
function Endpoint:stats()
  local copy = { sessions = self._count, drops = {} }
  for name, value in pairs(self._stats) do
    if name ~= 'drops' then copy[name] = value end
  end
  for cause, count in pairs(self._stats.drops) do copy.drops[cause] = count end
  return copy
end

--- Closes every session with a close_notify, and then the socket.
--- @param callback? fun() called when all is closed
function Endpoint:close(callback)
  if self._closed then
    if callback then loop.defer(callback) end
    return
  end
  if callback then self:once('close', callback) end
  self._closed = true
  local all = {}
  for _, ports in pairs(self._peers) do
    for _, session in pairs(ports) do all[#all + 1] = session end
  end
  for _, session in ipairs(all) do
    if session._core then
      session._core:close(loop.now())
      self:_flush(session)
      self:_retire(session, 'closed')
    end
  end
  self:_release(function () self:emit('close') end)
end

--- @private Gives the socket and the timer back.
function Endpoint:_release(callback)
  if not self._udp then return loop.defer(callback) end
  self._timer:close()
  self._udp:close(callback)
  self._udp, self._timer = nil, nil
end

-- In: one datagram from the socket to its session or to the gate.

--- @private
function Endpoint:_receive(data, ip, port)
  local stats = self._stats
  stats.datagramsIn = stats.datagramsIn + 1
  local ports = self._peers[ip]
  local session = ports and ports[port]
  if session then
    local dropped = session._core:receive(data, loop.now())
    if dropped then self:_drop(dropped, ip, port) end
    session._heard = true
    self:_drain(session)
  elseif self._gate then
    self:_examine(data, ip, port)
  else
    self:_drop('unknown', ip, port)
  end
end

--- @private Lets the gate judge a stranger.
function Endpoint:_examine(data, ip, port)
  local stats = self._stats
  local verdict, detail = self._gate:examine(data, ip, port, os.time())
  if verdict == 'challenge' then
    stats.challenges = stats.challenges + 1
    self:_transmit(detail, ip, port)
  elseif verdict == 'discard' then
    self:_drop(detail, ip, port)
  elseif self._count >= self._maxSessions then
    stats.refused = stats.refused + 1
    if log.debug then log.debug('refused %s port %d: %d sessions', ip, port, self._count) end
  else
    stats.admitted = stats.admitted + 1
    if log.debug then log.debug('admitted %s port %d', ip, port) end
    self:_accept(data, ip, port)
  end
end

--- @private Makes a session for a peer that has returned its cookie.
function Endpoint:_accept(data, ip, port)
  local idle = self._idleTimeout or 5 * 60 * 1000
  local made, err, name = self._context.core:accept(data, self._handshakeTimeout, idle, loop.now())
  if not made then return self:_warn(err, name) end
  self:_adopt(Session:new(true), made, ip, port)
end

--- @private Enters a session into the table and lets it act. An IPv6 address is entered without
--- its scope, as luv reports it, and sent to with it.
function Endpoint:_adopt(session, made, ip, port)
  session._core, session._endpoint, session._ip, session._port = made, self, ip, port
  local ports = self._peers[ip]
  if not ports then
    ports = {}
    self._peers[ip] = ports
  end
  ports[port] = session
  self._count = self._count + 1
  self:_drain(session)
end

-- Out: law 2, mutate, then drain.

local function traceback(err)
  return type(err) == 'string' and debug.traceback(err, 2) or err
end

-- LuaJIT's xpcall passes arguments on, plain Lua 5.1's does not.
local protected = jit and function (fn, ...) return xpcall(fn, traceback, ...) end or pcall

--- @private Does what a session wants done. A user's own error comes out at the end, when
--- everything is in order.
function Endpoint:_drain(session)
  if session._draining then return end
  session._draining = true
  local failure, finished, result
  repeat
    finished, result = protected(self._act, self, session)
    failure = failure or (not finished and { result })
  until finished
  session._draining = false
  if session._core then self._deadlines:set(session, result) end
  self:_arm()
  if failure then error(failure[1], 0) end
end

--- @private Acts on outputs until the last, and returns when the session is due again.
function Endpoint:_act(session)
  while session._core do
    local kind, a, b, c = session._core:poll()
    if kind == 'message' then
      session:emit('message', a)
    elseif kind == 'timeout' then
      return a
    elseif kind == 'transmit' then
      self:_transmit(a, session._ip, session._port, session)
    elseif kind == 'connected' then
      self:_welcome(session)
    else
      self:_retire(session, a, b, c)
    end
  end
end

--- @private Sends what a session has to send, and nothing else: nobody will hear more of it.
function Endpoint:_flush(session)
  local kind, datagram
  repeat
    kind, datagram = session._core:poll()
    if kind == 'transmit' then self:_transmit(datagram, session._ip, session._port) end
  until kind == 'timeout'
end

--- @private A handshake is complete.
function Endpoint:_welcome(session)
  self._stats.connected = self._stats.connected + 1
  session:_establish()
  if log.info then
    local cipher = session:getCipher()
    log.info('connected %s port %d: %s %s', session._ip, session._port, session:getProtocol(), cipher.name)
  end
  if session._isServer then
    self:emit('connection', session)
  else
    session:emit('secureConnection')
  end
end

--- @private A session is over: its place is free before anybody hears of it.
function Endpoint:_retire(session, reason, err, name)
  if not session._core then return end
  if log.info then
    log.info('closed %s port %d: %s%s', session._ip, session._port, reason, err and ' (' .. err .. ')' or '')
  end
  self:_forget(session)
  local established = session._shown
  if err and not established then self._stats.failed = self._stats.failed + 1 end
  if session._isServer and not established then
    -- Nobody has met this session: it ends without a word, but for its failure.
    session._state = 'closed'
    if err then self:emit('clientError', err, name, session:remoteAddress()) end
  else
    session:_finish(reason, err, name)
  end
end

--- @private Takes a session out of the table.
function Endpoint:_forget(session)
  local ports = self._peers[session._ip]
  ports[session._port] = nil
  if next(ports) == nil then self._peers[session._ip] = nil end
  self._count = self._count - 1
  self._deadlines:remove(session)
  session._core = nil
end

--- @private Sends a datagram; one that the socket refuses is a lost one.
function Endpoint:_transmit(datagram, ip, port, session)
  if not self._udp then return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' end
  local sent, err, name = self._udp:send(datagram, ip, port)
  if sent then
    self._stats.datagramsOut = self._stats.datagramsOut + 1
    return true
  end
  self._stats.sendErrors = self._stats.sendErrors + 1
  local lower = name == 'EMSGSIZE' and session and session._core and session._core:lower_mtu()
  if lower then err = ('%s: the handshake goes on with an mtu of %d'):format(err, lower) end
  self:_warn(err, name)
  return nil, err, name
end

--- @private Seals and sends one message.
function Endpoint:_sendMessage(session, data)
  local datagram, err, name = session._core:send(data)
  if not datagram then
    -- A failure that ended the session says so on the way out.
    self:_drain(session)
    return nil, err, name
  end
  return self:_transmit(datagram, session._ip, session._port)
end

--- @private
function Endpoint:_close(session)
  session._core:close(loop.now())
  if session._state == 'open' then session._state = 'closing' end
  self:_drain(session)
end

--- @private
function Endpoint:_destroy(session)
  session._core:destroy()
  self:_drain(session)
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
    session._core:expire(now)
    self:_drain(session)
    session = self._deadlines:take(now)
  end
  self:_arm()
end

-- What went wrong, where it matters to nobody but whoever watches.

--- @private
function Endpoint:_drop(cause, ip, port)
  local drops = self._stats.drops
  drops[cause] = (drops[cause] or 0) + 1
  if log.debug then log.debug('dropped a datagram of %s port %d: %s', ip, port, cause) end
end

--- @private
function Endpoint:_warn(err, name)
  if log.warn then log.warn('%s', err) end
  self:emit('warning', err, name)
end

return Endpoint
