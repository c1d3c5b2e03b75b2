--- A socket that is read and written in batches, where the system can (Linux): `src/transport.rs` from Lua's
--- side.
---
--- libuv's part is to say when there is something to read. What is there is then taken by `transport:take`,
--- which hands a peer's message to us as such, answers strangers itself, and leaves all else to arrival.lua.
--- What is sent meanwhile is gathered, and leaves when the batch has been looked at: a burst of answers costs
--- little more than one. Whoever sends at another time sends at once.
---
--- A handler may run the loop, and wait in it for what the rest of the batch brings, or for the answer to
--- what it has sent. So an idle handle is active as long as a batch is being told of: libuv calls it in a
--- loop inside the handler and nowhere else, and it goes on with the batch.
---
--- When the socket's buffer is full, datagrams have to wait, and libuv has a queue for that. One descriptor
--- cannot be watched twice, so until the queue is empty the handle reads as well: as on other systems.

local core = require('dtls_core')
local guard = require('dtls/guard')
local loop = require('dtls/loop')
local sockets = require('dtls/sockets')
local uv = loop.uv

-- How many batches in a row keep the loop from others' sockets and timers.
local MOST_IN_A_ROW = 4

--- @class (private) dtls.Batch
--- @field private udp dtls.Udp
--- @field private poll userdata
--- @field private idle userdata
--- @field private reentered boolean? the loop inside a handler has gone on with the batch
--- @field private transport dtls_core.Transport
--- @field private sessions table<integer, dtls.Session|false> by the number that the transport knows them by
--- @field private free integer[] numbers that nobody has
--- @field private count integer the largest number of all
--- @field private paused boolean? the handle reads and writes for now
local Batch = {}
Batch.__index = Batch

-- `take` says by a number what there is: see src/lua/transport.rs.
local takings = core.takings

--- Reads and writes a handle's socket from now on; nil where that cannot be done here, or is not wanted.
--- @param udp dtls.Udp
--- @param handle userdata
--- @return dtls.Batch?
function Batch.new(udp, handle)
  if not core.transport or os.getenv('DTLS_TRANSPORT') == 'libuv' then return nil end
  local fd = handle:fileno()
  local poll = fd and uv.new_poll(fd)
  if not poll then return nil end
  local transport = core.transport(fd, udp.ears.totals)
  local self = setmetatable({
    udp = udp, poll = poll, idle = uv.new_idle(), transport = transport, sessions = {}, free = {}, count = 0,
  }, Batch)
  self.onReadable = function () self:_read() end
  self.onIdle = function () self:_goOn() end
  if transport and self:_watch() then return self end
  if transport then transport:close() end
  self.idle:close()
  sockets.discard(poll)
end

--- @private Waits for datagrams, and for errors that the socket reports ("prioritized").
function Batch:_watch()
  return self.poll:start('rp', self.onReadable)
end

-- Takes what is left of a batch, to its end. What a handler throws leaves the rest to the next call.
local function takeAll(self)
  local ears, transport, sessions = self.udp.ears, self.transport, self.sessions
  local now, wall = loop.now(), os.time()
  while true do
    local number, a, b, c, d = transport:take(now, wall, ears.isIdle(), not ears.isBusy())
    local kind = takings[number]
    if kind == 'message' then
      ears.onMessage(sessions[a], b, c)
    elseif not kind then
      return
    elseif kind == 'stirred' then
      ears.onStirred(sessions[a])
    elseif kind == 'dropped' then
      ears.onDropped(sessions[a], b, c)
    elseif kind == 'admitted' then
      ears.onAdmitted(a, b, c, d)
    else
      ears.onDatagram(a, b, c)
    end
  end
end

--- @private Tells of a batch to its end, and sends what was gathered. Returns the first failure of a handler.
function Batch:_tell(thrown)
  local ears = self.udp.ears
  -- A handler that is under way may be running the loop.
  local told = ears.toldOf()
  local finished
  repeat
    thrown, finished = guard.call(thrown, takeAll, self)
    if not finished then thrown = guard.call(thrown, ears.afterFailure, told) end
  until finished
  return self:flush(thrown)
end

--- @private There is something to read, or an error to be told.
function Batch:_read()
  local ears, thrown = self.udp.ears, nil
  for _ = 1, MOST_IN_A_ROW do
    self.reentered = nil
    self.idle:start(self.onIdle)
    local more, number = self.transport:receive()
    if number then
      -- That of some earlier datagram, such as ECONNREFUSED. Reading goes on.
      local _, name = sockets.words(number)
      thrown = guard.call(thrown, ears.onWarning,
        ('%s: the UDP socket reported it on receiving'):format(name), name)
    end
    thrown = self:_tell(thrown)
    if not more or self.closed or self.paused then break end
  end
  if not self.closed then self.idle:stop() end
  guard.raise(thrown)
end

--- @private A handler runs the loop, and another one inside it may do so, too. The loop does not sleep in the
--- turn in which the batch has gone on, as what the handler waits for may have come.
function Batch:_goOn()
  if self.reentered then return self.idle:stop() end
  local thrown = self:_tell()
  self.reentered = true
  if not self.closed then self.idle:start(self.onIdle) end
  guard.raise(thrown)
end

--- Sends what was gathered. Returns the first failure of a handler.
function Batch:flush(failure)
  if self.transport:flush() then return failure end
  return self:_takeBack(failure)
end

-- What the socket has not taken waits in the handle's queue, or is lost.
function Batch:_takeBack(failure)
  local onRefused = self.udp.ears.onRefused
  local datagram, number, ip, port, strange = self.transport:take_refused()
  while datagram do
    local sent, err, name, dropped = self:refused(number, datagram, ip, port)
    if not sent then
      failure = guard.call(failure, onRefused, err, name, dropped, datagram, ip, port, strange)
    end
    datagram, number, ip, port, strange = self.transport:take_refused()
  end
  return failure
end

--- Sends a datagram, or gathers it unless it is wanted `atOnce`.
--- @return true|nil sent, string? err, string? name, boolean? dropped
function Batch:send(datagram, ip, port, atOnce)
  local sent, number = self.transport:send(datagram, ip, port, atOnce)
  if sent then return true end
  return self:refused(number, datagram, ip, port)
end

--- Sees to a datagram that the transport has not sent, for a reason that has this number.
--- @return true|nil sent, string? err, string? name, boolean? dropped
function Batch:refused(number, datagram, ip, port)
  local err, name = sockets.words(number)
  if name ~= 'EAGAIN' and name ~= 'ENOBUFS' then return nil, err, name end
  if self.paused then return self.udp:_queue(datagram, ip, port) end
  self.paused = true
  self.transport:pause(true)
  self.poll:stop()
  self.udp:_receive()
  -- Older ones go first, whatever the handlers throw that are told of those that are lost.
  local failure = self:_takeBack()
  local sent, why, whyName, dropped = self.udp:_queue(datagram, ip, port)
  guard.raise(failure)
  return sent, why, whyName, dropped
end

--- Nothing waits in the handle's queue any more. Goes on from the loop's next turn: it is the queue that says
--- so, and libuv watches for it until it has.
function Batch:relieve()
  if not self.paused or self.relieving then return end
  self.relieving = true
  loop.defer(function ()
    self.relieving = nil
    local handle = self.udp.handle
    if self.closed or handle:get_send_queue_count() > 0 then return end
    handle:recv_stop()
    if not self:_watch() then return self.udp:_receive() end
    self.paused = nil
    self.transport:pause(false)
  end)
end

--- The socket has been connected to its one peer.
function Batch:connected()
  self.transport:connected()
end

--- Lets a gate answer strangers without a word to Lua, or nobody.
--- @param gate dtls_core.Gate?
function Batch:setGate(gate)
  self.transport:set_gate(gate)
end

-- Gives a session a number.
local function number(self, session)
  local free = self.free
  local made = free[#free]
  if made then
    free[#free] = nil
  else
    made = self.count + 1
    self.count = made
  end
  self.sessions[made] = session
  return made
end

--- Notes who is at an address: the first of a chain of sessions, or nobody.
--- @param ip string
--- @param port integer
--- @param first dtls.Session?
function Batch:place(ip, port, first)
  if self.closed then return end
  local transport = self.transport
  local freed
  if not first then
    freed = transport:vacate(ip, port)
  elseif first:_isAlone() then
    freed = transport:place(ip, port, first._core, number(self, first), first._target)
  else
    freed = transport:place(ip, port)
  end
  if freed then
    self.sessions[freed] = false
    self.free[#self.free + 1] = freed
  end
end

--- Gives the socket back, when all that was gathered has been sent. Returns the first failure of a handler.
function Batch:close()
  self.closed = true
  local failure = self:flush()
  self.poll:stop()
  self.poll:close()
  self.idle:close()
  self.transport:close()
  return failure
end

return Batch
