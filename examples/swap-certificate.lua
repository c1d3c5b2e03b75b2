#!/usr/bin/env luajit
-- An echo server that reads its certificate again at SIGHUP: open sessions go on, new ones get the new one.
-- Usage: luajit examples/swap-certificate.lua [host] [port] [cert] [key]
--   cert.pem and key.pem by default; port 0 picks a free one, and the address is printed. Control-C ends it.

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

local function readContext()
  return dtls.createContext({ cert = read(args[3] or 'cert.pem'), key = read(args[4] or 'key.pem') })
end

local server = dtls.createServer({ context = readContext() }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('error', function () end)
end)
server:on('clientError', function (err, _, peer) print(('refused %s: %s'):format(peer.ip, err)) end)
assert(server:listen(port, host))
print(('process %d listens on %s port %d'):format(uv.os_getpid(), host, server:address().port))

local hangup, interrupt = uv.new_signal(), uv.new_signal()
hangup:start('sighup', function ()
  -- Half a pair, or what is no certificate at all, must not stop a server that has a good one.
  local isGood, err = pcall(function () server:setContext(readContext()) end)
  local open = #server:sessions()
  print(isGood and ('a new certificate from now on; open sessions: %d'):format(open)
    or ('the certificate stays what it was: %s'):format(err))
end)
interrupt:start('sigint', function ()
  for _, each in ipairs({ hangup, interrupt, server }) do each:close() end
end)

uv.run()
