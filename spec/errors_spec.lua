-- Ordinary failure is `nil, err, name`, and events and callbacks carry `(err, name)`: `err` reads
-- `NAME: a sentence`, `name` is `NAME`.

local dtls = require('dtls')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local me = helper.localhost()
local stranger = helper.identity('stranger')

local function isFailure(expected, err, name)
  assert.equal(expected, name)
  assert.matches('^' .. expected .. ': %S', err)
end

local function fails(expected, result, err, name)
  assert.is_nil(result)
  isFailure(expected, err, name)
end

-- What ends a session, in the order it came: `error` once where it is expected, `close` once, last.
local function endsWith(seen, reason, expected)
  if expected then
    assert.equal('error', seen[1][1])
    isFailure(expected, seen[1][2], seen[1][3])
  end
  assert.same({ 'close', reason }, seen[expected and 2 or 1])
  assert.equal(expected and 2 or 1, #seen)
end

describe('session:send', function ()
  it('fails with ENOTCONN before the handshake is complete', function ()
    local session = helper.connect(9)
    fails('ENOTCONN', session:send('x'))
    helper.finish(session)
  end)

  it('fails with ENOTCONN while the host name is looked up', function ()
    local session = helper.connect(9, { host = 'localhost' })
    fails('ENOTCONN', session:send('x'))
    helper.finish(session)
  end)

  it('fails with EINVAL for an empty message, and with EMSGSIZE for one over 16384 bytes', function ()
    local pair = helper.pair()
    local heard = helper.record(pair.peer, 'message')
    fails('EINVAL', pair.client:send(''))
    fails('EMSGSIZE', pair.client:send(('x'):rep(16385)))
    -- The session is none the worse for it.
    assert.is_true(pair.client:send('x'))
    helper.runUntil(function () return #heard == 1 end)
    helper.finish(pair.server)
  end)

  it('fails with ENOTCONN from close on', function ()
    local pair = helper.pair()
    pair.client:close()
    fails('ENOTCONN', pair.client:send('x'))
    pair.server:close()
    fails('ENOTCONN', pair.peer:send('x'))
    helper.run()
    fails('ENOTCONN', pair.client:send('x'))
    fails('ENOTCONN', pair.peer:send('x'))
  end)

  it('tells its callback the same, from the loop', function ()
    local session = helper.connect(9)
    local told
    fails('ENOTCONN', session:send('x', function (...) told = { ... } end))
    assert.is_nil(told)
    helper.runUntil(function () return told end)
    isFailure('ENOTCONN', told[1], told[2])
    helper.finish(session)
  end)
end)

describe('server:listen', function ()
  local function server()
    return dtls.createServer({ cert = me.cert, key = me.key })
  end

  it('fails with EADDRINUSE where another listens', function ()
    local one, two = server(), server()
    assert(one:listen(0, '127.0.0.1'))
    fails('EADDRINUSE', two:listen(one:address().port, '127.0.0.1'))
    -- And may be called again.
    assert(two:listen(0, '127.0.0.1'))
    helper.finish(one, two)
  end)

  it('fails with EADDRNOTAVAIL for an address of somebody else', function ()
    fails('EADDRNOTAVAIL', server():listen(0, '192.0.2.1'))
    helper.run()
  end)

  it('fails with EALREADY the second time', function ()
    local one = server()
    assert(one:listen(0, '127.0.0.1'))
    fails('EALREADY', one:listen(0, '127.0.0.1'))
    helper.finish(one)
    local two = server()
    assert(two:listen(0, 'localhost'))
    fails('EALREADY', two:listen(0, 'localhost'))
    helper.finish(two)
  end)

  it('fails with ENOTCONN once the server is closed', function ()
    local one = server()
    one:close()
    fails('ENOTCONN', one:listen(0))
    fails('ENOTCONN', one:address())
    helper.run()
  end)

  it('fails with EACCES for a port of the system\'s', function ()
    local script = [[
      local dtls = require('dtls')
      local me = dtls.generateCertificate()
      print(dtls.createServer({ cert = me.cert, key = me.key }):listen(1, '127.0.0.1'))
    ]]
    if uv.getuid() ~= 0 then
      pending('this needs to be root, to become somebody else')
      return
    end
    local child = program.start('setpriv',
      { '--reuid=65534', '--clear-groups', '--bounding-set=-all', 'luajit', '-e', script },
      { LUA_PATH = package.path, LUA_CPATH = package.cpath })
    local status, output = child:waitForEnd(), child.output
    program.stopAll()
    helper.run()
    -- luv must not crash where a script ends here.
    assert.equal(0, status)
    assert.equal('nil\tEACCES: permission denied\tEACCES\n', output)
  end)
end)

-- What both ends see of a handshake: the client session's events and the server's.
local function shake(serverOptions, clientOptions)
  local server, port = helper.echoServer(serverOptions)
  local session = helper.connect(port, clientOptions)
  local atClient = helper.record(session, 'secureConnection', 'message', 'error', 'close')
  local atServer = helper.record(server, 'connection', 'clientError', 'error', 'warning')
  helper.runUntil(function ()
    return atClient[#atClient] and atClient[#atClient][1] == 'close' and server:stats().sessions == 0
      and server:stats().admitted > 0
  end)
  helper.finish(server)
  return atClient, atServer, server:stats()
end

describe('a handshake', function ()
  for _, row in ipairs({
    { 'with a server of an unknown CA', nil, { ca = stranger.cert }, 'EUNKNOWNCA', 'EUNKNOWNCA' },
    { 'with a server of another name', nil, { servername = 'example.org' }, 'ECERTNAME', 'ECERT' },
    { 'with a server of another address', { cert = stranger.cert, key = stranger.key },
      { ca = stranger.cert }, 'ECERTNAME', 'ECERT' },
    { 'with a client that has no certificate', { requestCert = true, ca = stranger.cert }, nil,
      'ENOCERT', 'ENOCERT' },
    { 'with a client of an unknown CA', { requestCert = true, ca = stranger.cert },
      { cert = me.cert, key = me.key }, 'EUNKNOWNCA', 'EUNKNOWNCA' },
    { 'without a cipher suite in common', { ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256' },
      { ciphers = 'ECDHE-RSA-AES128-GCM-SHA256' }, 'ENOCIPHER', 'ENOCIPHER' },
    { 'without a group in common', { groups = 'P-256' }, { groups = 'P-384' }, 'ENOCIPHER', 'ENOCIPHER' },
  }) do
    local claim, serverOptions, clientOptions, clientName, serverName = unpack(row, 1, 5)
    it(claim .. ' ends for both, each with its own error', function ()
      local atClient, atServer, stats = shake(serverOptions, clientOptions)
      endsWith(atClient, 'error', clientName)
      -- More than one where the client asks again before it believes the alert, which anybody may forge.
      assert.truthy(#atServer >= 1)
      for _, seen in ipairs(atServer) do
        local event, err, name, peer = unpack(seen)
        assert.equal('clientError', event)
        isFailure(serverName, err, name)
        assert.same({ '127.0.0.1', 'inet', 'number' }, { peer.ip, peer.family, type(peer.port) })
      end
      assert.same({ #atServer, 0, #atServer }, { stats.admitted, stats.connected, stats.failed })
    end)
  end

  it('with a client that cannot be verified completes where that is allowed', function ()
    local options = { requestCert = true, rejectUnauthorized = false, ca = stranger.cert }
    for _, row in ipairs({
      { nil, 'ENOCERT' },
      { { cert = me.cert, key = me.key }, 'EUNKNOWNCA' },
    }) do
      local pair = helper.pair(options, row[1])
      assert.is_false(pair.peer.authorized)
      isFailure(row[2], pair.peer.authorizationError, row[2])
      helper.finish(pair.server)
    end
  end)

  it('for a servername that names nobody is never complete', function ()
    for _, name in ipairs({ '.', ' ', '*', 'LOCALHOST.example.org' }) do
      local server, port = helper.echoServer()
      local session = helper.connect(port, { servername = name, handshakeTimeout = 500 })
      local seen = helper.record(session, 'secureConnection', 'error', 'close')
      session:on('close', function () server:close() end)
      helper.run()
      assert.equal('error', seen[1][1], name)
      assert.equal(2, #seen)
    end
  end)

  it('with nobody ends in time', function ()
    local silent = uv.new_udp()
    assert(silent:bind('127.0.0.1', 0))
    local before = uv.hrtime()
    local session = helper.connect(silent:getsockname().port, { handshakeTimeout = 60 })
    local seen = helper.record(session, 'error', 'close')
    session:on('close', function () silent:close() end)
    helper.run()
    endsWith(seen, 'timeout', 'ETIMEDOUT')
    assert.truthy((uv.hrtime() - before) / 1e6 >= 58) -- the loop counts whole milliseconds
  end)

  it('that the client does not go on with ends in time on the server', function ()
    local server, port = helper.echoServer({ handshakeTimeout = 200 })
    local seen = helper.record(server, 'connection', 'clientError', 'error')
    -- The cookie comes back, and then no more.
    local relay = helper.relay(port, function (data, fromClient, number, send)
      if not fromClient or number <= 2 then send(data) end
    end)
    local session = helper.connect(relay.port)
    helper.runUntil(function () return #seen == 1 end)
    assert.equal('clientError', seen[1][1])
    isFailure('ETIMEDOUT', seen[1][2], seen[1][3])
    assert.equal(0, server:stats().sessions)
    relay.close()
    session:destroy()
    helper.finish(server)
  end)

  it('with an address that must not be sent to is an error', function ()
    local session = helper.connect(9, { host = '255.255.255.255' })
    local seen = helper.record(session, 'error', 'close')
    assert.same({}, seen)
    helper.run()
    endsWith(seen, 'error', 'EACCES')
  end)
end)

describe('an error', function ()
  it('is followed by close even where its handler throws', function ()
    local errors = helper.errors()
    local session = helper.connect(9, { host = '255.255.255.255' })
    session:on('error', function () error('of the user') end)
    local closed = helper.record(session, 'close')
    helper.run()
    assert.same({ { 'close', 'error' } }, closed)
    assert.equal(1, #errors)
    assert.matches('of the user', errors[1])
  end)

  it('that nobody listens for stops nothing', function ()
    local server, port = helper.echoServer()
    local session = helper.connect(port, { ca = stranger.cert })
    local closed = helper.record(session, 'close')
    helper.runUntil(function () return #closed == 1 and server:stats().failed == 1 end)
    helper.finish(server)
  end)

  it('of one peer is not another\'s', function ()
    local pair = helper.pair()
    local bad = helper.connect(pair.port, { ca = stranger.cert })
    local ends = helper.record(bad, 'close')
    local heard = helper.record(pair.client, 'message', 'error', 'close')
    helper.runUntil(function () return #ends == 1 and pair.server:stats().failed == 1 end)
    pair.peer:send('still here')
    helper.runUntil(function () return #heard == 1 end)
    assert.same({ 'message', 'still here' }, heard[1])
    helper.finish(pair.server)
  end)
end)
