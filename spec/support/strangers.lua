--- Peers that go no further than their cookie: raw sockets that say hello, return it, and say no more.

local hello = require('spec.support.hello')
local helper = require('spec.helper')
local uv = helper.uv

local strangers = {}

local open = {}

local Stranger = {}
Stranger.__index = Stranger

--- One at an address of this machine. `answered` is whether the server has begun a handshake with it.
function strangers.new(ip, localPort)
  local self = setmetatable({ udp = uv.new_udp(), random = hello.randomBytes(32), heard = 0 }, Stranger)
  assert(self.udp:bind(ip or '127.0.0.1', localPort or 0))
  self.udp:recv_start(function (_, data, from)
    if not from then return end
    self.heard = self.heard + 1
    local cookie = hello.answer(data)
    if not cookie then
      self.answered = true
    elseif self.cookie ~= cookie then
      self.cookie = cookie
      if self.proceeds then self:returnCookie() end
    end
  end)
  open[#open + 1] = self
  return self
end

--- Says hello, and returns the cookie when it comes.
function Stranger:begin(port, ip)
  self.port, self.ip, self.proceeds = port, ip or '127.0.0.1', true
  self.udp:try_send(hello.datagram({ random = self.random }), self.ip, port)
  return self
end

--- The same, and waits until the cookie has been returned.
function Stranger:prove(port, ip)
  self:begin(port, ip)
  helper.runUntil(function () return self.cookie end)
  return self
end

--- Sends the hello with its cookie, again perhaps.
function Stranger:returnCookie()
  local data = hello.datagram({ random = self.random, cookie = self.cookie, sequence = 1 })
  self.udp:try_send(data, self.ip, self.port)
end

function Stranger:close()
  if not self.udp:is_closing() then self.udp:close() end
end

--- A stranger that has a handshake with the server at a port.
function strangers.admitted(port, ip)
  local one = strangers.new(ip):begin(port)
  helper.runUntil(function () return one.answered end)
  return one
end

--- Lets all of them go.
function strangers.closeAll()
  for _, each in ipairs(open) do each:close() end
  open = {}
end

return strangers
