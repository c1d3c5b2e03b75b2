--- The ends of this process: servers that echo and clients, with nothing in their options but what a
--- spec gives, and closed with the spec however it ends.

local assert = require('luassert')
local dtls = require('dtls')
local helper = require('spec.helper')
local pki = require('spec.support.pki')

local ends = {}

local open = {}

local function opening(each)
  open[#open + 1] = each
  return each
end

--- A server of 127.0.0.1, or of another host, and its port. What it emits as `clientError` is in
--- `server.failures`.
--- @return dtls.Server server, integer port
function ends.listen(options, onConnection, host)
  local server = opening(dtls.createServer(helper.merge({ retransmitTimeout = 100 }, options), onConnection))
  server.failures = helper.record(server, 'clientError')
  assert(server:listen(0, host or '127.0.0.1'))
  return server, server:address().port
end

--- A server that answers `Echo: ` and what it heard.
--- @return dtls.Server server, integer port
function ends.server(options, onConnection)
  return ends.listen(options, function (session)
    session:on('message', function (data) session:send('Echo: ' .. data) end)
    if onConnection then onConnection(session) end
  end)
end

--- A session with a server of 127.0.0.1. What it emits is in `session.seen`.
function ends.connect(port, options)
  local session = opening(dtls.connect(helper.merge({
    host = '127.0.0.1', port = port, retransmitTimeout = 100,
  }, options)))
  session.seen = helper.record(session, 'secureConnection', 'message', 'error', 'close')
  return session
end

--- A server with a certificate of the authority, for what a spec gives beside it.
function ends.certified(options, onConnection)
  local identity = pki.identity('server')
  return ends.server(helper.merge({ cert = identity.cert, key = identity.key }, options), onConnection)
end

--- The same for gnutls-cli, which sleeps for 50 ms at every turn: what is sent to it twice makes it slower
--- still.
function ends.patient(options, onConnection)
  return ends.certified(helper.merge({ retransmitTimeout = 500 }, options), onConnection)
end

--- A session that trusts the authority.
function ends.trusting(port, options)
  return ends.connect(port, helper.merge({ ca = pki.ca('authority').cert }, options))
end

--- Has another program, which prints its handshake, complete it and hear an echo.
function ends.echoed(peer)
  peer:write('hello\n')
  peer:waitFor('Echo: hello')
end

--- Waits until a session is established.
function ends.opened(session)
  helper.runUntil(function () return session.seen[1] end)
  assert.equal('secureConnection', session.seen[1][1], session.seen[1][2])
  return session
end

--- Sends a line on an established session and waits for what comes back.
function ends.asked(session, line)
  local before = #session.seen
  assert(session:send(line))
  helper.runUntil(function () return session.seen[before + 1] end)
  assert.equal('message', session.seen[before + 1][1])
  return session.seen[before + 1][2]
end

--- The name of the error that ended a session before it was established.
function ends.failureOf(session)
  helper.runUntil(function () return session.seen[2] end)
  assert.equal('error', session.seen[1][1])
  assert.equal('close', session.seen[2][1])
  return session.seen[1][3]
end

--- The name of the error that ended a handshake with a server.
function ends.clientErrorOf(server)
  helper.runUntil(function () return server.failures[1] end)
  return server.failures[1][3]
end

--- Closes all there is. A peer that has been killed answers no close_notify: sessions do not wait for it.
function ends.closeAll()
  for _, each in ipairs(open) do (each.destroy or each.close)(each) end
  open = {}
  helper.run()
end

return ends
