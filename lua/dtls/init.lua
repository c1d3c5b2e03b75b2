--- DTLS 1.2 for Luvit and LuaJIT: the public face.
---
--- Misuse raises an error at the caller's line. What goes wrong otherwise is returned as
--- `nil, err, name`, luv's convention: `err` reads `NAME: a sentence`, `name` is `NAME`. Events and
--- callbacks carry `(err, name)`. All times are in milliseconds.

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
  _VERSION = core.version,
  --- The OpenSSL underneath, as it names itself.
  opensslVersion = core.openssl_version,
  --- The luv whose loop everything runs on: Luvit's own inside Luvit.
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

--- @class dtls.PskPair
--- @field identity string up to 256 bytes, none of them NUL
--- @field key string up to 512 bytes, 16 at least to be safe: the bytes, not their hexadecimal digits

--- Hooks answer at once by what they return; or later by `done(answer)`, if they name that parameter and
--- return nothing; or later by what they return after they have yielded. One that throws fails its handshake,
--- with EHOOK: question.lua has it in full.
--- @alias dtls.VerifyHook fun(peer: dtls.Presented, session: dtls.Session, done: function): boolean?, string?
--- @alias dtls.PskHook fun(about: string?, session: dtls.Session, done: function): any
--- @alias dtls.OcspHook fun(request: dtls.StatusRequest, session: dtls.Session, done: function): any
--- @alias dtls.SniHook fun(name: string?, session: dtls.Session, done: function): dtls.Context?

--- @class dtls.ContextOptions
--- @field cert? string|string[] certificate chains in PEM, leaf first: one, or one for each key
--- @field key? string|string[] their private keys in PEM, in the same order; without `cert` they are shown
---   as they are, as raw public keys (RFC 7250)
--- @field passphrase? string opens the keys that are encrypted
--- @field ca? string|string[] what is trusted, in PEM; by default the system's trust store
--- @field crl? string|string[] revocation lists in PEM, one at least for each CA: where any is given, a
---   chain with a CA that has none, or one out of date, is refused
--- @field fingerprints? string|string[] SHA-256 of the certificates that peers are accepted by, and by
---   nothing else: not by CA, name or date; `AB:CD:…`, with or without colons, or as in SDP
--- @field rawPublicKeys? string|string[] public keys in PEM: a peer that presents one of them instead of a
---   certificate is accepted by it; certificates only beside `ca` or `fingerprints`
--- @field ocspResponse? string|string[]|dtls.OcspHook what a server staples to its certificate for clients
---   that want it: an OCSP response in DER (or one for each certificate), or a hook
--- @field requestOCSP? boolean a client wants its server's OCSP response, and believes it; false by default
--- @field requireOCSP? boolean a client refuses a server without one; false by default
--- @field requestCert? boolean a server asks its peers for a certificate; false by default: then everybody
---   gets in, `ca` and `crl` judge nobody there, and `fingerprints`, `rawPublicKeys` and `verify` are refused
--- @field rejectUnauthorized? boolean refuse a peer that cannot be verified; true by default
--- @field verify? dtls.VerifyHook whether a peer is welcome, whatever OpenSSL thinks of it. Asked after
---   the peer has proved that it has the certificate's key; not asked about a peer of a PSK suite, which has
---   no certificate
--- @field psk? table<string, string>|dtls.PskPair|dtls.PskHook
---   pre-shared keys (RFC 4279): a client's own pair, a server's table of identities, or a hook: on a
---   client it gets the server's hint and answers with a pair, on a server it gets the identity and
---   answers with the key
--- @field pskIdentityHint? string what a server tells its clients about which key to use
--- @field hideUnknownIdentity? boolean an unknown PSK identity fails as a wrong key does, in silence;
---   false by default: it is refused with an alert
--- @field profile? string 'iot' for the cipher suites and the patience of RFC 7925
--- @field minVersion? string 'DTLSv1.2'
--- @field maxVersion? string 'DTLSv1.2'
--- @field ciphers? string an OpenSSL cipher list, openssl-ciphers(1); by default forward-secret AEAD
--- @field groups? string an OpenSSL group list; 'X25519:P-256:P-384:P-521' by default
--- @field sigalgs? string an OpenSSL signature algorithm list
--- @field ALPNProtocols? string|string[] the names of the protocols that are spoken inside (RFC 7301), 1 to
---   255 bytes each, not their wire format: a client offers them; a server takes the first of its own that
---   is offered, and refuses a client that offers others alone
--- @field srtpProfiles? string|string[] SRTP protection profiles by OpenSSL's names (RFC 5764), in order of
---   preference, of which the server's order counts
--- @field exportWithoutEMS? boolean export keys, those of SRTP too, from a session without extended master
---   secret (RFC 7627); false by default: a peer between two others could give both the same keys
--- @field mtu? integer the UDP payload that handshake datagrams may fill, 256 to 4096; 1200 by default
--- @field maxFragmentLength? integer a client asks that no record of either end hold more: 512, 1024, 2048 or
---   4096 bytes (RFC 6066 section 4); messages are no longer then
--- @field keylog? string|true|fun(line: string, session: dtls.Session)
---   where the secrets of sessions go, for Wireshark: a file that lines are added to, `true` for the one
---   that SSLKEYLOGFILE names in the environment (none where it is not set), or a function. Whoever has a
---   line can read its session
--- @field retransmitTimeout? integer the first retransmission timeout; 1000 by default, doubles to 60000
--- @field sessionTimeout? integer how long a session may be resumed, in seconds; 7200 by default, 0 for not
---   at all
--- @field sessionCache? dtls.SessionCache where a server keeps sessions that are resumed by an id; by default
---   it remembers some thousands itself. Only for clients that take no tickets, or with `ticketKeys = false`

--- Where a server's sessions are kept, to be shared by processes or to outlive them. What is kept is
--- opaque and secret: whoever has it can read what is said in the session. It is worth nothing any more
--- after `sessionTimeout` seconds.
--- @class dtls.SessionCache
--- @field get fun(id: string, session: dtls.Session, done: function): string? a hook: what `set` was given
---   for that id, or nil
--- @field set fun(id: string, data: string, session: dtls.Session) may yield; its failure is a `'warning'`

--- @alias dtls.TraceHook fun(event: dtls.TraceEvent, session: dtls.Session)

--- @class dtls.SessionOptions: dtls.ContextOptions
--- @field context? dtls.Context instead of the options of a context
--- @field trace? dtls.TraceHook is told of every record that is sent, received or dropped: `dtls.trace()`
---   draws them
--- @field handshakeTimeout? integer how long a handshake may take; 30000 by default, 120000 with
---   `profile = 'iot'`
--- @field idleTimeout? integer how long nothing authentic may come before the session is closed; 0 for
---   ever; 300000 by default on servers, 0 on clients
--- @field recvBufferSize? integer bytes that the system keeps of what has arrived and not been read; its
---   own default without. `endpoint:getRecvBufferSize()` says what came of it
--- @field sendBufferSize? integer the same of what is to be sent
--- @field ttl? integer how many routers datagrams may pass, 1 to 255; the system's default without
--- @field recvBatch? integer how many datagrams are read by one system call, 1 to 20; 1 by default
--- @field sendQueueSize? integer bytes that may wait when the system's buffer is full; 262144 by default.
---   What is sent beyond it is dropped, fails with ENOBUFS, and `'drain'` tells when all has been sent
--- @field socket? userdata|table a bound UDP handle of luv, or a dgram socket of Luvit, to be used instead of
---   one that is made, and given back at the end: bound, and not receiving
--- @field linger? integer how long messages are still heard that the peer's close has overtaken on their
---   way, where any are missing; 250 by default, 0 for not at all
--- @field oversize? 'send'|'error' what becomes of a message over `maxPayload()`: it is sent, by default, and
---   IP cuts it in pieces; or `session:send` fails with EMSGSIZE
--- @field keepAlive? dtls.KeepAlive|false what a quiet peer is asked, that it may be told from one that is
---   gone; false by default, and there to take back an endpoint's

--- Who asks for a cookie. The address may be forged.
--- @class dtls.CookiePeer
--- @field ip string of an IPv4-mapped address the IPv4 address
--- @field port integer
--- @field family string 'inet' or 'inet6'
--- @field parameters string bytes that its hello has in common with the one that will return the cookie, and
---   with no others: client_version, random and session_id (RFC 6347 section 4.2.1)

--- @class dtls.EndpointOptions: dtls.SessionOptions
--- @field sni? table<string, dtls.Context>|dtls.SniHook
---   which context serves which host: by exact name, by `*.example.org`, by `*` for all others; or a hook
--- @field reusePort? boolean lets several processes of one user listen on the same port, each of which gets
---   its share of the peers; give all the same `cookieSecret` and `ticketKeys`. Linux; false by default
--- @field perPeerSocket? boolean gives every admitted peer a connected socket of its own on the same port, as
---   long as there are descriptors: see peer_socket.lua. Linux; false by default
--- @field ipv6Only? boolean keeps IPv4 peers off an IPv6 address; `::` takes both by default
--- @field maxSessions? integer how many peers may have a session, handshakes included; 100000 by default.
---   What the limits are for, and who makes room for whom: admission.lua
--- @field maxSessionsPerHost? integer the same of one host, which is an IPv4 address or an IPv6 /64; 1000 by
---   default
--- @field maxHandshakes? integer how many of them may be handshakes; 10000 by default
--- @field maxHandshakeRate? integer how many handshakes a host may begin in a second; 0 by default, for no
---   limit
--- @field accept? fun(peer: { ip: string, port: integer, family: string }): boolean? whether that address may
---   begin a handshake: asked when its cookie has come back and nothing is kept of it yet. It answers at
---   once, and anything but `true` refuses in silence
--- @field roaming? boolean whether a peer keeps its session when its address changes; false by default, since
---   whoever sees a peer's datagrams could have our answers sent elsewhere: `lua/dtls/roam.lua`
--- @field cookieSecret? string|string[] 16 bytes or more, newest first, for processes that share an
---   address; random by default
--- @field generateCookie? fun(peer: dtls.CookiePeer): string? instead of `cookieSecret`: the cookie that a
---   hello is answered with, 1 to 32 bytes; nil for no answer. Asked about every hello that comes without a
---   good one, from whomever, so it should keep nothing of it. It answers at once. What it throws is a
---   `'warning'`, one in a second at most: `lua/dtls/cookies.lua`
--- @field verifyCookie? fun(cookie: string, peer: dtls.CookiePeer): boolean? beside it: whether a cookie, of
---   1 to 255 bytes that the peer has chosen, is one for this peer, and not an old one. It answers at once,
---   and anything but `true` refuses. Asked again when the hello is repeated
--- @field ticketKeys? string|string[]|false what session tickets are sealed with: 32 bytes or more, newest
---   first, for tickets that outlive the process or that several share; random by default, and replaced
---   about every `sessionTimeout`; false for no tickets

--- @class dtls.PeerOptions
--- @field context? dtls.Context another than the endpoint's
--- @field handshakeTimeout? integer
--- @field idleTimeout? integer
--- @field linger? integer
--- @field oversize? 'send'|'error'
--- @field keepAlive? dtls.KeepAlive|false
--- @field trace? dtls.TraceHook
--- @field host? string an IP address or a host name; '127.0.0.1' by default
--- @field port integer
--- @field servername? string the name that the certificate must be for, and that is sent (SNI) unless it
---   is an IP address; by default the host
--- @field session? string what `session:getSession` returned earlier, to be resumed

--- @class dtls.ConnectOptions: dtls.SessionOptions, dtls.PeerOptions
--- @field localAddress? string the IP address to connect from
--- @field localPort? integer the port to connect from; any by default

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
--- @param given? dtls.ContextOptions
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
--- @param given? { names?: string|string[], days?: integer } host names and IP addresses, `localhost`
---   by default; how long it is valid, 365 by default
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
--- @param write? fun(line: string) takes a line without its end; standard output by default
--- @return dtls.TraceHook
dtls.trace = trace

return dtls
