--- One of several servers on one port, in a process of its own:
---
---   share.lua PORT
---
--- prints its port, echoes, and says how many it has served when a line is written to it. COOKIE_SECRET in
--- the environment is theirs all; with NO_SHARE it wants the port for itself, with PER_PEER a socket for each
--- peer.

local dtls = require('dtls')

io.stdout:setvbuf('line')

local identity = dtls.generateCertificate()
local server = dtls.createServer(
  {
    cert = identity.cert, key = identity.key, retransmitTimeout = 100,
    cookieSecret = os.getenv('COOKIE_SECRET'), reusePort = not os.getenv('NO_SHARE'),
    perPeerSocket = os.getenv('PER_PEER') ~= nil,
  },
  function (session)
    session:on('message', function (data) session:send('Echo: ' .. data) end)
  end)
local warnings = 0
server:on('warning', function (err)
  warnings = warnings + 1
  print(err)
end)
local bound, err = server:listen(tonumber(arg[1]), '127.0.0.1')
print(bound and 'port ' .. server:address().port or err)
if not bound then os.exit(1, true) end

local stdin = dtls.uv.new_pipe()
stdin:open(0)
stdin:read_start(function (_, data)
  if not data then return end
  local stats = server:stats()
  print(('served %d failed %d shared %d warnings %d'):format(
    stats.connected, stats.failed, stats.peerSocketErrors, warnings))
end)
dtls.uv.run()
