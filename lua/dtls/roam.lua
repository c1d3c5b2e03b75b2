--- Peers whose address changes keep their sessions.
---
--- A phone goes from Wi-Fi to the cellular network; an address translator forgets a quiet device and gives it
--- another port. The peer does not know and sends on. To us a sealed record comes from a stranger. With
--- connection ids (RFC 9146) it would say whose it is; OpenSSL has none. So the sessions that it may be of
--- try to open it, and the one that can has found its peer.
---
--- **When a session moves.** When a record verifies, and its number is larger than those of all records that
--- have come before. The first is proof that the peer has written it, the second that it is no old one, sent
--- again from elsewhere. Nothing is sent because of a move: what the session says from then on goes to the
--- new address. An authentic record that was overtaken is delivered and moves nothing; one that was had, or
--- that nobody can open, is dropped like any stranger's, without an answer and with no trace in a session. So
--- nobody learns from us whether a guess was good, and no handshake or deadline knows of it.
---
--- **What it does not prove** is that the peer wants to be where the record came from. Who sees a record on
--- its way can send it from another address and be faster than the original; then our answers go to that
--- address until the peer's next record takes them back, and being sealed, they are no use there but as a
--- nuisance. And a peer itself can have them sent to somebody else, by forging its own address. WireGuard has
--- the same rule. QUIC has the new address answer first (RFC 9000 section 8.2), as has RFC 9853 for DTLS,
--- which takes both ends. Hence the option is off by default.
---
--- **Which sessions try.** A try is a failed decryption, a microsecond. A stranger may cost a few and no
--- more:
---
--- 1. *By trail* (`src/trail.rs`). With AES-GCM the records of most stacks, OpenSSL's among them, show a
---    number that is one of 2^64 and the same in all records of a session. One lookup finds the session
---    whatever its address was. Everybody on the way can read a trail and forge records that bear it, from
---    any address. Such a forgery costs what one from the peer's own address costs, so these tries need no
---    limit in time. A peer can choose a trail that it has seen, another session's; the one that had it first
---    is tried first, and beyond four the rest has to do without.
--- 2. *By guess*. All others (ChaCha20, AES-CCM; GnuTLS and Mbed TLS, whose nonces are plain counters; what
---    draws every nonce anew) leave no trail. Of these the likeliest try: those whose numbers the record's
---    fits best, at most eight; those first whose peer was at the same host, an IPv4 address or IPv6 /64
---    network, since a translator changes the port and seldom more. On other hosts there may be too many:
---    where more than 64 sessions leave no trail, it is the same host or nothing. Of more than 64 on one host
---    any 64 have a look, others at the next datagram. A flood of forged records must not buy more of our
---    time than it is worth: so five hundred datagrams a second lead to guesses, and the others are dropped.
---    Under such a flood peers without a trail are not found. Peers with one are.
---
--- A tag of eight bytes (AES_128_CCM_8) is forged once in 2^64 tries. Eight sessions that try each record
--- make that eight times as likely: at 4000 a second, once in a hundred million years.
---
--- **What is at an address already** is asked before anybody else; a datagram that it cannot open may still
--- be of a peer that has moved there: a translator gives one device the port that another had. Both sessions
--- are then at that address, until the other one's peer is heard elsewhere, or its idle timeout ends it. The
--- last that was heard is asked first, and is the one that a restarted peer replaces. (A peer that is given
--- an address and restarts before it has been heard there replaces the one that had it, as without this.) No
--- more than four can meet: a fifth is heard, and answered at its old address.
---
--- **Not promised**: that a peer is found before it sends something. That one is found which sends nothing
--- but handshake records: it has restarted, or was never established. That messages survive which are on
--- their way to the old address when it is lost. That one without a trail is found among many.

local Candidates = require('dtls/candidates')
local admission = require('dtls/admission')
local core = require('dtls_core')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local log = require('dtls/log')
local loop = require('dtls/loop')
local peerSocket = require('dtls/peer_socket')
local stats = require('dtls/stats')

-- How many datagrams may lead to guesses, a second and at once.
local GUESSED_PER_SECOND = 500

--- Finds the sessions of one endpoint whose peers have moved.
--- @class (private) dtls.Roam
--- @field private endpoint dtls.Endpoint
--- @field private candidates dtls.Candidates
--- @field private guesses number how many datagrams may lead to guesses, at the time `filledAt`
local Roam = {}
Roam.__index = Roam

function Roam.new(endpoint)
  return setmetatable({
    endpoint = endpoint, candidates = Candidates.new(), guesses = GUESSED_PER_SECOND, filledAt = loop.now(),
  }, Roam)
end

--- Enters an established session by the trail of its peer's records, nil where there is none. The second time
--- it changes that.
--- @param session dtls.Session
--- @param trail integer?
function Roam:enter(session, trail)
  self.candidates:enter(session, trail)
end

--- Takes a session out, if it is in.
function Roam:leave(session)
  self.candidates:leave(session)
end

--- Takes a session to the address where its peer is now: the one place that changes a peer's address.
local function move(self, session, ip, port)
  local endpoint = self.endpoint
  if not (core.is_answerable(ip, port) and endpoint._peers:hasRoom(ip, port)) then
    if log.debug then log.debug('%s port %d cannot be the address of a session', ip, port) end
    return
  end
  local from = session:remoteAddress()
  -- luv reports no scope: a link-local peer is on the link where it was.
  local scope = ip:find('^fe80:') and session._target and session._target:match('%%.*$')
  local oldIp, oldPort = session._ip, session._port
  session._target = scope and ip .. scope
  endpoint._peers:move(session, ip, port)
  local ended = session._isServer and admission.moved(endpoint, oldIp, oldPort) or nil
  self.candidates:move(session)
  endpoint._stats.moves = endpoint._stats.moves + 1
  stats.note(session, 'moves')
  if log.info then log.info('moved %s port %d to %s port %d', from.ip, from.port, ip, port) end
  -- That may be a warning, whose handler may throw, or end the session.
  local failure = guard.call(nil, peerSocket.move, endpoint, session)
  if session._core then
    failure = guard.call(failure, session.emit, session, 'move', session:remoteAddress(), from)
  end
  guard.raise(drain.tellEnds(failure, endpoint, ended))
end

-- Whether a session has been asked already, being at the address that a datagram came from.
local function isAt(session, ip, port)
  return session._ip == ip and session._port == port
end

-- Has a session try a datagram. Says whether it is its peer's.
local function try(self, session, data, ip, port)
  if isAt(session, ip, port) then return false end
  local endpoint = self.endpoint
  endpoint._stats.roamTrials = endpoint._stats.roamTrials + 1
  local found, cause = session._core:receive_stray(data, loop.now())
  if not found then return false end
  if cause then endpoint:_drop(cause, ip, port) end
  local failure
  -- Before what it has to say: the answer to a message goes where that came from.
  if found == 'newer' then failure = guard.call(nil, move, self, session, ip, port) end
  failure = guard.call(failure, drain.run, endpoint, session)
  guard.raise(failure)
  return true
end

-- Says whether one more datagram may lead to guesses.
local function mayGuess(self)
  local now = loop.now()
  local more = (now - self.filledAt) * GUESSED_PER_SECOND / 1000
  self.guesses, self.filledAt = math.min(self.guesses + more, GUESSED_PER_SECOND), now
  if self.guesses < 1 then return false end
  self.guesses = self.guesses - 1
  return true
end

--- Takes a datagram that no session at its address has taken. Says whether it was of a session elsewhere.
--- @param data string
--- @param ip string as luv reports it
--- @param port integer
--- @return boolean
function Roam:receive(data, ip, port)
  local number, trail = core.claim(data)
  if not number then return false end
  local session = trail and self.candidates:ofTrail(trail)
  while session do
    -- What its own address has sent twice is no riddle.
    if isAt(session, ip, port) then return false end
    if try(self, session, data, ip, port) then return true end
    session = session._sameTrail
  end
  if not (self.candidates:hasTrackless(ip) and mayGuess(self)) then return false end
  for _, each in ipairs(self.candidates:likeliest(number, ip)) do
    if try(self, each, data, ip, port) then return true end
  end
  return false
end

return Roam
