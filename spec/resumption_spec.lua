-- Sessions that are resumed: what a client keeps, what a server seals, what its user stores.

local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')

local me = helper.localhost()
local merge = helper.merge

local FIRST, SECOND = ('1'):rep(32), ('2'):rep(32)

-- A server of localhost's certificate, and its port. Of each of its sessions it notes whether it was resumed.
local function listen(options)
  local reused = {}
  local server, port = ends.server(merge({ cert = me.cert, key = me.key }, options), function (session)
    reused[#reused + 1] = session:isSessionReused()
  end)
  server.reused = reused
  return server, port
end

local function connect(port, options)
  local session = ends.connect(port, merge({ ca = me.cert }, options))
  session.warnings = helper.record(session, 'warning')
  return session
end

-- A conversation with the server at `port`: whether it was a resumed one at both ends, and what to keep
-- of it.
local function visit(server, port, options)
  local session = ends.opened(connect(port, options))
  assert.equal('Echo: hello', ends.asked(session, 'hello'))
  local reused = session:isSessionReused()
  assert.equal(server.reused[#server.reused], reused)
  session:close()
  helper.runUntil(function () return session.seen[#session.seen][1] == 'close' end)
  return reused, session:getSession(), session
end

after_each(function () ends.closeAll() end)

describe('a session', function ()
  it('is resumed by what was kept of it', function ()
    local server, port = listen()
    local reused, kept = visit(server, port)
    assert.is_false(reused)
    assert.is_string(kept)
    local again, more, session = visit(server, port, { session = kept })
    assert.is_true(again)
    assert.is_string(more)
    assert.is_true(session.authorized)
    assert.equal('localhost', session:getPeerCertificate().subject.CN)
    assert.same({}, session.warnings)
  end)

  it('has nothing to keep before it is established, and on a server', function ()
    local accepted
    local server, port = ends.server({ cert = me.cert, key = me.key }, function (each) accepted = each end)
    local session = connect(port)
    assert.is_nil(session:getSession())
    assert.is_false(session:isSessionReused())
    ends.opened(session)
    helper.runUntil(function () return accepted end)
    assert.is_nil(accepted:getSession())
    assert.truthy(server)
  end)

  it('is kept for its own peer and its own options', function ()
    local server, port = listen()
    local _, kept = visit(server, port)
    for _, options in ipairs({
      { servername = 'localhost' },
      { rejectUnauthorized = false },
      { verify = function () return true end },
      { ca = { me.cert, helper.identity('other').cert } },
      { cert = me.cert, key = me.key },
    }) do
      local reused, _, session = visit(server, port, merge(options, { session = kept }))
      assert.is_false(reused)
      assert.equal(1, #session.warnings)
      assert.equal('ESESSION', session.warnings[1][3])
      assert.matches('^ESESSION: the session was made with another server, or under other rules',
        session.warnings[1][2])
    end
  end)

  it('that nobody has verified is not resumed by who verifies', function ()
    local server, port = listen()
    local _, kept = visit(server, port, { rejectUnauthorized = false })
    assert.is_true((visit(server, port, { rejectUnauthorized = false, session = kept })))
    local reused, _, session = visit(server, port, { session = kept })
    assert.is_false(reused)
    assert.equal('ESESSION', session.warnings[1][3])
  end)

  it('is over after sessionTimeout seconds', function ()
    local server, port = listen({ sessionTimeout = 1 })
    local _, kept = visit(server, port)
    local late = false
    helper.after(2100, function () late = true end)
    helper.runUntil(function () return late end)
    local reused, _, session = visit(server, port, { session = kept })
    assert.is_false(reused)
    assert.matches('ESESSION: the session\'s life is over', session.warnings[1][2])
  end)

  it('is not to be resumed at all with sessionTimeout = 0', function ()
    local server, port = listen({ sessionTimeout = 0 })
    assert.is_nil((select(2, visit(server, port))))
    server, port = listen()
    assert.is_nil((select(2, visit(server, port, { sessionTimeout = 0 }))))
  end)

  it('is asked about again by a verify hook', function ()
    local server, port = listen()
    local seen = {}
    local function verify(peer)
      seen[#seen + 1] = peer.resumed
      return #seen < 3
    end
    local _, kept = visit(server, port, { verify = verify })
    assert.is_true((visit(server, port, { verify = verify, session = kept })))
    assert.equal('EDENIED', ends.failureOf(connect(port, { verify = verify, session = kept })))
    assert.same({ false, true, true }, seen)
  end)

  it('keeps a client\'s certificate', function ()
    local accepted
    local client = helper.identity('client')
    local _, port = ends.server({ cert = me.cert, key = me.key, requestCert = true, ca = client.cert },
      function (session) accepted = session end)
    local options = { cert = client.cert, key = client.key }
    local kept = ends.opened(connect(port, options)):getSession()
    local session = ends.opened(connect(port, merge(options, { session = kept })))
    assert.is_true(session:isSessionReused())
    helper.runUntil(function () return accepted:isSessionReused() end)
    assert.is_true(accepted.authorized)
    assert.equal('client', accepted:getPeerCertificate().subject.CN)
  end)

  it('keeps a PSK identity, whose welcome is asked for again', function ()
    local asked, keys = {}, { lamp = 'a key of 16 bytes' }
    local accepted
    local _, port = ends.server({
      psk = function (identity)
        asked[#asked + 1] = identity
        return keys[identity]
      end,
    }, function (session) accepted = session end)
    local options = { psk = { identity = 'lamp', key = 'a key of 16 bytes' } }
    local kept = ends.opened(ends.connect(port, options)):getSession()
    local session = ends.opened(ends.connect(port, merge(options, { session = kept })))
    assert.is_true(session:isSessionReused())
    helper.runUntil(function () return accepted:isSessionReused() end)
    assert.equal('lamp', accepted:getPskIdentity())
    assert.equal('lamp', session:getPskIdentity())
    keys.lamp = nil
    assert.equal('EPSKIDENTITY', ends.failureOf(ends.connect(port, merge(options, { session = kept }))))
    assert.equal('lamp', asked[3])
  end)
end)

describe('ticketKeys', function ()
  it('let tickets outlive the server', function ()
    local server, port = listen({ ticketKeys = FIRST })
    local _, kept = visit(server, port)
    server:close()
    server, port = listen({ ticketKeys = { SECOND, FIRST } })
    assert.is_true((visit(server, port, { session = kept })))
    server, port = listen({ ticketKeys = SECOND })
    assert.is_false((visit(server, port, { session = kept })))
    server, port = listen()
    assert.is_false((visit(server, port, { session = kept })))
  end)

  it('are replaced live, and tickets with them', function ()
    local server, port = listen()
    local _, kept = visit(server, port)
    server:setTicketKeys(FIRST)
    assert.is_false((visit(server, port, { session = kept })))
    _, kept = visit(server, port)
    server:setTicketKeys({ SECOND, FIRST })
    local reused, renewed = visit(server, port, { session = kept })
    assert.is_true(reused)
    assert.not_equal(kept, renewed)
    server:setTicketKeys({ SECOND })
    assert.is_false((visit(server, port, { session = kept })))
    assert.is_true((visit(server, port, { session = renewed })))
  end)

  it('may be false, for none: sessions go by an id', function ()
    local server, port = listen({ ticketKeys = false })
    local _, kept = visit(server, port)
    assert.is_true((visit(server, port, { session = kept })))
    server, port = listen({ ticketKeys = false })
    assert.is_false((visit(server, port, { session = kept })))
    -- Keys may be given later.
    server:setTicketKeys(FIRST)
    local _, ticket = visit(server, port)
    server, port = listen({ ticketKeys = FIRST })
    assert.is_true((visit(server, port, { session = ticket })))
  end)
end)

describe('sessionCache', function ()
  -- A server whose sessions are kept in `store`; `get` answers as `manner` has it.
  local function caching(store, manner)
    return listen({
      ticketKeys = false,
      sessionCache = { get = manner, set = function (id, data) store[id] = data end },
    })
  end

  for manner, get in pairs({
    ['at once'] = function (store) return function (id) return store[id] end end,
    ['by done'] = function (store)
      return function (id, _, done)
        helper.after(20, function () done(store[id]) end)
      end
    end,
    ['when it has yielded'] = function (store)
      return function (id)
        local asking = coroutine.running()
        helper.after(20, function () coroutine.resume(asking) end)
        coroutine.yield()
        return store[id]
      end
    end,
  }) do
    it('is asked for a session, and answers ' .. manner, function ()
      local store = {}
      local server, port = caching(store, get(store))
      local _, kept = visit(server, port)
      local id, data = next(store)
      assert.equal(32, #id)
      assert.is_string(data)
      assert.is_true((visit(server, port, { session = kept })))
      assert.is_nil(next(store, id), 'a resumed session is no new one')
      -- Another server with the same store.
      server, port = caching(store, get(store))
      assert.is_true((visit(server, port, { session = kept })))
      store[id] = nil
      assert.is_false((visit(server, port, { session = kept })))
    end)
  end

  it('that throws, or answers nonsense, costs one handshake', function ()
    local store = {}
    local answer
    local server, port = caching(store, function (id)
      if answer == 'throw' then error('the database is on fire') end
      return answer or store[id]
    end)
    local _, kept = visit(server, port)
    for _, row in ipairs({
      { 'throw', 'EHOOK: the sessionCache.get hook failed: .*the database is on fire' },
      { 5, 'EHOOK: the sessionCache.get hook must answer what sessionCache.set was given .*, got number' },
    }) do
      answer = row[1]
      assert.equal('EALERT', ends.failureOf(connect(port, { session = kept })))
      assert.matches(row[2], table.remove(server.failures)[2])
    end
    -- A string is only what nobody can resume.
    answer = 'nonsense'
    assert.is_false((visit(server, port, { session = kept })))
    answer = nil
    assert.is_true((visit(server, port, { session = kept })))
  end)

  for manner, set in pairs({
    ['throws'] = function () error('the disk is full') end,
    ['throws after it has yielded'] = function ()
      local setting = coroutine.running()
      helper.after(20, function () coroutine.resume(setting) end)
      coroutine.yield()
      error('the disk is full')
    end,
  }) do
    it('whose set ' .. manner .. ' costs nothing but a warning', function ()
      local server, port = listen({
        ticketKeys = false, sessionCache = { get = function () end, set = set },
      })
      local warnings = helper.record(server, 'warning')
      assert.is_false((visit(server, port)))
      helper.runUntil(function () return warnings[1] end)
      assert.matches('EHOOK: the sessionCache.set hook failed: .*the disk is full', warnings[1][2])
      assert.equal('EHOOK', warnings[1][3])
    end)
  end

  it('is of no use to clients that take tickets', function ()
    local calls = 0
    local function count() calls = calls + 1 end
    local server, port = listen({ sessionCache = { get = count, set = count } })
    local _, kept = visit(server, port)
    assert.is_true((visit(server, port, { session = kept })))
    assert.equal(0, calls)
  end)
end)

describe('server:setContext', function ()
  local other = helper.identity('127.0.0.1', 'renewed')

  it('serves later sessions with another certificate, and leaves the others alone', function ()
    local server, port = listen()
    local first = ends.opened(connect(port))
    server:setContext(dtls.createContext({ cert = other.cert, key = other.key }))
    local second = ends.opened(connect(port, { ca = other.cert }))
    assert.equal('DNS:renewed', second:getPeerCertificate().subjectAltName[2])
    assert.equal('Echo: hello', ends.asked(first, 'hello'))
  end)

  it('leaves tickets good where the new context judges alike', function ()
    local server, port = listen()
    local _, kept = visit(server, port)
    server:setContext(dtls.createContext({ cert = me.cert, key = me.key, mtu = 600 }))
    assert.is_true((visit(server, port, { session = kept })))
    server:setContext(dtls.createContext({ cert = me.cert, key = me.key, rejectUnauthorized = false }))
    assert.is_false((visit(server, port, { session = kept })))
  end)

  it('changes what serves those who name no host', function ()
    local context = dtls.createContext({ cert = me.cert, key = me.key })
    local server, port = ends.server({ sni = { ['a.test'] = context } })
    -- Without a certificate of its own it has nothing for them.
    assert.equal('ESERVERNAME', ends.failureOf(connect(port)))
    server:setContext(context)
    ends.opened(connect(port))
  end)
end)

describe('misuse of resumption', function ()
  -- What `fn` raises, at its own line.
  local function raises(pattern, fn)
    local ok, err = pcall(fn)
    assert.is_false(ok)
    local where = debug.getinfo(fn, 'S')
    assert.equal(('%s:%d: '):format(where.short_src, where.linedefined), err:match('^.-:%d+: '))
    assert.matches(pattern, err:match('^.-:%d+: (.*)$'))
  end

  local server, context

  before_each(function ()
    server = ends.server({ cert = me.cert, key = me.key })
    context = dtls.createContext({ ca = me.cert })
  end)

  it('is raised for a session that is none', function ()
    for _, session in ipairs({ '', 'nonsense', 'dtls session', 5, {} }) do
      local pattern = 'options.session must be a session, as session:getSession returns, got '
      raises(pattern, function () dtls.connect({ port = 1, session = session }) end)
    end
  end)

  it('is raised for keys that are too short, or none', function ()
    local function create(keys) return { cert = me.cert, key = me.key, ticketKeys = keys } end
    for _, row in ipairs({
      { 'short', 'dtls.createServer: options.ticketKeys must be at least 32 bytes long, got 5' },
      { true, 'options.ticketKeys must be a string, a list of strings, or false for no tickets, got bool' },
      { {}, 'options.ticketKeys must hold at least one secret' },
    }) do
      raises(row[2], function () dtls.createServer(create(row[1])) end)
    end
    raises('server:setTicketKeys: secrets must be at least 32', function () server:setTicketKeys('short') end)
    raises('server:setTicketKeys: secrets must be a string', function () server:setTicketKeys() end)
    raises('server:setTicketKeys: secrets must be a string', function () server:setTicketKeys(false) end)
  end)

  it('is raised for a cache that is none', function ()
    for _, cache in ipairs({ true, {}, { get = print }, { get = 'x', set = print }, print }) do
      local pattern = 'options.sessionCache must be a table of two functions, { get = …, set = … }, got '
      raises(pattern, function () dtls.createContext({ sessionCache = cache }) end)
    end
  end)

  it('is raised for a lifetime that is none', function ()
    for _, seconds in ipairs({ -1, 1.5, 604801, '7200', false }) do
      local pattern = 'options.sessionTimeout must be a whole number of seconds up to a week, or 0 for none'
      raises(pattern, function () dtls.createContext({ sessionTimeout = seconds }) end)
    end
  end)

  it('is raised for a context that no server can be made of', function ()
    raises('server:setContext: context must be a context, as', function () server:setContext() end)
    raises('server:setContext: context must be a context, as', function () server:setContext({}) end)
    raises('server:setContext: options.cert is missing', function () server:setContext(context) end)
  end)
end)
