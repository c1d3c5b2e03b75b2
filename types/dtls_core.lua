--- @meta dtls_core
--- The native module, as `lua/dtls/` sees it. Users want `require('dtls')`.
---
--- Times are in milliseconds on the caller's monotonic clock, `wall_seconds` is Unix time. A
--- *refusal* is `nil, option, sentence`; a *failure* is `nil, err, name`.

--- @class dtls_core
--- @field version string this library's
--- @field openssl_version string
--- @field kinds string[] what `Session:poll` says, by number: transmit, message, keylog, session, connected,
---   question, closed, timeout
local core = {}

--- What a context is made of, types already checked.
--- @class dtls_core.Config
--- @field cert? string[] PEM
--- @field key? string[] PEM
--- @field passphrase? string
--- @field ca? string[] PEM
--- @field crl? string[] PEM
--- @field fingerprints? string[]
--- @field raw_public_keys? string[] PEM
--- @field ocsp_response? string[]|true DER, or true to be asked
--- @field request_ocsp? boolean
--- @field require_ocsp? boolean
--- @field request_cert? boolean
--- @field reject_unauthorized? boolean
--- @field verify? boolean whether to ask about every peer
--- @field psk? true|table<string, string> whether to ask for keys, or the keys; `{ identity = …, key = … }` is
---   one pair
--- @field psk_identity_hint? string
--- @field hide_unknown_identity? boolean
--- @field profile? string
--- @field min_version? string
--- @field max_version? string
--- @field ciphers? string
--- @field groups? string
--- @field sigalgs? string
--- @field alpn_protocols? string[]
--- @field srtp_profiles? string[]
--- @field export_without_ems? boolean
--- @field mtu? integer
--- @field max_fragment_length? integer
--- @field retransmit_timeout? integer
--- @field keylog? boolean
--- @field session_timeout? integer seconds
--- @field session_cache? boolean whether to ask for a server's sessions, and to tell of them

--- @param config dtls_core.Config
--- @return dtls_core.Context|nil context, string? option, string? sentence
function core.context(config) end

--- @param wall_seconds integer
--- @param secrets? string[] newest first; random ones without
--- @return dtls_core.Gate|nil gate, string? option, string? sentence
function core.gate(wall_seconds, secrets) end

--- @param names string[]
--- @param days integer
--- @return string|nil cert, string key_or_sentence, string? fingerprint256
function core.generate_certificate(names, days) end

--- Gives memory that is free back to the system, where the C library does not by itself.
function core.trim_heap() end

--- Whether a string may be what `established().session` was once.
--- @param kept string
--- @return boolean
function core.is_session(kept) end

--- Whether this system divides what arrives at a port among the sockets that share it.
core.shares_ports = true

--- What a socket is to be. Addresses may have a scope: `fe80::1%eth0`.
--- @class dtls_core.SocketTerms
--- @field ip string
--- @field port integer 0 for any
--- @field peer_ip? string the one peer that it hears
--- @field peer_port? integer
--- @field shared? boolean others of the same user may be bound to the same port
--- @field ipv6_only? boolean
--- @field ttl? integer
--- @field recv_buffer_size? integer
--- @field send_buffer_size? integer

--- Makes a UDP socket, bound, and connected where there is a peer: a descriptor that is the caller's.
--- @param terms dtls_core.SocketTerms
--- @return integer|nil fd, integer? errno the system's number of what went wrong
function core.bind_socket(terms) end

--- Keeps other users off the port of a descriptor that libuv was given, which opens it to all.
--- @param fd integer
--- @return boolean done
function core.keep_socket(fd) end

--- Takes the next datagram that waits in a socket, without waiting for one.
--- @param fd integer
--- @return string|nil datagram, string? ip, integer? port
function core.take_datagram(fd) end

--- Closes a descriptor that libuv has not taken.
--- @param fd integer
function core.discard_socket(fd) end

--- Reads and writes a bound socket in batches: src/transport.rs. nil on systems without it.
--- @type fun(fd: integer, totals: dtls_core.Totals): dtls_core.Transport|nil, integer?
core.transport = nil

--- What `Transport:take` says, by number: message, stirred, dropped, admitted, datagram.
--- @type string[]?
core.takings = nil

--- One socket's datagrams. Errors are the system's numbers.
--- @class dtls_core.Transport
local Transport = {}

--- Receives a batch, if the last one has been taken; what is sent is gathered from now on.
--- @return boolean|nil more whether to receive another batch at once
--- @return integer? errno
function Transport:receive() end

--- Takes the next datagram of the batch. Nothing where there is none; else a number and:
--- 1 message: `number, message, more`, the session that goes by `number` has a message, and perhaps more to say;
--- 2 stirred: `number`, it has something else to say;
--- 3 dropped: `number, cause, datagram`, it has not taken all of it;
--- 4 admitted: `datagram, ip, port, pass`, the gate would let a stranger in;
--- 5 datagram: `datagram, ip, port`, whatever it is.
--- @param now integer
--- @param wall_seconds integer
--- @param direct boolean whether sessions may have theirs at once
--- @param welcomes boolean whether strangers are answered
--- @return integer? taking, any, any, any, any
function Transport:take(now, wall_seconds, direct, welcomes) end

--- Sends a datagram, or gathers it.
--- @param datagram string
--- @param ip string with its scope, where it has one
--- @param port integer
--- @param at_once? boolean it is not gathered, and leaves behind all that was
--- @return true|nil sent, integer? errno
function Transport:send(datagram, ip, port, at_once) end

--- Sends what was gathered; what is sent leaves at once from now on.
--- @return boolean all false where `take_refused` has something
function Transport:flush() end

--- Takes back a datagram that the socket has not taken.
--- @return string? datagram, integer? errno, string? ip, integer? port
--- @return boolean? strange whether it is an answer to a stranger
function Transport:take_refused() end

--- Leaves reading and writing to somebody else for a while.
--- @param paused boolean
function Transport:pause(paused) end

--- Notes that the socket is connected to its one peer.
function Transport:connected() end

--- @param gate dtls_core.Gate? who answers strangers
function Transport:set_gate(gate) end

--- Notes who is at an address: one open session, by a number; or others.
--- @param ip string
--- @param port integer
--- @param session? dtls_core.Session
--- @param number? integer
--- @param target? string where to send, where that is not `ip`
--- @return integer? freed the number that is nobody's any more
function Transport:place(ip, port, session, number, target) end

--- Notes that nobody is at an address.
--- @param ip string
--- @param port integer
--- @return integer? freed
function Transport:vacate(ip, port) end

--- Leaves the socket alone from now on.
function Transport:close() end

--- What a datagram from an unknown address claims to be: the number of its first record, and what `poll` calls the
--- trail of such records. Nothing where it is not what a peer with a session sends.
--- @param datagram string
--- @return integer? number
--- @return integer? trail nil where it shows none
function core.claim(datagram) end

--- Whether one peer can be at an address.
--- @param ip string
--- @param port integer
--- @return boolean
function core.is_answerable(ip, port) end

--- @class dtls_core.Context
local Context = {}

--- Whether servers can be made of it.
--- @return true|nil ok, string? option, string? sentence
function Context:check_server() end

--- Whether clients can be made of it.
--- @return true|nil ok, string? option, string? sentence
function Context:check_client() end

--- A session with the peer whose datagram the gate has admitted.
--- @param datagram string
--- @param terms dtls_core.Terms
--- @param now integer
--- @return dtls_core.Session|nil session, string? err, string? name
function Context:accept(datagram, terms, now) end

--- A session with the server that is called `name`.
--- @param name string a host name or an IP address
--- @param terms dtls_core.Terms
--- @param now integer
--- @return dtls_core.Session|nil session, string? err, string? name
function Context:connect(name, terms, now) end

--- What is wanted of a session.
--- @class dtls_core.Terms
--- @field handshake_ms integer
--- @field spent_ms? integer how much of that has passed before; 0 by default
--- @field idle_ms integer 0 for ever
--- @field linger_ms? integer how long messages are heard that the peer's close_notify has overtaken;
---   250 by default
--- @field mtu? integer the path's MTU, a UDP payload in bytes; the context's by default
--- @field refuse_oversize? boolean messages that make larger datagrams than that are refused
--- @field ask_server_name? boolean a server asks which context serves the host that the client wants
--- @field tickets? dtls_core.TicketKeys what a server seals its tickets with; nil for no tickets
--- @field earlier? dtls_core.Earlier a client offers to resume it
--- @field trace? boolean there are events of what goes over the wire
--- @field roams? boolean `poll` tells of the trail that the peer's records leave
--- @field totals dtls_core.Totals what the session adds its counts to

--- Reads what `established().session` was in an earlier session with that server.
--- @param name string
--- @param kept string
--- @return dtls_core.Earlier|nil earlier, string? err, string? name
function Context:earlier(name, kept) end

--- A ring of keys for session tickets.
--- @param secrets? string[] newest first; random ones without
--- @return dtls_core.TicketKeys|nil keys, string? option, string? sentence
function Context:ticket_keys(secrets) end

--- An earlier session that a client may offer to resume.
--- @class dtls_core.Earlier

--- @class dtls_core.TicketKeys
local TicketKeys = {}

--- Replaces the keys, for all that share the ring.
--- @param secrets string[]
--- @return true|nil ok, string? option, string? sentence
function TicketKeys:set(secrets) end

--- Sums over many sessions.
--- @return dtls_core.Totals
function core.totals() end

--- @class dtls_core.Totals
local Totals = {}

--- The fields of `dtls.EndpointStats` that sessions count, `roundTripSum` as `round_trip_sum_ms`.
--- @return table<string, integer>
function Totals:read() end

--- @class dtls_core.Gate
local Gate = {}

--- Judges a datagram from an address that has no session.
--- @param datagram string
--- @param ip string
--- @param port integer
--- @param wall_seconds integer
--- @return 'challenge'|'admit'|'discard' verdict, string? reply_or_cause, boolean? stale whether a challenge
---   answers a cookie that is not accepted
function Gate:examine(datagram, ip, port, wall_seconds) end

--- What a hello from an address that has no session shows to whoever makes cookies of another kind.
--- @param datagram string
--- @param ip string
--- @param port integer
--- @return string? parameters client_version, random and session_id; nil where it is no hello to be answered
--- @return integer|string number_or_cause the number of its record, for the answer; why it is none
--- @return string? cookie empty where there is none
--- @return boolean? returned whether the cookie may be one that was sent
function Gate:inspect(datagram, ip, port) end

--- The datagram that answers a hello with a cookie.
--- @param number integer of the hello's record
--- @param cookie string
--- @return string? reply nil where the cookie has not 1 to 32 bytes
function Gate:challenge(number, cookie) end

--- What a hello is known by whose cookie is good.
--- @param parameters string what `inspect` returned
--- @param ip string
--- @param port integer
--- @return string pass
function Gate:pass(parameters, ip, port) end

--- Replaces the secrets, newest first; those that are refused leave all as it was.
--- @param secrets string[]
--- @return true|nil, string? option, string? sentence
function Gate:set_secrets(secrets) end

--- Notes that a hello has become a session.
--- @param pass string what `pass` returned, or `examine` with `admit`
--- @param wall_seconds integer
--- @return boolean first whether it is the first time
function Gate:spend(pass, wall_seconds) end

--- @param pass string
--- @param wall_seconds integer
--- @return boolean spent whether the hello has become a session before
function Gate:is_spent(pass, wall_seconds) end

--- After `receive`, `close`, `destroy`, `expire` and every answer: `poll` until it says `timeout`.
--- After `receive`, `close`, `destroy`, `expire`, `give_up` and every answer: `poll` until it says `timeout`.
--- @class dtls_core.Session
local Session = {}

--- @param datagram string
--- @param now integer
--- @return string? cause why the first part that was dropped was dropped
function Session:receive(datagram, now) end

--- Tries a datagram from another address than the peer's. One that is not the peer's leaves no trace.
--- @param datagram string
--- @param now integer
--- @return 'newer'|'older'|nil found whether its first record is newer than all of the peer's before; nil where it
---   is not the peer's
--- @return string? cause why the first part that was dropped was dropped
function Session:receive_stray(datagram, now) end

--- The largest number of a sealed record of the peer's; nil before the handshake is complete.
--- @return integer?
function Session:newest() end

--- Whether this client's handshake goes before that of the peer, whose hello to us was admitted.
--- @param pass string what the gate returned with `admit`
--- @return boolean
function Session:goes_before(pass) end

--- Seals a message and has its transport send it, or gather it where that may be. Nothing where it has none.
--- @param message string
--- @param at_once boolean
--- @return boolean|nil sent false where the socket did not take it: `errno, datagram` follow
--- @return integer|string? errno_or_err
--- @return string? datagram_or_name
function Session:post(message, at_once) end


--- @param message string
--- @return string|nil datagram, string? err, string? name
function Session:send(message) end

--- @param now integer
function Session:close(now) end

function Session:destroy() end

--- Gives back the memory of a session that is not needed any more: `established` and `stats` go on.
function Session:forget() end

--- @param now integer
function Session:expire(now) end

--- The fields of `dtls.SessionStats` that the core counts, `roundTrip` as `round_trip_ms`.
--- @return table<string, integer|table<string, integer>>
function Session:stats() end

--- @return 'transmit'|'message'|'keylog'|'session'|'connected'|'trail'|'question'|'closed'|'timeout' kind
--- @return string|integer|nil what the datagram, the message, the line, the session's id, the trail (nil where the
---   peer leaves none), the question's number, the reason, or when to call `expire`
--- @return integer kind by its place in `kinds`
--- @return string|integer|nil what the datagram, the message, the line, the session's id, the question's
---   number, the reason, or when to call `expire`
--- @return string? err with `closed`; with `session` what to keep for that id; with `question` its kind:
---   `server_name`, `ocsp_response`, `cached_session`, `psk_identity`, `psk_hint`, `peer`
--- @return string|dtls_core.StatusRequest|dtls_core.Presented|nil name with `closed`; with `question` what it is about
function Session:poll() end

-- Answers to questions. Each says whether it was taken: not where the question is not asked any more.

--- @param context? dtls_core.Context nil where there is no such host
--- @return boolean taken
function Session:answer_server_name(number, now, context) end

--- @param responses string[] DER; empty where there is none
--- @return boolean taken
function Session:answer_ocsp_response(number, now, responses) end
--- @param kept? string what to keep for that id was; nil where there is nothing
--- @return boolean taken
function Session:answer_cached_session(number, now, kept) end

--- @param key? string nil where the identity is unknown
--- @return boolean taken
function Session:answer_psk_identity(number, now, key) end

--- @param identity? string nil where there is none for this server
--- @param key? string
--- @return boolean taken
function Session:answer_psk_hint(number, now, identity, key) end

--- @param welcome boolean
--- @param reason? string why not
--- @return boolean taken
function Session:answer_peer(number, now, welcome, reason) end

--- Whoever was asked has failed.
--- @param sentence string
--- @return boolean taken
function Session:answer_failed(number, now, sentence) end
--- The next event of what went over the wire; nil when there is none, or none is wanted.
--- @return dtls.TraceEvent?
function Session:take_trace() end

--- Makes handshake datagrams smaller than one that was refused; nil where there is no smaller size.
--- @param refused integer its length in bytes
--- @return integer? mtu
function Session:lower_mtu(refused) end

--- Takes what the path's MTU is.
--- @param bytes integer UDP payload
--- @return integer? max_payload nil until the handshake is complete
function Session:set_mtu(bytes) end

--- When the last authenticated record came that had an effect.
--- @return integer ms
function Session:heard_at() end

--- Ends an open session with reason `timeout` and ETIMEDOUT.
--- @param sentence string why
--- @param now integer
function Session:give_up(sentence, now) end

--- @param length integer
--- @param label string
--- @param context? string
--- @return string|nil material, string? err, string? name
function Session:export_keying_material(length, label, context) end

--- @class dtls_core.SrtpKeys
--- @field profile string
--- @field client_key string
--- @field client_salt string
--- @field server_key string
--- @field server_salt string

--- @return dtls_core.SrtpKeys|nil keys, string? err, string? name
function Session:srtp_keys() end

--- What every session is told of its handshake; nil until it is complete.
--- @return boolean? authorized, string? authorization_error, string? server_name, string? alpn_protocol
--- @return string? srtp_profile
function Session:verdict() end

--- All else that the handshake has shown; nil until it is complete.
--- @return dtls_core.Established?
function Session:established() end

--- @class dtls_core.Established
--- @field protocol string
--- @field cipher string
--- @field cipher_standard_name string
--- @field max_payload integer
--- @field extended_master_secret boolean
--- @field chain dtls_core.Certificate[] the peer's own first
--- @field public_key? string PEM
--- @field ocsp_response? string DER
--- @field psk_identity? string
--- @field resumed boolean
--- @field session? string what a client may keep to resume it

--- @class dtls_core.StatusRequest
--- @field server_name? string
--- @field chains dtls_core.Certificate[][]

--- @class dtls_core.Presented
--- @field chain dtls_core.Certificate[]
--- @field authorized boolean
--- @field authorization_error? string
--- @field name? string
--- @field public_key? string PEM
--- @field ocsp_response? string DER
--- @field resumed boolean

--- @class dtls_core.Certificate
--- @field subject table<string, string>
--- @field issuer table<string, string>
--- @field subject_alt_name string[]
--- @field serial_number string
--- @field valid_from string
--- @field valid_to string
--- @field fingerprint256 string
--- @field pem string
--- @field der string

return core
