--- How a client finds its peer: the name's addresses one after the other, each with a socket of its
--- own, until one answers.

local Endpoint = require('dtls/endpoint')
local Session = require('dtls/session')
local address = require('dtls/address')
local loop = require('dtls/loop')
local options = require('dtls/options')

-- How long the first address may stay silent before the next is tried; doubled each time round.
-- The handshake's own first retransmission falls into it.
local PATIENCE_MS = 1500

--- The search of one session for its peer. *resolving → trying → done*
--- @class (private) dtls.Dial
local Dial = {}
Dial.__index = Dial

--- Starts the search. `shared` is the endpoint whose socket is to be used, or nil for one of the
--- session's own.
--- @return dtls.Dial
function Dial.start(session, context, opts, shared)
  loop.refresh()
  local self = setmetatable({
    session = session,
    context = context,
    opts = opts,
    shared = shared,
    endsAt = loop.now() + (opts.handshakeTimeout or 30 * 1000),
    patience = PATIENCE_MS,
    timer = loop.uv.new_timer(),
  }, Dial)
  session._dial = self
  if address.isLiteral(opts.host) then
    self:begin({ opts.host })
  else
    self:watch(self.endsAt, function () self:giveUp() end)
    address.resolve(opts.host, function (list, err, name)
      if self.session._state == 'closed' then return end
      if list then self:begin(list) else self:fail(err, name) end
    end)
  end
  return self
end

--- Tries the addresses of the list, which has one at least.
function Dial:begin(list)
  self.list, self.index = list, 0
  self:try()
end

--- Tries the next address, the first after the last.
function Dial:try()
  local now = loop.now()
  if now >= self.endsAt then return self:giveUp() end
  self.index = self.index + 1
  if self.index > #self.list then
    self.index, self.patience = 1, self.patience * 2
  end
  local opts, session = self.opts, self.session
  local ip = self.list[self.index]
  local endpoint, err, name = self:socket(ip)
  if not endpoint then return self:failLater(err, name) end
  local made
  local servername = opts.servername or opts.host
  made, err, name = self.context.core:connect(servername, self.endsAt - now, opts.idleTimeout or 0, now)
  if not made then return self:failLater(err, name) end
  if #self.list > 1 then
    self:watch(now + self.patience, function () self:moveOn() end)
  else
    self.timer:stop()
  end
  session._heard = false
  endpoint:_adopt(session, made, ip, opts.port)
end

--- The endpoint to try `ip` from.
function Dial:socket(ip)
  local family = address.family(ip)
  local endpoint = self.shared
  if endpoint then
    if not endpoint._udp then
      local bound, err, name = endpoint:_bind(address.any(family), 0)
      if not bound then return nil, err, name end
    end
    -- One socket has one session with a peer: their datagrams could not be told apart.
    local ports = endpoint._peers[ip]
    if ports and ports[self.opts.port] then
      return nil, 'EALREADY: this socket has a session with that peer already', 'EALREADY'
    end
    return endpoint
  end
  endpoint = Endpoint:new(self.context, {})
  local opts = self.opts
  local bound, err, name = endpoint:_bind(opts.localAddress or address.any(family), opts.localPort or 0)
  if not bound then return nil, err, name end
  endpoint:on('warning', function (warning, warningName)
    self.session:emit('warning', warning, warningName)
  end)
  self.own = endpoint
  return endpoint
end

--- Leaves an address that has not answered for the next one.
function Dial:moveOn()
  if self.session._heard or self.session._state ~= 'handshaking' then return end
  self.session._endpoint:_forget(self.session)
  if self.own then self.own:_release() end
  self.own = nil
  self:try()
end

--- Ends the search in the user's name.
function Dial:cancel(reason)
  self.session:_finish(reason)
end

function Dial:giveUp()
  self:fail('ETIMEDOUT: no address of the host was found in time', 'ETIMEDOUT', 'timeout')
end

function Dial:fail(err, name, reason)
  self.session:_finish(reason or 'error', err, name)
end

--- Fails from the loop, so that whoever called has had time to listen.
function Dial:failLater(err, name)
  loop.defer(function () self:fail(err, name) end)
end

--- Calls `fn` at a time on the loop's clock, instead of what was to be called before.
function Dial:watch(at, fn)
  self.timer:start(math.max(at - loop.now(), 0), 0, fn)
end

--- Gives back what the session held, now that it is over.
function Dial:release()
  if not self.timer:is_closing() then self.timer:close() end
  if self.own then self.own:_release() end
  self.own = nil
end

local client = {}

--- Checks what can be checked before there is a context.
function client.check(caller, kinds, given, callback)
  options.check(caller, kinds, given)
  options.checkCallback(caller, callback)
  if given.port == nil then options.raise('%s: options.port is missing', caller) end
end

--- Starts a session with the peer that checked options name. `shared` is the endpoint whose socket
--- is to be used, or nil for one of the session's own.
--- @return dtls.Session
function client.connect(context, given, callback, shared)
  local opts = {}
  for name, value in pairs(given) do opts[name] = value end
  opts.host = opts.host or '127.0.0.1'
  local session = Session:new(false)
  if callback then session:on('secureConnection', function () callback(session) end) end
  Dial.start(session, context, opts, shared)
  return session
end

--- Connects to a server from this endpoint's socket, which is bound first where it is not yet. The
--- session is as `dtls.connect` returns; EALREADY is its error where the socket has a session with
--- that peer already.
---
--- @param given dtls.PeerOptions
--- @param callback? fun(session: dtls.Session) a listener of `'secureConnection'`
--- @return dtls.Session
function Endpoint:connect(given, callback)
  local caller = 'endpoint:connect'
  client.check(caller, options.endpointConnect, given, callback)
  local context = given.context or self._context
  local ready, option, sentence = context.core:check_client()
  if not ready then options.refuse(caller, option, sentence) end
  if self._closed then options.raise('%s: the endpoint is closed', caller) end
  return client.connect(context, given, callback, self)
end

return client
