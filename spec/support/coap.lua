--- As much of CoAP (RFC 7252) as it takes to ask libcoap's server and to answer its client, and these
--- programs, built over OpenSSL and over GnuTLS.

local pki = require('spec.support.pki')
local peers = require('spec.support.peers')
local program = require('spec.support.program')
local helper = require('spec.helper')
local uv = helper.uv

local coap = {}

--- What the programs are built over.
coap.LIBRARIES = { 'openssl', 'gnutls' }

local CONFIRMABLE, ACKNOWLEDGEMENT = 0, 2
local GET = '0.01'
local URI_PATH = 11

local function u8(n) return string.char(n) end
local function u16(n) return u8(math.floor(n / 256)) .. u8(n % 256) end

--- A message: `{ kind, code, id, token, path, payload }`, of which code is written as in the RFC, '2.05',
--- and path is a list of segments.
function coap.encode(message)
  local token, payload = message.token or '', message.payload or ''
  local class, detail = message.code:match('^(%d)%.(%d%d)$')
  local text = u8(0x40 + message.kind * 16 + #token) .. u8(class * 32 + detail) .. u16(message.id) .. token
  local number = 0
  for _, segment in ipairs(message.path or {}) do
    assert(#segment <= 12, 'longer options are not needed')
    text = text .. u8((URI_PATH - number) * 16 + #segment) .. segment
    number = URI_PATH
  end
  return payload == '' and text or text .. '\255' .. payload
end

--- The message in a datagram, or nil where it holds none.
function coap.decode(data)
  local first, code, high, low = data:byte(1, 4)
  if not low or math.floor(first / 64) ~= 1 then return nil end
  local position = 5 + first % 16
  local message = {
    kind = math.floor(first / 16) % 4, code = ('%d.%02d'):format(math.floor(code / 32), code % 32),
    id = high * 256 + low, token = data:sub(5, position - 1), path = {}, payload = '',
  }
  local number = 0
  local function extended(nibble)
    if nibble < 13 then return nibble end
    local size = nibble - 12
    local value = data:byte(position)
    if size == 2 then value = value * 256 + data:byte(position + 1) end
    position = position + size
    return value + (size == 1 and 13 or 269)
  end
  while position <= #data do
    local byte = data:byte(position)
    position = position + 1
    if byte == 255 then
      message.payload = data:sub(position)
      break
    end
    number = number + extended(math.floor(byte / 16))
    local length = extended(byte % 16)
    if number == URI_PATH then table.insert(message.path, data:sub(position, position + length - 1)) end
    position = position + length
  end
  return message
end

--- The datagram that asks for what is at a path, '.well-known/core'.
function coap.get(path, id)
  local segments = {}
  for segment in path:gmatch('[^/]+') do segments[#segments + 1] = segment end
  return coap.encode({ kind = CONFIRMABLE, code = GET, id = id, token = 'dtls', path = segments })
end

--- The datagram that answers a request, in the acknowledgement of it.
function coap.answer(request, code, payload)
  return coap.encode({
    kind = ACKNOWLEDGEMENT, code = code, id = request.id, token = request.token, payload = payload,
  })
end

--- Answers requests on a session: `payload` to GET /hello, 4.04 to all else.
function coap.serve(session, payload)
  session:on('message', function (data)
    local request = coap.decode(data)
    if not request or request.kind ~= CONFIRMABLE then return end
    local found = request.code == GET and table.concat(request.path, '/') == 'hello'
    session:send(found and coap.answer(request, '2.05', payload) or coap.answer(request, '4.04'))
  end)
end

--- `coap-client`, asking a server of this process for /hello. It prints the payload or the code of the
--- answer, once it ends; what it ends with is 0 whatever happens.
function coap.client(library, port, more)
  return program.start('coap-client-' .. library, peers.list(
    { '-B', 5 }, more, { ('coaps://127.0.0.1:%d/hello'):format(port) }))
end

-- A port that is free for UDP and TCP, as is the next: that one is for DTLS.
local function freePorts()
  local function isFree(port)
    local tcp, udp = uv.new_tcp(), uv.new_udp()
    local free = tcp:bind('127.0.0.1', port) and tcp:listen(1, function () end)
      and udp:bind('127.0.0.1', port)
    tcp:close()
    udp:close()
    return free
  end
  for _ = 1, 100 do
    local port = program.freePort()
    if port < 65535 and isFree(port) and isFree(port + 1) then return port end
  end
  error('there are no two free ports in a row')
end

--- `coap-server`, ready, and its port for DTLS. Of its resources /.well-known/core lists /time.
function coap.server(library, more)
  local port = freePorts()
  local peer = program.start('coap-server-' .. library, peers.list(
    { '-A', '127.0.0.1', '-p', port, '-v', 7 }, more))
  peer:waitFor('created DTLS endpoint 127%.0%.0%.1:' .. port + 1)
  return peer, port + 1
end

--- A file that holds an identity's public key and its private key, for the option `-M`.
function coap.rawKeyFile(identity)
  return pki.write('raw-' .. identity.keyPath:match('([^/]+)$'), pki.publicKey(identity) .. identity.key)
end

return coap
