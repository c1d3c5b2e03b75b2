#!/usr/bin/env luajit
-- Several processes on one port, each of which serves its share of the peers (Linux).
-- Usage: luajit examples/several-processes.lua [ip] [port] [workers] [cert] [key]
--   cert.pem and key.pem by default; port 0 picks a free one. Control-C ends them all.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local ip, port, workers = args[1] or '127.0.0.1', tonumber(args[2] or 5684), args[3] or '2'
local certFile, keyFile, pid = args[4] or 'cert.pem', args[5] or 'key.pem', uv.os_getpid()
local function read(name) return assert(io.open(name, 'rb')):read('*a') end

if workers == 'worker' then
  -- The secrets come by standard input: arguments are for all to see. At its end, because the first process
  -- wants that or has died, the worker ends, and not at Control-C.
  local input, interrupt, secrets, server = uv.new_pipe(false), uv.new_signal(), '', nil
  interrupt:start('sigint', function () end)
  input:open(0)
  input:read_start(function (_, data)
    secrets = secrets .. (data or '')
    if not data then
      for _, each in ipairs({ input, interrupt, server }) do each:close() end
    elseif #secrets == 64 then
      server = dtls.createServer({
        cert = read(certFile), key = read(keyFile), reusePort = true,
        cookieSecret = secrets:sub(1, 32), ticketKeys = secrets:sub(33),
      }, function (session)
        session:on('message', function (text) session:send(('Process %d: %s'):format(pid, text)) end)
        session:on('error', function () end)
      end)
      assert(server:listen(port, ip))
      print(('process %d listens on %s port %d'):format(pid, ip, port))
    end
  end)
  return uv.run()
end

local probe, interrupt, inputs = uv.new_udp(), uv.new_signal(), {}
assert(probe:bind(ip, port))
local script, freePort = arg and arg[0] or process.argv[1], tostring(probe:getsockname().port)
local command = { script, ip, freePort, 'worker', certFile, keyFile }
probe:close()
local secrets = uv.random(64)    -- the same for all: a peer that comes again may meet another
for number = 1, tonumber(workers) do
  local input, worker = uv.new_pipe(false), nil
  worker = assert(uv.spawn(uv.exepath(), { args = command, stdio = { input, 1, 2 } }, function ()
    worker:close()
    if not interrupt:is_closing() then os.exit(1) end    -- one that fails takes all with it
  end))
  input:write(secrets)
  inputs[number] = input
end
interrupt:start('sigint', function ()
  interrupt:close()
  for _, input in ipairs(inputs) do input:close() end
end)
uv.run()
