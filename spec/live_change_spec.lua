-- What a server can be told while it serves: established sessions go on as they were, new ones get the new.

local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local strangers = require('spec.support.strangers')

local FIRST, SECOND, THIRD = ('1'):rep(32), ('2'):rep(32), ('3'):rep(32)

after_each(function ()
  strangers.closeAll()
  ends.closeAll()
end)

-- Sessions that echo all the while. Returns a function that stops them and sees that every message came back.
local function traffic(port)
  local sessions, sent, heard = {}, 0, 0
  for index = 1, 3 do
    sessions[index] = ends.opened(ends.trusting(port))
    sessions[index]:on('message', function () heard = heard + 1 end)
  end
  local ticker = helper.uv.new_timer()
  ticker:start(0, 2, function ()
    for _, session in ipairs(sessions) do
      sent = sent + 1
      assert(session:send('tick'))
    end
  end)
  return function (changed)
    -- Some at least after the change.
    local before = heard
    helper.runUntil(function () return heard > before + 10 end)
    ticker:close()
    helper.runUntil(function () return heard == sent end)
    for _, session in ipairs(sessions) do
      assert.equal('open', session._state, changed)
      session.seen = {}
    end
  end
end

describe('in the middle of traffic', function ()
  it('setContext gives new peers the new certificate, and those on their way the old', function ()
    local server, port = ends.certified()
    local stop = traffic(port)
    local new = pki.identity('server-rsa', 'rsa')
    -- A client whose second flight is held until the context has changed.
    local held
    local relay = helper.relay(port, function (data, fromClient, number, send)
      if fromClient and number == 3 then held = function () send(data) end else send(data) end
    end)
    local onItsWay = ends.trusting(relay.port, { retransmitTimeout = 60000 })
    helper.runUntil(function () return held end)
    server:setContext(dtls.createContext({ cert = new.cert, key = new.key }))
    held()
    ends.opened(onItsWay)
    local later = ends.opened(ends.trusting(port))
    stop('setContext')
    relay.close()
    assert.matches('ECDSA', onItsWay:getCipher().name)
    assert.matches('RSA', later:getCipher().name)
    assert.not_matches('ECDSA', later:getCipher().name)
  end)

  it('setContext has the handshake timeout follow the profile, unless one was given', function ()
    local identity = pki.identity('server')
    local iot = dtls.createContext({ cert = identity.cert, key = identity.key, profile = 'iot' })
    for given, expected in pairs({ [0] = 120000, [7000] = 7000 }) do
      local server = ends.certified({ handshakeTimeout = given > 0 and given or nil })
      server:setContext(iot)
      assert.equal(expected, server._terms.handshake_ms)
    end
  end)

  it('setTicketKeys seals new tickets with the new key, and opens the old ones that stay', function ()
    local server, port = ends.certified({ ticketKeys = FIRST })
    local stop = traffic(port)
    local function ticketOf(options)
      local client = ends.opened(ends.trusting(port, options))
      return client:getSession(), client:isSessionReused()
    end
    local old = ticketOf()
    server:setTicketKeys({ SECOND, FIRST })
    local renewed, reused = ticketOf({ session = old })
    assert.is_true(reused)
    server:setTicketKeys(SECOND)
    assert.is_true(select(2, ticketOf({ session = renewed })))
    assert.is_false(select(2, ticketOf({ session = old })))
    stop('setTicketKeys')
  end)

  it('setCookieSecrets leaves cookies good whose secret stays, and no others', function ()
    local server, port = ends.certified({ cookieSecret = FIRST })
    local stop = traffic(port)
    local early, late = strangers.new(), strangers.new()
    for _, each in ipairs({ early, late }) do
      each:begin(port).proceeds = false
      helper.runUntil(function () return each.cookie end)
    end
    local issued = late.cookie
    server:setCookieSecrets({ SECOND, FIRST })
    early:returnCookie()
    helper.runUntil(function () return early.answered end)
    server:setCookieSecrets(SECOND)
    late:returnCookie()
    helper.runUntil(function () return late.cookie ~= issued end)
    assert.equal(1, server:stats().stale)
    assert.is_nil(late.answered)
    late:returnCookie()
    helper.runUntil(function () return late.answered end)
    ends.opened(ends.trusting(port))
    stop('setCookieSecrets')
  end)

  it('setCookieSecrets replaces random ones without a peer being lost', function ()
    local server, port = ends.certified()
    local stop = traffic(port)
    local early = strangers.new()
    early:begin(port).proceeds = false
    helper.runUntil(function () return early.cookie end)
    server:setCookieSecrets(THIRD)
    early:returnCookie()
    helper.runUntil(function () return early.answered end)
    stop('setCookieSecrets')
  end)

  it('setLimits ends nobody, and holds for new peers', function ()
    local server, port = ends.certified()
    local stop = traffic(port)
    server:setLimits({ maxSessions = 1, maxSessionsPerHost = 1, maxHandshakes = 1, maxHandshakeRate = 1 })
    strangers.new():begin(port)
    helper.runUntil(function () return server:stats().refused == 1 end)
    server:setLimits({ maxSessions = 10, maxSessionsPerHost = 10, maxHandshakeRate = 0 })
    ends.opened(ends.trusting(port))
    stop('setLimits')
  end)

  it('busy turns new peers away, and then takes them', function ()
    local server, port = ends.certified()
    local stop = traffic(port)
    server.busy = true
    local client = ends.trusting(port)
    helper.runUntil(function () return (server:stats().drops.busy or 0) >= 2 end)
    assert.same({}, client.seen)
    server.busy = false
    ends.opened(client)
    stop('busy')
  end)
end)

describe('server:setCookieSecrets', function ()
  it('takes effect at listen where it comes before, and nothing after close', function ()
    local identity = helper.localhost()
    local function make()
      return dtls.createServer({ cert = identity.cert, key = identity.key })
    end
    local one, two = make(), make()
    one:setCookieSecrets(FIRST)
    two:setCookieSecrets({ FIRST })
    assert(one:listen(0, '127.0.0.1'))
    assert(two:listen(0, '127.0.0.1'))
    local stranger = strangers.new()
    stranger:begin(one:address().port).proceeds = false
    helper.runUntil(function () return stranger.cookie end)
    stranger.port = two:address().port
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
    for _, each in ipairs({ one, two }) do
      each:close()
      each:setCookieSecrets(SECOND)
    end
  end)

  it('raises for what is no list of secrets, and leaves them as they were', function ()
    local server, port = ends.certified({ cookieSecret = FIRST })
    local stranger = strangers.new()
    stranger:begin(port).proceeds = false
    helper.runUntil(function () return stranger.cookie end)
    for _, row in ipairs({
      { nil, 'must be a string or a list of strings, got nil' },
      { '', 'must be a string or a list of strings, got an empty string' },
      { {}, 'must hold at least one secret' },
      { 'short', 'must be at least 16 bytes long, got 5' },
      { { SECOND, 'short' }, 'must be at least 16 bytes long, got 5' },
    }) do
      assert.has_error(function () server:setCookieSecrets(row[1]) end,
        'server:setCookieSecrets: secrets ' .. row[2])
    end
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
  end)
end)
