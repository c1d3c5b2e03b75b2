-- Ordinary failure is `nil, err, name`, and events and callbacks carry `(err, name)`: `err` reads
-- `NAME: a sentence`, `name` is `NAME`.

local dtls = require('dtls')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
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

-- What OpenSSL calls the alerts.
local descriptions = {
  [40] = 'handshake failure', [42] = 'bad certificate', [44] = 'certificate revoked',
  [45] = 'certificate expired', [48] = 'unknown CA',
  [49] = 'access denied', [80] = 'internal error', [112] = 'unrecognized name',
  [113] = 'bad certificate status response',
  [115] = 'unknown PSK identity', [120] = 'no application protocol',
}

-- Every way in which two ends fail to agree, as doc/errors.md tells it. Of each: what it is; what the server
-- and the client are given beside their certificate and their trust in it; who refuses and by which name;
-- what the other is told; the alert that goes between them, nil where there is none. `keys` have nothing
-- but pre-shared keys.
local LAMP = { identity = 'lamp-7', key = 'a key of 16 byte' }
local hasty = { handshakeTimeout = 600 }

local function with(...) return helper.merge(...) end
local function dated(from, to)
  local identity = pki.dated('valid-' .. from, from, to)
  return { cert = identity.cert, key = identity.key }
end

local disagreements = {
  { 'no cipher suite in common', 'server', 'ENOCIPHER', 'ENOCIPHER', 40,
    { ciphers = 'ECDHE-ECDSA-AES128-GCM-SHA256' }, { ciphers = 'ECDHE-RSA-AES128-GCM-SHA256' } },
  { 'no group (curve) in common', 'server', 'ENOCIPHER', 'ENOCIPHER', 40,
    { groups = 'P-256' }, { groups = 'P-384' } },
  { 'the client has a pre-shared key alone, the server certificates alone', 'server',
    'ENOCIPHER', 'ENOCIPHER', 40,
    nil, { psk = LAMP }, keys = 'client' },
  { "the server's certificate is of an unknown CA", 'client', 'EUNKNOWNCA', 'EUNKNOWNCA', 48,
    nil, { ca = stranger.cert } },
  { "the server's certificate is for another name", 'client', 'ECERTNAME', 'ECERT', 42,
    nil, { servername = 'example.org' } },
  { "the server's certificate is for another address", 'client', 'ECERTNAME', 'ECERT', 42,
    { cert = stranger.cert, key = stranger.key }, { ca = stranger.cert } },
  { "the server's certificate has expired", 'client', 'ECERTTIME', 'ECERTTIME', 45,
    function () return dated(2020, 2021), { ca = dated(2020, 2021).cert } end },
  { "the server's certificate is not valid yet", 'client', 'ECERTTIME', 'ECERT', 42,
    function () return dated(2098, 2099), { ca = dated(2098, 2099).cert } end },
  { "the server's certificate is none of `fingerprints`", 'client', 'EFINGERPRINT', 'ECERT', 42,
    nil, { ca = false, fingerprints = ('00'):rep(32) } },
  { "the server's certificate is revoked (`crl`)", 'client', 'ECERTREVOKED', 'ECERTREVOKED', 44,
    function ()
      local identity = pki.identity('revoked')
      return { cert = identity.cert, key = identity.key },
        { ca = pki.ca('authority').cert, crl = (pki.crl(identity)) }
    end },
  { 'the server staples no OCSP response, and `requireOCSP`', 'client', 'EOCSP', 'EOCSP', 113,
    nil, { requireOCSP = true } },
  { "the server's raw public key is none of `rawPublicKeys`", 'client', 'EPUBLICKEY', 'ECERT', 42,
    function () return nil, { ca = false, rawPublicKeys = (pki.publicKey(pki.identity('server'))) } end },
  { 'the client has no certificate', 'server', 'ENOCERT', 'ENOCERT', 40,
    { requestCert = true, ca = stranger.cert } },
  { "the client's certificate is of an unknown CA", 'server', 'EUNKNOWNCA', 'EUNKNOWNCA', 48,
    { requestCert = true, ca = stranger.cert }, { cert = me.cert, key = me.key } },
  { "the client's certificate has expired", 'server', 'ECERTTIME', 'ECERTTIME', 45,
    function () return { requestCert = true, ca = dated(2020, 2021).cert }, dated(2020, 2021) end },
  { "a client's `verify` hook says no", 'client', 'EDENIED', 'EDENIED', 49,
    nil, { verify = function () return false, 'not you' end } },
  { "a server's `verify` hook says no", 'server', 'EDENIED', 'EDENIED', 49,
    { requestCert = true, ca = me.cert, verify = function () return false, 'not you' end },
    { cert = me.cert, key = me.key } },
  { 'nobody knows the PSK identity', 'server', 'EPSKIDENTITY', 'EPSKIDENTITY', 115,
    { psk = { ['lamp-8'] = 'another key' } }, { psk = LAMP }, keys = 'both' },
  { 'the same, with `hideUnknownIdentity`', 'server', 'EPSKIDENTITY', 'EPSKKEY', nil,
    with(hasty, { psk = { ['lamp-8'] = 'another key' }, hideUnknownIdentity = true }),
    with(hasty, { psk = LAMP }), keys = 'both' },
  { 'the client has no key for this server', 'client', 'EPSKIDENTITY', 'EPSKIDENTITY', 115,
    { psk = LAMP }, { psk = function () end }, keys = 'both' },
  { 'the keys are not the same', 'both', 'EPSKKEY', 'EPSKKEY', nil,
    with(hasty, { psk = { ['lamp-7'] = 'another key' } }), with(hasty, { psk = LAMP }), keys = 'both' },
  { 'no host of that name (SNI)', 'server', 'ESERVERNAME', 'ESERVERNAME', 112,
    function ()
      local hosts = { ['a.test'] = dtls.createContext({ cert = me.cert, key = me.key }) }
      return { sni = hosts }, { servername = 'localhost' }
    end },
  { 'no application protocol in common', 'server', 'EALPN', 'EALPN', 120,
    { ALPNProtocols = 'coap' }, { ALPNProtocols = 'mqtt' } },
  { "a server's hook fails", 'server', 'EHOOK', 'EALERT', 80,
    { psk = function () error('the database is on fire') end }, { psk = LAMP }, keys = 'both' },
  { "a client's hook fails", 'client', 'EHOOK', 'EALERT', 80,
    nil, { verify = function () error('the database is on fire') end } },
  { 'a hook does not answer in time', 'both', 'ETIMEDOUT', 'ETIMEDOUT', nil,
    hasty, with(hasty, { verify = function (_, _, _done) end }) },
}

-- The line of the table.
local function line(row)
  local what, refuser, own, others, alert = unpack(row, 1, 5)
  local other = refuser == 'server' and 'client' or 'server'
  local alerts = 'none: both wait for their deadline'
  if alert then alerts = ('%d, %s'):format(alert, descriptions[alert]) end
  if refuser == 'both' then refuser, other = 'server', 'client' end
  return ('| %s | %s: `%s` | %s: `%s` | %s |'):format(what, refuser, own, other, others, alerts)
end

describe('when two ends do not agree, that', function ()
  teardown(pki.remove)

  for _, row in ipairs(disagreements) do
    local what, refuser, own, others, alert = unpack(row, 1, 5)
    it(('%s is known to both ends, each with its own error'):format(what), function ()
      local serverOptions, clientOptions = row[6], row[7]
      if type(serverOptions) == 'function' then serverOptions, clientOptions = serverOptions() end
      local both = { retransmitTimeout = 100 }
      local server = dtls.createServer(with(both,
        row.keys ~= 'both' and { cert = me.cert, key = me.key }, serverOptions))
      assert(server:listen(0, '127.0.0.1'))
      local options = with(both, { port = server:address().port }, not row.keys and { ca = me.cert },
        clientOptions)
      if not options.ca then options.ca = nil end
      local session = dtls.connect(options)
      local atClient = helper.record(session, 'secureConnection', 'message', 'error', 'close')
      local atServer = helper.record(server, 'connection', 'clientError', 'error', 'warning')
      helper.runUntil(function ()
        return #atClient == 2 and atServer[1] and server:stats().sessions == 0
      end)
      local stats = server:stats()
      helper.finish(server)

      local clientName, serverName = others, own
      if refuser == 'client' then clientName, serverName = own, others end
      endsWith(atClient, alert and 'error' or 'timeout', clientName)
      -- More than one where the client asks again before it believes the alert, which anybody may forge.
      for _, seen in ipairs(atServer) do
        local event, err, name, peer = unpack(seen)
        assert.equal('clientError', event)
        isFailure(serverName, err, name)
        assert.same({ '127.0.0.1', 'inet', 'number' }, { peer.ip, peer.family, type(peer.port) })
      end
      assert.same({ #atServer, 0, #atServer }, { stats.admitted, stats.connected, stats.failed })

      local function tells(word) return (' (%s alert %d, %s)'):format(word, alert, descriptions[alert]) end
      local atRefuser, atOther = atServer[1][2], atClient[1][2]
      if refuser == 'client' then atRefuser, atOther = atOther, atRefuser end
      if alert then
        assert.equal(tells('sent'), atRefuser:match(' %([^()]*%)$'))
        assert.equal(tells('received'), atOther:match(' %([^()]*%)$'))
      else
        assert.not_matches('alert', atRefuser .. atOther)
      end
    end)
  end

  it('no version is in common is known to both ends', function ()
    -- Of this library both speak DTLS 1.2, so each has to do with a stranger here.
    local server, port = helper.echoServer()
    local seen = helper.record(server, 'clientError')
    local udp = uv.new_udp()
    assert(udp:bind('127.0.0.1', 0))
    local random = ('r'):rep(32)
    local function ask(cookie)
      local first = hello.datagram({ random = random, cookie = cookie, sequence = cookie and 1 })
      -- client_version behind the two headers: DTLS 1.0.
      udp:try_send(first:sub(1, 25) .. '\254\255' .. first:sub(28), '127.0.0.1', port)
    end
    udp:recv_start(function (_, data)
      local cookie = data and hello.answer(data)
      if cookie then ask(cookie) end
    end)
    ask()
    helper.runUntil(function () return seen[1] end)
    assert.matches('^EVERSION: .*%(sent alert 70, protocol version%)$', seen[1][2])
    server:close()
    udp:recv_stop()
    udp:recv_start(function (_, data, from)
      if data then udp:try_send('\21\254\253\0\0\0\0\0\0\0\0\0\2\2\70', from.ip, from.port) end
    end)
    local session = helper.connect(udp:getsockname().port)
    local atClient = helper.record(session, 'error')
    helper.runUntil(function () return atClient[1] end)
    assert.matches('^EVERSION: .*%(received alert 70, protocol version%)$', atClient[1][2])
    udp:close()
    helper.run()
  end)

  it('is told by doc/errors.md, line by line', function ()
    local rows = {}
    for _, row in ipairs(disagreements) do rows[#rows + 1] = line(row) end
    table.insert(rows, 1, '| no protocol version in common | server: `EVERSION` | client: `EVERSION` '
      .. '| 70, protocol version |')
    local told = helper.read('doc/errors.md'):match('\n| disagreement | [^\n]*\n|[-|]+|\n(.-)\n$')
    assert.equal(table.concat(rows, '\n'), told)
  end)
end)

describe('a handshake', function ()
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
