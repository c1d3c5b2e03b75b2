--- What can be seen from outside: the counters of endpoints and of sessions, what each is called, and copies
--- of them. A new counter is a field of one of the two tables below, with what it counts above it.
---
--- They only ever go up, except where that is said. Where a field has causes or names for keys, those that
--- have not occurred are missing.

local interpreted = require('dtls/interpreted')

local stats = {}

--- What `endpoint:stats()` returns: sums over the endpoint's whole life, sessions that have ended included.
--- Bytes are UDP payload; times are in milliseconds. `doc/counters.md` says what they tell.
--- @class dtls.EndpointStats
local ENDPOINT = {
  --- How many sessions there are now, handshakes under way included. Goes up and down.
  sessions = 0,

  --- Datagrams that were received.
  datagramsIn = 0,
  --- Their bytes.
  bytesIn = 0,
  --- Datagrams that were sent.
  datagramsOut = 0,
  --- Their bytes.
  bytesOut = 0,
  --- Datagrams that the socket refused to send.
  sendErrors = 0,
  --- Datagrams that were dropped because too many waited to be sent.
  sendDrops = 0,
  --- Peers that got no socket of their own (`perPeerSocket`) and share the listening one.
  peerSocketErrors = 0,
  --- Datagrams that went no further, whole or in part, by cause.
  --- @type table<string, integer>
  drops = {},

  --- Cookies that were sent, one for every hello without one that is accepted.
  challenges = 0,
  --- How many of these hellos had a cookie all the same: too old, or not of this server and for that peer.
  stale = 0,
  --- Sessions that peers have begun, which takes an accepted cookie.
  admitted = 0,
  --- How often a peer with an accepted cookie was not admitted.
  refused = 0,
  --- The same by cause: the name of the limit, `busy`, or `accept` for the hook.
  --- @type table<string, integer>
  refusals = {},

  --- Sessions that this end has begun; for each address that a client tries, one.
  started = 0,
  --- Handshakes that were completed. All that were `admitted` or `started` are one day `connected`, `failed`,
  --- `superseded` or `abandoned`.
  connected = 0,
  --- Handshakes that failed.
  failed = 0,
  --- The same by the name of the error; `ETIMEDOUT` for those that came to no end in time.
  --- @type table<string, integer>
  failures = {},
  --- Handshakes that the peer has given up for a newer one of its own.
  superseded = 0,
  --- Handshakes that this end has given up: the user has closed the session, a client has tried another
  --- address, or they were `yielded`.
  abandoned = 0,

  --- Established sessions that ended because the same peer has established another.
  replaced = 0,
  --- Handshakes that ended to make room for newer ones, at a limit.
  yielded = 0,

  --- How often a session's peer has come to another address.
  moves = 0,
  --- How often a session has tried whether a datagram from another address is its peer's.
  roamTrials = 0,

  --- Messages that peers have sent.
  messagesIn = 0,
  --- Their bytes.
  messageBytesIn = 0,
  --- Messages that were sent to peers.
  messagesOut = 0,
  --- Their bytes.
  messageBytesOut = 0,
  --- How often a flight of a handshake was sent again, because it was not answered in time or the peer said
  --- that it had not come.
  retransmissions = 0,
  --- How many of the `connected` know their round-trip time: not those who had to retransmit at every step.
  roundTrips = 0,
  --- The sum of these times.
  roundTripSum = 0,
}

--- What `session:stats()` returns, during the session and after its end. Bytes are UDP payload.
--- `doc/counters.md` says what they tell.
--- @class dtls.SessionStats
local SESSION = {
  --- Datagrams from the peer's address, whatever became of them.
  datagramsIn = 0,
  --- Their bytes.
  bytesIn = 0,
  --- Datagrams that were made for the peer.
  datagramsOut = 0,
  --- Their bytes.
  bytesOut = 0,
  --- How many of those the socket refused to send.
  sendErrors = 0,
  --- How many of those were dropped because too many waited to be sent.
  sendDrops = 0,
  --- Datagrams from the peer's address that went no further, whole or in part, by cause.
  --- @type table<string, integer>
  drops = {},

  --- Messages of the peer's.
  messagesIn = 0,
  --- Their bytes.
  messageBytesIn = 0,
  --- Messages that were sent to the peer.
  messagesOut = 0,
  --- Their bytes.
  messageBytesOut = 0,

  --- How often the peer has come to another address.
  moves = 0,

  --- How often a flight of the handshake was sent again.
  retransmissions = 0,
  --- How long the peer took to answer a flight of the handshake, in milliseconds: of several times the
  --- shortest, and none of a flight that was sent twice (Karn's algorithm). nil where no such is known.
  --- @type integer|nil
  roundTrip = nil,
}

-- The core's name of a field, in Lua's way: `round_trip_ms` is `roundTrip`.
local function camel(name)
  return (name:gsub('_ms$', ''):gsub('_(%l)', string.upper))
end

-- Adds the numbers of `more`, whose names are the core's or are already Lua's.
local function add(into, more)
  for name, value in pairs(more) do
    name = camel(name)
    if type(value) == 'table' then
      for cause, count in pairs(value) do into[name][cause] = (into[name][cause] or 0) + count end
    else
      into[name] = (into[name] or 0) + value
    end
  end
  return into
end
interpreted(add)

local function zeros(template)
  local made = {}
  for name, value in pairs(template) do made[name] = type(value) == 'table' and {} or value end
  return made
end
interpreted(zeros)

--- The counters that an endpoint itself counts in.
function stats.new()
  return zeros(ENDPOINT)
end

--- Counts under a cause or a name.
function stats.count(counts, name)
  counts[name] = (counts[name] or 0) + 1
end

--- Counts for a session what its core does not, which is rare.
function stats.note(session, name)
  if not session._tally then session._tally = {} end
  stats.count(session._tally, name)
end

--- A copy of what an endpoint has counted.
--- @return dtls.EndpointStats
function stats.ofEndpoint(endpoint)
  local copy = add(zeros(ENDPOINT), endpoint._stats)
  add(copy, endpoint._terms.totals:read())
  copy.sessions = endpoint._peers.count
  return copy
end

--- A copy of what a session has counted.
--- @return dtls.SessionStats
function stats.ofSession(session)
  local copy = add(zeros(SESSION), session._counted or {})
  add(copy, session._tally or {})
  if session._past then add(copy, session._past:stats()) end
  if session._core then add(copy, session._core:stats()) end
  return copy
end

--- Keeps what a core of a client's has counted that is about to go: it has tried more than two addresses.
function stats.keep(session)
  session._counted = add(add(zeros(SESSION), session._counted or {}), session._past:stats())
end

return stats
