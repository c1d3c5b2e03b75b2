--- ClientHellos as bytes (RFC 6347 section 4.2.1, RFC 5246 section 7.4.1.2), for specs that are a
--- stranger themselves.

local hello = {}

local function u8(n) return string.char(n % 256) end
local function u16(n) return u8(math.floor(n / 256)) .. u8(n) end
local function u24(n) return u8(math.floor(n / 65536)) .. u16(n) end
local function u48(n) return u16(math.floor(n / 2 ^ 32)) .. u16(math.floor(n / 65536)) .. u16(n) end

local function extension(kind, body) return u16(kind) .. u16(#body) .. body end

--- So many random bytes.
function hello.randomBytes(count)
  local bytes = {}
  for index = 1, count do bytes[index] = string.char(math.random(0, 255)) end
  return table.concat(bytes)
end

--- A datagram that holds a ClientHello, or the first fragment of one.
--- @param given { random: string, cookie: string?, sequence: integer?, size: integer?, more: string? } 32
---   bytes; what a HelloVerifyRequest brought; the record's number; how long the datagram is to be, 61 to
---   2000; further extensions
function hello.datagram(given)
  local cookie = given.cookie or ''
  local extensions = extension(10, u16(4) .. u16(29) .. u16(23)) -- X25519, P-256
    .. extension(11, '\1\0') -- uncompressed points
    .. extension(13, u16(4) .. u16(0x0403) .. u16(0x0804)) -- ECDSA and RSA-PSS, with SHA-256
    .. extension(23, '') -- extended master secret
    .. (given.more or '')
  if given.size then extensions = extensions .. extension(21, ('\0'):rep(2000)) end -- padding
  local body = '\254\253' .. given.random .. '\0' .. u8(#cookie) .. cookie
    .. u16(4) .. u16(0xc02b) .. u16(0xc02f) -- ECDHE-ECDSA and -RSA with AES-128-GCM
    .. '\1\0' .. u16(#extensions) .. extensions
  local fragment = body:sub(1, given.size and given.size - 25)
  return '\22\254\255\0\0' .. u48(given.sequence or 0) .. u16(#fragment + 12)
    .. '\1' .. u24(#body) .. u16(cookie == '' and 0 or 1) .. u24(0) .. u24(#fragment) .. fragment
end

--- The cookie of a datagram that holds a HelloVerifyRequest, or nil where it is something else;
--- and the number of its record.
function hello.answer(datagram)
  if datagram:byte(1) ~= 22 or datagram:byte(14) ~= 3 then return nil end
  local length, sequence = datagram:byte(28), 0
  for index = 6, 11 do sequence = sequence * 256 + datagram:byte(index) end
  return datagram:sub(29, 28 + length), sequence
end

return hello
