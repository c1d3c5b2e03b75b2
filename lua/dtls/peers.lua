--- The table of one socket's sessions, by the peer's address and then its port.
---
--- A peer has one session as a rule. It can have more: a peer that has restarted begins anew while its old
--- session is still there, and we may be its client and its server at once. They form a chain, in the order
--- in which a datagram is offered to them. And peers behind one address translator may be given each other's
--- addresses: then the last that was heard there comes first.

local interpreted = require('dtls/interpreted')

-- How many established sessions may be moved to one address. One is there as a rule; the others' peers have
-- been given a new address by a translator, and have not been heard since.
local MOST_AT_ONE_ADDRESS = 4

--- @class (private) dtls.Peers
--- @field count integer how many sessions there are
--- @field batch dtls.Batch? is told who is at an address: it hands datagrams straight to who is there alone
--- @field private hosts table<string, table<integer, dtls.Session>> the first of each chain
--- @field private perHost table<string, integer> how many chains are an address's
local Peers = {}
Peers.__index = Peers

function Peers.new()
  return setmetatable({ count = 0, hosts = {}, perHost = {} }, Peers)
end

-- Established sessions come before handshakes: what they take need not wait for those. A handshake that the
-- peer has begun comes before ours, which waits for it where both go on at once: see arrival.lua.
local function rank(session)
  if session._state ~= 'handshaking' then return 1 end
  return session._isServer and 2 or 3
end

-- Puts a session behind those that come before it, and before those of its own rank where `first`.
local function put(self, session, first)
  local ports = self.hosts[session._ip]
  local before, after = nil, ports[session._port]
  local own = rank(session)
  while after and (rank(after) < own or (rank(after) == own and not first)) do
    before, after = after, after._next
  end
  -- No field is made only to be nil: most sessions are alone, and there are many.
  if after then session._next = after end
  if before then before._next = session else ports[session._port] = session end
end

local function pull(self, session)
  local ports = self.hosts[session._ip]
  local before, each = nil, ports[session._port]
  while each ~= session do before, each = each, each._next end
  if before then before._next = session._next else ports[session._port] = session._next end
  if session._next then session._next = nil end
end

--- The first session with a peer, whose address is written as luv reports it; the others follow as `_next`.
--- @return dtls.Session?
function Peers:find(ip, port)
  local ports = self.hosts[ip]
  return ports and ports[port]
end

--- The session in which we are that peer's client.
--- @return dtls.Session?
function Peers:findClient(ip, port)
  local session = self:find(ip, port)
  while session and session._isServer do session = session._next end
  return session
end

--- A session in which that peer is our client.
--- @return dtls.Session?
function Peers:findServer(ip, port)
  local session = self:find(ip, port)
  while session and not session._isServer do session = session._next end
  return session
end

-- Tells the batch of the socket who is at an address now.
local function tell(self, ip, port)
  if self.batch then self.batch:place(ip, port, self:find(ip, port)) end
end

-- Enters a session by its `_ip` and `_port`.
local function link(self, session, first)
  local ip, port = session._ip, session._port
  local ports = self.hosts[ip]
  if not ports then
    ports = {}
    self.hosts[ip], self.perHost[ip] = ports, 0
  end
  if not ports[port] then self.perHost[ip] = self.perHost[ip] + 1 end
  put(self, session, first)
  tell(self, ip, port)
end

local function unlink(self, session)
  local ip, port = session._ip, session._port
  pull(self, session)
  if not self.hosts[ip][port] then
    local left = self.perHost[ip] - 1
    if left > 0 then
      self.perHost[ip] = left
    else
      self.hosts[ip], self.perHost[ip] = nil, nil
    end
  end
  tell(self, ip, port)
end

--- Enters a session by its `_ip` and `_port`.
function Peers:add(session)
  link(self, session)
  self.count = self.count + 1
end

--- Takes out a session that is in it.
function Peers:remove(session)
  unlink(self, session)
  self.count = self.count - 1
end

--- Whether a session may come to an address: each that is there is a try for every datagram that comes from
--- there and is none of theirs.
function Peers:hasRoom(ip, port)
  local established = 0
  local session = self:find(ip, port)
  while session do
    if session._state ~= 'handshaking' then established = established + 1 end
    session = session._next
  end
  return established < MOST_AT_ONE_ADDRESS
end

--- Enters a session that is in it by another address, in front of those that are there.
function Peers:move(session, ip, port)
  unlink(self, session)
  session._ip, session._port = ip, port
  link(self, session, true)
end

--- Brings an established session to the front, since its peer is the last that was heard at its address.
function Peers:promote(session)
  pull(self, session)
  put(self, session, true)
end

--- Finds a session its new place, now that it is established. Returns the one in which the same peer was
--- our client until now, if there is one: of several the last that was heard.
--- @return dtls.Session?
function Peers:establish(session)
  local older
  local each = self:find(session._ip, session._port)
  while each do
    local serves = each._isServer and session._isServer
    if serves and each ~= session and each._state == 'open' then older = older or each end
    each = each._next
  end
  pull(self, session)
  put(self, session, true)
  tell(self, session._ip, session._port)
  return older
end

--- All sessions, in no order.
--- @return dtls.Session[]
function Peers:list()
  local all = {}
  for _, ports in pairs(self.hosts) do
    for _, session in pairs(ports) do
      while session do
        all[#all + 1] = session
        session = session._next
      end
    end
  end
  return all
end
interpreted(Peers.list)

return Peers
