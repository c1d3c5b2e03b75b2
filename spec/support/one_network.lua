--- In a network namespace of its own: a server, and as many addresses of one IPv6 /64 as `one_network.lua
--- COUNT` says that begin a handshake each, and one of another /64. Prints how many sessions are left to each
--- network.

local dtls = require('dtls')
local hello = require('spec.support.hello')
local uv = dtls.uv

local COUNT = tonumber(arg[1])

local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key, maxSessionsPerHost = 100 })
assert(server:listen(0, '::'))
local port = server:address().port

local waiting, otherPort = 0, nil
local begin

local function finish()
  local stats = server:stats()
  local other = server._peers:find('2001:db8:0:1::1', otherPort) ~= nil
  print(('sessions %d yielded %d other %s'):format(stats.sessions, stats.yielded, tostring(other)))
  os.exit(0)
end

-- One after the other, a few at a time.
local function say(ip, done)
  local udp, random = uv.new_udp(), hello.randomBytes(32)
  assert(udp:bind(ip, 0))
  udp:recv_start(function (_, data, from)
    if not from then return end
    local cookie = hello.answer(data)
    if cookie then
      udp:try_send(hello.datagram({ random = random, cookie = cookie, sequence = 1 }), '::1', port)
    else
      udp:recv_stop()
      done()
    end
  end)
  udp:try_send(hello.datagram({ random = random }), '::1', port)
  return udp:getsockname().port
end

local index = 0
function begin()
  if index == COUNT then
    if waiting == 0 then finish() end
    return
  end
  index, waiting = index + 1, waiting + 1
  say(('2001:db8::%x'):format(index), function ()
    waiting = waiting - 1
    begin()
  end)
end

otherPort = say('2001:db8:0:1::1', function ()
  for _ = 1, 20 do begin() end
end)
uv.run()
