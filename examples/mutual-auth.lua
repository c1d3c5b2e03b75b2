#!/usr/bin/env luajit
-- Both ends show a certificate, and let in whom they trust.
-- Usage: luajit examples/mutual-auth.lua server NAME FRIEND [host] [port]
--        luajit examples/mutual-auth.lua client NAME FRIEND [host] [port]
--   shows NAME.pem with the key in NAME-key.pem, and trusts FRIEND.pem: the other end's certificate, or its
--   CA's. The client's server must be called FRIEND. Port 0 picks a free one; Control-C ends the server.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local role, name, friend, host, port = unpack(arg or { unpack(process.argv, 2) })
assert(friend, 'usage: mutual-auth.lua server|client NAME FRIEND [host] [port]')
host, port = host or '127.0.0.1', tonumber(port or 5684)

local function read(path)
  local file = assert(io.open(path, 'rb'))
  local text = file:read('*a')
  file:close()
  return text
end

local options = { cert = read(name .. '.pem'), key = read(name .. '-key.pem'), ca = read(friend .. '.pem') }

if role == 'server' then
  options.requestCert = true      -- without it nobody is asked, and all get in
  local server = dtls.createServer(options, function (session)
    local peer = session:getPeerCertificate().subject.CN
    print(peer .. ' is here')
    session:on('message', function (data) session:send(('%s to %s: %s'):format(name, peer, data)) end)
    session:on('error', print)
    session:on('close', function () print(peer .. ' has left') end)
  end)
  server:on('clientError', function (err) print('refused: ' .. err) end)
  assert(server:listen(port, host))
  print(('%s listens on %s port %d'):format(name, host, server:address().port))
  local interrupt = uv.new_signal()
  interrupt:start('sigint', function ()
    interrupt:close()
    server:close()
  end)
else
  options.host, options.port, options.servername = host, port, friend
  local session = dtls.connect(options, function (session) session:send('hello') end)
  session:on('message', function (data)
    print(data)
    session:close()
  end)
  session:on('error', function (err) io.stderr:write('refused: ', err, '\n') end)
  session:on('close', function (reason) if reason ~= 'closed' then os.exit(1) end end)
end

uv.run()
