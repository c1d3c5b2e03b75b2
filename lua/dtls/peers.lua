--- The table of one socket's sessions, by the peer's address and then its port.

local interpreted = require('dtls/interpreted')

--- @class dtls.Peers
--- @field count integer how many sessions there are
--- @field private hosts table<string, table<integer, dtls.Session>>
--- @field private perHost table<string, integer> how many of them are an address's
local Peers = {}
Peers.__index = Peers

function Peers.new()
  return setmetatable({ count = 0, hosts = {}, perHost = {} }, Peers)
end

--- The session with a peer, whose address is written as luv reports it.
--- @return dtls.Session?
function Peers:find(ip, port)
  local ports = self.hosts[ip]
  return ports and ports[port]
end

--- Enters a session where there is none.
function Peers:add(session, ip, port)
  local ports = self.hosts[ip]
  if not ports then
    ports = {}
    self.hosts[ip], self.perHost[ip] = ports, 0
  end
  ports[port] = session
  self.perHost[ip] = self.perHost[ip] + 1
  self.count = self.count + 1
end

--- Takes out the session with a peer.
function Peers:remove(ip, port)
  local left = self.perHost[ip] - 1
  if left > 0 then
    self.hosts[ip][port], self.perHost[ip] = nil, left
  else
    self.hosts[ip], self.perHost[ip] = nil, nil
  end
  self.count = self.count - 1
end

--- All sessions, in no order.
--- @return dtls.Session[]
function Peers:list()
  local all = {}
  for _, ports in pairs(self.hosts) do
    for _, session in pairs(ports) do all[#all + 1] = session end
  end
  return all
end
interpreted(Peers.list)

return Peers
