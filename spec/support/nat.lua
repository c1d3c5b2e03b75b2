--- An address translator in front of one client, whose address and port towards the server can be changed:
--- what it had there is gone at once, and what is on its way to it lost.

local helper = require('spec.helper')
local uv = helper.uv

--- @class spec.Nat
--- @field port integer where the client connects to
--- @field up string[] what the client has sent, and `down` what it was sent
--- @field changed integer? when its address was changed last, as how many datagrams had gone up
local Nat = {}
Nat.__index = Nat

local open = {}

-- A socket towards the server, which tells whoever has it what comes in.
local function outlet(ip, port)
  local handle = uv.new_udp()
  assert(handle:bind(ip, port or 0))
  local made = { handle = handle, ip = ip, port = handle:getsockname().port, heard = {} }
  assert(handle:recv_start(function (_, data, from)
    if not from then return end
    made.heard[#made.heard + 1] = data
    if made.nat then made.nat:pass(data) end
  end))
  open[#open + 1] = handle
  return made
end

--- A translator in front of a port of this host, whose own address is `ip`.
function Nat.new(serverPort, ip)
  local serverIp = ip and ip:find(':') and '::1' or '127.0.0.1'
  local self = setmetatable({ serverIp = serverIp, serverPort = serverPort, up = {}, down = {} }, Nat)
  self.front = uv.new_udp()
  open[#open + 1] = self.front
  assert(self.front:bind('127.0.0.1', 0))
  self.port = self.front:getsockname().port
  self:take(outlet(ip or '127.0.0.1'))
  assert(self.front:recv_start(function (_, data, from)
    if not from then return end
    self.client = from
    self.up[#self.up + 1] = data
    if self.onUp and self.onUp(data) then return end
    self:send(data)
  end))
  return self
end

function Nat:take(new)
  self.outlet, new.nat = new, self
end

--- Sends a datagram to the server as the client.
function Nat:send(data)
  self.outlet.handle:try_send(data, self.serverIp, self.serverPort)
end

--- Passes on what came for the client.
function Nat:pass(data)
  self.down[#self.down + 1] = data
  if self.onDown then self.onDown(data) end
  if self.client then self.front:try_send(data, self.client.ip, self.client.port) end
end

--- Gives the client another port, or another address and port.
function Nat:rebind(ip, port)
  local old = self.outlet
  -- The new one first: else the system may give the very port again that has just become free.
  local new = outlet(ip or old.ip, port)
  old.nat = nil
  old.handle:close()
  self:take(new)
end

--- Gives two clients each other's.
function Nat:swap(other)
  local mine, theirs = self.outlet, other.outlet
  self:take(theirs)
  other:take(mine)
end

--- As remoteAddress() says it.
function Nat:address()
  local ip = self.outlet.ip
  return { ip = ip, port = self.outlet.port, family = ip:find(':') and 'inet6' or 'inet' }
end

--- A stranger: sends what it is told to the server, and hears what is answered.
function Nat:stranger(ip)
  local made = outlet(ip or '127.0.0.1')
  function made.send(data) made.handle:try_send(data, '127.0.0.1', self.serverPort) end
  return made
end

--- Closes all sockets of all translators.
function Nat.closeAll()
  for _, handle in ipairs(open) do
    if not handle:is_closing() then handle:close() end
  end
  open = {}
end

return Nat
