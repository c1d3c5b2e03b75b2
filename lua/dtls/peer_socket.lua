--- A socket of its own for each peer that a server has admitted: `perPeerSocket`.
---
--- # What it is good for
---
--- The kernel keeps a queue for each socket. A peer that floods fills its own and nobody else's, what one
--- peer is owed waits for no other's congestion, and an ICMP error says whose it is. Where several
--- processes share the port, a peer stays with the process that has its session, whatever processes come
--- and go. The price is a descriptor for each peer, and kernels before Linux 6.13 look through all sockets
--- of a port for each datagram: it is meant for hundreds of peers, not for a hundred thousand.
---
--- # The hand-over
---
--- The socket shares the listening one's port. It must be bound before it can be connected: connecting
--- first would give it a port of its own. So there are two moments at which a datagram ends up in the
--- wrong queue. They are short, and there are as many of them as peers.
---
--- *Before it is bound*, and for as long as the kernel is on the way, datagrams of the peer are put into
--- the listening socket's queue. They stay there.
---
--- *Between bind and connect* it is one of the port's sockets like any other. The kernel divides the
--- datagrams of all strangers among those, by a hash of the addresses: it may put the hello of a second
--- peer into the queue of the first peer's socket, or what belongs to a session that has no socket of its
--- own. Connecting does not take that out again; both calls are made in a row, but another processor needs
--- no more than that.
---
--- It is tempting to keep the kernel from it: by a filter that drops everything until the socket is
--- connected (then what it drops is lost), by a program that steers the group of sockets (then several
--- processes cannot share the port), by looking at the sender and throwing away what is not the peer's
--- (lost as well). The answer here is that the socket a datagram was read from *means nothing*. Every one
--- of them is read the same way, with the sender that the kernel reports, and goes to
--- `endpoint:_receive(data, ip, port)`, where the table of peers alone says whose it is. So a peer's
--- datagrams get to its session from either queue, a stranger's hello gets to the gate from either, and no
--- socket can serve the wrong session, since none has one: the session has the socket, to send by.
---
--- What that does not cover is a queue that is thrown away. A socket is closed with its session, and its
--- queue might still hold datagrams of others (of before it was connected). So it is read until it is
--- empty first, in the loop's next turn, when no session is in the middle of anything. What can still
--- arrive after that is the peer's alone, of a session that has ended. Others' datagrams are the oldest in
--- the queue; a peer that sends faster than we read cannot keep them from being read, nor the socket from
--- being closed.
---
--- Datagrams of one peer may overtake each other between two queues. So they may in any network.
---
--- # When there is none
---
--- A socket that cannot be made (no descriptor is left, the process has given up the right to that port)
--- is no reason to turn a peer away: it shares the listening one, as all do without the option.
--- `peerSocketErrors` counts them, and the first of a row is a `'warning'`. One in sixteen of the
--- process's descriptors is left to other uses: whoever returns a cookie may cost this server one, but
--- must not cost the program its files.

local guard = require('dtls/guard')
local log = require('dtls/log')
local loop = require('dtls/loop')

local peerSocket = {}

-- More than any queue holds of others' datagrams.
local MOST_LEFT = 4096

-- What a session's own socket reports is the session's affair, and ends nothing.
local function ears(endpoint, session)
  local shared = endpoint._ears
  return {
    onDatagram = shared.onDatagram,
    onLost = shared.onLost,
    counts = shared.counts,
    onWarning = function (err, name)
      if log.debug then log.debug('%s port %d: %s', session._ip, session._port, err) end
      -- Nobody has met a session that is not established.
      if session._state == 'open' then session:emit('warning', err, name) end
    end,
    onDrain = function ()
      local failure
      if session._state == 'open' then failure = guard.call(nil, session.emit, session, 'drain') end
      guard.raise((guard.call(failure, shared.onDrain)))
    end,
  }
end

--- Gives a session that has just been entered into its endpoint's table a socket of its own, if one can be
--- made.
function peerSocket.open(endpoint, session)
  local target = session._target or session._ip
  local udp, err, name = endpoint._udp:beside(target, session._port, ears(endpoint, session))
  if udp then
    endpoint._peerSockets = endpoint._peerSockets + 1
    endpoint._shortOfSockets = false
    session._socket = udp
    return
  end
  endpoint._stats.peerSocketErrors = endpoint._stats.peerSocketErrors + 1
  if endpoint._shortOfSockets then return end
  endpoint._shortOfSockets = true
  endpoint:_warn(err .. ': a peer gets no socket of its own and shares the listening one', name)
end

-- Hands what is left in a socket's queue to whom it belongs.
local function empty(endpoint, udp)
  local failure
  for _ = 1, MOST_LEFT do
    -- A handler may close the endpoint.
    if not endpoint._udp then break end
    local data, ip, port = udp:take()
    if not data then break end
    failure = guard.call(failure, endpoint._receive, endpoint, data, ip, port)
  end
  return failure
end

--- Takes a session's socket away. It is closed when all has been read that it holds and all has been sent.
function peerSocket.close(endpoint, session)
  local udp = session._socket
  if not udp then return end
  session._socket = nil
  local function close()
    local failure = empty(endpoint, udp)
    udp:close(function ()
      endpoint._peerSockets = endpoint._peerSockets - 1
      if endpoint._peerSockets == 0 and endpoint._onNoPeerSockets then endpoint._onNoPeerSockets() end
    end)
    guard.raise(failure)
  end
  -- An endpoint that is closed hears nobody.
  if endpoint._udp then loop.defer(close) else close() end
end

--- Lets a session that has moved to another address (its `_ip`, `_port` and `_target` say where) have a
--- socket that is connected to that one. What the old one still holds is read, in the loop's next turn.
--- Where none can be made, the session goes on by the listening one.
function peerSocket.move(endpoint, session)
  if not session._socket then return end
  peerSocket.close(endpoint, session)
  peerSocket.open(endpoint, session)
end

--- Calls `callback` when the last socket of a peer is closed, at once where there is none.
function peerSocket.whenNone(endpoint, callback)
  if endpoint._peerSockets == 0 then return callback() end
  endpoint._onNoPeerSockets = callback
end

return peerSocket
