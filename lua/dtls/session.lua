--- One association with one peer, as users hold it.

local Emitter = require('dtls/emitter')
local address = require('dtls/address')
local certificate = require('dtls/certificate')
local drain = require('dtls/drain')
local guard = require('dtls/guard')
local loop = require('dtls/loop')
local options = require('dtls/options')
local stats = require('dtls/stats')
local watch = require('dtls/watch')

--- A session. Events:
---
--- - `'secureConnection'` `()` a client's handshake is complete. (A server's sessions come with the
---   server's `'connection'`.)
--- - `'message'` `(data: string)` one datagram of the peer's.
--- - `'timeout'` `()` there was silence for as long as `setTimeout` says; it ends nothing.
--- - `'warning'` `(err: string, name: string)` a socket of its own (a client's, or by `perPeerSocket`) has
---   reported something that it survives, such as ECONNREFUSED while nobody listens where the peer should
---   be; or ESESSION where the option `session` is of no use: the handshake is a full one then.
--- - `'drain'` `()` a socket of its own has sent all that waited, after `send` failed with ENOBUFS since too
---   much did. Of a socket that sessions share the endpoint tells.
--- - `'move'` `(to: { ip, port, family }, from: { ip, port, family })` with the option `roaming`: the peer is
---   at another address, where it is answered from now on. The message that has shown it comes next.
--- - `'error'` `(err: string, name: string)` why it ends; at most once, and `'close'` follows. Why a server's
---   handshake has failed is the server's `'clientError'` instead.
--- - `'close'` `(reason: string)` exactly once, and nothing after it. The reason is `closed`,
---   `timeout`, `error`, `destroyed`, or `replaced` where the peer has restarted and has a new session.
---   A server's hooks may listen for it before the handshake is complete.
---
--- @class dtls.Session: dtls.Emitter
--- @field authorized boolean whether the peer has presented a certificate that verifies, or has the
---   pre-shared key; false before the handshake is complete
--- @field authorizationError string? why not, as `NAME: sentence`, where one was asked for
--- @field servername string? the host that the client wants of the server (SNI), where it named one
--- @field alpnProtocol string? the protocol that is spoken inside (ALPN), where one was agreed on
--- @field srtpProfile string? the SRTP protection profile, where one was agreed on
--- @field private _context dtls.Context whose hooks are asked
--- @field private _core dtls_core.Session? nil while a client looks for its peer, and at the end
--- @field private _past dtls_core.Session? what the core was, at the end or where a client has gone on to
---   another address: good for what it has shown and counted
--- @field private _endpoint dtls.Endpoint?
--- @field private _socket dtls.Udp? its own, where it does not send by the endpoint's: see peer_socket.lua
--- @field private _dial dtls.Dial? a client's search for its peer
--- @field private _trace dtls.TraceHook? who is told what goes over the wire
--- @field private _met boolean? the handshake is complete, or was
--- @field private _target string? where to send, where that is not `_ip`
--- @field private _silent boolean? nobody is told anything yet
--- @field private _closing boolean? the user has closed it
local Session = Emitter:extend()

--- How a call fails that cannot do what it should: `nil`, then `NAME: a sentence`, then `NAME`, which is one
--- of `doc/errors.md`. Such a call returns what is true otherwise, so `assert` prints the sentence.
--- @alias dtls.fail nil, string, string

--- @private
function Session:initialize(isServer, context, trace)
  self._context = context
  self._trace = watch(trace)
  self.authorized = false
  self._isServer = isServer
  self._state = 'handshaking'
end

--- Sends `data` as one datagram. It may be lost, overtaken or duplicated on its way, as UDP is.
---
--- Fails with ENOTCONN before the handshake is complete and after the end, with EINVAL for an empty
--- message, with EMSGSIZE for one over 16384 bytes, or over `maxPayload()` with `oversize = 'error'`, and
--- with libuv's name where the socket refuses it: the session goes on after each.
---
--- What is sent from a `'message'` handler may be gathered with what else is sent while the datagrams that
--- came together are told of, and leaves in one go (Linux). If the socket refuses it then, the endpoint's
--- `'warning'` says so, and `sendErrors` or `sendDrops` count it. With a callback it is sent at once, as the
--- last word of a handler that ends the process should be.
---
--- @param data string
--- @param callback? fun(err: string?, name: string?) called from the loop, in every case
--- @return true|nil, string?, string?
function Session:send(data, callback)
  if type(data) ~= 'string' then
    options.raise('session:send: data must be a string, got %s', type(data))
  end
  options.checkCallback('session:send', callback)
  local sent, err, name = self:_send(data, callback ~= nil or drain.toldOf() == nil)
  if callback then loop.defer(callback, err, name) end
  drain.tell(self)
  if not sent then return nil, err, name end
  return true
end

--- @private `atOnce`: what becomes of it is not to be found out later.
function Session:_send(data, atOnce)
  if not self._core then
    return nil, ('ENOTCONN: the session is %s'):format(self._state), 'ENOTCONN'
  end
  local sent, err, name = self._core:post(data, atOnce)
  if sent == false then
    local number, datagram = err, name
    sent, err, name = drain.refused(self._endpoint, self, number, datagram)
  elseif sent == nil then
    local datagram
    -- It has no way of its own to the socket.
    if not err then datagram, err, name = self._core:send(data) end
    if not datagram then
      -- A failure that has ended the session says so on the way out.
      drain.run(self._endpoint, self)
      return nil, err, name
    end
    sent, err, name = drain.sendTo(self._endpoint, self, datagram, atOnce)
  end
  if sent and self._quiet then self:_stir() end
  return sent, err, name
end

--- @private Whether its messages may go straight to and fro: no other session is at its peer's address,
--- nobody watches, and it has no socket of its own.
function Session:_isAlone()
  return self._state == 'open' and not (self._next or self._trace or self._socket)
end

--- Ends the session in good order: the peer is sent a close_notify and given a second to answer.
--- Before the handshake is complete it just ends. The second call changes nothing.
---
--- Until its `'close'` it keeps its place: to connect to the same peer again from the same socket fails with
--- EALREADY before that.
---
--- @param callback? fun(reason: string) called when it is closed
function Session:close(callback)
  options.checkCallback('session:close', callback)
  if callback then
    if self._state == 'closed' then
      loop.defer(callback, self._reason)
    else
      self:once('close', callback)
    end
  end
  if self._core then
    self._closing = true
    self:_disarm()
    self._core:close(loop.now())
    drain.run(self._endpoint, self)
  elseif self._dial then
    self._dial:cancel('closed')
  end
end

--- Ends the session at once, without a word to the peer.
function Session:destroy()
  if self._core then
    self._core:destroy()
    drain.run(self._endpoint, self)
  elseif self._dial then
    self._dial:cancel('destroyed')
  end
end

--- Where this end is.
--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Session:address()
  if not self._endpoint then return nil, 'ENOTCONN: the session has no socket', 'ENOTCONN' end
  return self._endpoint:address()
end

--- Where the peer is. An IPv4 peer of a dual-stack socket has its IPv4 address.
--- @return { ip: string, port: integer, family: string }|nil, string?, string?
function Session:remoteAddress()
  if not self._ip then return nil, 'ENOTCONN: the peer has no address yet', 'ENOTCONN' end
  local ip = address.unmapped(self._ip)
  return { ip = ip, port = self._port, family = address.family(ip) }
end

--- The protocol version, `DTLSv1.2`. nil before the handshake is complete.
--- @return string?
function Session:getProtocol()
  local shown = self:_seen()
  return shown and shown.protocol
end

--- The cipher suite by OpenSSL's name and by the registry's. nil before the handshake is complete.
--- @return { name: string, standardName: string }?
function Session:getCipher()
  local shown = self:_seen()
  return shown and { name = shown.cipher, standardName = shown.cipher_standard_name }
end

--- What the peer's certificate says, with the chain it came with; nil where it presented none.
--- @return dtls.Certificate?
function Session:getPeerCertificate()
  local shown = self:_seen()
  return shown and certificate.ofChain(shown.chain)
end

--- The peer's public key in PEM: from its certificate, or the one that it has presented instead (RFC 7250),
--- where `getPeerCertificate()` is nil. nil where it presented neither.
--- @return string?
function Session:getPeerPublicKey()
  local shown = self:_seen()
  return shown and shown.public_key
end

--- The OCSP response that the server has stapled to its certificate (RFC 6066 section 8), in DER; nil where
--- there is none.
--- @return string?
function Session:getOCSPResponse()
  local shown = self:_seen()
  return shown and shown.ocsp_response
end

--- The identity by which a pre-shared key was chosen (RFC 4279); nil where none was.
--- @return string?
function Session:getPskIdentity()
  local shown = self:_seen()
  return shown and shown.psk_identity
end

--- Whether this session resumes an earlier one. false before the handshake is complete.
--- @return boolean
function Session:isSessionReused()
  local shown = self:_seen()
  return shown ~= nil and shown.resumed
end

--- What the option `session` of a later connection takes, to resume this session: opaque, and to be kept
--- as a key is, since it holds the master secret. It fits the same server and the same options alone.
---
--- nil where there is nothing to resume: on servers, before the handshake is complete, with
--- `sessionTimeout = 0`, and where the server does not remember sessions or lacks the extended master
--- secret (RFC 7627).
--- @return string?
function Session:getSession()
  local shown = self:_seen()
  return shown and shown.session
end

--- What has happened in the session so far, and after its end what had: a copy of its counters.
--- @return dtls.SessionStats
function Session:stats()
  return stats.ofSession(self)
end

--- @private Learns what the handshake has shown.
function Session:_establish()
  self._state, self._met = 'open', true
  self.authorized, self.authorizationError, self.servername, self.alpnProtocol, self.srtpProfile =
    self._core:verdict()
  if self._dial then self._dial:arrive() end
  if self._quiet then self:_stir() end
  self:_beginKeepAlive()
end

--- @private What the handshake has shown, nil before it is complete. Most sessions are not asked, and of many
--- thousand each table would be one more for the garbage collector to walk.
function Session:_seen()
  if self._met and not self._shown then self._shown = (self._core or self._past):established() end
  return self._shown
end

--- @private Tells the end, once.
function Session:_finish(reason, err, name)
  if self._state == 'closed' then return end
  self._state, self._reason = 'closed', reason
  self._core = nil
  if self._dial then
    err = self._dial:explain(err, name)
    self._dial:release()
  end
  local failure
  if err then failure = guard.call(nil, self.emit, self, 'error', err, name) end
  failure = guard.call(failure, self.emit, self, 'close', reason)
  guard.raise(failure)
end

return Session
