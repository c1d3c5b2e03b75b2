--- DTLS 1.2 for Luvit and LuaJIT: `require('dtls')`.
---
--- Misuse raises an error at the caller's line. What goes wrong otherwise is returned as
--- `nil, err, name`, luv's convention: `err` reads `NAME: a sentence`, `name` is `NAME`, one of
--- those in `doc/errors.md`. Events and callbacks carry `(err, name)`. All times are in milliseconds.

local Cookies = require('dtls/cookies')
local Server = require('dtls/server')
local client = require('dtls/client')
local core = require('dtls_core')
local keylog = require('dtls/keylog')
local loop = require('dtls/loop')
local options = require('dtls/options')
local resumption = require('dtls/resumption')
local sni = require('dtls/sni')
local sockets = require('dtls/sockets')
local trace = require('dtls/trace')

-- Add to what sessions can do.
require('dtls/keepalive')
require('dtls/keys')
require('dtls/payload')
require('dtls/timeout')

local dtls = {
  --- This library's version.
  --- @type string
  _VERSION = core.version,
  --- The OpenSSL underneath, as it names itself.
  --- @type string
  opensslVersion = core.openssl_version,
  --- The luv whose loop everything runs on: Luvit's own inside Luvit.
  --- @type table
  uv = loop.uv,
}

--- Certificates, keys, trust and parameters: immutable, and shared by any number of servers and
--- clients.
--- @class dtls.Context
--- @field private core dtls_core.Context
--- @field private hooks table<string, function> what the core's questions are answered by
--- @field private handshakeTimeout integer the default of its profile
local Context = {}
Context.__index = Context
Context.__name = 'dtls.Context'

-- How long a handshake may take: RFC 7925's devices need three retransmissions, after 9, 27 and 63 s.
local PATIENCE_MS = { general = 30 * 1000, iot = 120 * 1000 }

local function makeContext(caller, given)
  local config, hooks = options.forCore(given)
  hooks.keylog = keylog.hook(caller, given.keylog)
  config.keylog = hooks.keylog ~= nil
  local made, option, sentence = core.context(config)
  if not made then options.refuse(caller, option, sentence) end
  local patience = PATIENCE_MS[given.profile or 'general']
  return setmetatable({ core = made, hooks = hooks, handshakeTimeout = patience }, Context)
end

-- The context of `given`, ready for a role where one is named.
local function contextFor(caller, given, check)
  local context = given.context or makeContext(caller, given)
  if not check then return context end
  local ready, option, sentence = context.core[check](context.core)
  if not ready then options.refuse(caller, option, sentence) end
  return context
end

--- Makes a context.
---
--- Raises where an option cannot be: a key that does not belong to its certificate, a cipher list
--- that leaves nothing, …
---
--- @param given? dtls.ContextOptions none of them is needed
--- @return dtls.Context
function dtls.createContext(given)
  given = given or {}
  options.check('dtls.createContext', options.createContext, given)
  return makeContext('dtls.createContext', given)
end

local function makeListener(caller, given, onConnection, check)
  options.check(caller, options.createEndpoint, given)
  options.checkCallback(caller, onConnection)
  local cookieHooks = Cookies.terms(caller, given)
  local secrets = options.asList(given.cookieSecret)
  if secrets then
    local gate, option, sentence = core.gate(os.time(), secrets)
    if not gate then options.refuse(caller, option, sentence) end
  end
  -- Where there is a context for every host, the server needs none of its own; one that is given must serve.
  local isGiven = given.cert or given.psk or not given.sni
  local context = contextFor(caller, given, isGiven and check)
  local server = Server:new(context, {
    sni = given.sni and sni.hook(caller, given.sni),
    handshakeTimeout = given.handshakeTimeout,
    idleTimeout = given.idleTimeout,
    linger = given.linger,
    oversize = given.oversize,
    keepAlive = given.keepAlive,
    trace = given.trace,
    limits = given,
    accept = given.accept,
    sockets = sockets.terms(caller, given),
    roaming = given.roaming,
    cookieSecret = secrets,
    cookieHooks = cookieHooks,
    ticketKeys = resumption.ring(caller, context, given.ticketKeys),
  })
  if onConnection then server:on('connection', onConnection) end
  return server
end

--- Makes a server; `server:listen` starts it.
---
--- Raises where an option cannot be, also where there is no certificate, or one that no DTLS 1.2
--- handshake could use.
---
--- @param given dtls.EndpointOptions
--- @param onConnection? fun(session: dtls.Session) a listener of `'connection'`
--- @return dtls.Server
function dtls.createServer(given, onConnection)
  return makeListener('dtls.createServer', given, onConnection, 'check_server')
end

--- Makes an endpoint: one UDP socket that listens (`endpoint:listen`, where it has a certificate),
--- connects (`endpoint:connect`), or both.
---
--- @param given? dtls.EndpointOptions
--- @param onConnection? fun(session: dtls.Session) a listener of `'connection'`
--- @return dtls.Server
function dtls.createEndpoint(given, onConnection)
  return makeListener('dtls.createEndpoint', given or {}, onConnection)
end

--- Connects to a server. The session is returned at once; it can send when its
--- `'secureConnection'` comes.
---
--- @param given dtls.ConnectOptions
--- @param callback? fun(session: dtls.Session) called with the session at its `'secureConnection'`, which
---   itself carries nothing
--- @return dtls.Session
function dtls.connect(given, callback)
  local caller = 'dtls.connect'
  client.check(caller, options.connect, given, callback)
  return client.connect(caller, contextFor(caller, given, 'check_client'), given, callback)
end

--- Makes a self-signed ECDSA P-256 certificate, for trying things and for peers that know each
--- other by fingerprint.
---
--- @param given? { names?: string|string[], days?: integer } host names and IP addresses, or `localhost`;
---   for how many days it is valid, or 365
--- @return { cert: string, key: string, fingerprint256: string } PEM, PEM, and SHA-256 in hexadecimal
function dtls.generateCertificate(given)
  local caller = 'dtls.generateCertificate'
  given = given or {}
  options.check(caller, options.generateCertificate, given)
  local names = options.asList(given.names or 'localhost')
  if not names[1] then options.raise('%s: options.names must hold at least one name', caller) end
  local cert, key, fingerprint = core.generate_certificate(names, given.days or 365)
  if not cert then options.raise('%s: options.names cannot be put into a certificate: %s', caller, key) end
  return { cert = cert, key = key, fingerprint256 = fingerprint }
end

--- Makes a hook for the option `trace` that draws every record as a line, and a handshake as a ladder.
---
--- @param write? fun(line: string) takes a line without its end; standard error by default
--- @return dtls.TraceHook
dtls.trace = trace

return dtls
