--- The table of one socket's sessions, by the peer's address and then its port.
---
--- A peer has one session as a rule. It can have more: a peer that has restarted begins anew while its old
--- session is still there, and we may be its client and its server at once. They form a chain, in the order
--- in which a datagram is offered to them.

local interpreted = require('dtls/interpreted')

--- @class dtls.Peers
--- @field count integer how many sessions there are
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

local function put(self, session)
  local ports = self.hosts[session._ip]
  local before, after = nil, ports[session._port]
  while after and rank(after) <= rank(session) do before, after = after, after._next end
  session._next = after
  if before then before._next = session else ports[session._port] = session end
end

local function pull(self, session)
  local ports = self.hosts[session._ip]
  local before, each = nil, ports[session._port]
  while each ~= session do before, each = each, each._next end
  if before then before._next = session._next else ports[session._port] = session._next end
  session._next = nil
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

--- Enters a session by its `_ip` and `_port`.
function Peers:add(session)
  local ip, port = session._ip, session._port
  local ports = self.hosts[ip]
  if not ports then
    ports = {}
    self.hosts[ip], self.perHost[ip] = ports, 0
  end
  if not ports[port] then self.perHost[ip] = self.perHost[ip] + 1 end
  put(self, session)
  self.count = self.count + 1
end

--- Takes out a session that is in it.
function Peers:remove(session)
  local ip, port = session._ip, session._port
  pull(self, session)
  self.count = self.count - 1
  if self.hosts[ip][port] then return end
  local left = self.perHost[ip] - 1
  if left > 0 then
    self.perHost[ip] = left
  else
    self.hosts[ip], self.perHost[ip] = nil, nil
  end
end

--- Finds a session its new place, now that it is established. Returns the one in which the same peer was
--- our client until now, if there is one.
--- @return dtls.Session?
function Peers:establish(session)
  local older
  local each = self:find(session._ip, session._port)
  while each do
    local serves = each._isServer and session._isServer
    if serves and each ~= session and each._state == 'open' then older = each end
    each = each._next
  end
  pull(self, session)
  put(self, session)
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
