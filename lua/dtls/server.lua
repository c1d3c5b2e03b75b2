--- An endpoint that listens.

local Cookies = require('dtls/cookies')
local Endpoint = require('dtls/endpoint')
local Places = require('dtls/places')
local address = require('dtls/address')
local admission = require('dtls/admission')
local core = require('dtls_core')
local guard = require('dtls/guard')
local loop = require('dtls/loop')
local options = require('dtls/options')

--- A server: an endpoint, with `listen`. Its events are the endpoint's.
--- @class dtls.Server: dtls.Endpoint
--- @field busy boolean whether new peers are turned away, in silence and without so much as a cookie, while
---   those who have a session go on and may restart; false at first, and the user's to set at any time
local Server = Endpoint:extend()

--- Binds a UDP socket and accepts peers on it.
---
--- Fails with libuv's name where the address cannot be bound (EADDRINUSE, EACCES, EADDRNOTAVAIL),
--- EALREADY where the endpoint has a socket already. A host *name* is resolved first, and what goes
--- wrong then comes as `'error'` and `'close'`.
---
--- Where `options.socket` was given, that is what it listens on: `listen(callback)`, without a port. Fails
--- with EBADF where that is closed, EINVAL where it is not bound, EISCONN where it is connected, EALREADY
--- where another endpoint has it.
---
--- @param port integer 0 for any that is free: `address()` says which
--- @param host? string an IP address or a host name; `0.0.0.0` by default (`::` with `ipv6Only`), `::` for
---   both families
--- @param callback? fun() called when the socket is bound
--- @return dtls.Server|nil, string?, string?
--- @overload fun(self: dtls.Server, port: integer, callback?: fun()): dtls.Server|nil, string?, string?
--- @overload fun(self: dtls.Server, callback?: fun()): dtls.Server|nil, string?, string?
function Server:listen(port, host, callback)
  local brought = self._sockets.socket ~= nil
  if brought then
    if type(port) == 'function' then port, callback = nil, port end
    if port ~= nil or host ~= nil then
      options.raise('server:listen: options.socket is bound already: there is no port to give')
    end
  else
    if type(host) == 'function' then host, callback = nil, host end
    options.checkValue('server:listen', 'port', 'port', port)
    if host ~= nil then options.checkValue('server:listen', 'host', 'string', host) end
  end
  options.checkCallback('server:listen', callback)
  if not self._sni then
    local ready, option, sentence = self._context.core:check_server()
    if not ready then options.refuse('server:listen', option, sentence) end
  end
  if self._closed then return nil, 'ENOTCONN: the server is closed', 'ENOTCONN' end
  if self._udp or self._resolving then
    return nil, 'EALREADY: the server has a socket already', 'EALREADY'
  end
  host = host or (self._sockets.ipv6Only and '::' or '0.0.0.0')
  local _, target = address.parse(host)
  if target then
    local bound, err, name = self:_listen(target, port)
    if not bound then return nil, err, name end
  else
    self._resolving = {}
    address.resolve(host, function (list, err, name)
      local dials = self._resolving
      self._resolving = nil
      if self._closed then return end
      local bound, failure
      if list then bound, err, name = self:_listen(list[1], port) end
      if bound then
        for _, dial in ipairs(dials) do failure = guard.call(failure, dial.goOn, dial) end
      else
        -- Its 'close' comes in the loop's next turn.
        failure = guard.call(nil, self.close, self)
        failure = guard.call(failure, self.emit, self, 'error', err, name)
      end
      guard.raise(failure)
    end)
  end
  if callback then self:once('listening', callback) end
  return self
end

--- Replaces the keys that tickets are sealed with, from now on: newest first. The first seals, all open,
--- and a ticket of another than the first is replaced when it is used. To replace a key, put the new one
--- in front, and leave the old ones out when their tickets have expired (`sessionTimeout`).
---
--- Raises for a secret of less than 32 bytes; the keys stay as they were.
---
--- @param secrets string|string[] 32 bytes or more each
function Server:setTicketKeys(secrets)
  local caller = 'server:setTicketKeys'
  options.checkValue(caller, 'secrets', 'strings', secrets)
  local terms, list = self._terms, options.asList(secrets)
  local set, sentence, _
  if terms.tickets then
    set, _, sentence = terms.tickets:set(list)
  else
    set, _, sentence = self._context.core:ticket_keys(list)
    terms.tickets = set
  end
  if not set then options.raise('%s: secrets %s', caller, sentence) end
end

--- Makes later sessions from another context: with a renewed certificate, say, or other CAs. Sessions
--- that there are go on as they were; tickets stay good where both contexts judge peers alike and
--- have the same certificates. Where no `handshakeTimeout` was given, it is that of the context's profile.
---
--- Raises where the context has no certificate that a server could use.
---
--- @param context dtls.Context
function Server:setContext(context)
  local caller = 'server:setContext'
  options.checkValue(caller, 'context', 'context', context)
  local ready, option, sentence = context.core:check_server()
  if not ready then options.refuse(caller, option, sentence) end
  self._context = context
  if not self._handshakeTimeout then self._terms.handshake_ms = context.handshakeTimeout end
end

--- Replaces the secrets of the cookies, from now on: newest first. The first signs, all are accepted, so
--- peers that are on their way with a cookie get in where its secret is still in the list. To replace a
--- secret, put the new one in front, on every host that shares it, and leave the old one out two minutes
--- later.
---
--- Raises for an empty list and for a secret of less than 16 bytes; the secrets stay as they were. Raises
--- where the cookies are those of `generateCookie`, too.
---
--- @param secrets string|string[] 16 bytes or more each
function Server:setCookieSecrets(secrets)
  local caller = 'server:setCookieSecrets'
  options.checkValue(caller, 'secrets', 'strings', secrets)
  if self._cookieHooks then
    options.raise('%s: the cookies are those of options.generateCookie: they have no secrets here', caller)
  end
  local list = options.asList(secrets)
  local set, sentence, _
  if self._gate then
    set, _, sentence = self._gate:set_secrets(list)
  else
    set, _, sentence = core.gate(os.time(), list)
  end
  if not set then options.raise('%s: secrets %s', caller, sentence) end
  self._cookieSecret = list
end

--- Changes some of the limits, from now on. No established session is ended by a lower one: new peers get in
--- when enough of them have ended. Handshakes that are now too many yield.
---
--- @param limits { maxSessions?: integer, maxSessionsPerHost?: integer, maxHandshakes?: integer,
---   maxHandshakeRate?: integer } those that are missing stay as they are
function Server:setLimits(limits)
  options.check('server:setLimits', options.setLimits, limits)
  admission.setLimits(self, limits)
end

--- @private
function Server:_listen(ip, port)
  local bound, err, name = self:_bind(ip, port)
  if not bound then return nil, err, name end
  local only = self._udp.peer
  if only then
    self:_release()
    return nil, ('EISCONN: options.socket is connected to %s port %d, and hears nobody else')
      :format(only.ip, only.port), 'EISCONN'
  end
  if self._cookieHooks then
    self._gate = Cookies.new(self._cookieHooks)
  else
    self._gate = core.gate(os.time(), self._cookieSecret)
    if self._udp.batch then self._udp.batch:setGate(self._gate) end
  end
  loop.defer(function ()
    if not self._closed then self:emit('listening') end
  end)
  return true
end

--- @private Makes a server whose options have been checked.
function Server:initialize(context, opts)
  Endpoint.initialize(self, context, opts)
  self._cookieSecret, self._cookieHooks = opts.cookieSecret, opts.cookieHooks
  self._places = Places.new(opts.limits)
  self._accept = opts.accept
  self.busy = false
  self._terms.tickets = opts.ticketKeys
end

return Server
