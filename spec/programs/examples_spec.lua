-- The examples, run as a person runs them: what all have in common, both ends in one file, and the echo.

local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local support = require('spec.support.example')

local inCoroutine, portOf, interrupt = support.startInCoroutine, support.portOf, support.interrupt

local function example(name, ...)
  return program.start('luajit', { 'examples/' .. name, ... }, {
    LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = '',
  })
end

describe('every example', function ()
  local names = {}
  for name in helper.uv.fs_scandir_next, assert(helper.uv.fs_scandir('examples')) do
    if name:find('%.lua$') then names[#names + 1] = name end
  end

  it('has less than 60 lines, which say what it is for and how it is called', function ()
    assert.is_true(#names > 20)
    for _, name in ipairs(names) do
      local text = helper.read('examples/' .. name)
      assert.is_true(select(2, text:gsub('\n', '')) < 60, name .. ' is too long')
      local call = ('luajit examples/%s'):format(name):gsub('%p', '%%%0')
      assert.matches('^#!/usr/bin/env luajit\n%-%- %u.*\n%-%- Usage: .*' .. call, text, name)
      assert.equal(1, helper.uv.fs_stat('examples/' .. name).mode % 2, name .. ' cannot be executed')
    end
  end)

  it('has its place in examples/README.md', function ()
    local readme = helper.read('examples/README.md')
    for _, name in ipairs(names) do
      assert.truthy(readme:find('`' .. name .. '`', 1, true), name)
      assert.truthy(readme:find('luajit examples/' .. name, 1, true), name)
    end
  end)
end)

describe('an example', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)
  teardown(pki.remove)

  it('hello shows both ends in one file', function ()
    local hello = example('hello.lua')
    assert.equal(0, hello:waitForEnd())
    assert.equal(
      'connected\tDTLSv1.2\tECDHE-ECDSA-AES128-GCM-SHA256\nreceived\tEcho: hello\nclosed\tclosed\n',
      hello.output)
  end)

  it('demo shows protocol, cipher, peer and every datagram', function ()
    local demo = example('demo.lua')
    assert.equal(0, demo:waitForEnd())
    for _, expected in ipairs({
      'connected to 127%.0%.0%.1 port %d+: DTLSv1%.2, ECDHE%-ECDSA%-AES128%-GCM%-SHA256',
      'verified: the certificate is for DNS:localhost, IP:127%.0%.0%.1',
      'client ← server    60 bytes',
      'client   answered: Echo: Hello, DTLS%.',
      'client   closed: closed\n.*Both ends are closed',
    }) do
      assert.matches(expected, demo.output)
    end
  end)

  it('runs as it is in a coroutine, which is where Luvit runs it', function ()
    for name, pattern in pairs({
      ['hello.lua'] = 'closed\tclosed\n$', ['demo.lua'] = 'the loop is empty%.\n$',
      ['webrtc-srtp.lua'] = 'the same keys%.\n$',
    }) do
      local child = inCoroutine(name)
      assert.equal(0, child:waitForEnd(), child.output)
      assert.matches(pattern, child.output)
    end
    local server = inCoroutine('echo-server.lua', '127.0.0.1', 0)
    local client = inCoroutine('echo-client.lua', '127.0.0.1', portOf(server))
    client:write('hello\n')
    client.stdin:shutdown()
    assert.equal(0, client:waitForEnd())
    assert.matches('Echo: hello\n$', client.output)
    local coap = inCoroutine('coap-server.lua', '127.0.0.1', 0)
    client = inCoroutine('coap-client.lua', ('coaps://127.0.0.1:%d/hello'):format(portOf(coap)))
    assert.equal(0, client:waitForEnd())
    assert.equal('Hello, CoAP.\n', client.output)
    local several = inCoroutine('several-processes.lua', '127.0.0.1', 0, 1)
    portOf(several)
    for _, child in ipairs({ server, coap, several }) do assert.equal(0, interrupt(child)) end
  end)

  it('demo says so when it fails', function ()
    local demo = program.start('luajit', { 'examples/demo.lua' }, {
      LUA_PATH = package.path, LUA_CPATH = '/nowhere/?.so',
    })
    assert.not_equal(0, demo:waitForEnd())
  end)

  it('echo-server makes a certificate, prints its fingerprint and says where it listens', function ()
    local server = example('echo-server.lua', '127.0.0.1', 0)
    local port = server:waitFor('listening on 127%.0%.0%.1 port (%d+)')
    local fingerprint = server.output:match('fingerprint ([%x:]+)')
    local client = example('echo-client.lua', '127.0.0.1', port)
    assert.equal(fingerprint, client:waitFor('NOT verified: ([%x:]+)'))
  end)

  it('echo-client forwards its lines, prints the answers and says goodbye at the end of input', function ()
    local authority, identity = pki.ca('authority'), pki.identity('leaf')
    local server = example('echo-server.lua', '127.0.0.1', 0, identity.certPath, identity.keyPath)
    local port = server:waitFor('listening on .- port (%d+)')
    local client = example('echo-client.lua', 'localhost', port, authority.certPath)
    client:write('one\ntwo\n\nthe last line has no end')
    client.stdin:shutdown()
    assert.equal(0, client:waitForEnd())
    assert.matches('Echo: one\n', client.output)
    assert.matches('Echo: two\n', client.output)
    assert.matches('Echo: the last line has no end\n', client.output)
    assert.not_matches('NOT verified', client.output)
    server:waitFor('closed 127%.0%.0%.1 port %d+: closed')
  end)

  it('echo-client refuses a server that its authority has not vouched for', function ()
    local other = pki.ca('another authority')
    local server = example('echo-server.lua', '127.0.0.1', 0)
    local port = server:waitFor('listening on .- port (%d+)')
    local client = example('echo-client.lua', 'localhost', port, other.certPath)
    assert.equal(1, client:waitForEnd())
    assert.matches('EUNKNOWNCA: ', client.output)
    server:waitFor('refused 127%.0%.0%.1 port %d+: EUNKNOWNCA: .*unknown CA')
  end)

  it('echo-server answers ten clients at once, and ends at an interrupt', function ()
    local server = example('echo-server.lua', '127.0.0.1', 0)
    local port = server:waitFor('listening on .- port (%d+)')
    local clients = {}
    for number = 1, 10 do
      clients[number] = example('echo-client.lua', '127.0.0.1', port)
      clients[number]:write(('I am %d\n'):format(number))
    end
    for number, client in ipairs(clients) do client:waitFor(('Echo: I am %d\n'):format(number)) end
    server:kill('sigint')
    assert.equal(0, server:waitForEnd())
    for _, client in ipairs(clients) do assert.equal(0, client:waitForEnd()) end
  end)

  it('echo-server says what is wrong with the address or the files it is given', function ()
    for pattern, arguments in pairs({
      ['EADDRNOTAVAIL'] = { '203.0.113.1', 0 },
      ['options%.cert is not a certificate in PEM'] = { '127.0.0.1', 0, 'README.md' },
      ['No such file'] = { '127.0.0.1', 0, 'nowhere.pem' },
    }) do
      local server = example('echo-server.lua', unpack(arguments))
      assert.not_equal(0, server:waitForEnd())
      assert.matches(pattern, server.output)
    end
  end)

  it('is told by DTLS_LOG what to show of admissions, handshakes, drops and closes', function ()
    local server = program.start('luajit', { 'examples/echo-server.lua', '127.0.0.1', 0 }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = 'debug',
    })
    local port = server:waitFor('listening on .- port (%d+)')
    local junk = helper.uv.new_udp()
    junk:try_send('junk', '127.0.0.1', tonumber(port))
    junk:close()
    local client = example('echo-client.lua', '127.0.0.1', port)
    client.stdin:shutdown()
    client:waitForEnd()
    server:waitFor('dtls info  closed 127%.0%.0%.1 port %d+: closed')
    for _, expected in ipairs({
      'dtls debug dropped a datagram of 127%.0%.0%.1 port %d+: malformed',
      'dtls debug admitted 127%.0%.0%.1 port %d+',
      'dtls info  connected 127%.0%.0%.1 port %d+: DTLSv1%.2 ECDHE',
    }) do
      assert.matches(expected, server.output)
    end
  end)
end)
