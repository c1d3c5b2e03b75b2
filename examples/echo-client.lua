#!/usr/bin/env luajit
-- Sends each line of standard input as a message and prints what comes back; says close_notify at
-- the end of input.
-- Usage: luajit examples/echo-client.lua [host] [port] [ca]
--   With a file of CA certificates the server is verified. Without one it is NOT: compare the
--   fingerprint that is printed with the server's.

local dtls = require('dtls')
local uv = dtls.uv

local args = arg or { unpack(process.argv, 2) }
local host, port, caFile = args[1] or '127.0.0.1', tonumber(args[2] or 5684), args[3]
local ca = caFile and assert(io.open(caFile, 'rb')):read('*a')

io.stdout:setvbuf('line')

local session = dtls.connect({ host = host, port = port, ca = ca, rejectUnauthorized = ca ~= nil })
local input, unanswered, ended = nil, 0, false
local patience = uv.new_timer()

local function closeWhenAnswered()
  if ended and unanswered <= 0 then session:close() end
end

-- Calls back with each line, and with nil at the end.
local function readLines(onLine)
  local kind, rest = uv.guess_handle(0), ''
  if kind == 'file' then
    for line in io.lines() do onLine(line) end
    return onLine(nil)
  end
  input = kind == 'tty' and uv.new_tty(0, true) or uv.new_pipe(false)
  if kind ~= 'tty' then input:open(0) end
  input:read_start(function (_, chunk)
    rest = (rest .. (chunk or '')):gsub('([^\n]*)\n', function (line) onLine(line) return '' end)
    if not chunk then
      if rest ~= '' then onLine(rest) end
      onLine(nil)
    end
  end)
end

session:on('secureConnection', function ()
  io.stderr:write('connected: ', session:getProtocol(), ' ', session:getCipher().name, '\n')
  if not session.authorized then
    io.stderr:write('NOT verified: ', session:getPeerCertificate().fingerprint256, '\n')
  end
  readLines(function (line)
    if not line then
      -- Answers may be on their way, or lost.
      ended = true
      patience:start(1000, 0, function () session:close() end)
      closeWhenAnswered()
    elseif line ~= '' and assert(session:send(line)) then
      unanswered = unanswered + 1
    end
  end)
end)
session:on('message', function (data)
  print(data)
  unanswered = unanswered - 1
  closeWhenAnswered()
end)
session:on('error', function (err) io.stderr:write(err, '\n') end)
session:on('close', function (reason)
  patience:close()
  if input then input:close() end
  if reason ~= 'closed' then os.exit(1) end
end)

uv.run()
