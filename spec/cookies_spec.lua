-- Cookies by the user: `generateCookie` and `verifyCookie`. The built-in ones are in flood_spec.lua.

local core = require('dtls_core')
local dtls = require('dtls')
local ends = require('spec.support.ends')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local loop = require('dtls/loop')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local strangers = require('spec.support.strangers')

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  strangers.closeAll()
  ends.closeAll()
end)

-- A scheme that binds to all there is, and that anybody could forge: 32 bytes at most.
local function bound(peer)
  return ('%s %d %s'):format(peer.ip, peer.port, peer.parameters:sub(3, 12))
end

local function binding()
  return { generateCookie = bound, verifyCookie = function (cookie, peer) return cookie == bound(peer) end }
end

-- A scheme of one cookie for all.
local function fixed(cookie)
  return {
    generateCookie = function () return cookie end,
    verifyCookie = function (given) return given == cookie end,
  }
end

local function untilDropped(server, cause, count)
  helper.runUntil(function () return server:stats().drops[cause] == count end)
end

-- A stranger that has been sent a cookie and says no more by itself.
local function challenged(port, ip)
  local stranger = strangers.new(ip):begin(port)
  stranger.proceeds = false
  helper.runUntil(function () return stranger.cookie end)
  return stranger
end

-- Has a server read what lies in its socket.
local function readAll(server)
  local idle = 0
  while idle < 3 do
    local before = server:stats().datagramsIn
    helper.uv.run('nowait')
    idle = server:stats().datagramsIn == before and idle + 1 or 0
  end
end

for transport, made in pairs({ ['its own transport'] = core.transport or false, libuv = false }) do
  -- A server that is read and written by one of the two.
  local function listen(options, onConnection)
    local before = core.transport
    finally(function () core.transport = before end)
    core.transport = made or nil
    local server, port = ends.certified(options, onConnection)
    core.transport = before
    server.warnings = helper.record(server, 'warning')
    return server, port
  end

  describe('a server with cookies of the user\'s, by ' .. transport .. ',', function ()
    it('asks about the address of a peer, and the bytes that its hello keeps', function ()
      local asked = {}
      local server, port = listen({
        generateCookie = function (...)
          asked[#asked + 1] = { ... }
          return 'biscuit'
        end,
        verifyCookie = function (...)
          asked[#asked + 1] = { ... }
          return true
        end,
      })
      local stranger = strangers.new('127.0.0.2')
      local peer = {
        ip = '127.0.0.2', port = stranger.udp:getsockname().port, family = 'inet',
        parameters = '\254\253' .. stranger.random .. '\0',
      }
      stranger:begin(port)
      helper.runUntil(function () return stranger.answered end)
      assert.same({ { peer }, { 'biscuit', peer } }, asked)
      local stats = server:stats()
      assert.same({ 1, 0, 1 }, { stats.challenges, stats.stale, stats.admitted })
    end)

    it('has sessions as any other', function ()
      local _, port = listen(binding())
      assert.equal('Echo: hello', ends.asked(ends.opened(ends.trusting(port)), 'hello'))
    end)

    it('refuses a cookie that is of another address, of another hello, or changed, and counts it as stale',
      function ()
        local server, port = listen(binding())
        local first = challenged(port)
        local second = challenged(port, '127.0.0.2')
        local own = second.cookie
        for count, cookie in ipairs({ first.cookie, own .. 'x', own:sub(1, -2), ('x'):rep(255) }) do
          second.cookie = cookie
          second:returnCookie()
          helper.runUntil(function () return second.cookie == own end)
          assert.equal(count, server:stats().stale)
        end
        second.random = hello.randomBytes(32)
        second:returnCookie()
        helper.runUntil(function () return second.cookie ~= own end)
        local stats = server:stats()
        assert.same({ 7, 5, 0, 0 }, { stats.challenges, stats.stale, stats.admitted, stats.sessions })
        -- This one is its own.
        second:returnCookie()
        helper.runUntil(function () return second.answered end)
      end)

    it('refuses by nil as by false', function ()
      local server, port = listen({
        generateCookie = function () return hello.randomBytes(32) end, verifyCookie = function () end,
      })
      local stranger = challenged(port)
      stranger:returnCookie()
      helper.runUntil(function () return server:stats().stale == 1 end)
      assert.same({}, server.warnings)
    end)

    for _, cookie in ipairs({ 'c', '\0', ('c'):rep(32) }) do
      it(('sends one of %d bytes that begins with %d'):format(#cookie, cookie:byte()), function ()
        local server, port = listen(fixed(cookie))
        assert.equal(cookie, challenged(port).cookie)
        ends.opened(ends.trusting(port))
        assert.equal(1, server:stats().admitted)
      end)
    end

    for words, answer in pairs({
      ['a string of 0 bytes'] = '', ['a string of 33 bytes'] = ('c'):rep(33), number = 12345, boolean = true,
    }) do
      it('drops a hello to which generateCookie answers ' .. words .. ', with a warning', function ()
        local server, port = listen({
          generateCookie = function () return answer end, verifyCookie = function () return true end,
        })
        local stranger = strangers.new():begin(port)
        untilDropped(server, 'hook', 1)
        local fault = 'must answer a string of 1 to 32 bytes, or nil for no answer, got ' .. words
        local warning = 'EHOOK: the generateCookie hook ' .. fault
        assert.same({ { 'warning', warning, 'EHOOK' } }, server.warnings)
        assert.same({ 0, 0 }, { stranger.heard, server:stats().challenges })
      end)
    end

    for _, answer in ipairs({ 'yes', 1 }) do
      it('drops a hello to which verifyCookie answers a ' .. type(answer) .. ', with a warning', function ()
        local server, port = listen({
          generateCookie = function () return 'c' end, verifyCookie = function () return answer end,
        })
        local stranger = challenged(port)
        stranger:returnCookie()
        untilDropped(server, 'hook', 1)
        assert.match('^EHOOK: the verifyCookie hook must answer true or false, got ', server.warnings[1][2])
        assert.same({ 1, 0 }, { stranger.heard, server:stats().admitted })
      end)
    end

    it('sends nothing where generateCookie answers nil or false, and counts it', function ()
      for _, answer in ipairs({ function () end, function () return false end }) do
        local server, port = listen({ generateCookie = answer, verifyCookie = function () return true end })
        local stranger = strangers.new():begin(port)
        untilDropped(server, 'cookie', 1)
        assert.same({ 0, 0 }, { stranger.heard, server:stats().challenges })
        assert.same({}, server.warnings)
      end
    end)

    it('drops and counts hellos over a hook that throws, and warns once in a second', function ()
      local server, port = listen({
        generateCookie = function () error('oh dear', 0) end,
        verifyCookie = function () error('never asked') end,
      })
      local stranger = strangers.new()
      stranger:begin(port)
      untilDropped(server, 'hook', 1)
      local now = loop.now
      finally(function () loop.now = now end)
      local function at(ms)
        local frozen = now() + ms
        loop.now = function () return frozen end
        local before = server:stats().drops.hook
        for _ = 1, 50 do stranger:begin(port) end
        untilDropped(server, 'hook', before + 50)
      end
      at(0)
      local warning = 'EHOOK: the generateCookie hook failed: oh dear'
      assert.same({ { 'warning', warning, 'EHOOK' } }, server.warnings)
      at(1100)
      assert.equal(2, #server.warnings)
      assert.same({ 0, 101 }, { stranger.heard, server:stats().drops.hook })
    end)

    it('drops a hello over a verifyCookie that throws or yields', function ()
      for words, hook in pairs({
        ['an object'] = function ()
          error(setmetatable({}, { __tostring = function () return 'an object' end }))
        end,
        ['attempt to yield'] = function () return coroutine.yield() end,
      }) do
        local server, port = listen({ generateCookie = function () return 'c' end, verifyCookie = hook })
        local stranger = challenged(port)
        stranger:returnCookie()
        untilDropped(server, 'hook', 1)
        assert.equal(1, #server.warnings)
        local warning = 'EHOOK: the verifyCookie hook failed: ' .. words
        assert.equal(warning, server.warnings[1][2]:sub(1, #warning))
        assert.same({ 1, 0 }, { stranger.heard, server:stats().admitted })
      end
    end)

    it('asks about no datagram but a hello, and no cookie that no handshake can go on from', function ()
      local asked = 0
      local server, port = listen({
        generateCookie = function ()
          asked = asked + 1
          return 'c'
        end,
        verifyCookie = function () error('never asked') end,
      })
      local udp = helper.uv.new_udp()
      local good = hello.datagram({ random = ('r'):rep(32) })
      local sequenced = hello.datagram({ random = ('r'):rep(32), cookie = 'c' })
      -- Its message_seq: 0 where a cookie comes back with 1.
      sequenced = sequenced:sub(1, 17) .. '\0\0' .. sequenced:sub(20)
      for _, data in ipairs({ good:sub(1, -2), 'junk', '\23' .. good:sub(2), sequenced }) do
        udp:try_send(data, '127.0.0.1', port)
      end
      readAll(server)
      udp:close()
      local stats = server:stats()
      assert.same({ 4, 1, 1, 1 }, { stats.datagramsIn, asked, stats.challenges, stats.stale })
    end)

    it('asks about nobody while it is busy', function ()
      local server, port = listen({
        generateCookie = function () error('never asked') end, verifyCookie = function () end,
      })
      server.busy = true
      strangers.new():begin(port)
      untilDropped(server, 'busy', 1)
    end)

    it('makes one session of a hello, however often it comes', function ()
      local server, port = listen(binding())
      local relay = helper.relay(port, function (data, _, _, send)
        for _ = 1, 3 do send(data) end
      end)
      local client = ends.opened(ends.trusting(relay.port))
      assert.equal('Echo: once', ends.asked(client, 'once'))
      local stats = server:stats()
      assert.same({ 1, 1, 1 }, { stats.sessions, stats.admitted, stats.connected })
      client:destroy()
      relay.close()
    end)

    it('lets in no hello again whose session is over', function ()
      local server, port = listen(helper.merge(fixed('c'), { handshakeTimeout = 300 }))
      local stranger = strangers.admitted(port)
      helper.runUntil(function () return server.failures[1] end)
      stranger:returnCookie()
      untilDropped(server, 'repeated', 1)
      assert.equal(1, server:stats().admitted)
    end)

    it('lets a peer restart, whose session is left alone until then', function ()
      local reasons, sessions = {}, 0
      local server, port = listen(binding(), function (session)
        sessions = sessions + 1
        session:on('close', function (reason) reasons[#reasons + 1] = reason end)
      end)
      local localPort = program.freePort()
      local first = ends.opened(ends.trusting(port, { localPort = localPort }))
      assert.equal('Echo: 1', ends.asked(first, '1'))
      first:destroy()
      helper.uv.run('nowait')
      ends.opened(ends.trusting(port, { localPort = localPort }))
      helper.runUntil(function () return sessions == 2 end)
      assert.same({ 'replaced' }, reasons)
      assert.equal(1, server:stats().sessions)
    end)

    it('leaves a session alone about whose address the hooks say and do anything', function ()
      local act
      local scheme = binding()
      local server, port = listen({
        generateCookie = function (peer)
          if act then return act() end
          return scheme.generateCookie(peer)
        end,
        verifyCookie = function (cookie, peer)
          if act then return act() end
          return scheme.verifyCookie(cookie, peer)
        end,
      })
      local relay = helper.relay(port, function (data, _, _, send) send(data) end)
      local client = ends.opened(ends.trusting(relay.port))
      local dropped = 0
      for cause, acts in pairs({
        cookie = { function () end },
        hook = { function () return 5 end, function () error('oh dear') end },
      }) do
        for count, each in ipairs(acts) do
          act = each
          relay.inject(hello.datagram({ random = hello.randomBytes(32) }), true)
          untilDropped(server, cause, count)
          dropped = dropped + 1
        end
      end
      assert.equal(3, dropped)
      assert.equal('Echo: still there', ends.asked(client, 'still there'))
      client:destroy()
      relay.close()
    end)

    it('may be closed by a hook', function ()
      for _, which in ipairs({ 'generateCookie', 'verifyCookie' }) do
        local server, port
        local scheme = fixed('c')
        local hook = scheme[which]
        scheme[which] = function (...)
          server:close()
          return hook(...)
        end
        server, port = listen(scheme)
        local closed = helper.record(server, 'close')
        local stranger = strangers.new():begin(port)
        helper.runUntil(function () return closed[1] end)
        assert.falsy(stranger.answered)
        local stats = server:stats()
        assert.same({ which == 'verifyCookie' and 1 or 0, 0 }, { stats.challenges, stats.admitted })
      end
    end)

    it('may have a hook end the session of the peer that it is asked about, or run the loop', function ()
      local session, act
      local scheme = binding()
      local server, port = listen({
        generateCookie = scheme.generateCookie,
        verifyCookie = function (...)
          if act then act() end
          return scheme.verifyCookie(...)
        end,
      }, function (each) session = each end)
      local localPort = program.freePort()
      for count, each in ipairs({
        function () end,
        function () session:destroy() end,
        function () helper.uv.run('nowait') end,
      }) do
        act = each
        local client = ends.opened(ends.trusting(port, { localPort = localPort }))
        helper.runUntil(function () return server:stats().connected == count end)
        client:destroy()
        helper.uv.run('nowait')
      end
      assert.equal(1, server:stats().sessions)
    end)

    it('may have a hook end the session whose hello is repeated', function ()
      local session, repeated, act
      local scheme = binding()
      local server, port = listen({
        generateCookie = scheme.generateCookie,
        verifyCookie = function (...)
          if act then act() end
          return scheme.verifyCookie(...)
        end,
      }, function (each) session = each end)
      local relay = helper.relay(port, function (data, fromClient, number, send)
        if fromClient and number == 2 then repeated = data end
        send(data)
      end)
      local client = ends.opened(ends.trusting(relay.port))
      helper.runUntil(function () return session end)
      act = function () session:destroy() end
      relay.inject(repeated, true)
      untilDropped(server, 'repeated', 1)
      assert.equal(0, server:stats().sessions)
      client:destroy()
      relay.close()
    end)

    it('keeps nothing of strangers, and serves a peer, while 20000 hellos and as much junk come', function ()
      if helper.slowness > 1 then return pending('it takes minutes with a collector that never rests') end
      local count = 20000
      local server, port = listen(binding())
      local function flood(times)
        local child = program.script('flood.lua', { port, times })
        child:waitFor('flooding')
        return child
      end
      flood(count / 10):waitForEnd(60000)
      readAll(server)
      local before = helper.residentKiB()
      local child = flood(count)
      local client = ends.opened(ends.trusting(port))
      assert.equal('Echo: hello', ends.asked(client, 'hello'))
      assert.is_nil(child.status)
      child:waitForEnd(60000)
      readAll(server)
      local grown = helper.residentKiB() - before
      local answers, unasked, longer = child.output:match('answers (%d+) unasked (%d+) longer (%d+)')
      assert.is_true(tonumber(answers) > count / 2)
      assert.same({ '0', '0' }, { unasked, longer })
      assert.is_true(grown < 2048, grown .. ' KiB more')
      assert.equal(1, server:stats().sessions)
      assert.same({}, server.warnings)
    end)
  end)
end

describe('cookies of the user\'s', function ()
  it('are told the IPv4 address of a peer of a dual-stack socket', function ()
    local asked = {}
    local identity = pki.identity('server')
    local _, port = ends.listen({
      cert = identity.cert, key = identity.key,
      generateCookie = function (peer)
        asked[1] = peer
        return 'c'
      end,
      verifyCookie = function (_, peer)
        asked[2] = peer
        return true
      end,
    }, nil, '::')
    strangers.admitted(port)
    for _, peer in ipairs(asked) do assert.same({ '127.0.0.1', 'inet' }, { peer.ip, peer.family }) end
    assert.equal(2, #asked)
  end)

  it('may be another\'s, who takes more than 32 bytes: up to 255', function ()
    local given
    local _, port = ends.certified({
      generateCookie = function () return 'c' end,
      verifyCookie = function (cookie)
        given = cookie
        return true
      end,
    })
    local stranger = strangers.new()
    stranger.ip, stranger.port, stranger.cookie = '127.0.0.1', port, hello.randomBytes(255)
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
    assert.equal(stranger.cookie, given)
  end)

  it('let a peer in at one server that another has sent it', function ()
    local _, port = ends.certified(binding())
    local other, otherPort = ends.certified(binding())
    local stranger = challenged(port)
    stranger.port = otherPort
    stranger:returnCookie()
    helper.runUntil(function () return stranger.answered end)
    assert.equal(0, other:stats().challenges)
  end)

  it('are those of an endpoint that also connects', function ()
    local identity = pki.identity('server')
    local certified = { cert = identity.cert, key = identity.key }
    local endpoint = dtls.createEndpoint(helper.merge(certified, binding()))
    assert(endpoint:listen(0, '127.0.0.1'))
    ends.opened(ends.trusting(endpoint:address().port))
    assert.equal(1, endpoint:stats().challenges)
    endpoint:close()
  end)

  it('are asked about before accept, which hears of those alone whose cookie is good', function ()
    local order = {}
    local server, port = ends.certified({
      generateCookie = function ()
        order[#order + 1] = 'generate'
        return 'c'
      end,
      verifyCookie = function ()
        order[#order + 1] = 'verify'
        return true
      end,
      accept = function () order[#order + 1] = 'accept' end,
    })
    strangers.new():begin(port)
    helper.runUntil(function () return server:stats().refused == 1 end)
    assert.same({ 'generate', 'verify', 'accept' }, order)
  end)

  it('have no secrets that could be set', function ()
    local server = ends.certified(binding())
    assert.has_error(function () server:setCookieSecrets(('s'):rep(16)) end,
      'server:setCookieSecrets: the cookies are those of options.generateCookie: they have no secrets here')
  end)

  it('need both hooks, and no secret beside them', function ()
    local function hook() end
    for words, given in pairs({
      ['options.generateCookie needs options.verifyCookie beside it'] = { generateCookie = hook },
      ['options.verifyCookie needs options.generateCookie beside it'] = { verifyCookie = hook },
      ['options.cookieSecret is of the cookies that options.generateCookie replaces'] = {
        generateCookie = hook, verifyCookie = hook, cookieSecret = ('s'):rep(16),
      },
      ['options.verifyCookie must be a function, got boolean'] = { verifyCookie = true },
      ['options.generateCookie must be a function, got string'] = { generateCookie = 'c' },
    }) do
      for _, caller in ipairs({ 'createServer', 'createEndpoint' }) do
        assert.has_error(function () dtls[caller](given) end, ('dtls.%s: %s'):format(caller, words))
      end
    end
    assert.has_error(function () dtls.connect({ port = 1, generateCookie = hook }) end,
      'dtls.connect: unknown option "generateCookie"')
  end)
end)

describe('cookies of the user\'s, to a peer of another maker,', function ()
  for name, start in pairs({
    ['openssl s_client'] = function (port) return peers.sClient(port) end,
    ['openssl s_client, whose hello is in fragments'] = function (port)
      return peers.sClient(port, { '-mtu', 256, '-cipher', 'ALL:@SECLEVEL=0' })
    end,
    ['gnutls-cli'] = function (port) return peers.gnutlsCli(port) end,
  }) do
    for words, scheme in pairs({
      ['bound to it'] = binding(), ['of one byte'] = fixed('c'), ['of 32 bytes'] = fixed(('\0'):rep(32)),
    }) do
      it(('let %s in, %s'):format(name, words), function ()
        local server, port = ends.patient(scheme)
        ends.echoed(start(port))
        assert.equal(1, server:stats().admitted)
      end)
    end
  end
end)
