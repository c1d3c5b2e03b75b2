--- Keys for others, out of a session's own: RFC 5705 and RFC 5764.

local Session = require('dtls/session')
local options = require('dtls/options')

local function notConnected(session)
  return nil, ('ENOTCONN: the session is %s'):format(session._state), 'ENOTCONN'
end

--- Derives `length` bytes that the peer gets by the same label and context, and nobody else (RFC 5705).
---
--- Fails with ENOTCONN before the handshake is complete and after the end, with ENOEMS where the session has
--- no extended master secret and the option `exportWithoutEMS` is not set. Raises where the arguments
--- cannot be.
---
--- @param length integer 1 to 65535
--- @param label string ASCII, up to 249 characters: a registered one, or one that begins with `EXPERIMENTAL`
--- @param context? string up to 65535 bytes; the empty one is another than none
--- @return string|nil, string?, string?
function Session:exportKeyingMaterial(length, label, context)
  local caller = 'session:exportKeyingMaterial'
  options.checkValue(caller, 'length', 'length', length)
  options.checkValue(caller, 'label', 'nonEmpty', label)
  if context ~= nil then options.checkValue(caller, 'context', 'text', context) end
  if not self._core then return notConnected(self) end
  local material, err, name = self._core:export_keying_material(length, label, context)
  if name == 'EINVAL' then options.raise('%s: %s', caller, err:match('^EINVAL: (.*)')) end
  return material, err, name
end

--- Keys and salts for SRTP (RFC 3711), all as bytes.
--- @class dtls.SrtpKeys
--- @field profile string the protection profile, `SRTP_AES128_CM_SHA1_80` for one
--- @field clientKey string the client's master key
--- @field clientSalt string its master salt
--- @field serverKey string the server's master key
--- @field serverSalt string its master salt
--- @field localKey string the key of these that is ours, for what we send
--- @field localSalt string and the salt
--- @field remoteKey string the one that is the peer's, for what we receive
--- @field remoteSalt string and the salt

--- The SRTP keys that this session has brought about (RFC 5764 section 4.2).
---
--- Fails with ENOSRTP where the two ends have no profile of the option `srtpProfiles` in common, and as
--- `exportKeyingMaterial` does.
---
--- @return dtls.SrtpKeys|nil, string?, string?
function Session:getSrtpKeys()
  if not self._core then return notConnected(self) end
  local made, err, name = self._core:srtp_keys()
  if not made then return nil, err, name end
  local keys = {
    profile = made.profile,
    clientKey = made.client_key, clientSalt = made.client_salt,
    serverKey = made.server_key, serverSalt = made.server_salt,
  }
  local here, there = 'client', 'server'
  if self._isServer then here, there = there, here end
  keys.localKey, keys.localSalt = keys[here .. 'Key'], keys[here .. 'Salt']
  keys.remoteKey, keys.remoteSalt = keys[there .. 'Key'], keys[there .. 'Salt']
  return keys
end

--- Whether the master secret is bound to the whole handshake (RFC 7627). nil before that is complete.
--- @return boolean?
function Session:usesExtendedMasterSecret()
  local shown = self:_seen()
  return shown and shown.extended_master_secret
end

return Session
