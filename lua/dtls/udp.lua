--- One UDP socket at work: what arrives, what is sent, what waits to be sent.
--- (This file, batch.lua and sockets.lua are the only ones that touch luv's UDP.)

local Batch = require('dtls/batch')
local address = require('dtls/address')
local core = require('dtls_core')
local guard = require('dtls/guard')
local loop = require('dtls/loop')
local sockets = require('dtls/sockets')
local uv = loop.uv

-- What may wait in libuv's queue when the socket's own buffer is full. Beyond it the newest datagram is lost,
-- as the network would lose it: what waits longer than some hundred milliseconds is of no use any more.
local QUEUE_BYTES = 256 * 1024

--- A bound UDP socket.
--- @class (private) dtls.Udp
--- @field private handle userdata? nil once it is closed
--- @field private queue userdata the same, which may have datagrams left to send then
--- @field private ip string where it was bound, with its scope
--- @field private scope string? of a link-local address: `%eth0`
--- @field private connected boolean? it hears one peer alone
--- @field peer { ip: string, port: integer, family: string }? whom the user has connected it to
local Udp = {}
Udp.__index = Udp

--- Whom a socket tells of what happens to it.
--- @class (private) dtls.Ears
--- @field onDatagram fun(data: string, ip: string, port: integer)
--- @field onWarning fun(err: string, name: string) what the socket reports, none of which ends it
--- @field onLost fun(err: string, name: string) a datagram that waited could not be sent
--- @field onDrain fun() nothing waits any more, after a datagram was dropped since too much did
--- @field counts { datagramsOut: integer, bytesOut: integer } of what the handle has sent
---
--- Of a socket that is read in batches (batch.lua), which may know whose a datagram is:
---
--- @field onMessage fun(session: dtls.Session, data: string, more: boolean) a message; is there more?
--- @field onStirred fun(session: dtls.Session) something else that the session has to say
--- @field onDropped fun(session: dtls.Session, cause: string, data: string) it did not take all of a datagram
--- @field onAdmitted fun(data: string, ip: string, port: integer, pass: string) a cookie has come back
--- @field onRefused fun(err: string, name: string, dropped: boolean?, data: string, ip: string,
---   port: integer, strange: boolean) what was gathered could not be sent; is it an answer to a stranger?
--- @field isIdle fun(): boolean no session is in the midst of something
--- @field isBusy fun(): boolean strangers are not to be answered
--- @field toldOf fun(): dtls.Session? whose message is being told of
--- @field afterFailure fun(before: dtls.Session?) a handler has thrown; `before` was told of when it began
--- @field totals dtls_core.Totals of what goes past Lua

local function begin(handle, terms, ears, fields)
  local self = setmetatable(fields, Udp)
  self.handle, self.queue, self.terms, self.ears = handle, handle, terms, ears
  self.limit = terms.sendQueueSize or QUEUE_BYTES
  -- One function for all that wait.
  self.onSent = function (failure) self:_sent(failure) end
  if not (self.borrowed or self.connected) then self.batch = Batch.new(self, handle) end
  if self.batch then return self end
  local begun, err, name = self:_receive()
  if not begun then return nil, err, name end
  return self
end

--- @private Has the handle receive.
function Udp:_receive()
  local ears = self.ears
  return self.handle:recv_start(function (failure, data, from, flags)
    if failure then
      -- An ICMP error of some earlier datagram, such as ECONNREFUSED. Reading goes on.
      ears.onWarning(('%s: the UDP socket reported it on receiving'):format(failure), failure)
    elseif from then
      -- A datagram that was cut short on the way in is a lost one.
      if flags and flags.partial then data = '' end
      ears.onDatagram(data, from.ip, from.port)
    end
  end)
end

-- The scope of a link-local address's text.
local function scopeOf(ip)
  return ip:match('^[fF][eE][89abAB].*(%%.+)$')
end

--- Opens a socket as it is asked for, and starts to receive: the one that the user has brought, or one that
--- is bound here.
---
--- @param terms dtls.SocketTerms
--- @param ip string an IP address, with its scope where it has one
--- @param port integer 0 for any
--- @param ears dtls.Ears
--- @return dtls.Udp|nil, string?, string?
function Udp.open(terms, ip, port, ears)
  if terms.socket then
    local handle, err, name = sockets.borrow(terms.socket)
    if not handle then return nil, err, name end
    local self
    self, err, name = begin(handle, terms, ears, { borrowed = true, peer = handle:getpeername() })
    if self then
      self.connected = self.peer ~= nil
    else
      sockets.giveBack(handle)
    end
    return self, err, name
  end
  local _, target = address.parse(ip)
  ip = target or ip
  local handle, err, name = sockets.make(terms, ip, port)
  if not handle then return nil, err, name end
  local self
  self, err, name = begin(handle, terms, ears, { ip = ip, scope = scopeOf(ip) })
  if not self then sockets.discard(handle) end
  return self, err, name
end

--- Opens a second socket on the same address and port, for one peer: peer_socket.lua says what for.
---
--- @return dtls.Udp|nil, string?, string?
function Udp:beside(ip, port, ears)
  local handle, err, name =
    sockets.make(self.terms, self.ip, self.handle:getsockname().port, self:_target(ip), port)
  if not handle then return nil, err, name end
  local made
  made, err, name = begin(handle, self.terms, ears, { connected = true })
  if not made then sockets.discard(handle) end
  return made, err, name
end

--- Lets the socket hear nobody but one peer, and learn when nothing listens there. Not one of the user's, who
--- goes on with it afterwards.
--- @return true|nil, string?, string?
function Udp:connect(ip, port)
  if self.borrowed then return true end
  local connected, err, name = self.handle:connect(self:_target(ip), port)
  if not connected then return nil, err, name end
  self.connected = true
  if self.batch then self.batch:connected() end
  return true
end

-- luv reports a link-local address without its scope (`fe80::1`). Whoever reaches a socket that is bound to
-- such an address is on the same link. (Linux knows that; other systems want to be told.)
function Udp:_target(ip)
  if self.scope and ip:match('^fe[89ab]') and not ip:find('%', 1, true) then return ip .. self.scope end
  return ip
end

--- Sends one datagram: now, or as soon as the socket can take it. `dropped` says that it was not even tried,
--- since too much waits. Unless it is wanted `atOnce` it may be gathered with others, and fail later.
--- @return true|nil sent, string? err, string? name, boolean? dropped
function Udp:send(datagram, ip, port, atOnce)
  local handle = self.handle
  -- The user may have closed it. luv would open another and send from that.
  if not handle or (self.borrowed and handle:is_closing()) then
    return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN'
  end
  if self.scope then ip = self:_target(ip) end
  if self.batch then return self.batch:send(datagram, ip, port, atOnce) end
  -- A connected socket must not be told.
  if self.connected then ip, port = nil, nil end
  local sent, err, name = handle:try_send(datagram, ip, port)
  -- That is about an earlier datagram. This one has not been tried.
  if name == 'ECONNREFUSED' then sent, err, name = handle:try_send(datagram, ip, port) end
  if sent then return self:_count(datagram) end
  if name ~= 'EAGAIN' then return nil, err, name end
  return self:_queue(datagram, ip, port)
end

--- @private The handle has taken a datagram.
function Udp:_count(datagram)
  local counts = self.ears.counts
  counts.datagramsOut = counts.datagramsOut + 1
  counts.bytesOut = counts.bytesOut + #datagram
  return true
end

--- @private Has a datagram wait until the socket can take it.
--- @return true|nil sent, string? err, string? name, boolean? dropped
function Udp:_queue(datagram, ip, port)
  local handle = self.handle
  if self.connected then ip, port = nil, nil end
  local waiting = handle:get_send_queue_size()
  -- One may always wait: else nothing would ever tell that there is room again.
  if waiting > 0 and waiting + #datagram > self.limit then
    self.full = true
    return nil, 'ENOBUFS: too many datagrams wait to be sent', 'ENOBUFS', true
  end
  local sent, err, name = handle:send(datagram, ip, port, self.onSent)
  if not sent then return nil, err, name end
  return self:_count(datagram)
end

-- Tells of a datagram that was lost, and of room. A handler may close the socket; one that throws must not
-- keep those waiting who wait for room.
local function tell(self, failure, drained)
  local ears, thrown = self.ears, nil
  if failure and self.handle then
    local err = ('%s: a datagram that waited to be sent is lost'):format(failure)
    thrown = guard.call(nil, ears.onLost, err, failure)
  end
  if drained and self.handle then thrown = guard.call(thrown, ears.onDrain) end
  guard.raise(thrown)
end

--- @private A datagram that waited is on its way, or lost. Who wants to know hears of it in the loop's next
--- turn: libuv ends the process where a handler that is called from here runs the loop.
function Udp:_sent(failure)
  local isOpen, isEmpty = self.handle ~= nil, self.queue:get_send_queue_count() == 0
  if not isOpen then
    if isEmpty and self.onEmpty then self.onEmpty() end
    return
  end
  if isEmpty and self.batch then self.batch:relieve() end
  local drained = isEmpty and self.full
  if drained then self.full = false end
  if failure or drained then loop.defer(tell, self, failure, drained) end
end

--- Takes a datagram that has arrived and not been read yet: peer_socket.lua says when.
--- @return string|nil data, string? ip, integer? port
function Udp:take()
  return core.take_datagram(self.handle:fileno())
end

--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Udp:address()
  if not self.handle then return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' end
  return self.handle:getsockname()
end

--- How large the system has made a buffer of the socket.
--- @param which 'recv'|'send'
--- @return integer|nil, string?, string?
function Udp:bufferSize(which)
  return uv[which .. '_buffer_size'](self.handle)
end

--- Closes the socket, once, when what waits has been sent; the user's own is given back instead. `callback`
--- is called when that is done.
function Udp:close(callback)
  local handle = self.handle
  local failure = self.batch and self.batch:close()
  self.handle = nil
  if self.borrowed then
    sockets.giveBack(handle)
    if callback then loop.defer(callback) end
  elseif handle:get_send_queue_count() == 0 then
    handle:close(callback)
  else
    handle:recv_stop()
    self.onEmpty = function () handle:close(callback) end
  end
  guard.raise(failure)
end

return Udp
