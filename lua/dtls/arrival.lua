--- What becomes of a datagram: where it goes, and when.
---
--- A peer's datagram goes to its session, a stranger's to the gate. What is between the two is a
--- **ClientHello from the address of a peer** (RFC 6347 section 4.2.8): the peer may have restarted, or
--- moved and left its address to another, or it is none of its making. So the gate answers it as it answers
--- a stranger, without a trace; and when the cookie comes back, the handshake is made *beside* the session
--- that is there. Whoever forged the hello gets no further, since the answers go to the peer. Only a
--- Finished that verifies shows that somebody is at that address who wants a new session and can have one:
--- then the old one ends, as `replaced`. Each hello makes one handshake (`src/spent.rs`), so copies of an
--- old one disturb nothing.
---
--- A handshake of the same peer that is not complete yet gives way to a newer hello at once: only whoever
--- is at that address can have proved it, and it has given the older one up.
---
--- **Two endpoints that connect to each other at the same moment** have two handshakes, one in each
--- direction, and a part of their messages would look alike. They go one after the other: the client whose
--- random is the lesser goes first, and the other's hello is not heard until then. It is repeated.
---
--- What no session at its address takes may be of a peer that has moved: see roam.lua.

local admission = require('dtls/admission')
local drain = require('dtls/drain')
local loop = require('dtls/loop')
local turns = require('dtls/turns')

local arrival = {}

local byte = string.byte

-- Content type handshake, and message type client_hello.
local HANDSHAKE, CLIENT_HELLO = 22, 1

-- How many bytes of handshakes may wait their turn: some thousands of them; and how many of one.
local BACKLOG_BYTES, BACKLOG_BYTES_EACH = 4 * 1024 * 1024, 64 * 1024

-- Whether a datagram begins with a plaintext ClientHello.
local function isHello(data)
  local kind, _, _, high, low = byte(data, 1, 5)
  return kind == HANDSHAKE and high == 0 and low == 0 and byte(data, 14) == CLIENT_HELLO
end

-- Hands a datagram to a session. Returns why it was dropped, if it was. `before`: others were asked.
local function offer(endpoint, session, data, before)
  local dropped = session._core:receive(data, loop.now())
  -- Only a client's search looks for that, and junk is no sign of a server.
  if not dropped and session._heard == false then session._heard = true end
  if before and not dropped and session._state == 'open' then endpoint._peers:promote(session) end
  drain.run(endpoint, session)
  return dropped
end

-- Offers a datagram to the sessions of a chain until one takes it. Returns why the first one did not, and
-- the session that it has to wait for: an incomplete one, where `atOnce`. (What an open one has waiting
-- from its handshake may be overtaken, as on any network: behind it nothing would have its turn in a flood.)
local function offerAll(endpoint, session, data, atOnce)
  local cause
  while session do
    if atOnce and session._state == 'handshaking' then return cause, session end
    -- A handler may end any session.
    local follower = session._next
    if session._core then
      local dropped = offer(endpoint, session, data, cause)
      if not dropped then return nil end
      cause = cause or dropped
    end
    session = follower
  end
  return cause
end

local postpone

-- Whether a datagram is of a peer that has been at another address until now.
local function hasMoved(endpoint, data, ip, port)
  local roam = endpoint._roam
  return roam and roam:receive(data, ip, port)
end

-- A datagram of a peer's.
local function deliver(endpoint, data, ip, port, session)
  local cause, waitsFor = offerAll(endpoint, session, data, true)
  if not (cause or waitsFor) then return end
  -- A handshake would keep what it cannot open yet.
  if hasMoved(endpoint, data, ip, port) then return end
  if waitsFor then
    postpone(endpoint, data, ip, port, waitsFor)
  else
    endpoint:_drop(cause, ip, port)
  end
end

-- Lets somebody in whose hello the gate has admitted, unless it is a copy. `session` as below.
local function welcome(endpoint, data, ip, port, session, pass)
  if not endpoint._gate:is_spent(pass, os.time()) then
    postpone(endpoint, data, ip, port, nil, pass)
  elseif session then
    -- Repeated, or a further fragment.
    deliver(endpoint, data, ip, port, session)
  else
    endpoint:_drop('repeated', ip, port)
  end
end

-- Lets the gate judge a stranger, or a hello from the address of a peer, whose first session is `session`.
local function examine(endpoint, data, ip, port, session)
  local gate = endpoint._gate
  if not gate then return endpoint:_drop('unknown', ip, port) end
  if endpoint.busy and not session and isHello(data) then return endpoint:_drop('busy', ip, port) end
  local verdict, detail, more = gate:examine(data, ip, port, os.time())
  -- One that asks the user (cookies.lua) may find the endpoint closed.
  if not endpoint._udp then return end
  if verdict == 'challenge' then
    local counts = endpoint._stats
    counts.challenges = counts.challenges + 1
    if more then counts.stale = counts.stale + 1 end
    -- Nobody is told of its loss, which is none of the peer's that is there.
    drain.send(endpoint, detail, ip, port, nil, true)
  elseif verdict == 'admit' then
    -- Or other sessions.
    welcome(endpoint, data, ip, port, endpoint._peers:find(ip, port), detail)
  elseif verdict == 'silence' then
    endpoint:_drop(detail, ip, port)
    if more then endpoint:_warn(more, 'EHOOK') end
  elseif session then
    deliver(endpoint, data, ip, port, session)
  else
    endpoint:_drop(detail, ip, port)
  end
end

-- Goes on with a datagram that has waited.
local function takeUp(endpoint, data, ip, port, session, pass)
  endpoint._backlog = endpoint._backlog - #data
  if session then session._postponed = session._postponed - #data end
  if not endpoint._udp then return end
  if pass then return admission.admit(endpoint, data, ip, port, pass) end
  local first = endpoint._peers:find(ip, port)
  local cause
  if first then
    cause = offerAll(endpoint, first, data, false)
    if not cause then return end
  end
  if hasMoved(endpoint, data, ip, port) then return end
  if first then endpoint:_drop(cause, ip, port) else examine(endpoint, data, ip, port) end
end

-- Takes a datagram up in this turn of the loop or in one to come: a step of a handshake costs a hundred
-- times what other datagrams do, and established sessions do not wait for it. `session` is the one that it
-- waits for; nil with the `pass` of a hello that the gate has admitted.
function postpone(endpoint, data, ip, port, session, pass)
  local own = session and session._postponed + #data or 0
  if endpoint._backlog + #data > BACKLOG_BYTES or own > BACKLOG_BYTES_EACH then
    return endpoint:_drop('backlog', ip, port)
  end
  endpoint._backlog = endpoint._backlog + #data
  if session then session._postponed = own end
  turns.run(takeUp, endpoint, data, ip, port, session, pass)
end

--- Takes one datagram from a socket of the endpoint's.
--- @param endpoint dtls.Endpoint
--- @param data string
--- @param ip string as luv reports it
--- @param port integer
function arrival.receive(endpoint, data, ip, port)
  local counts = endpoint._stats
  counts.datagramsIn = counts.datagramsIn + 1
  counts.bytesIn = counts.bytesIn + #data
  local session = endpoint._peers:find(ip, port)
  if session and not (endpoint._gate and isHello(data)) then
    deliver(endpoint, data, ip, port, session)
  elseif session or not hasMoved(endpoint, data, ip, port) then
    examine(endpoint, data, ip, port, session)
  end
end

--- Goes on with a datagram of which the session that it was handed to has dropped something.
function arrival.dropped(endpoint, session, cause, data)
  local ip, port = session._ip, session._port
  drain.run(endpoint, session)
  if not hasMoved(endpoint, data, ip, port) then endpoint:_drop(cause, ip, port) end
end

--- Goes on with the hello of a stranger that the gate has admitted.
function arrival.admitted(endpoint, data, ip, port, pass)
  local counts = endpoint._stats
  counts.datagramsIn = counts.datagramsIn + 1
  counts.bytesIn = counts.bytesIn + #data
  welcome(endpoint, data, ip, port, nil, pass)
end

return arrival
