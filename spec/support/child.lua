--- One end of a session in a process of its own, for specs that kill it or trouble it:
---
---   child.lua server        prints its port, and echoes
---   child.lua client PORT [LOCALPORT]   says hello, from a port of its own choice or that one
---
--- COOKIE_SECRET, HANDSHAKE_TIMEOUT and KEYLOG in the environment are their options. Both print how their
--- handshakes end, and the time of day at that.

local dtls = require('dtls')

local handshakeTimeout = tonumber(os.getenv('HANDSHAKE_TIMEOUT'))
local keylog = ({ ['true'] = true, ['false'] = false })[os.getenv('KEYLOG')]

io.stdout:setvbuf('line')

local function tell(what) print(('%s at %d'):format(what, os.time())) end

local function serve()
  local identity = dtls.generateCertificate()
  local server = dtls.createServer(
    {
      cert = identity.cert, key = identity.key, retransmitTimeout = 100,
      cookieSecret = os.getenv('COOKIE_SECRET'), handshakeTimeout = handshakeTimeout,
    },
    function (session)
      tell('connected')
      session:on('message', function (data) session:send(data) end)
    end)
  server:on('clientError', function (_, name) tell('error ' .. name) end)
  assert(server:listen(0, '127.0.0.1'))
  print('port ' .. server:address().port)
end

local function connect(port, localPort)
  local session = dtls.connect(
    {
      port = port, localPort = localPort, rejectUnauthorized = false, retransmitTimeout = 100,
      keylog = keylog, handshakeTimeout = handshakeTimeout,
    },
    function (session)
      tell('connected')
      session:send('hello')
    end)
  session:on('message', function (data) print('heard ' .. data) end)
  session:on('error', function (_, name) tell('error ' .. name) end)
end

if arg[1] == 'server' then serve() else connect(tonumber(arg[2]), tonumber(arg[3])) end
dtls.uv.run()
