#!/usr/bin/env luajit
-- The server that is measured: what a user writes first, echoing the message itself.
-- Usage: luajit bench/echo-server.lua [host] [port] [cert] [key] [secret]
-- With a secret it shares the port with others that have the same.

local dtls = require('dtls')

local args = arg or { unpack(process.argv, 2) }
local host, port, certFile, keyFile = args[1] or '127.0.0.1', tonumber(args[2] or 0), args[3], args[4]
local secret = args[5]

local function read(name)
  local file = assert(io.open(name, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local identity = dtls.generateCertificate()
if certFile then identity = { cert = read(certFile), key = read(keyFile or certFile) } end

local options = {
  cert = identity.cert, key = identity.key, cookieSecret = secret, reusePort = secret ~= nil,
}
local server = dtls.createServer(options, function (session)
  session:on('message', function (data) session:send(data) end)
end)
assert(server:listen(port, host))
print('listening on ' .. host .. ' port ' .. server:address().port)
io.stdout:flush()

dtls.uv.run()
