--- Blocking calls: `require('dtls/coro')`. In a coroutine they yield, so that a program reads from top to
--- bottom while others run; outside one they run the loop until they are done.
---
--- They return what luv and lit's `coro-*` return: a value, or `nil, err, name`; what is over in good order
--- is `nil` alone. The loop must not be running where there is no coroutine: a callback that wants to wait
--- starts one, `coroutine.wrap(function () … end)()`. Inside Luvit every program runs in one from its first
--- line.

local CoroServer = require('dtls/coro_server')
local CoroSession = require('dtls/coro_session')
local Wait = require('dtls/wait')
local address = require('dtls/address')
local dtls = require('dtls')
local interpreted = require('dtls/interpreted')
local options = require('dtls/options')

local coro = {}

-- What is of this module, with its defaults; the rest is of the event API.
local RECV_QUEUE_SIZE, BACKLOG = 256 * 1024, 128

-- A copy of `given` without what is ours.
local function without(caller, given, names)
  if type(given) ~= 'table' then options.raise('%s: options must be a table, got %s', caller, type(given)) end
  local rest = {}
  for name, value in pairs(given) do rest[name] = value end
  for name, kind in pairs(names) do
    if given[name] ~= nil then options.checkValue(caller, 'options.' .. name, kind, given[name]) end
    rest[name] = nil
  end
  return rest
end
interpreted(without)

local connectNames = { recvQueueSize = 'bufferSize' }
local listenNames = { recvQueueSize = 'bufferSize', backlog = 'count', host = 'string', port = 'port' }

--- What `coro.connect` takes.
--- @class dtls.CoroConnectOptions: dtls.ConnectOptions
--- @field recvQueueSize? integer bytes that messages may take until they are read, each its own and 64 more
---   (default: 262144). What comes beyond is dropped, as a system does with what nobody reads

--- Connects to a server and waits until its handshake is complete, `handshakeTimeout` at most.
---
--- @param given dtls.CoroConnectOptions
--- @return dtls.CoroSession|nil, string?, string?
function coro.connect(given)
  local caller = 'coro.connect'
  Wait.check(caller)
  local rest = without(caller, given, connectNames)
  local session = dtls.connect(rest)
  local self = CoroSession.new(session, given.recvQueueSize or RECV_QUEUE_SIZE)
  local met = Wait.new()
  session:once('secureConnection', function () met:wakeAll() end)
  session:once('close', function () met:wakeAll() end)
  met:await(caller, function () return session:getProtocol() or self.closed end)
  if session:getProtocol() then return self end
  if self._err then return nil, self._err, self._name end
  return nil, 'ECANCELED: the session was closed before its handshake was complete', 'ECANCELED'
end

--- What `coro.listen` takes.
--- @class dtls.CoroListenOptions: dtls.EndpointOptions
--- @field port? integer 0 for any that is free; missing only where `socket` is given
--- @field host? string an IP address or a host name (default: '0.0.0.0')
--- @field recvQueueSize? integer of each session, as with `coro.connect` (default: 262144)
--- @field backlog? integer how many peers may wait to be accepted; further ones are closed (default: 128)

--- Makes a server, and waits until it listens.
---
--- With a function it serves every peer in a coroutine of its own, and closes the session when the function
--- returns. Without one `server:accept()` waits for them.
---
--- @param given dtls.CoroListenOptions
--- @param handler? fun(session: dtls.CoroSession) serves a peer
--- @return dtls.CoroServer|nil, string?, string?
function coro.listen(given, handler)
  local caller = 'coro.listen'
  local rest = without(caller, given, listenNames)
  options.checkCallback(caller, handler)
  if given.port == nil and given.socket == nil then options.raise('%s: options.port is missing', caller) end
  -- A name has to be resolved first.
  if given.host and not address.parse(given.host) then Wait.check(caller) end
  local server = dtls.createServer(rest)
  local self = CoroServer.new(server, {
    recvQueueSize = given.recvQueueSize or RECV_QUEUE_SIZE, backlog = given.backlog or BACKLOG,
  }, handler)
  return self:_listen(caller, given.port, given.host)
end

return coro
