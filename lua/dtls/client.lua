--- Clients: sessions that look for their peer.

local Dial = require('dtls/dial')
local Endpoint = require('dtls/endpoint')
local Session = require('dtls/session')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local loop = require('dtls/loop')
local options = require('dtls/options')
local sockets = require('dtls/sockets')

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
function client.connect(caller, context, given, callback, shared)
  local of = shared or {}
  local opts = {
    host = given.host or '127.0.0.1',
    port = given.port,
    servername = given.servername,
    session = given.session,
    localAddress = given.localAddress,
    localPort = given.localPort,
    sockets = sockets.terms(caller, given),
    handshakeTimeout = given.handshakeTimeout or of._handshakeTimeout or context.handshakeTimeout,
    idleTimeout = given.idleTimeout or of._idleTimeout or 0,
    linger = given.linger or of._linger,
    oversize = given.oversize or of._oversize,
  }
  local session = Session:new(false, context, given.trace or of._trace)
  session._keepAlive = given.keepAlive
  if callback then session:on('secureConnection', function () callback(session) end) end
  -- Nothing of the user's runs before the session is in the user's hands, but an endpoint's 'warning': what
  -- its handler throws must not keep the session from its caller.
  session._silent = true
  local failure = guard.call(nil, Dial.start, session, context, opts, shared)
  session._silent = false
  if failure then loop.defer(guard.raise, failure) end
  if session._trace then
    loop.defer(function ()
      if session._core then drain.run(session._endpoint, session) end
    end)
  end
  return session
end

--- Connects to a server from this endpoint's socket, which is bound first where it is not yet. Where `listen`
--- was given a host name, the session begins when that is resolved, and ends with the endpoint where it
--- cannot be.
---
--- The session is as `dtls.connect` returns. Its error is EALREADY where the socket is that peer's client
--- already, also while that session is closing (its `'close'` is the moment to connect again), and ENOTCONN
--- where the endpoint is closed.
---
--- Two endpoints that connect to each other have two sessions, one in each direction. Where they do so at
--- the same moment, one handshake waits for the other: by a retransmission, a second.
---
--- @param given dtls.PeerOptions
--- @param callback? fun(session: dtls.Session) called with the session at its `'secureConnection'`, which
---   itself carries nothing
--- @return dtls.Session
function Endpoint:connect(given, callback)
  local caller = 'endpoint:connect'
  client.check(caller, options.endpointConnect, given, callback)
  local context = given.context or self._context
  local ready, option, sentence = context.core:check_client()
  if not ready then options.refuse(caller, option, sentence) end
  return client.connect(caller, context, given, callback, self)
end

return client
