--- Who may begin a handshake: the limits of a server, and who yields to whom.
---
--- A cookie proves an address and no more, and addresses are cheap: a botnet has many, a tenant of an IPv6
--- network 2^64. Whoever gets in makes us do a third of a millisecond of arithmetic and keep some 44 KiB
--- until the handshake's deadline. So there are four limits, each against something else:
---
--- - `maxSessions`: all peers together, established or not. It keeps the process within its memory.
--- - `maxSessionsPerHost`: the same of one *host*, which is an IPv4 address or the /64 of an IPv6 address,
---   since whoever has one address of it has them all. It keeps one peer, hostile or only broken, from taking
---   every place. A site behind one address (NAT) is one host, hence a thousand.
--- - `maxHandshakes`: handshakes under way, apart from the established sessions. It bounds what peers without
---   any credentials can hold, and how long it takes us to be rid of them.
--- - `maxHandshakeRate`: new handshakes of one host in a second. None by default: what they cost others is
---   bounded without it (`turns.lua`), and a site whose power comes back looks like an attack. It is for
---   those who know their peers.
---
--- **The oldest handshake yields.** At a limit somebody has to lose, and it should not be whoever is genuine.
--- To refuse the newcomer would let an attacker fill the places once and then keep everybody out for as long
--- as a handshake may take, thirty seconds, with a trickle of hellos. An honest handshake takes two round
--- trips: among those that are still there after many others have begun, hardly one is honest. So the one
--- that has been under way for the longest time makes room, and an honest peer gets in as long as fewer than
--- `maxHandshakes` others begin within its two round trips: ten thousand in a second are more than a
--- processor's core can begin. At the limit of a host it is that host's oldest, so that nobody can push out
--- others than its own neighbours; it takes ten hosts with a thousand each to press on everybody.
---
--- **Established sessions never yield**, to nobody: the peer has shown what the handshake asks for. Where
--- they have all the places the newcomer is refused. No peer is told: who yields ends without a word, an
--- answer to a refused one would be one more thing to ask us for, and a client repeats its hello anyway. The
--- hello of a refused one is not spent (`src/spent.rs`), so that its repetition gets in if there is a place
--- by then. Who has yielded has to begin anew.
---
--- **A peer that restarts** needs no place, since its old session has one: the new one inherits it. Otherwise
--- whoever has a place could not come back to it in a full house. Its handshake counts as any other.
---
--- **Sessions that this end has begun** (`endpoint:connect`) count nowhere here. No peer can make us begin
--- one, so there is nothing to be kept out; and peers that fill the house should not keep us in it, nor our
--- own sessions keep peers out.
---
--- **The hook `accept`** is asked last, `accept(peer)` with `{ ip, port, family }`, when nothing else is in
--- the way, about restarting peers too: whether that address may begin. The cookie has come back, so the
--- address is no forgery; nothing is kept of it yet, so nothing can wait, and the hook answers at once:
--- `true`, or it is a refusal. It cannot yield. What it throws refuses the peer, and comes out where all is
--- in order, as every handler's error does. (What takes longer to decide is for `sni`, `verify` or `psk`,
--- which may wait.)

local Session = require('dtls/session')
local address = require('dtls/address')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local interpreted = require('dtls/interpreted')
local log = require('dtls/log')
local loop = require('dtls/loop')
local stats = require('dtls/stats')

local admission = {}

-- Finds the sessions of a peer: the handshakes that are going on, the one that it has begun and ours, and
-- whether it has begun any session that is still there.
local function sessionsOf(endpoint, ip, port)
  local theirs, ours, known
  local session = endpoint._peers:find(ip, port)
  while session do
    if session._isServer then known = true end
    if session._state == 'handshaking' then
      if session._isServer then theirs = session else ours = session end
    end
    session = session._next
  end
  return theirs, ours, known or false
end

-- Why a hello leads to nothing, if anything is in its way: the cause of a drop, or that of a refusal.
local function hindrance(endpoint, ip, port, pass)
  if endpoint._gate:is_spent(pass, os.time()) then return 'repeated' end
  local _, ours, known = sessionsOf(endpoint, ip, port)
  if ours and ours._core:goes_before(pass) then return 'simultaneous' end
  if endpoint.busy and not known then return nil, 'busy' end
  return nil, endpoint._places:refusal(address.host(ip), known, loop.now())
end

-- Asks the user about a peer. Returns whether it is welcome, or what went wrong in the hook.
local function isWelcome(endpoint, ip, port)
  local plain = address.unmapped(ip)
  local peer = { ip = plain, port = port, family = address.family(plain) }
  local failure, _, answer = guard.call(nil, endpoint._accept, peer)
  if failure or answer == nil or type(answer) == 'boolean' then return answer == true, failure end
  local sentence = 'EHOOK: the accept hook must answer true or false, got ' .. type(answer)
  return false, guard.call(nil, endpoint._warn, endpoint, sentence, 'EHOOK')
end

-- Counts a peer that is not admitted, and tells it nothing.
local function refuse(endpoint, cause, ip, port)
  local counts = endpoint._stats
  counts.refused = counts.refused + 1
  stats.count(counts.refusals, cause)
  if log.debug then log.debug('refused %s port %d: %s', ip, port, cause) end
end

-- Ends every handshake that `surplus()` returns, until it returns none, and adds it to `ended`: whoever has
-- been handed it in a hook hears of it when all is in order.
local function yield(endpoint, ended, surplus, ...)
  local places, counts = endpoint._places, endpoint._stats
  local session = surplus(places, ...)
  while session do
    counts.yielded = counts.yielded + 1
    drain.takeOut(endpoint, session, 'closed')
    ended[#ended + 1] = session
    session = surplus(places, ...)
  end
end

-- Makes a session for a peer that nothing hinders. Adds those that end for it to `ended`.
local function make(endpoint, data, ip, port, pass, ended)
  local places, counts, host = endpoint._places, endpoint._stats, address.host(ip)
  local theirs, _, known = sessionsOf(endpoint, ip, port)
  if theirs then
    drain.takeOut(endpoint, theirs, 'replaced')
    ended[1] = theirs
    -- An established one beside it has the place.
    _, _, known = sessionsOf(endpoint, ip, port)
  end
  yield(endpoint, ended, places.surplus, host, known and 0 or 1, 1)
  endpoint._gate:spend(pass, os.time())
  counts.admitted = counts.admitted + 1
  if log.debug then log.debug('admitted %s port %d', ip, port) end
  local made, err, name = endpoint._context.core:accept(data, endpoint._terms, loop.now())
  if not made then
    counts.failed = counts.failed + 1
    stats.count(counts.failures, name)
    return endpoint:_warn(err, name)
  end
  local session = Session:new(true, endpoint._context, endpoint._trace)
  places:begin(session, host, known, loop.now())
  endpoint:_adopt(session, made, ip, port)
end

-- The same, and tells of those that have ended.
local function begin(endpoint, data, ip, port, pass)
  local ended = {}
  local failure = guard.call(nil, make, endpoint, data, ip, port, pass, ended)
  guard.raise(drain.tellEnds(failure, endpoint, ended))
end

--- Lets a peer that has returned its cookie begin a handshake, or not.
--- @param endpoint dtls.Server
--- @param data string its hello
--- @param pass string what the gate knows the hello by
function admission.admit(endpoint, data, ip, port, pass)
  local drop, refusal = hindrance(endpoint, ip, port, pass)
  local failure
  if endpoint._accept and not (drop or refusal) then
    local welcome
    welcome, failure = isWelcome(endpoint, ip, port)
    -- The hook may have closed the endpoint, or done anything else.
    if not endpoint._udp then return guard.raise(failure) end
    drop, refusal = hindrance(endpoint, ip, port, pass)
    if not welcome then drop, refusal = nil, 'accept' end
  end
  if drop then
    endpoint:_drop(drop, ip, port)
  elseif refusal then
    refuse(endpoint, refusal, ip, port)
  else
    begin(endpoint, data, ip, port, pass)
  end
  guard.raise(failure)
end

--- Sees to the address that a session has left (roam.lua). A peer that has begun to restart there was to have
--- its place: it is a stranger now, and has to have one of its own.
---
--- The session itself counts where it did. It has shown with its cookie that it was there, and shows nothing
--- of the kind where it is now: a thousand sessions that forge the address of a host, once each, would keep
--- that host out.
--- @param endpoint dtls.Server
--- @param ip string where it was until now
--- @return dtls.Session[]? ended handshakes that it has taken out, of which `drain.tellEnds` is to tell
function admission.moved(endpoint, ip, port)
  local places, host = endpoint._places, address.host(ip)
  local left = endpoint._peers:findServer(ip, port)
  if not left or left._host then return end
  if places:full(host) then
    endpoint._stats.yielded = endpoint._stats.yielded + 1
    drain.takeOut(endpoint, left, 'closed')
    return { left }
  end
  local ended = {}
  yield(endpoint, ended, places.surplus, host, 1, 0)
  places:settle(left, host)
  return ended
end

--- Changes the limits that are given. Nobody who is established is ended by that; handshakes yield.
--- @param endpoint dtls.Server
--- @param limits table<string, integer> by the names of the options
function admission.setLimits(endpoint, limits)
  local places, ended = endpoint._places, {}
  places:set(limits)
  yield(endpoint, ended, places.surplus, nil, 0, 0)
  for host in pairs(places.hosts) do yield(endpoint, ended, places.surplus, host, 0, 0) end
  guard.raise(drain.tellEnds(nil, endpoint, ended))
end
interpreted(admission.setLimits)

return admission
