--- A session whose calls wait: what `dtls/coro` makes of an event session.

local Wait = require('dtls/wait')
local forward = require('dtls/forward')
local options = require('dtls/options')

-- What a message that waits to be read takes beside its bytes, as a system counts it too.
local EACH_BYTES = 64
-- A refusal for want of room may be the system's own, which tells nobody when there is some.
local ROOM_MS = 20

--- A session whose calls wait. Whatever else the event session in its field `session` can do, it can do as
--- well: `getCipher()`, `authorized`, `on('timeout', …)`.
---
--- @class dtls.CoroSession
--- @field session dtls.Session the session under it
--- @field closed string? why it is over: `closed`, `timeout`, `error`, …, as with the event `'close'`; nil
---   as long as it is not
--- @field recvDrops integer how many messages were dropped, since `recvQueueSize` bytes waited to be read
--- @field private _err string?
--- @field private _name string?
--- @field private _shared dtls.Wait? for room in the socket that it shares with others
local CoroSession = { __name = 'dtls.CoroSession' }

CoroSession.__index = forward(CoroSession, 'session')

function CoroSession.__tostring(self)
  local peer = self.session:remoteAddress()
  local where = peer and (' with %s port %d'):format(peer.ip, peer.port) or ''
  return ('dtls.CoroSession%s (%s)'):format(where, self.closed or 'open')
end

--- @private Makes one of an event session, of which nobody has heard anything yet.
--- @param session dtls.Session
--- @param recvQueueSize integer
--- @param shared? dtls.Wait
--- @return dtls.CoroSession
function CoroSession.new(session, recvQueueSize, shared)
  local self = setmetatable({
    session = session, recvDrops = 0,
    -- What has come and was not read: the messages from `_first` to `_last`, and what they take.
    _messages = {}, _first = 1, _last = 0, _taken = 0, _limit = recvQueueSize,
    _readers = Wait.new(), _closers = Wait.new(), _room = Wait.new(), _shared = shared,
  }, CoroSession)
  session:on('message', function (data) self:_take(data) end)
  session:on('drain', function () self._room:wakeAll() end)
  session:on('error', function (err, name) self._err, self._name = err, name end)
  session:on('close', function (reason)
    self.closed = reason
    self._readers:wakeAll()
    self._room:wakeAll()
    self._closers:wakeAll()
  end)
  return self
end

--- @private
function CoroSession:_take(data)
  local takes = #data + EACH_BYTES
  if self._taken + takes > self._limit and self._taken > 0 then
    self.recvDrops = self.recvDrops + 1
    return
  end
  self._taken = self._taken + takes
  self._last = self._last + 1
  self._messages[self._last] = data
  self._readers:wake()
end

--- @private What waits to be read longest, nil where nothing does.
function CoroSession:_next()
  if self._first > self._last then return nil end
  local data = self._messages[self._first]
  self._messages[self._first] = nil
  self._first = self._first + 1
  self._taken = self._taken - #data - EACH_BYTES
  return data
end

--- Waits for a message.
---
--- What has come before the end can still be read after it. Then it returns `nil` alone where the session
--- was closed in good order, by either end, or `nil, err, name` where it failed; each time it is asked. Fails
--- with ETIMEDOUT where nothing has come in time: the session goes on.
---
--- @param timeout? integer milliseconds, 0 for what has come already; for ever by default
--- @return string?, string?, string?
function CoroSession:recv(timeout)
  local caller = 'session:recv'
  if timeout ~= nil then options.checkValue(caller, 'timeout', 'patience', timeout) end
  local come, err, name = self._readers:await(caller, function ()
    return self._first <= self._last or self.closed
  end, timeout, 'no message has come')
  if not come then return nil, err, name end
  local data = self:_next()
  if data then return data end
  if self._err then return nil, self._err, self._name end
  return nil
end

--- For a loop over the messages until the end: `for message in session:messages() do … end`. How it ended
--- `recv` says. (Plain Lua cannot yield in such a loop: there it takes `recv` in a coroutine.)
--- @return fun(): string?
function CoroSession:messages()
  return function () return (self:recv()) end
end

--- Sends `data` as one datagram, as `dtls.Session:send`; but where more waits to be sent than
--- `sendQueueSize`, it waits until there is room. Outside a coroutine it gives the loop a turn.
---
--- @param data string
--- @return true|nil, string?, string?
function CoroSession:send(data)
  while true do
    local sent, err, name = self.session:send(data)
    if sent or name ~= 'ENOBUFS' then
      Wait.turn()
      return sent, err, name
    end
    local room = self.session._socket == nil and self._shared or self._room
    room:wait('session:send', Wait.now() + ROOM_MS)
  end
end

--- Ends the session in good order and waits until it is over: until the peer has answered, a second at most.
--- What has come and was not read can still be read.
--- @return true
function CoroSession:close()
  if not self.closed then
    Wait.check('session:close')
    self.session:close()
    self._closers:await('session:close', function () return self.closed end)
  end
  return true
end

return CoroSession
