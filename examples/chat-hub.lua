#!/usr/bin/env luajit
-- A place to chat: passes each line to all others, and tells who comes and goes.
-- Usage: luajit examples/chat-hub.lua [host] [port] [cert] [key]
--   cert.pem and key.pem by default; port 0 picks a free one, and the address is printed. Control-C ends it.
-- Come in with examples/echo-client.lua, or openssl s_client.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local host, port = args[1] or '127.0.0.1', tonumber(args[2] or 5684)

local function read(name)
  local file = assert(io.open(name, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local server, guests = nil, 0

local function tellAllBut(session, text)
  print(text)
  for _, each in ipairs(server:sessions()) do
    if each ~= session then each:send(text .. '\n') end
  end
end

server = dtls.createServer({
  cert = read(args[3] or 'cert.pem'),
  key = read(args[4] or 'key.pem'),
  idleTimeout = 3600 * 1000,      -- guests may listen for an hour without a word
}, function (session)
  guests = guests + 1
  local name = 'guest ' .. guests
  tellAllBut(session, name .. ' comes in')
  session:send(('You are %s. Others here: %d\n'):format(name, #server:sessions() - 1))
  session:on('message', function (data)
    -- No controls for the terminals of others, and nothing that would not fit a datagram.
    local line = data:gsub('%c', ' '):gsub(' +$', ''):sub(1, 1000)
    if line ~= '' then tellAllBut(session, name .. ': ' .. line) end
  end)
  session:on('error', function (err) print(name .. ': ' .. err) end)
  session:on('close', function () tellAllBut(session, name .. ' has left') end)
end)
server:on('clientError', function (err, _, peer) print(('refused %s: %s'):format(peer.ip, err)) end)
assert(server:listen(port, host))
print(('listening on %s port %d'):format(host, server:address().port))

local interrupt = uv.new_signal()
interrupt:start('sigint', function ()
  interrupt:close()
  server:close()
end)

uv.run()
