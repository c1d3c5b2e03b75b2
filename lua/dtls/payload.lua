--- What a message may hold, and what path it goes.

local Session = require('dtls/session')
local options = require('dtls/options')

--- The longest message, in bytes, whose datagram is no larger than the path's MTU: exact, in every cipher
--- suite. nil before the handshake is complete.
--- @return integer?
function Session:maxPayload()
  local shown = self:_seen()
  return shown and shown.max_payload
end

--- Tells what the path's MTU is, as a UDP payload: what IP carries less 28 bytes, or 48 with IPv6. Until
--- it is told, it is the option `mtu`.
---
--- While there is a handshake its datagrams keep to it from the next transmission on, as far as OpenSSL can:
--- they are of 4096 bytes at most. `maxPayload()` follows at once.
---
--- Fails with ENOTCONN after the end.
---
--- @param bytes integer 256 to 65507
--- @return true|nil, string?, string?
function Session:setMtu(bytes)
  options.checkValue('session:setMtu', 'bytes', 'pathMtu', bytes)
  if self._state == 'closed' then return nil, 'ENOTCONN: the session is closed', 'ENOTCONN' end
  -- A client that looks for its peer has no core yet, or will have another.
  self._mtu = bytes
  local payload = self._core and self._core:set_mtu(bytes)
  if payload and self._shown then self._shown.max_payload = payload end
  return true
end

return Session
