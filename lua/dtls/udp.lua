--- The only file that touches luv's UDP.

local loop = require('dtls/loop')
local uv = loop.uv

-- What may wait in libuv's queue when the socket's own buffer is full. Beyond it the newest
-- datagram is lost, as the network would lose it.
local QUEUE_BYTES = 256 * 1024

--- One bound UDP socket.
--- @class dtls.Udp
--- @field private handle userdata? nil once it is closed
--- @field private connected boolean?
local Udp = {}
Udp.__index = Udp

--- Binds a socket and starts to receive.
---
--- @param ip string an IP address
--- @param port integer 0 for any
--- @param onDatagram fun(data: string, ip: string, port: integer)
--- @param onWarning fun(err: string, name: string) what the socket reports, none of which ends it
--- @return dtls.Udp|nil, string?, string?
function Udp.bind(ip, port, onDatagram, onWarning)
  local handle = uv.new_udp()
  local bound, err, name = handle:bind(ip, port)
  if bound then
    bound, err, name = handle:recv_start(function (failure, data, from, flags)
      if failure then
        -- An ICMP error of some earlier datagram, such as ECONNREFUSED. Reading goes on.
        onWarning(('%s: the UDP socket reported it on receiving'):format(failure), failure)
      elseif from then
        -- A datagram that was cut short on the way in is a lost one.
        if flags and flags.partial then data = '' end
        onDatagram(data, from.ip, from.port)
      end
    end)
  end
  if not bound then
    -- Not at once: a script that ends here, `assert(server:listen(…))`, would take the process down,
    -- as luv up to 1.44 crashes where a handle is still closing when Lua ends.
    loop.defer(function () handle:close() end)
    return nil, err, name
  end
  return setmetatable({ handle = handle }, Udp)
end

--- Lets the socket hear nobody but one peer, and learn when nothing listens there.
--- @return true|nil, string?, string?
function Udp:connect(ip, port)
  local connected, err, name = self.handle:connect(ip, port)
  if not connected then return nil, err, name end
  self.connected = true
  return true
end

--- Sends one datagram: now, or as soon as the socket can take it.
--- @return true|nil, string?, string?
function Udp:send(datagram, ip, port)
  local handle = self.handle
  if not handle then return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' end
  -- A connected socket must not be told.
  if self.connected then ip, port = nil, nil end
  local sent, err, name = handle:try_send(datagram, ip, port)
  -- That is about an earlier datagram. This one has not been tried.
  if name == 'ECONNREFUSED' then sent, err, name = handle:try_send(datagram, ip, port) end
  if sent then return true end
  if name ~= 'EAGAIN' then return nil, err, name end
  if handle:get_send_queue_size() + #datagram > QUEUE_BYTES then
    return nil, 'ENOBUFS: too many datagrams wait to be sent', 'ENOBUFS'
  end
  sent, err, name = handle:send(datagram, ip, port, function ()
    if self.onSent and handle:get_send_queue_count() == 0 then self.onSent() end
  end)
  if not sent then return nil, err, name end
  return true
end

--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Udp:address()
  if not self.handle then return nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' end
  return self.handle:getsockname()
end

--- Closes the socket, once, when what waits has been sent. `callback` is called when it is closed.
function Udp:close(callback)
  local handle = self.handle
  self.handle = nil
  if handle:get_send_queue_count() == 0 then return handle:close(callback) end
  handle:recv_stop()
  self.onSent = function () handle:close(callback) end
end

return Udp
