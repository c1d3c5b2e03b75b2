#!/usr/bin/env luajit
-- Sends each line of standard input as a message and prints what comes back; says close_notify at the end.
-- Usage: luajit examples/echo-client.lua [host] [port] [ca]
--   With a file of CA certificates the server is verified. Without one it is NOT: compare the
--   fingerprint that is printed with the server's.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local host, port, caFile = args[1] or '127.0.0.1', tonumber(args[2] or 5684), args[3]
local ca = caFile and assert(io.open(caFile, 'rb')):read('*a')

local session = dtls.connect({ host = host, port = port, ca = ca, rejectUnauthorized = ca ~= nil })
local input, rest, unanswered, isOver = nil, '', 0, false

local function send(line)
  if line ~= '' and assert(session:send(line)) then unanswered = unanswered + 1 end
end

-- At the end of input, when all is answered; or a second later, since answers may be lost.
local function finish()
  isOver = true
  if unanswered <= 0 then session:close() else session:setTimeout(1000, function () session:close() end) end
end

session:on('secureConnection', function ()
  io.stderr:write('connected: ', session:getProtocol(), ' ', session:getCipher().name, '\n')
  if not session.authorized then
    io.stderr:write('NOT verified: ', session:getPeerCertificate().fingerprint256, '\n')
  end
  local kind = uv.guess_handle(0)
  if kind == 'file' then
    for line in io.lines() do send(line) end
    return finish()
  end
  input = kind == 'tty' and uv.new_tty(0, true) or uv.new_pipe(false)
  if kind ~= 'tty' then input:open(0) end
  input:read_start(function (_, chunk)
    rest = (rest .. (chunk or '\n')):gsub('([^\n]*)\n', function (line) send(line) return '' end)
    if not chunk then finish() end
  end)
end)
session:on('message', function (data)
  print((data:gsub('\n$', '')))
  unanswered = unanswered - 1
  if isOver then finish() end
end)
session:on('warning', function (err) io.stderr:write(err, '\n') end)
session:on('error', function (err) io.stderr:write(err, '\n') end)
session:on('close', function (reason)
  if input then input:close() end
  if reason ~= 'closed' then os.exit(1) end
end)

uv.run()
