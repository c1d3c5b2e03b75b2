#!/usr/bin/env luajit
-- A CoAP server (RFC 7252) with a pre-shared key, where one can GET /hello.
-- Usage: COAP_KEY=… luajit examples/coap-server.lua [host] [port] [identity]
--   the key is text, as libcoap has it; port 0 picks a free one, which is printed. Control-C ends it.

local dtls = require('dtls')
local host, port, identity = unpack(arg or { unpack(process.argv, 2) })
local key = assert(os.getenv('COAP_KEY'), 'COAP_KEY is not set')
io.stdout:setvbuf('line')

-- What a GET is answered: the option Content-Format (0 is text, 40 links), a marker, and the payload.
local resources = { ['/hello'] = '\192\255Hello, CoAP.', ['/.well-known/core'] = '\193\40\255</hello>;ct=0' }
local KNOWN = { [3] = true, [7] = true, [11] = true, [15] = true }    -- Uri-Host, -Port, -Path, -Query

-- The answer to a request. Raises where the message is something else, or malformed.
local function answerTo(data)
  local first, code = data:byte(1, 2)
  local tokenLength, number, path, isBad = first % 16, 0, '', false
  local at = 5 + tokenLength
  local function extended(nibble)
    if nibble < 13 then return nibble end
    local high, low = data:byte(at, at + 1)
    at = at + nibble - 12
    return nibble == 13 and high + 13 or nibble == 14 and high * 256 + low + 269
  end
  while (data:byte(at) or 255) < 255 do
    local header = data:byte(at)
    at = at + 1
    number = number + extended(math.floor(header / 16))
    local length = extended(header % 16)
    if number == 11 then path = path .. '/' .. data:sub(at, at + length - 1) end
    isBad = isBad or number % 2 == 1 and not KNOWN[number]    -- odd ones must not be ignored
    at = at + length
  end
  assert(code > 0 and code < 32 and tokenLength <= 8 and at <= #data + 1 and at ~= #data)
  -- 4.02 Bad Option, 4.05 Method Not Allowed, 2.05 Content, 4.04 Not Found: with the id and the token.
  local status = isBad and 130 or code ~= 1 and 133 or resources[path] and 69 or 132
  local head = string.char(first < 80 and first + 32 or first, status) .. data:sub(3, 4 + tokenLength)
  return status == 69 and head .. resources[path] or head
end

local psk = { [identity or 'lamp-7'] = key }
local server = dtls.createServer({ psk = psk, profile = 'iot' }, function (session)
  session:on('message', function (data)
    if not data:find('^[\64-\95]...') then return end    -- version 1, confirmable (below 80) or not
    local isRequest, answer = pcall(answerTo, data)
    if not isRequest then answer = '\112\0' .. data:sub(3, 4) end
    if isRequest or data:byte() < 80 then session:send(answer) end
  end)
  session:on('error', print)
end)
server:on('clientError', print)
assert(server:listen(tonumber(port or 5684), host or '127.0.0.1'))
print('listening on port ' .. server:address().port)

local interrupt = dtls.uv.new_signal()
interrupt:unref()
interrupt:start('sigint', function () server:close() end)
dtls.uv.run()
