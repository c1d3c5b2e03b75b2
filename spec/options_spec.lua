-- Misuse raises, at the caller's line, a sentence that names the option and what is wrong with it.

local dtls = require('dtls')
local helper = require('spec.helper')

local me = helper.localhost()

-- A key of a kind and its certificate in one PEM text, made by the openssl command.
local function openssl(genpkey, encrypt)
  local pipe = assert(io.popen(([[
    key=$(openssl genpkey %s 2>/dev/null)
    echo "$key" | openssl req -x509 -new -key /dev/stdin -subj /CN=localhost -days 2
    echo "$key" | %s]]):format(genpkey, encrypt or 'cat')))
  local text = pipe:read('*a')
  pipe:close()
  return text
end

-- What `fn` raises, without the position: that must be where `fn` makes the call.
local function raised(fn)
  local ok, err = pcall(fn)
  assert.is_false(ok, 'nothing was raised')
  local file, line, sentence = tostring(err):match('^(.-):(%d+): (.*)$')
  local where = debug.getinfo(fn, 'S')
  assert.equal(where.short_src, file)
  assert.equal(where.linedefined + (where.linedefined < where.lastlinedefined and 1 or 0), tonumber(line))
  return sentence
end

local function raises(expected, fn)
  assert.equal(expected, raised(fn))
end

local function matches(pattern, fn)
  assert.matches(pattern, raised(fn))
end

local context = dtls.createContext({ cert = me.cert, key = me.key, ca = me.cert })

describe('createContext', function ()
  it('refuses what is no table of options', function ()
    raises('dtls.createContext: options must be a table, got string', function () dtls.createContext('x') end)
  end)

  it('needs no options', function ()
    assert.truthy(dtls.createContext())
    assert.truthy(dtls.createContext({}))
  end)

  it('refuses an option that it does not know, by name', function ()
    raises('dtls.createContext: unknown option "certificate"', function ()
      dtls.createContext({ certificate = 1 })
    end)
    raises('dtls.createContext: unknown option "alpnProtocols": it is spelt "ALPNProtocols"', function ()
      dtls.createContext({ alpnProtocols = 'coap' })
    end)
    raises('dtls.createContext: unknown option "1"', function () dtls.createContext({ 'x' }) end)
    raises('dtls.createContext: unknown option "port"', function () dtls.createContext({ port = 1 }) end)
  end)

  for _, row in ipairs({
    { 'cert', 5, 'a string or a list of strings, got 5' },
    { 'cert', { 5 }, 'a string or a list of strings, got table' },
    { 'cert', '', 'a string or a list of strings, got an empty string' },
    { 'key', { a = 'x' }, 'a string or a list of strings, got table' },
    { 'key', { [2] = 'x' }, 'a string or a list of strings, got table' },
    { 'passphrase', 7, 'a string that is not empty, got 7' },
    { 'ca', true, 'a string or a list of strings, got boolean' },
    { 'requestCert', 'yes', 'a boolean, got string' },
    { 'rejectUnauthorized', 0, 'a boolean, got 0' },
    { 'minVersion', 1.2, 'a string that is not empty and holds no NUL, got 1.2' },
    { 'ciphers', {}, 'a string that is not empty and holds no NUL, got table' },
    { 'groups', '', 'a string that is not empty and holds no NUL, got an empty string' },
    { 'ciphers', 'HIGH\0LOW', 'a string that is not empty and holds no NUL, got string' },
    { 'sigalgs', false, 'a string that is not empty and holds no NUL, got boolean' },
    { 'mtu', '1200', 'an integer, a number of bytes, got string' },
    { 'mtu', 1200.5, 'an integer, a number of bytes, got 1200.5' },
    { 'mtu', 0 / 0, 'an integer, a number of bytes, got ' .. tostring(0 / 0) },
    { 'maxFragmentLength', '512', 'an integer, a number of bytes, got string' },
    { 'retransmitTimeout', 0, 'a whole number of milliseconds, 1 or more, got 0' },
    { 'retransmitTimeout', math.huge, 'a whole number of milliseconds, 1 or more, got inf' },
  }) do
    local option, value, sentence = unpack(row)
    it(('refuses %s = %s'):format(option, tostring(value)), function ()
      local expected = ('dtls.createContext: options.%s must be %s'):format(option, sentence)
      raises(expected, function () dtls.createContext({ [option] = value }) end)
    end)
  end

  for _, row in ipairs({
    { 'mtu', 255, 'must be from 256 to 4096 bytes, got 255' }, -- OpenSSL would fail without a word
    { 'mtu', 4097, 'must be from 256 to 4096 bytes, got 4097' }, -- and here cut records in two
    { 'minVersion', 'DTLSv1', "must be at least 'DTLSv1.2': .* RFC 8996" },
    { 'maxVersion', 'DTLSv1.3', "cannot be 'DTLSv1.3': OpenSSL .* does not have it" },
    { 'minVersion', 'TLSv1.2', "must be 'DTLSv1.2', got 'TLSv1.2'" },
    { 'ca', {}, 'is an empty list, so nobody could be trusted' },
    { 'ca', 'ca.pem', "is not a certificate in PEM .* not a file's name" },
    { 'ciphers', 'NOT-A-CIPHER', "is no list that OpenSSL understands: 'NOT%-A%-CIPHER'" },
    { 'ciphers', 'TLS_AES_128_GCM_SHA256', 'is no list that OpenSSL understands' }, -- TLS 1.3 alone
    { 'groups', 'P-0', "is no list that OpenSSL understands: 'P%-0'" },
    { 'sigalgs', 'rot13', "is no list that OpenSSL understands: 'rot13'" },
  }) do
    local option, value, sentence = unpack(row)
    it(('refuses %s = %s'):format(option, tostring(value)), function ()
      local pattern = ('^dtls%%.createContext: options%%.%s %s'):format(option, sentence)
      matches(pattern, function () dtls.createContext({ [option] = value }) end)
    end)
  end

  it('refuses a certificate without its key', function ()
    matches('options%.key is missing', function () dtls.createContext({ cert = me.cert }) end)
    matches('options%.key must pair with cert: 1 keys for 2 certificates', function ()
      dtls.createContext({ cert = { me.cert, me.cert }, key = me.key })
    end)
  end)

  it('refuses a key that belongs to another certificate', function ()
    local other = helper.identity('other')
    matches('options%.key does not belong to the certificate', function ()
      dtls.createContext({ cert = me.cert, key = other.key })
    end)
  end)

  it('refuses what is no PEM, and never prints it', function ()
    local secret = 'swordfish'
    for _, options in ipairs({
      { cert = secret, key = me.key },
      { cert = me.cert, key = secret },
      { cert = me.cert, key = '-----BEGIN PRIVATE KEY-----\n' .. secret .. '\n-----END PRIVATE KEY-----\n' },
      { cert = '-----BEGIN CERTIFICATE-----\n' .. secret .. '\n-----END CERTIFICATE-----\n', key = me.key },
      { cert = me.key, key = me.cert }, -- the wrong way round
    }) do
      local err = raised(function () dtls.createContext(options) end)
      assert.matches('^dtls%.createContext: options%.%l+ is not a .* in PEM', err)
      assert.is_nil(err:find(secret, 1, true))
      assert.is_nil(err:find(me.key:sub(40, 80), 1, true))
    end
  end)

  it('opens an encrypted key with its passphrase, and with no other', function ()
    local both = openssl('-algorithm EC -pkeyopt ec_paramgen_curve:P-256',
      "openssl pkcs8 -topk8 -passout 'pass:correct horse'")
    assert.truthy(dtls.createContext({ cert = both, key = both, passphrase = 'correct horse' }))
    raises('dtls.createContext: options.passphrase is missing: the private key is encrypted', function ()
      dtls.createContext({ cert = both, key = both })
    end)
    raises('dtls.createContext: options.passphrase does not open the private key', function ()
      dtls.createContext({ cert = both, key = both, passphrase = 'battery' })
    end)
  end)
end)

describe('createServer', function ()
  it('refuses to judge clients who are not asked for anything', function ()
    for name, value in pairs({ verify = function () end, fingerprints = me.fingerprint }) do
      matches('^dtls%.createServer: options%.' .. name .. ' would keep nobody out .*requestCert = true',
        function () dtls.createServer({ cert = me.cert, key = me.key, [name] = value }) end)
    end
  end)

  it('refuses what is no table, an unknown option, a callback that is none', function ()
    raises('dtls.createServer: options must be a table, got nil', function () dtls.createServer() end)
    raises('dtls.createServer: unknown option "cookie"', function () dtls.createServer({ cookie = 1 }) end)
    raises('dtls.createServer: unknown option "port"', function () dtls.createServer({ port = 1 }) end)
    raises('dtls.createServer: the callback must be a function, got string', function ()
      dtls.createServer({ context = context }, 'x')
    end)
  end)

  for _, row in ipairs({
    { 'context', {}, 'a context, as dtls.createContext makes, got table' },
    { 'handshakeTimeout', 0, 'a whole number of milliseconds, 1 or more, got 0' },
    { 'handshakeTimeout', 2 ^ 31, 'a whole number of milliseconds, 1 or more, got 2147483648' },
    { 'idleTimeout', -1, 'a whole number of milliseconds, or 0 for none, got -1' },
    { 'linger', 0.5, 'a whole number of milliseconds, or 0 for none, got 0.5' },
    { 'linger', true, 'a whole number of milliseconds, or 0 for none, got boolean' },
    { 'oversize', 'drop', "'send' or 'error', got string" },
    { 'oversize', false, "'send' or 'error', got boolean" },
    { 'maxSessions', 0, 'an integer, 1 or more, got 0' },
    { 'maxSessionsPerHost', 0, 'an integer, 1 or more, got 0' },
    { 'maxHandshakes', '5', 'an integer, 1 or more, got string' },
    { 'maxHandshakeRate', -1, 'an integer, a number in a second, or 0 for no limit, got -1' },
    { 'accept', true, 'a function, got boolean' },
    { 'cookieSecret', 5, 'a string or a list of strings, got 5' },
    { 'reusePort', 1, 'a boolean, got 1' },
    { 'perPeerSocket', 'yes', 'a boolean, got string' },
    { 'roaming', 1, 'a boolean, got 1' },
    { 'ipv6Only', {}, 'a boolean, got table' },
    { 'recvBufferSize', 0, 'an integer, a number of bytes, got 0' },
    { 'sendBufferSize', 2 ^ 31, 'an integer, a number of bytes, got 2147483648' },
    { 'sendQueueSize', 1.5, 'an integer, a number of bytes, got 1.5' },
    { 'ttl', 256, 'an integer from 1 to 255, got 256' },
    { 'recvBatch', 21, 'an integer from 1 to 20, got 21' },
    { 'socket', {}, 'a UDP handle of luv, or a dgram socket of Luvit, got table' },
    { 'socket', io.stdout, 'a UDP handle of luv, or a dgram socket of Luvit, got userdata' },
    { 'socket', 5, 'a UDP handle of luv, or a dgram socket of Luvit, got 5' },
  }) do
    local option, value, sentence = unpack(row)
    it(('refuses %s = %s'):format(option, tostring(value)), function ()
      local expected = ('dtls.createServer: options.%s must be %s'):format(option, sentence)
      raises(expected, function () dtls.createServer({ [option] = value }) end)
    end)
  end

  it('refuses what the context has already', function ()
    raises('dtls.createServer: options.mtu belongs to the context: give it to dtls.createContext', function ()
      dtls.createServer({ context = context, mtu = 500 })
    end)
  end)

  it('refuses to do without a certificate', function ()
    matches('^dtls%.createServer: options%.cert is missing', function () dtls.createServer({}) end)
    local nobody = dtls.createContext()
    matches('^dtls%.createServer: options%.cert is missing', function ()
      dtls.createServer({ context = nobody })
    end)
  end)

  it('refuses to choose what is settled for a socket that is bound', function ()
    local udp = dtls.uv.new_udp()
    for option, value in pairs({
      reusePort = true, perPeerSocket = true, ipv6Only = false, ttl = 5, recvBufferSize = 5, recvBatch = 5,
    }) do
      local given = { context = context, socket = udp, [option] = value }
      raises(('dtls.createServer: options.%s comes too late for options.socket, which is bound already')
        :format(option), function () dtls.createServer(given) end)
    end
    matches('^dtls%.connect: options%.localPort comes too late', function ()
      dtls.connect({ port = 1, socket = udp, localPort = 1 })
    end)
    local server = dtls.createServer({ context = context, socket = udp })
    raises('server:listen: options.socket is bound already: there is no port to give', function ()
      server:listen(0)
    end)
    raises('server:listen: the callback must be a function, got boolean', function ()
      server:listen(nil, nil, true)
    end)
    udp:close()
    helper.run()
  end)

  it('refuses a short cookieSecret, and none, without printing any', function ()
    local err = raised(function () dtls.createServer({ context = context, cookieSecret = 'swordfish' }) end)
    assert.equal('dtls.createServer: options.cookieSecret must be at least 16 bytes long, got 9', err)
    matches('cookieSecret must hold at least one', function ()
      dtls.createServer({ context = context, cookieSecret = {} })
    end)
    matches('cookieSecret must be at least 16', function ()
      dtls.createServer({ context = context, cookieSecret = { ('x'):rep(16), 'x' } })
    end)
  end)

  it('refuses a key that no DTLS 1.2 handshake could use, and says why', function ()
    local both = openssl('-algorithm ed25519')
    matches('^dtls%.createServer: options%.key is an Ed25519 key, .* DTLS 1%.2', function ()
      dtls.createServer({ cert = both, key = both })
    end)
    -- On a client it does.
    assert.truthy(dtls.createContext({ cert = both, key = both }))
  end)

  it('refuses cipher suites that its certificate cannot serve', function ()
    matches('^dtls%.createServer: options%.ciphers leaves no cipher suite that DTLS 1%.2 can use', function ()
      dtls.createServer({ cert = me.cert, key = me.key, ciphers = 'PSK' })
    end)
    matches('options%.ciphers leaves no cipher suite that this ECDSA certificate can serve', function ()
      dtls.createServer({ cert = me.cert, key = me.key, ciphers = 'ECDHE-RSA-AES128-GCM-SHA256' })
    end)
  end)
end)

describe('server:listen', function ()
  local server = dtls.createServer({ context = context })

  it('refuses ports and hosts that are none', function ()
    raises('server:listen: port must be an integer from 0 to 65535, got nil', function () server:listen() end)
    raises('server:listen: port must be an integer from 0 to 65535, got -1', function ()
      server:listen(-1)
    end)
    raises('server:listen: port must be an integer from 0 to 65535, got 5684.5', function ()
      server:listen(5684.5)
    end)
    raises('server:listen: port must be an integer from 0 to 65535, got string', function ()
      server:listen('5684')
    end)
    raises('server:listen: host must be a string that is not empty and holds no NUL, got 1', function ()
      server:listen(0, 1)
    end)
    matches('^server:listen: host must be a string that is not empty', function () server:listen(0, '') end)
    raises('server:listen: the callback must be a function, got boolean', function ()
      server:listen(0, '::', true)
    end)
  end)

  it('refuses to listen without a certificate', function ()
    local endpoint = dtls.createEndpoint()
    matches('^server:listen: options%.cert is missing', function () endpoint:listen(0) end)
  end)
end)

describe('connect', function ()
  it('refuses what is no table, an unknown option, a callback that is none', function ()
    raises('dtls.connect: options must be a table, got number', function ()
      dtls.connect(5684, 'localhost')
    end)
    raises('dtls.connect: unknown option "hostname"', function ()
      dtls.connect({ hostname = 'localhost', port = 1 })
    end)
    raises('dtls.connect: unknown option "maxSessions"', function ()
      dtls.connect({ port = 1, maxSessions = 1 })
    end)
    raises('dtls.connect: the callback must be a function, got table', function ()
      dtls.connect({ port = 1 }, {})
    end)
  end)

  it('refuses to do without a port', function ()
    raises('dtls.connect: options.port is missing', function () dtls.connect({ host = 'localhost' }) end)
  end)

  for _, row in ipairs({
    { 'port', 0, 'an integer from 1 to 65535, got 0' },
    { 'port', '5684', 'an integer from 1 to 65535, got string' },
    { 'host', '', 'a string that is not empty and holds no NUL, got an empty string' },
    { 'servername', 'example.org\0.evil.org', 'a string that is not empty and holds no NUL, got string' },
    { 'servername', '', 'a string that is not empty and holds no NUL, got an empty string' },
    { 'localAddress', 'localhost', 'an IP address, got string' },
    { 'localPort', -1, 'an integer from 0 to 65535, got -1' },
  }) do
    local option, value, sentence = unpack(row)
    it(('refuses %s = %s'):format(option, tostring(value)), function ()
      local expected = ('dtls.connect: options.%s must be %s'):format(option, sentence)
      raises(expected, function () dtls.connect(helper.merge({ port = 1 }, { [option] = value })) end)
    end)
  end

  it('refuses what the context has already', function ()
    raises('dtls.connect: options.ca belongs to the context: give it to dtls.createContext', function ()
      dtls.connect({ context = context, ca = me.cert, port = 1 })
    end)
  end)
end)

describe('endpoint:connect', function ()
  local endpoint = dtls.createEndpoint({ context = context })

  it('refuses what belongs to the endpoint or to nobody', function ()
    raises('endpoint:connect: unknown option "ca"', function ()
      endpoint:connect({ port = 1, ca = me.cert })
    end)
    raises('endpoint:connect: unknown option "localPort"', function ()
      endpoint:connect({ port = 1, localPort = 1 })
    end)
    raises('endpoint:connect: unknown option "ttl"', function () endpoint:connect({ port = 1, ttl = 1 }) end)
    raises('endpoint:connect: options.port is missing', function () endpoint:connect({}) end)
    raises('endpoint:connect: options must be a table, got nil', function () endpoint:connect() end)
    raises('endpoint:connect: the callback must be a function, got number', function ()
      endpoint:connect({ port = 1 }, 1)
    end)
  end)
end)

describe('a method', function ()
  local server = dtls.createServer({ context = context })

  it('refuses arguments that are no good at the call, not later', function ()
    local session = helper.connect(9)
    raises('session:send: data must be a string, got nil', function () session:send() end)
    raises('session:send: data must be a string, got number', function () session:send(5) end)
    raises('session:send: the callback must be a function, got string', function ()
      session:send('x', 'y')
    end)
    raises('session:close: the callback must be a function, got string', function () session:close('now') end)
    raises('endpoint:close: the callback must be a function, got table', function () server:close({}) end)
    raises("emitter:on: the handler of 'message' must be a function, got nil", function ()
      session:on('message', nil)
    end)
    helper.finish(session)
  end)
end)

describe('createEndpoint', function ()
  it('checks as a server does, but needs no certificate', function ()
    raises('dtls.createEndpoint: unknown option "names"', function () dtls.createEndpoint({ names = {} }) end)
    matches('^dtls%.createEndpoint: options%.mtu must be from 256', function ()
      dtls.createEndpoint({ mtu = 1 })
    end)
    assert.truthy(dtls.createEndpoint())
  end)
end)

describe('generateCertificate', function ()
  it('refuses names that no certificate can hold', function ()
    raises('dtls.generateCertificate: unknown option "name"', function ()
      dtls.generateCertificate({ name = 'x' })
    end)
    raises('dtls.generateCertificate: options.days must be an integer from 1 to 36500, got 0', function ()
      dtls.generateCertificate({ days = 0 })
    end)
    raises('dtls.generateCertificate: options.names must hold at least one name', function ()
      dtls.generateCertificate({ names = {} })
    end)
    matches('options%.names cannot be put into a certificate: ', function ()
      dtls.generateCertificate({ names = { '' } })
    end)
  end)
end)
