--- A server whose calls wait: what `dtls/coro` makes of an event server.

local CoroSession = require('dtls/coro_session')
local Wait = require('dtls/wait')
local forward = require('dtls/forward')
local options = require('dtls/options')

--- A server whose calls wait. Whatever else the event server in its field `server` can do, it can do as well:
--- `address()`, `stats()`, `setContext(…)`, `on('clientError', …)`.
---
--- @class dtls.CoroServer
--- @field server dtls.Server the server under it
--- @field acceptDrops integer how many peers were sent away, since `backlog` waited to be accepted
local CoroServer = { __name = 'dtls.CoroServer' }

CoroServer.__index = forward(CoroServer, 'server')

-- What is the user's to set is the event server's.
function CoroServer.__newindex(self, key, value)
  if key == 'busy' then self.server.busy = value else rawset(self, key, value) end
end

-- Serves a peer in a coroutine of its own.
local function serve(handler, session)
  Wait.resume(coroutine.create(function ()
    handler(session)
    session.session:close()
  end))
end

--- @private Makes one of an event server that does not listen yet.
--- @param server dtls.Server
--- @param terms { recvQueueSize: integer, backlog: integer }
--- @param handler? fun(session: dtls.CoroSession)
--- @return dtls.CoroServer
function CoroServer.new(server, terms, handler)
  local self = setmetatable({
    server = server, acceptDrops = 0,
    _handler = handler, _waiting = {}, _backlog = terms.backlog,
    _acceptors = Wait.new(), _closers = Wait.new(), _room = Wait.new(),
  }, CoroServer)
  server:on('drain', function () self._room:wakeAll() end)
  server:on('error', function (err, name) self._err, self._name = err, name end)
  server:on('listening', function () self._closers:wakeAll() end)
  server:on('close', function ()
    self._closed = true
    self._acceptors:wakeAll()
    self._closers:wakeAll()
  end)
  server:on('connection', function (session)
    local made = CoroSession.new(session, terms.recvQueueSize, self._room)
    if handler then serve(handler, made) else self:_offer(made) end
  end)
  return self
end

--- @private
function CoroServer:_offer(session)
  if #self._waiting >= self._backlog then
    self.acceptDrops = self.acceptDrops + 1
    return session.session:close()
  end
  self._waiting[#self._waiting + 1] = session
  self._acceptors:wake()
end

--- @private Binds the socket, and waits for that.
function CoroServer:_listen(caller, port, host)
  local bound, err, name = self.server:listen(port, host)
  if not bound then
    self.server:close()
    return nil, err, name
  end
  -- A host name has to be resolved first.
  self._closers:await(caller, function () return self._closed or self.server:address() end)
  if self._err then return nil, self._err, self._name end
  return self
end

--- Waits for a peer whose handshake is complete.
---
--- Returns `nil` alone where the server is closed; fails with ETIMEDOUT where nobody has come in time.
---
--- @param timeout? integer milliseconds, 0 for who is there already; for ever by default
--- @return dtls.CoroSession?, string?, string?
function CoroServer:accept(timeout)
  local caller = 'server:accept'
  if self._handler then
    options.raise('%s: every peer is given to the function that coro.listen got', caller)
  end
  if timeout ~= nil then options.checkValue(caller, 'timeout', 'patience', timeout) end
  local come, err, name = self._acceptors:await(caller, function ()
    return self._waiting[1] or self._closed
  end, timeout, 'nobody has come')
  if not come then return nil, err, name end
  if self._closed then return nil end
  return (table.remove(self._waiting, 1))
end

--- For a loop over those that come, until the server is closed: `for session in server:accepted() do … end`.
--- (Plain Lua cannot yield in such a loop: there it takes `accept` in a coroutine.)
--- @return fun(): dtls.CoroSession?
function CoroServer:accepted()
  return function () return (self:accept()) end
end

--- Closes every session with a close_notify, and then the socket; waits until all is closed.
--- @return true
function CoroServer:close()
  if not self._closed then
    Wait.check('server:close')
    self.server:close()
    self._closers:await('server:close', function () return self._closed end)
  end
  return true
end

return CoroServer
