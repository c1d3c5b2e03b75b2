#!/usr/bin/env luajit
-- A CoAP client (RFC 7252) with a pre-shared key: GETs what a URI names, and prints it, or its first block.
-- Usage: COAP_KEY=… luajit examples/coap-client.lua coaps://host[:port]/path [identity]
--   the key is text, as libcoap has it. Ends with an error where there is nothing to print.

local coro, uv = require('dtls/coro'), require('dtls').uv
local uri, identity = unpack(arg or { unpack(process.argv, 2) })
local host, port, path = assert(uri, 'a URI is missing'):match('^coaps://([^/:]+):?(%d*)([^?#]*)$')
local key = assert(os.getenv('COAP_KEY'), 'COAP_KEY is not set')

local id, token, number = uv.random(2), uv.random(4), 0
local request = '\68\1' .. id .. token    -- confirmable, with a token of 4 bytes: GET
for segment in assert(path, uri .. ' is no URI of this kind'):gmatch('[^/]+') do
  local more = #segment > 12 and string.char(#segment - 13) or ''
  request = request .. string.char((11 - number) * 16 + math.min(#segment, 13)) .. more .. segment
  number = 11    -- Uri-Path, written as what it is more than the option before
end

local psk = { identity = identity or 'lamp-7', key = key }
port = tonumber(port) or 5684
local session = assert(coro.connect({ host = host, port = port, psk = psk, profile = 'iot' }))
local isHeard = false    -- whether the server has it, and there is no need to ask again

-- The answer, if it comes within so many milliseconds, or a minute where the server has said that it will.
local function await(ms)
  local data, err = session:recv(isHeard and 60000 or ms)
  if not data then return nil, err or 'the server has closed the session' end
  local code, itsId = data:byte(2), data:sub(3, 4)
  if not data:find('^[\64-\127]...') then return await(ms) end
  isHeard = isHeard or itsId == id and code == 0
  if itsId == id and data:byte() == 0x70 then return nil, 'the server has not understood' end
  local isAnswer = code > 63 and data:sub(5, 4 + data:byte() % 16) == token
  -- What is confirmable is acknowledged, or reset where it belongs to nothing.
  if data:byte() < 80 then session:send((isAnswer and '\96\0' or '\112\0') .. itsId) end
  if isAnswer then return data end
  return await(ms)
end

-- Section 4.2: waits for 2 to 3 seconds, and then twice as long each time, up to four times.
local patience, answer, err = 2000 + 4 * uv.random(1):byte()
repeat
  assert(session:send(request))
  answer, err = await(patience)
  patience = 2 * patience
until answer or isHeard or patience > 60000 or session.closed
session:close()

local code, at = assert(answer, err):byte(2), 5 + answer:byte() % 16
while (answer:byte(at) or 255) < 255 do    -- the options lie before the payload
  local delta, length = math.floor(answer:byte(at) / 16), answer:byte(at) % 16
  at = at + 1 + math.max(delta - 12, 0)
  local high, low = answer:byte(at, at + 1)
  at = at + (length == 13 and high + 14 or length == 14 and high * 256 + low + 271 or length)
end
if code < 96 then return print(answer:sub(at + 1)) end
io.stderr:write(('%d.%02d %s\n'):format(math.floor(code / 32), code % 32, answer:sub(at + 1)))
os.exit(1)
