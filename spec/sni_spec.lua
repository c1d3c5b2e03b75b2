-- Several hosts on one port (RFC 6066 section 3): which context serves whom.

local dtls = require('dtls')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local uv = helper.uv

local KEY = 'a key of 16 byte'

after_each(function () helper.run() end)

-- A context for hosts, whose certificate shows which it was.
local contexts = {}
local function context(name, more)
  if not contexts[name] or more then
    local identity = helper.identity(name)
    contexts[name] = dtls.createContext(helper.merge({ cert = identity.cert, key = identity.key }, more))
  end
  return contexts[name]
end

local a, b, all, own = context('a.test'), context('b'), context('all'), context('own')

-- Starts a server with hosts, and returns it with what its clients meet.
local function start(sni, more)
  local server = dtls.createServer(helper.merge({ sni = sni }, more))
  assert(server:listen(0, '127.0.0.1'))
  server.seen = helper.record(server, 'connection', 'clientError')
  return server
end

-- Connects as a client of a host; returns the session when it is complete or over.
local function visit(server, name, more)
  local session = dtls.connect(helper.merge({
    port = server:address().port, servername = name, rejectUnauthorized = false, retransmitTimeout = 50,
  }, more))
  session:on('error', function (err) session.err = err end)
  helper.runUntil(function ()
    return session.err or session:getProtocol() and server.seen[#server.seen]
  end)
  return session
end

-- Whose certificate a client of a host is shown, and nil for none.
local function shown(server, name, more)
  local session = visit(server, name, more)
  local certificate = session:getPeerCertificate()
  session:destroy()
  return certificate and certificate.subject.CN
end

describe('a table of hosts', function ()
  local server
  local function serve(sni, more)
    server = start(sni, more)
    return server
  end
  after_each(function ()
    if server then server:close() end
    server = nil
  end)

  it('serves a name by its own context, in any case and with or without a dot at its end', function ()
    serve({ ['a.test'] = a, ['B.Test.'] = b })
    for _, name in ipairs({ 'a.test', 'A.TEST', 'a.test.' }) do
      assert.equal('a.test', shown(server, name))
    end
    for _, name in ipairs({ 'b.test', 'b.TEST', 'B.test.' }) do
      assert.equal('b', shown(server, name))
    end
  end)

  it('has a * for exactly one label', function ()
    serve({ ['*.b.test'] = b, ['*'] = all })
    assert.equal('b', shown(server, 'x.b.test'))
    assert.equal('b', shown(server, 'X.B.Test'))
    for _, name in ipairs({ 'b.test', 'x.y.b.test', 'xb.test', 'b.test.x', 'x.b.test.y' }) do
      assert.equal('all', shown(server, name))
    end
  end)

  it('prefers the exact name to *., and that to *', function ()
    serve({ ['a.b.test'] = a, ['*.b.test'] = b, ['*'] = all })
    assert.equal('a.test', shown(server, 'a.b.test'))
    assert.equal('b', shown(server, 'c.b.test'))
    assert.equal('all', shown(server, 'c.test'))
  end)

  it('refuses any other name by alert 112, at both ends ESERVERNAME', function ()
    local identity = helper.identity('own')
    serve({ ['a.test'] = a }, { cert = identity.cert, key = identity.key })
    local session = visit(server, 'c.test')
    assert.equal('ESERVERNAME: the server has no host of that name (received alert 112, unrecognized name)',
      session.err)
    local event, err, name = unpack(server.seen[1])
    assert.same({ 'clientError', 'ESERVERNAME' }, { event, name })
    assert.equal("ESERVERNAME: the client wants the host 'c.test', which is not here "
      .. '(sent alert 112, unrecognized name)', err)
  end)

  it("serves those who name no host by the server's own context", function ()
    serve({ ['a.test'] = a }, { context = own })
    assert.equal('own', shown(server, '127.0.0.1'))
    assert.equal('own', shown(server, '::1'))
  end)

  it('or by *, which comes first', function ()
    serve({ ['a.test'] = a, ['*'] = all }, { context = own })
    assert.equal('all', shown(server, '127.0.0.1'))
  end)

  it('or not at all', function ()
    serve({ ['a.test'] = a })
    assert.matches('^ESERVERNAME: ', visit(server, '127.0.0.1').err)
    assert.matches('^ESERVERNAME: the client names no host, and there is none for that', server.seen[1][2])
  end)

  it('lets both ends know the name', function ()
    serve({ ['*'] = all })
    local session = visit(server, 'X.Test.')
    assert.equal('x.test', server.seen[1][2].servername)
    assert.equal('X.Test', session.servername)
    session:destroy()
    session = visit(server, '127.0.0.1')
    assert.is_nil(server.seen[2][2].servername)
    assert.is_nil(session.servername)
    session:destroy()
  end)

  for _, row in ipairs({
    { 'no hosts', {}, 'options%.sni is empty' },
    { 'no name', { a }, 'options%.sni%["1"%] is no host name but a number' },
    { 'an empty name', { [''] = a }, 'is no host name as clients send it' },
    { 'a name of a dot', { ['.'] = a }, 'is no host name as clients send it' },
    { 'a name with NUL', { ['a\0.test'] = a }, 'is no host name as clients send it' },
    { 'a name with a space', { ['a test'] = a }, 'is no host name as clients send it' },
    { 'a name that is not ASCII', { ['bücher.test'] = a }, 'is no host name as clients send it' },
    { 'an IPv4 address', { ['127.0.0.1'] = a }, 'is an IP address, which clients do not send' },
    { 'an IPv6 address', { ['::1'] = a }, 'is an IP address, which clients do not send' },
    { 'a * in the midst of a name', { ['a.*.test'] = a }, 'has a "%*" that is not the whole first label' },
    { 'a * for a part of a label', { ['*b.test'] = a }, 'has a "%*" that is not the whole first label' },
    { 'two *', { ['*.*.test'] = a }, 'has a "%*" that is not the whole first label' },
    { 'a name twice', { ['a.test'] = a, ['A.test.'] = b }, 'is given twice' },
    { 'no context', { ['a.test'] = 'a' }, 'must be a context, as dtls%.createContext makes, got string' },
    { 'a context without a certificate', { ['a.test'] = dtls.createContext() }, 'options%.cert is missing' },
  }) do
    it('cannot have ' .. row[1], function ()
      local ok, err = pcall(function ()
        dtls.createServer({ sni = row[2] })
      end)
      assert.is_false(ok)
      assert.matches('^spec/sni_spec.lua:%d+: dtls.createServer: .*' .. row[3], err)
    end)
  end

  it('does not hide that what the server itself is given cannot serve', function ()
    assert.has_error(function ()
      dtls.createServer({ sni = { ['a.test'] = a }, cert = helper.identity('own').cert })
    end)
  end)
end)

describe('a chosen context', function ()
  -- Each host trusts the clients of one CA of its own, or anybody, or those that have a key.
  local one, two = helper.identity('client one'), helper.identity('client two')
  local asked
  local function hook(name, answer)
    return function (...)
      asked[#asked + 1] = name
      return answer(...)
    end
  end
  local server

  before_each(function ()
    asked = {}
    local function certificate(name, more)
      local identity = helper.identity(name)
      return dtls.createContext(helper.merge({ cert = identity.cert, key = identity.key }, more))
    end
    server = start({
      ['one.test'] = certificate('one.test', { requestCert = true, ca = one.cert }),
      ['two.test'] = certificate('two.test', { requestCert = true, ca = two.cert }),
      ['open.test'] = certificate('open.test'),
      ['key.test'] = dtls.createContext({
        psk = hook('key.test', function (identity) return identity == 'lamp-7' and KEY or nil end),
      }),
      ['judge.test'] = certificate('judge.test', {
        requestCert = true, ca = one.cert, verify = hook('judge.test', function () return true end),
      }),
    }, {
      -- Of the server's own nothing is left where a host is chosen.
      psk = { ['lamp-8'] = KEY }, requestCert = true, ca = two.cert,
      verify = hook('own', function () return true end),
    })
  end)
  after_each(function () server:close() end)

  local function as(identity) return { cert = identity.cert, key = identity.key } end

  it('brings its own CAs, and whether there are any', function ()
    assert.equal('one.test', shown(server, 'one.test', as(one)))
    assert.equal('two.test', shown(server, 'two.test', as(two)))
    assert.equal('open.test', shown(server, 'open.test'))
    assert.matches('^EUNKNOWNCA', visit(server, 'one.test', as(two)).err)
    assert.matches('^EUNKNOWNCA', visit(server, 'two.test', as(one)).err)
    assert.matches('^ENOCERT', visit(server, 'one.test').err)
    assert.same({}, asked)
  end)

  it('brings its own pre-shared keys', function ()
    local function with(identity) return { psk = { identity = identity, key = KEY } } end
    local session = visit(server, 'key.test', with('lamp-7'))
    assert.equal('lamp-7', session:getPskIdentity())
    session:destroy()
    assert.matches('^EPSKIDENTITY', visit(server, 'key.test', with('lamp-8')).err)
    assert.matches('^ENOCIPHER', visit(server, 'open.test', with('lamp-8')).err)
    assert.same({ 'key.test', 'key.test' }, asked)
    -- The server's own, for those who name no host.
    session = visit(server, '127.0.0.1', with('lamp-8'))
    assert.equal('lamp-8', session:getPskIdentity())
    session:destroy()
  end)

  it('brings its own hooks', function ()
    assert.equal('judge.test', shown(server, 'judge.test', as(two)))
    assert.same({ 'judge.test' }, asked)
  end)
end)

describe('an sni hook', function ()
  it('is told the name as a table would have it, or nil, and may refuse', function ()
    local told = {}
    local server = start(function (name, session)
      told[#told + 1] = name or 'none'
      assert.equal('127.0.0.1', session:remoteAddress().ip)
      return name ~= 'c.test' and a or nil
    end)
    assert.equal('a.test', shown(server, 'A.Test.'))
    assert.equal('a.test', shown(server, '127.0.0.1'))
    assert.matches('^ESERVERNAME.*112', visit(server, 'c.test').err)
    -- The last one asks again before it believes that.
    assert.same({ 'a.test', 'none', 'c.test' }, { told[1], told[2], told[3] })
    server:close()
  end)
end)

describe('a hostile name', function ()
  local function u16(n) return string.char(math.floor(n / 256), n % 256) end
  local function extension(names)
    local list = ''
    for _, name in ipairs(names) do list = list .. '\0' .. u16(#name) .. name end
    return u16(0) .. u16(#list + 2) .. u16(#list) .. list
  end

  -- Sends a hello with such an extension by hand; returns what the server makes of it: the name that its
  -- hook is told, and the type of the record that comes back.
  local function say(more)
    local told
    local server = start(function (name)
      told = name or 'none'
      return all
    end)
    local port, udp = server:address().port, uv.new_udp()
    assert(udp:bind('127.0.0.1', 0))
    local got
    local random = ('r'):rep(32)
    udp:recv_start(function (_, data)
      if not data then return end
      local cookie = hello.answer(data)
      if cookie then
        udp:try_send(hello.datagram({ random = random, cookie = cookie, sequence = 1, more = more }),
          '127.0.0.1', port)
      else
        got = data:byte(1)
      end
    end)
    udp:try_send(hello.datagram({ random = random, more = more }), '127.0.0.1', port)
    helper.runUntil(function () return got end)
    udp:close()
    server:close()
    helper.run()
    return told, got
  end

  local ALERT, HANDSHAKE = 21, 22

  for _, row in ipairs({
    -- what it is, the extension, what the hook is told, what comes back
    { 'that is none at all', '', 'none', HANDSHAKE },
    { 'that is an ordinary one', extension({ 'A.test' }), 'a.test', HANDSHAKE },
    { 'that is an IP address', extension({ '127.0.0.1' }), '127.0.0.1', HANDSHAKE },
    { 'that is a *', extension({ '*' }), '*', HANDSHAKE },
    { 'that is not UTF-8', extension({ '\255\254.test' }), '\239\191\189\239\191\189.test', HANDSHAKE },
    { 'that only looks like another', extension({ '\226\132\170.test' }), '\226\132\170.test', HANDSHAKE },
    { 'of 255 bytes', extension({ ('x'):rep(255) }), ('x'):rep(255), HANDSHAKE },
    { 'of 256 bytes', extension({ ('x'):rep(256) }), ('x'):rep(256), ALERT },
    { 'with NUL', extension({ 'a.test\0.b' }), 'a.test\0.b', ALERT },
    { 'that is empty', extension({ '' }), '', HANDSHAKE },
    { 'beside another', extension({ 'a.test', 'b.test' }), 'a.test', ALERT },
    -- Of two the hook may be told either: nobody is served.
    { 'given twice', extension({ 'a.test' }) .. extension({ 'b.test' }), 'b.test', ALERT },
    { 'that is cut short', '\0\0\0\6\0\9\0\0\6a', 'none', ALERT },
    { 'in an empty extension', '\0\0\0\0', 'none', ALERT },
  }) do
    it(row[1] .. ' is told as it is, and OpenSSL refuses what it should', function ()
      local told, got = say(row[2])
      assert.same({ row[3], row[4] }, { told, got })
    end)
  end
end)
