-- Hooks: functions of the user's that decide in the middle of a handshake, at once or later. Whatever one
-- of them does costs its own handshake at most.

local Dial = require('dtls/dial')
local dtls = require('dtls')
local helper = require('spec.helper')
local uv = helper.uv

local me = helper.localhost()
local KEY, WRONG = 'a key of 16 byte', 'another 16 bytes'
local PAIR = { identity = 'lamp-7', key = KEY }

local served = dtls.createContext({ cert = me.cert, key = me.key })
local clientOnly = dtls.createContext({ ca = me.cert })

-- Every hook there is:
-- of         the end that it belongs to
-- option     what it is given as
-- server,
-- client     what else the two ends are given
-- about      what the hook is told, where that is a text
-- good       the answer that lets the handshake go on
-- nonsense   answers that are none, and what is said of them
local hooks = {
  {
    title = "a server's psk hook", of = 'server', option = 'psk',
    client = { psk = PAIR },
    about = 'lamp-7', good = KEY,
    nonsense = {
      { 42, 'must answer a key as a string, or nil .*, got number' },
      { true, 'got boolean' },
      { false, 'got boolean' },
      { {}, 'got table' },
      { print, 'got function' },
      { '', 'the key for a PSK identity is empty' },
      { ('k'):rep(513), 'the key for a PSK identity is longer than 512 bytes' },
    },
  },
  {
    title = "a client's psk hook", of = 'client', option = 'psk',
    server = { psk = PAIR, pskIdentityHint = 'lamps' },
    about = 'lamps', good = PAIR,
    nonsense = {
      { 'lamp-7', 'must answer a table { identity = …, key = … } of strings, or nil, got string' },
      { 42, 'got number' },
      { {}, 'got table' },
      { { identity = 'lamp-7' }, 'got table' },
      { { identity = 7, key = KEY }, 'got table' },
      { { identity = 'lamp\0', key = KEY }, 'the PSK identity holds a NUL' },
      { { identity = ('i'):rep(257), key = KEY }, 'the PSK identity is longer than 256 bytes' },
      { { identity = 'lamp-7', key = '' }, 'the key of the PSK identity is empty' },
    },
  },
  {
    title = "a client's verify hook", of = 'client', option = 'verify',
    good = true,
    nonsense = {
      { 'yes', 'must answer true or false, got string' },
      { 1, 'got number' },
      { {}, 'got table' },
    },
  },
  {
    title = "a server's verify hook", of = 'server', option = 'verify',
    server = { requestCert = true, ca = me.cert }, client = { cert = me.cert, key = me.key },
    good = true,
    nonsense = {
      { 'yes', 'must answer true or false, got string' },
      { 1, 'got number' },
      { print, 'got function' },
    },
  },
  {
    title = 'an sni hook', of = 'server', option = 'sni',
    client = { servername = 'localhost' },
    about = 'localhost', good = served,
    nonsense = {
      { 'localhost', 'must answer a context, as dtls.createContext makes, or nil for none, got string' },
      { true, 'got boolean' },
      { {}, 'got table' },
      { { core = io.stdout }, 'failed: ' },
      { clientOnly, 'answered a context that cannot serve: options.cert is missing' },
    },
  },
}

-- A server, and clients that connect to it, with `hook` at its place.
local Stage = {}
Stage.__index = Stage

local function stage(which, hook, more)
  local with = { [which.option] = hook }
  local self = setmetatable({ which = which, peers = {} }, Stage)
  self.ends = {
    server = helper.merge({ cert = me.cert, key = me.key, retransmitTimeout = 30 }, which.server),
    client = helper.merge({ retransmitTimeout = 30 }, which.client),
  }
  self.ends[which.of] = helper.merge(self.ends[which.of], with, more)
  self.server, self.port = helper.echoServer(self.ends.server)
  self.atServer = helper.record(self.server, 'connection', 'clientError', 'warning', 'error')
  return self
end

function Stage:connect(more)
  local session = helper.connect(self.port, helper.merge(self.ends.client, more))
  session.seen = helper.record(session, 'secureConnection', 'message', 'warning', 'error', 'close')
  return session
end

-- Waits until an end has said something, and returns it.
function Stage.wait(seen, event)
  local found
  helper.runUntil(function ()
    for _, each in ipairs(seen) do
      if each[1] == event then found = each end
    end
    return found
  end)
  return found
end

-- A session that talks: it sends, and hears the echo.
function Stage.converse(session, text)
  session:send(text)
  helper.runUntil(function ()
    local last = session.seen[#session.seen]
    return last[1] == 'message' and last[2] == 'Echo: ' .. text
  end)
end

-- What the hook's end is told, and the other.
function Stage:failures(session)
  local atClient = self.wait(session.seen, 'error')
  local atServer = self.wait(self.atServer, 'clientError')
  if self.which.of == 'client' then return atClient, atServer end
  return atServer, atClient
end

function Stage:count(event)
  local count = 0
  for _, each in ipairs(self.atServer) do
    if each[1] == event then count = count + 1 end
  end
  return count
end

local function sleep(ms)
  local thread = coroutine.running()
  helper.after(ms, function () assert(coroutine.resume(thread)) end)
  coroutine.yield()
end

after_each(function () helper.run() end)

-- The ways of answering.
local ways = {
  { 'by returning', function (answer) return function () return answer end end },
  { 'by done at once', function (answer) return function (_, _, done) done(answer) end end },
  { 'by done after a while', function (answer)
    return function (_, _, done) helper.after(20, function () done(answer) end) end
  end },
  { 'by returning after it has yielded', function (answer)
    return function ()
      sleep(20)
      return answer
    end
  end },
  { 'by done after it has yielded', function (answer)
    return function (_, _, done)
      sleep(10)
      done(answer)
    end
  end },
}

for _, which in ipairs(hooks) do
  describe(which.title, function ()
    for _, way in ipairs(ways) do
      it('answers ' .. way[1], function ()
        local about, address
        local answering = way[2](which.good)
        local play = stage(which, function (what, session, done)
          about, address = what, session:remoteAddress()
          return answering(what, session, done)
        end)
        local session = play:connect()
        play.wait(session.seen, 'secureConnection')
        play.converse(session, 'hello')
        assert.equal(which.about or about, about)
        assert.equal('127.0.0.1', address.ip)
        play.server:close()
      end)
    end

    local function boom() error('boom') end

    -- What a hook may do wrong: what it is, the hook, and what its end is told.
    local wrongs = {
      { 'throws', boom, 'the %s hook failed: [^\n]*boom' },
      { 'throws a table', function () error({ code = 1 }) end, 'the %s hook failed: table' },
      { 'throws nil', function () error() end, 'the %s hook failed: nil' },
      { 'throws what has no text', function ()
        error(setmetatable({}, { __tostring = boom }))
      end, 'the %s hook failed: table' },
      { 'throws after it has yielded', function ()
        sleep(5)
        boom()
      end, 'the %s hook failed: [^\n]*boom' },
      { 'throws and does not call done', function (_, _, _done) boom() end,
        'the %s hook failed: [^\n]*boom' },
      { 'runs out of stack', function ()
        local function deeper() return 1 + deeper() end
        return deeper()
      end, 'the %s hook failed: [^\n]*stack overflow' },
    }
    for _, row in ipairs(which.nonsense) do
      local shown = type(row[1]) == 'string' and ('%q'):format(row[1]):sub(1, 12) or type(row[1])
      wrongs[#wrongs + 1] = { 'answers ' .. shown .. ' ' .. #wrongs, function () return row[1] end, row[2] }
    end
    wrongs[#wrongs + 1] = { 'answers nonsense later', function (_, _, done)
      helper.after(5, function () done(which.nonsense[1][1]) end)
    end, which.nonsense[1][2] }

    for _, wrong in ipairs(wrongs) do
      local what, hook, sentence = unpack(wrong)
      it('that ' .. what .. ' costs that handshake and nothing else', function ()
        local errors = helper.errors()
        local acting
        local play = stage(which, function (about, session, done)
          collectgarbage()
          if not acting then return which.good end
          return hook(about, session, done)
        end)
        local bystander = play:connect()
        play.wait(bystander.seen, 'secureConnection')
        acting = true
        local session = play:connect()
        local own, other = play:failures(session)
        assert.equal('EHOOK', own[3])
        assert.matches('^EHOOK: .*' .. sentence:format(which.option):gsub('[{}]', '%%%0'), own[2])
        assert.matches('%(sent alert 80, internal error%)$', own[2])
        assert.equal('EALERT', other[3])
        assert.matches('%(received alert 80, internal error%)$', other[2])
        play.converse(bystander, 'still here')
        -- And the next handshake is none the worse for it.
        acting = false
        local third = play:connect()
        play.wait(third.seen, 'secureConnection')
        play.server:close()
        helper.run()
        assert.same({}, errors)
        assert.same({ 'close', 'error' }, session.seen[#session.seen])
      end)
    end

    it('that never answers ends by the deadline, which says so', function ()
      local waiting = {}
      for _, hook in ipairs({
        function (_, _, done) waiting[#waiting + 1] = done end,
        function () coroutine.yield() end,
      }) do
        local acting = false
        local timeout = 400 * helper.slowness
        local play = stage(which, function (about, session, done)
          if not acting then return which.good end
          return hook(about, session, done)
        end, { handshakeTimeout = timeout })
        local bystander = play:connect()
        play.wait(bystander.seen, 'secureConnection')
        acting = true
        -- The other end is no more patient than it has to be.
        local session = play:connect({ handshakeTimeout = which.of == 'server' and 2 * timeout or nil })
        local seen = which.of == 'server' and play.atServer or session.seen
        local told = play.wait(seen, which.of == 'server' and 'clientError' or 'error')
        assert.equal('ETIMEDOUT', told[3])
        assert.matches(('within %d ms: the %s hook has not answered$'):format(timeout, which.option), told[2])
        play.converse(bystander, 'still here')
        -- Nothing is decided any more.
        for _, done in ipairs(waiting) do done(which.good) end
        play.converse(bystander, 'and here')
        session:destroy()
        play.server:close()
        helper.run()
      end
    end)

    it('answers once: what it says besides counts for nothing', function ()
      for _, hook in ipairs({
        function (_, _, done)
          done(which.good)
          done(nil)
          return 42
        end,
        function (_, _, done)
          helper.after(5, function ()
            done(which.good)
            done(nil)
            done(42)
          end)
        end,
        function (_, _, done)
          helper.after(5, function () done(nil) end)
          return which.good
        end,
      }) do
        local play = stage(which, hook)
        local session = play:connect()
        play.wait(session.seen, 'secureConnection')
        play.converse(session, 'hello')
        local over
        helper.after(20, function () over = true end)
        helper.runUntil(function () return over end)
        play.converse(session, 'hello again')
        assert.equal(0, play:count('clientError') + play:count('warning'))
        play.server:close()
        helper.run()
      end
    end)

    it('that throws when it has answered is a warning', function ()
      local play = stage(which, function (_, _, done)
        done(which.good)
        error('boom')
      end)
      local session = play:connect()
      play.wait(session.seen, 'secureConnection')
      local warning = play.wait(which.of == 'server' and play.atServer or session.seen, 'warning')
      assert.equal('EHOOK', warning[3])
      local sentence = 'the %s hook failed: .*boom, after its answer$'
      assert.matches('^EHOOK: ' .. sentence:format(which.option), warning[2])
      play.converse(session, 'hello')
      play.server:close()
    end)

    it('that throws when its handshake is over stops nothing', function ()
      local errors = helper.errors()
      local thrown
      local play = stage(which, function (_, session)
        helper.after(0, function () session:destroy() end)
        sleep(20)
        thrown = true
        error('boom')
      end)
      local session = play:connect()
      helper.runUntil(function () return thrown end)
      if which.of == 'server' then
        assert.matches('boom, after the end$', play.wait(play.atServer, 'warning')[2])
      end
      session:destroy()
      play.server:close()
      helper.run()
      assert.same({}, errors)
    end)

    for _, ending in ipairs({ 'close', 'destroy' }) do
      it(('may %s its session'):format(ending), function ()
        for _, answers in ipairs({ true, false }) do
          local done
          local play = stage(which, function (_, session, later)
            session[ending](session)
            done = later
            if answers then return which.good end
          end)
          local session = play:connect()
          if which.of == 'client' then
            local closed = play.wait(session.seen, 'close')
            assert.same({ 'close', ending == 'close' and 'closed' or 'destroyed' }, closed)
            assert.equal(1, #session.seen)
          else
            helper.runUntil(function () return done and play.server:stats().sessions == 0 end)
            session:destroy()
          end
          done(which.good)
          play.server:close()
          helper.run()
          assert.equal(0, play:count('connection'))
          assert.equal(0, play:count('clientError'))
        end
      end)
    end

    it('may close the server', function ()
      local play
      play = stage(which, function ()
        play.server:close()
        return which.good
      end)
      local session = play:connect({ handshakeTimeout = 300 })
      play.wait(session.seen, 'close')
      helper.run()
      assert.equal(0, play.server:stats().sessions)
    end)

    it('keeps what handlers throw for the loop, where the answer came late', function ()
      local errors = helper.errors()
      local play = stage(which, function ()
        local thread = coroutine.running()
        -- Nobody looks at what `resume` returns.
        helper.after(5, function () coroutine.resume(thread) end)
        coroutine.yield()
        return which.good
      end)
      play.server:on('connection', function () error('of the user') end)
      local session = play:connect()
      session:on('secureConnection', function () error('of the user') end)
      helper.runUntil(function () return #errors == 2 end)
      assert.matches('of the user', errors[1])
      assert.matches('of the user', errors[2])
      session:destroy()
      play.server:close()
    end)
  end)
end

describe('a hook\'s parameters', function ()
  local which = hooks[1]
  local KEYS = { ['lamp-7'] = KEY }

  -- How the handshake ends: nil where it is complete.
  local function ending(hook, client)
    local play = stage(which, hook, { handshakeTimeout = 300 })
    local session = play:connect(client)
    local outcome
    helper.runUntil(function ()
      outcome = play.atServer[1]
      return outcome
    end)
    session:destroy()
    play.server:close()
    helper.run()
    return outcome[3]
  end
  local stranger = { psk = { identity = 'nobody', key = KEY } }

  it('may be fewer than three: what it returns is the answer, and nil is one', function ()
    for _, hook in ipairs({
      function () return KEY end,
      function (identity) return KEYS[identity] end,
      function (identity, _) return KEYS[identity] end,
      function (...) return KEYS[(...)] end,
    }) do
      assert.is_nil(ending(hook))
    end
    for _, hook in ipairs({
      function () end,
      function (_) end,
      function (identity) return KEYS[identity] end,
      function (identity, _) return KEYS[identity] end,
      function (...) return KEYS[(...)] end,
    }) do
      assert.equal('EPSKIDENTITY', ending(hook, stranger))
    end
  end)

  it('may be three: where it returns nothing, or nil, it is waited for', function ()
    assert.equal('ETIMEDOUT', ending(function (_, _, _done) end))
    assert.equal('ETIMEDOUT', ending(function (_, _, _done) return nil end))
    assert.is_nil(ending(function (identity, _, _done) return KEYS[identity] end))
    assert.equal('EPSKIDENTITY', ending(function (_, _, done) done(nil) end))
  end)

  it('may be any number: where it returns nothing at all, it is waited for', function ()
    assert.equal('ETIMEDOUT', ending(function (...) return select(4, ...) end))
    assert.equal('EPSKIDENTITY', ending(function (...) return (select(4, ...)) end, stranger))
    assert.is_nil(ending(function (...)
      local done = select(3, ...)
      helper.after(5, function () done(KEY) end)
    end))
  end)

  it('may be a C function\'s', function ()
    assert.equal('EHOOK', ending(math.floor))
    assert.is_nil(ending(tostring, { psk = { identity = 'lamp-7', key = 'lamp-7' } }))
  end)

  it("may lead to luv's nil, err: the hook has failed", function ()
    for _, hook in ipairs({
      function () return nil, 'ENOENT: no such file' end,
      function (_, _, _done) return nil, 'ENOENT: no such file' end,
      function (_, _, done) done(nil, 'ENOENT: no such file') end,
    }) do
      assert.equal('EHOOK', ending(hook))
    end
  end)
end)

describe("a verify hook's refusal", function ()
  it('has the reason that it gives, and alert 49', function ()
    for _, hook in ipairs({
      function () return false, 'not on Sundays' end,
      function () return nil, 'not on Sundays' end,
      function (_, _, done) done(false, 'not on Sundays') end,
      function (_, _, _done) return nil, 'not on Sundays' end,
    }) do
      for index = 3, 4 do
        local play = stage(hooks[index], hook)
        local own, other = play:failures(play:connect())
        assert.equal('EDENIED: not on Sundays (sent alert 49, access denied)', own[2])
        assert.equal('EDENIED', other[3])
        assert.matches('received alert 49', other[2])
        play.server:close()
        helper.run()
      end
    end
  end)

  it('needs no reason', function ()
    for _, answer in ipairs({ false, 'nil' }) do
      local play = stage(hooks[3], function ()
        if answer == 'nil' then return nil end
        return answer
      end)
      assert.matches('^EDENIED: the peer was refused by the verify hook', play:failures(play:connect())[2])
      play.server:close()
      helper.run()
    end
  end)
end)

describe('a client whose hook takes its time', function ()
  it('stays with the address that it has found', function ()
    local patience, resolve = Dial.patience, uv.getaddrinfo
    Dial.patience = 40
    uv.getaddrinfo = function (host, service, hints, callback)
      if not callback or host ~= 'two.test' then return resolve(host, service, hints, callback) end
      helper.after(1, function () callback(nil, { { addr = '127.0.0.1' }, { addr = '127.0.0.2' } }) end)
      return {}
    end
    finally(function () Dial.patience, uv.getaddrinfo = patience, resolve end)
    local asked = 0
    local play = stage(hooks[3], function (_, _, done)
      asked = asked + 1
      helper.after(150, function () done(true) end)
    end)
    local session = play:connect({ host = 'two.test', servername = 'localhost' })
    play.wait(session.seen, 'secureConnection')
    assert.equal('127.0.0.1', session:remoteAddress().ip)
    assert.equal(1, asked)
    play.converse(session, 'hello')
    play.server:close()
  end)
end)

it("a psk hook's wrong key is known for one by both ends", function ()
  local play = stage(hooks[1], function () return WRONG end, { handshakeTimeout = 500 })
  local session = play:connect({ handshakeTimeout = 500 })
  local own, other = play:failures(session)
  assert.same({ 'EPSKKEY', 'EPSKKEY' }, { own[3], other[3] })
  play.server:close()
end)

-- Nobody meets a server's session before 'connection' but the hooks, which may listen to it, and close it.
describe("the session that a server's hook is handed", function ()
  local which = hooks[1]

  -- What it tells, and what its server does, in order. `act(session)` is called in the hook, which answers
  -- what that returns, or later.
  local function play(act, more)
    local all = { log = {} }
    local function logging(emitter, name, what)
      emitter:on(name, function (value)
        all.log[#all.log + 1] = what .. ' ' .. tostring(value):match('^%w*')
      end)
    end
    all.stage = stage(which, function (_, session, _done)
      all.session = session
      logging(session, 'error', 'error')
      logging(session, 'close', 'close')
      return act(session, all)
    end, more)
    logging(all.stage.server, 'clientError', 'clientError')
    logging(all.stage.server, 'connection', 'connection')
    all.stage.server:on('close', function () all.log[#all.log + 1] = 'server closed' end)
    all.client = all.stage:connect({ handshakeTimeout = 1000 })
    return all
  end

  local function over(all, count)
    helper.runUntil(function () return #all.log >= count end)
    all.client:destroy()
    all.stage.server:close()
    helper.run()
    all.log[#all.log] = nil
    return all.log
  end

  local function called(all)
    return function (reason) all.log[#all.log + 1] = 'called ' .. reason end
  end

  for name, row in pairs({
    ['has been closed, with a callback'] = {
      function (session, all) session:close(called(all)) end, { 'close closed', 'called closed' },
    },
    ['has been closed before it is answered'] = {
      function (session, all)
        session:close(called(all))
        return which.good
      end, { 'close closed', 'called closed' },
    },
    ['has been closed later'] = {
      function (session, all) helper.after(5, function () session:close(called(all)) end) end,
      { 'close closed', 'called closed' },
    },
    ['has been destroyed'] = {
      function (session) session:destroy() end, { 'close destroyed' },
    },
    ['is not answered well'] = {
      function () error('boom') end, { 'clientError EHOOK', 'close error' },
    },
    ['is not answered in time'] = {
      function () end, { 'clientError ETIMEDOUT', 'close timeout' }, { handshakeTimeout = 100 },
    },
    ['is closed when it has ended'] = {
      function (session, all)
        session:on('close', function () session:close(called(all)) end)
        error('boom')
      end, { 'clientError EHOOK', 'close error', 'called error' },
    },
  }) do
    it('tells its end where it ' .. name, function ()
      assert.same(row[2], over(play(row[1], row[3]), #row[2]))
    end)
  end

  it('tells its end before the server that is closed', function ()
    local all = play(function (_, its) helper.after(5, function () its.stage.server:close() end) end)
    helper.runUntil(function () return #all.log == 2 end)
    assert.same({ 'close closed', 'server closed' }, all.log)
    all.client:destroy()
  end)

  it('tells its end once it is complete as any other', function ()
    local all = play(function () return which.good end)
    helper.runUntil(function () return all.log[1] end)
    all.session:close()
    assert.same({ 'connection table', 'close closed' }, over(all, 2))
  end)

  it('tells its end where handlers throw', function ()
    local errors = helper.errors()
    local all = play(function (session)
      session:on('close', function () error('of close') end)
      error('boom')
    end)
    all.stage.server:on('clientError', function () error('of clientError') end)
    helper.runUntil(function () return #all.log == 2 and #errors > 0 end)
    assert.same({ 'clientError EHOOK', 'close error' }, all.log)
    assert.equal(1, #errors)
    assert.matches('of clientError', errors[1])
    all.client:destroy()
    all.stage.server:close()
  end)
end)
