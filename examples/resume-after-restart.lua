#!/usr/bin/env luajit
-- A session that outlives both processes: the client keeps it in session.bin, and the server keeps the key
-- that it seals tickets with in ticket.key. Whoever reads one of them can read what is said.
-- Usage: luajit examples/resume-after-restart.lua server [host] [port] [cert] [key]
--        luajit examples/resume-after-restart.lua client [host] [port] [ca]
--   cert.pem and key.pem by default; port 0 picks a free one. Control-C ends the server.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local role, host, port, certFile, keyFile = unpack(arg or { unpack(process.argv, 2) })
port = tonumber(port or 5684)

-- What is in a file, or nil.
local function read(name)
  local file = io.open(name, 'rb')
  local bytes = file and file:read('*a')
  if file then file:close() end
  return bytes
end

-- Writes a file for its owner alone: whole, or not at all.
local function write(name, bytes)
  uv.fs_unlink(name .. '.new')
  local file = assert(uv.fs_open(name .. '.new', 'wx', tonumber('600', 8)))
  assert(assert(uv.fs_write(file, bytes, 0)) == #bytes, 'there is no room for all of it')
  assert(uv.fs_close(file))
  assert(uv.fs_rename(name .. '.new', name))
end

local certificate = assert(read(certFile or 'cert.pem'), 'there is no certificate')

if role == 'server' then
  if not read('ticket.key') then write('ticket.key', uv.random(32)) end
  local server = dtls.createServer({
    cert = certificate, key = read(keyFile or 'key.pem'), ticketKeys = read('ticket.key'),
  }, function (session) print(session:isSessionReused() and 'resumed a session' or 'made a session') end)
  server:on('clientError', print)
  assert(server:listen(port, host or '127.0.0.1'))
  print('listening on port ' .. server:address().port)
  local interrupt = uv.new_signal()
  interrupt:start('sigint', function ()
    interrupt:close()
    server:close()
  end)
else
  local options = { host = host or 'localhost', port = port, ca = certificate, session = read('session.bin') }
  local session = dtls.connect(options, function (session)
    print(session:isSessionReused() and 'resumed the session' or 'made a session')
    local kept = session:getSession()
    if kept then write('session.bin', kept) end
    session:close()
  end)
  session:on('warning', print)    -- ESESSION: what is kept does not fit, and a new session is made
  session:on('error', print)
  session:on('close', function (reason) if reason ~= 'closed' then os.exit(1) end end)
end
uv.run()
