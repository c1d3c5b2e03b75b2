local Nat = require('spec.support.nat')
local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local strangers = require('spec.support.strangers')

after_each(function ()
  strangers.closeAll()
  Nat.closeAll()
  ends.closeAll()
end)

-- What a server must have counted: sessions now, handshakes admitted, refusals by cause, those that yielded.
local function assertCounts(server, sessions, admitted, refusals, yielded)
  local stats = server:stats()
  assert.same({ sessions, admitted, refusals, yielded },
    { stats.sessions, stats.admitted, stats.refusals, stats.yielded })
end

local function untilRefused(server, count)
  helper.runUntil(function () return server:stats().refused >= count end)
end

-- Whether a server has a session with a stranger.
local function has(server, stranger)
  local at = stranger.udp:getsockname()
  return server._peers:find(at.ip, at.port) ~= nil
end

describe('a server at its maxSessions', function ()
  it('has the oldest handshake yield to a newcomer, without a word', function ()
    local server, port = ends.certified({ maxSessions = 2 })
    local first, second = strangers.admitted(port), strangers.admitted(port, '127.0.0.2')
    local third = strangers.admitted(port, '127.0.0.3')
    assert.same({ false, true, true }, { has(server, first), has(server, second), has(server, third) })
    assertCounts(server, 2, 3, {}, 1)
    assert.equal(1, server:stats().abandoned)
    assert.same({}, server.failures)
  end)

  it('refuses a newcomer where all are established, and lets its hello in once there is a place', function ()
    local server, port = ends.certified({ maxSessions = 1 })
    local client = ends.opened(ends.trusting(port))
    local stranger = strangers.new():begin(port)
    untilRefused(server, 1)
    assertCounts(server, 1, 1, { maxSessions = 1 }, 0)
    client:close()
    helper.runUntil(function () return server:stats().sessions == 0 end)
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
  end)

  it('lets a peer restart, which takes no place, and inherits that of its old session', function ()
    local server, port = ends.certified({ maxSessions = 1 })
    local localPort = program.freePort()
    for _ = 1, 3 do
      ends.opened(ends.trusting(port, { localPort = localPort })):destroy()
      helper.uv.run('nowait')
    end
    helper.runUntil(function () return server:stats().connected == 3 end)
    strangers.new():begin(port)
    untilRefused(server, 1)
    assertCounts(server, 1, 3, { maxSessions = 1 }, 0)
  end)

  it('keeps the place of a peer whose old session ends while it restarts', function ()
    local old
    local server, port = ends.certified({ maxSessions = 1 }, function (session) old = session end)
    local localPort = program.freePort()
    ends.opened(ends.trusting(port, { localPort = localPort })):destroy()
    helper.uv.run('nowait')
    local again = strangers.new(nil, localPort):begin(port)
    helper.runUntil(function () return again.answered end)
    assert.equal(2, server:stats().sessions)
    old:destroy()
    assert.equal(1, server._places.places)
    -- It is a newcomer now, and yields as one.
    strangers.admitted(port)
    assertCounts(server, 1, 3, {}, 1)
  end)

  it('does not count the sessions that it has begun itself', function ()
    local server, port = ends.certified({ maxSessions = 1, maxHandshakes = 1, maxSessionsPerHost = 1 })
    local context = dtls.createContext({ ca = pki.ca('authority').cert })
    for _ = 1, 3 do
      local _, far = ends.certified()
      local session = server:connect({ port = far, context = context })
      local seen = helper.record(session, 'secureConnection', 'error')
      helper.runUntil(function () return seen[1] end)
    end
    ends.opened(ends.trusting(port))
    assertCounts(server, 4, 1, {}, 0)
  end)
end)

-- A hook that has been handed the session may listen to it.
describe('a handshake that ends for another, and that somebody listens to,', function ()
  -- What ends the first stranger's handshake, and the reason that is told.
  local ways = {
    {
      'yields', 'closed', { maxHandshakes = 1 },
      function (_, _, port) return strangers.new('127.0.0.2'):begin(port) end,
    },
    {
      'is given up', 'replaced', {},
      function (_, first, port)
        local at = first.udp:getsockname()
        first:close()
        helper.uv.run('nowait')
        return strangers.new(at.ip, at.port):begin(port)
      end,
    },
  }

  local function begun(way)
    local server, port = ends.certified(way[3])
    local first = strangers.admitted(port)
    local session = server._peers:list()[1]
    return server, session, function () return way[4](server, first, port) end
  end

  for _, way in ipairs(ways) do
    it(way[1] .. ' before that is told', function ()
      local server, session, go = begun(way)
      local seen = helper.record(session, 'error', 'close')
      local there
      session:on('close', function () there = server._peers:list() end)
      local newer = go()
      helper.runUntil(function () return newer.answered and seen[1] end)
      assert.same({ { 'close', way[2] } }, seen)
      -- The newer one was there already.
      assert.equal(1, #there)
      assert.not_equal(session, there[1])
      assert.same({}, server.failures)
    end)

    it(way[1] .. ' all the same where a handler throws', function ()
      local errors = helper.errors()
      local server, session, go = begun(way)
      session:on('close', function () error('out of the handler') end)
      local newer = go()
      helper.runUntil(function () return newer.answered end)
      assert.equal(1, #errors)
      assert.matches('out of the handler', errors[1])
      assert.equal(1, server:stats().sessions)
    end)

    it(way[1] .. ' all the same where a handler closes the server', function ()
      local server, session, go = begun(way)
      local closed = helper.record(server, 'close')
      session:on('close', function () server:close() end)
      go()
      helper.runUntil(function () return closed[1] end)
      assert.equal(0, server:stats().sessions)
      assert.equal(0, server._places.places)
    end)
  end

  it('may change the limits once more, which all its neighbours yield to', function ()
    local server, port = ends.certified()
    for index = 1, 4 do strangers.admitted(port, '127.0.0.' .. index) end
    local seen = {}
    for _, session in ipairs(server._peers:list()) do
      session:on('close', function (reason)
        if #seen == 3 then return end
        seen[#seen + 1] = reason
        server:setLimits({ maxSessions = 1 })
        error('out of the handler')
      end)
    end
    local finished, err = pcall(server.setLimits, server, { maxSessions = 3 })
    assert.is_false(finished)
    assert.matches('out of the handler', err)
    assert.same({ 'closed', 'closed', 'closed' }, seen)
    assert.equal(1, server:stats().sessions)
  end)

  it('yields to a peer that has moved when that is where it is', function ()
    local server, port = ends.certified({ roaming = true, maxSessions = 1 })
    local errors = helper.errors()
    local nat = Nat.new(port)
    local client = ends.opened(ends.trusting(nat.port))
    helper.runUntil(function () return server:stats().connected == 1 end)
    local mover = server._peers:list()[1]
    local old = nat:address()
    nat:rebind('127.0.0.2')
    local stranger = strangers.new(old.ip, old.port):begin(port)
    helper.runUntil(function () return stranger.answered end)
    local log = {}
    mover:on('move', function () log[#log + 1] = 'move' end)
    for _, session in ipairs(server._peers:list()) do
      if session ~= mover then
        session:on('close', function (reason)
          log[#log + 1] = reason
          error('out of the handler')
        end)
      end
    end
    assert.equal('Echo: moved', ends.asked(client, 'moved'))
    assert.same({ 'move', 'closed' }, log)
    assert.equal(1, #errors)
    assert.same(nat:address(), mover:remoteAddress())
  end)
end)

describe('a session that cannot be made', function ()
  it('is a handshake that failed, and a warning', function ()
    local server, port = ends.certified()
    local warnings = helper.record(server, 'warning')
    local context = server._context
    local core = { accept = function () return nil, 'EHANDSHAKE: of the core', 'EHANDSHAKE' end }
    server._context = { core = core }
    strangers.new():begin(port)
    helper.runUntil(function () return warnings[1] end)
    assert.same({ 'warning', 'EHANDSHAKE: of the core', 'EHANDSHAKE' }, warnings[1])
    local stats = server:stats()
    assert.same({ 0, 1, 1, { EHANDSHAKE = 1 } },
      { stats.sessions, stats.admitted, stats.failed, stats.failures })
    assert.equal(0, server._places.places)
    server._context = context
    ends.opened(ends.trusting(port))
  end)
end)

describe('a server at its maxSessionsPerHost', function ()
  it('has the oldest handshake of that host yield, and none of another', function ()
    local server, port = ends.certified({ maxSessionsPerHost = 2 })
    local other = strangers.admitted(port, '127.0.0.2')
    local first, second = strangers.admitted(port), strangers.admitted(port)
    local third = strangers.admitted(port)
    assert.same({ true, false, true, true },
      { has(server, other), has(server, first), has(server, second), has(server, third) })
    assertCounts(server, 3, 4, {}, 1)
  end)

  it('refuses a host whose sessions are all established, and no other', function ()
    local server, port = ends.certified({ maxSessionsPerHost = 2 })
    ends.opened(ends.trusting(port))
    ends.opened(ends.trusting(port))
    strangers.new():begin(port)
    untilRefused(server, 1)
    strangers.admitted(port, '127.0.0.2')
    assertCounts(server, 3, 3, { maxSessionsPerHost = 1 }, 0)
  end)
end)

describe('a server whose peer moves', function ()
  -- A peer that is about to move, and a stranger at the address that it has left, who seems to be restarting.
  local function leave(limits)
    local server, port = ends.certified(helper.merge({ roaming = true }, limits))
    local nat = Nat.new(port)
    local client = ends.opened(ends.trusting(nat.port))
    helper.runUntil(function () return server:stats().connected == 1 end)
    local old = nat:address()
    nat:rebind('127.0.0.2')
    local stranger = strangers.new(old.ip, old.port):begin(port)
    helper.runUntil(function () return stranger.answered end)
    assert.equal(1, server._places.places)
    assert.equal('Echo: moved', ends.asked(client, 'moved'))
    assert.equal(1, server:stats().moves)
    return server, stranger
  end

  it('counts it where its cookie came from, and whoever was to have its place as one more', function ()
    local server, stranger = leave({ maxSessions = 2 })
    assert.is_true(has(server, stranger))
    assert.equal(2, server._places.places)
    assert.equal(2, server._places.hosts['127.0.0.1'].places)
    -- Who seems to be somewhere takes no place of those who are there.
    assert.is_nil(server._places.hosts['127.0.0.2'])
  end)

  it('counts it to its new host once it has restarted there', function ()
    local server = leave()
    local localPort = program.freePort()
    local nat = Nat.new(server:address().port)
    local client = ends.opened(ends.trusting(nat.port, { localPort = localPort }))
    nat:rebind('127.0.0.3')
    assert.equal('Echo: moved', ends.asked(client, 'moved'))
    client:destroy()
    ends.opened(ends.trusting(nat.port, { localPort = localPort }))
    helper.runUntil(function () return server:stats().replaced == 1 end)
    assert.equal(3, server._places.places)
    assert.equal(1, server._places.hosts['127.0.0.3'].places)
    assert.equal(2, server._places.hosts['127.0.0.1'].places)
  end)

  it('has no place for both at its maxSessions', function ()
    local server, stranger = leave({ maxSessions = 1 })
    assert.is_false(has(server, stranger))
    assertCounts(server, 1, 2, {}, 1)
    assert.equal(1, server._places.hosts['127.0.0.1'].places)
  end)
end)

describe('a server at its maxHandshakes', function ()
  it('has the oldest handshake yield, whatever host it is of, and no established session', function ()
    local server, port = ends.certified({ maxHandshakes = 2 })
    local client = ends.opened(ends.trusting(port))
    local first, second = strangers.admitted(port, '127.0.0.2'), strangers.admitted(port)
    strangers.admitted(port)
    assert.same({ false, true }, { has(server, first), has(server, second) })
    assertCounts(server, 3, 4, {}, 1)
    assert.equal('Echo: hello', ends.asked(client, 'hello'))
  end)

  it('counts that of a peer which restarts', function ()
    local server, port = ends.certified({ maxHandshakes = 1 })
    local localPort = program.freePort()
    ends.opened(ends.trusting(port, { localPort = localPort })):destroy()
    helper.uv.run('nowait')
    local again = strangers.new(nil, localPort):begin(port)
    helper.runUntil(function () return again.answered end)
    strangers.admitted(port)
    assertCounts(server, 2, 3, {}, 1)
    assert.is_true(has(server, again))
  end)
end)

describe('a server with a maxHandshakeRate', function ()
  it('lets each host begin as many in a second, at once if it likes, and more as time goes by', function ()
    local server, port = ends.certified({ maxHandshakeRate = 4 })
    for _ = 1, 6 do strangers.new():prove(port) end
    untilRefused(server, 2)
    strangers.admitted(port, '127.0.0.2')
    assertCounts(server, 5, 5, { maxHandshakeRate = 2 }, 0)
    local late = strangers.new():prove(port)
    local ticker = helper.uv.new_timer()
    ticker:start(50, 50, function () late:returnCookie() end)
    helper.runUntil(function () return late.answered end)
    ticker:close()
  end)
end)

describe('a busy server', function ()
  it('sends new peers no cookie, and lets those who have one begin no more', function ()
    local server, port = ends.certified()
    local early = strangers.new()
    early:begin(port)
    early.proceeds = false
    helper.runUntil(function () return early.cookie end)
    assert.is_false(server.busy)
    server.busy = true
    local stranger = strangers.new():begin(port)
    early:returnCookie()
    helper.runUntil(function () return server:stats().drops.busy == 2 end)
    assert.equal(0, stranger.heard)
    assertCounts(server, 0, 0, {}, 0)
    server.busy = false
    stranger:begin(port)
    helper.runUntil(function () return stranger.answered end)
  end)

  it('goes on with the peers that it has, and lets them restart', function ()
    local server, port = ends.certified()
    local localPort = program.freePort()
    local client = ends.opened(ends.trusting(port, { localPort = localPort }))
    server.busy = true
    assert.equal('Echo: hello', ends.asked(client, 'hello'))
    client:destroy()
    helper.uv.run('nowait')
    ends.opened(ends.trusting(port, { localPort = localPort }))
    assert.equal(1, server:stats().replaced)
  end)

  it('refuses whoever it has let wait for a turn', function ()
    local server, port
    server, port = ends.certified({ accept = function ()
      server.busy = true
      return true
    end })
    strangers.new():begin(port)
    untilRefused(server, 1)
    assert.same({ busy = 1 }, server:stats().refusals)
  end)
end)

describe('the accept hook', function ()
  it('is asked about the address of each peer that has returned its cookie', function ()
    local asked = {}
    local server, port = ends.certified({ accept = function (...)
      asked[#asked + 1] = { ... }
      return true
    end })
    local stranger = strangers.new('127.0.0.2')
    local at = stranger.udp:getsockname()
    stranger:begin(port)
    helper.runUntil(function () return stranger.answered end)
    assert.same({ { { ip = '127.0.0.2', port = at.port, family = 'inet' } } }, asked)
    assert.equal(1, server:stats().admitted)
  end)

  it('is told the IPv4 address of a peer of a dual-stack socket', function ()
    local asked
    local identity = helper.localhost()
    local dual = dtls.createServer({
      cert = identity.cert, key = identity.key, accept = function (peer) asked = peer end,
    })
    assert(dual:listen(0, '::'))
    strangers.new():begin(dual:address().port)
    helper.runUntil(function () return asked end)
    assert.same({ '127.0.0.1', 'inet' }, { asked.ip, asked.family })
    dual:close()
  end)

  for name, answer in pairs({ ['false'] = function () return false end, nothing = function () end }) do
    it('refuses by ' .. name .. ', in silence, and is asked again when the hello is repeated', function ()
      local asked = 0
      local server, port = ends.certified({ accept = function ()
        asked = asked + 1
        return answer()
      end })
      local stranger = strangers.new():prove(port)
      untilRefused(server, 1)
      stranger:returnCookie()
      untilRefused(server, 2)
      assert.equal(2, asked)
      assert.equal(1, stranger.heard)
      assertCounts(server, 0, 0, { accept = 2 }, 0)
    end)
  end

  it('refuses by anything else too, with a warning', function ()
    local server, port = ends.certified({ accept = function () return 'yes' end })
    local warnings = helper.record(server, 'warning')
    strangers.new():begin(port)
    untilRefused(server, 1)
    assert.same('EHOOK: the accept hook must answer true or false, got string', warnings[1][2])
    assert.same({ 1, 'EHOOK' }, { #warnings, warnings[1][3] })
    assert.equal(0, server:stats().sessions)
  end)

  it('refuses by what it throws, which comes out of the loop', function ()
    local errors = helper.errors()
    local thrown = {}
    local server, port = ends.certified({ accept = function () error(thrown) end })
    strangers.new():begin(port)
    untilRefused(server, 1)
    helper.runUntil(function () return errors[1] end)
    assert.equal(thrown, errors[1])
    assertCounts(server, 0, 0, { accept = 1 }, 0)
  end)

  it('cannot yield', function ()
    local errors = helper.errors()
    local server, port = ends.certified({ accept = function () return coroutine.yield() end })
    strangers.new():begin(port)
    untilRefused(server, 1)
    helper.runUntil(function () return errors[1] end)
    assert.truthy(errors[1]:find('attempt to yield', 1, true))
  end)

  it('is not asked where a limit keeps the peer out, and nobody yields to a peer that it refuses', function ()
    local welcome, asked = true, 0
    local server, port = ends.certified({ maxHandshakes = 1, maxHandshakeRate = 2, accept = function ()
      asked = asked + 1
      return welcome
    end })
    local first = strangers.admitted(port)
    welcome = false
    strangers.new():begin(port)
    untilRefused(server, 1)
    assert.is_true(has(server, first))
    welcome = true
    strangers.admitted(port)
    strangers.new():begin(port)
    untilRefused(server, 2)
    assertCounts(server, 1, 2, { accept = 1, maxHandshakeRate = 1 }, 1)
    assert.equal(3, asked)
  end)

  it('may close the server, and admit whom it likes', function ()
    local server, port
    server, port = ends.certified({ accept = function ()
      server:close()
      return true
    end })
    local closed = helper.record(server, 'close')
    strangers.new():begin(port)
    helper.runUntil(function () return closed[1] end)
    assert.equal(0, server:stats().admitted)
  end)
end)

describe('server:setLimits', function ()
  it('has the handshakes yield that are too many, the oldest first, and no established session', function ()
    local server, port = ends.certified()
    local client = ends.opened(ends.trusting(port))
    local all = {}
    for index = 1, 5 do all[index] = strangers.admitted(port, index > 3 and '127.0.0.2' or nil) end
    local function those()
      local there = {}
      for index, each in ipairs(all) do if has(server, each) then there[#there + 1] = index end end
      return there
    end
    server:setLimits({ maxSessionsPerHost = 3 })
    assert.same({ 2, 3, 4, 5 }, those())
    server:setLimits({ maxHandshakes = 3 })
    assert.same({ 3, 4, 5 }, those())
    server:setLimits({ maxSessions = 3 })
    assert.same({ 4, 5 }, those())
    server:setLimits({ maxSessions = 1, maxSessionsPerHost = 1 })
    assert.same({}, those())
    assertCounts(server, 1, 6, {}, 5)
    assert.same({}, server.failures)
    assert.equal('Echo: hello', ends.asked(client, 'hello'))
    strangers.new():begin(port)
    untilRefused(server, 1)
  end)

  it('leaves the limits that it is not given, and takes effect before listen too', function ()
    local identity = helper.localhost()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key, maxSessions = 2 })
    server:setLimits({ maxHandshakes = 5 })
    server:setLimits({ maxHandshakeRate = 7 })
    server:setLimits({})
    assert.same({ maxSessions = 2, maxSessionsPerHost = 1000, maxHandshakes = 5, maxHandshakeRate = 7 },
      server._places.limits)
    server:close()
    server:setLimits({ maxSessions = 1 })
  end)

  it('lets in again who was refused, when a limit is raised', function ()
    local server, port = ends.certified({ maxSessions = 1, maxHandshakeRate = 1 })
    ends.opened(ends.trusting(port))
    local stranger = strangers.new():prove(port)
    untilRefused(server, 1)
    server:setLimits({ maxSessions = 2, maxHandshakeRate = 0 })
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
  end)

  it('raises for what is no limit', function ()
    local server = ends.certified()
    for wrong, words in pairs({
      maxSessions = 'server:setLimits: options.maxSessions must be an integer, 1 or more, got 0',
      maxHandshakes = 'server:setLimits: options.maxHandshakes must be an integer, 1 or more, got 0',
      maxPeers = 'server:setLimits: unknown option "maxPeers"',
    }) do
      assert.has_error(function () server:setLimits({ [wrong] = 0 }) end, words)
    end
    assert.has_error(function () server:setLimits() end, 'server:setLimits: options must be a table, got nil')
    assert.has_error(function () server:setLimits({ maxHandshakeRate = 0.5 }) end, 'server:setLimits: '
      .. 'options.maxHandshakeRate must be an integer, a number in a second, or 0 for no limit, got 0.5')
  end)
end)
