-- The examples that show one thing each: mutual authentication, a chat, WebRTC, processes, restarts, a swap.

local ends = require('spec.support.ends')
local example = require('spec.support.example')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local uv = helper.uv

setup(function () program.need('setpriv', 'openssl') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('mutual-auth', function ()
  setup(function ()
    for _, who in ipairs({ 'alice', 'bob', 'eve' }) do
      local identity = helper.identity(who)
      pki.write(who .. '.pem', identity.cert)
      pki.write(who .. '-key.pem', identity.key)
    end
  end)

  it('lets in whom it trusts, and nobody else', function ()
    local server = example.start('mutual-auth.lua', 'server', 'alice', 'bob', '127.0.0.1', 0)
    local port = example.portOf(server)
    local function client(name, friend)
      return example.start('mutual-auth.lua', 'client', name, friend, '127.0.0.1', port)
    end
    local bob = client('bob', 'alice')
    assert.equal(0, bob:waitForEnd())
    assert.equal('alice to bob: hello\n', bob.output)
    server:waitFor('bob has left\n')
    local eve, fooled = client('eve', 'alice'), client('bob', 'eve')
    local nobody = example.run('openssl', 's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port)
    assert.equal(1, eve:waitForEnd())
    assert.matches('^refused: EUNKNOWNCA: ', eve.output)
    assert.equal(1, fooled:waitForEnd())
    assert.matches('^refused: EUNKNOWNCA: ', fooled.output)
    nobody:waitForEnd()
    server:waitFor('refused: EUNKNOWNCA: .*unknown CA')
    server:waitFor('refused: ENOCERT: ')
    assert.equal(0, example.interrupt(server))
    assert.matches('^alice listens on 127%.0%.0%.1 port %d+\nbob is here\nbob has left\nrefused: ',
      server.output)
  end)

  it('lets openssl in by the same certificates', function ()
    local port = example.portOf(example.start('mutual-auth.lua', 'server', 'alice', 'bob', '127.0.0.1', 0))
    local client = example.run('openssl', 's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port,
      '-CAfile', 'alice.pem', '-verify_return_error', '-cert', 'bob.pem', '-key', 'bob-key.pem')
    client:write('hello\n')
    client:waitFor('alice to bob: hello\n')
  end)
end)

describe('chat-hub', function ()
  local function guest(port)
    return example.start('echo-client.lua', 'localhost', port, 'cert.pem')
  end

  it('passes each line to all others, and tells who comes and goes', function ()
    local hub = example.start('chat-hub.lua', '127.0.0.1', 0)
    local port = example.portOf(hub)
    local one = guest(port)
    one:waitFor('You are guest 1%. Others here: 0\n')
    local two = guest(port)
    two:waitFor('You are guest 2%. Others here: 1\n')
    local three = example.run('openssl', 's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port)
    three:waitFor('You are guest 3%. Others here: 2\n')
    one:waitFor('guest 2 comes in\nguest 3 comes in\n')
    two:write('hello, all\n')
    one:waitFor('\nguest 2: hello, all\n')
    three:waitFor('\nguest 2: hello, all\n')
    three:write('with a \27[31mcolour\n')
    two:waitFor('\nguest 3: with a  %[31mcolour\n')
    three:stop()
    two.stdin:shutdown()
    two:waitForEnd()
    one:waitFor('\nguest 2 has left\n')
    assert.is_nil(two.output:find('guest 2: '))
    assert.equal(0, example.interrupt(hub))
    one:waitForEnd()
    assert.equal(table.concat({
      'listening on 127.0.0.1 port ' .. port, 'guest 1 comes in', 'guest 2 comes in', 'guest 3 comes in',
      'guest 2: hello, all', 'guest 3: with a  [31mcolour', 'guest 2 has left',
    }, '\n'), hub.output:match('^(.-guest 2 has left)'))
  end)

  it('cuts what would not fit a datagram, and says nothing of what is empty', function ()
    local port = example.portOf(example.start('chat-hub.lua', '127.0.0.1', 0))
    local one, two = guest(port), ends.connect(port, { ca = helper.localhost().cert })
    one:waitFor('Others here')
    ends.opened(two)
    two:send('\n')
    two:send(' \0 ')
    two:send(('x'):rep(5000))
    one:waitFor('\nguest %d: ' .. ('x'):rep(1000) .. '\n')
    assert.is_nil(one.output:find('guest %d: +\n'))
  end)
end)

describe('webrtc-srtp', function ()
  it('shows that both ends have the same keys', function ()
    local both = example.start('webrtc-srtp.lua')
    assert.equal(0, both:waitForEnd())
    local digits = both.output:match(
      '^alice a=fingerprint:sha%-256 [%x:]+\nbob   a=fingerprint:sha%-256 [%x:]+\n'
      .. 'alice SRTP_AEAD_AES_128_GCM (%x+)\nbob   SRTP_AEAD_AES_128_GCM %1\n'
      .. 'Both ends have the same keys%.\n$')
    assert.equal(2 * (16 + 12) * 2, #digits)
  end)

  it('has the same keys as openssl, and nothing for another fingerprint', function ()
    local fingerprint = helper.localhost().fingerprint
    local function listen(whom)
      local alice = example.start('webrtc-srtp.lua', 0, whom)
      local port = example.portOf(alice)
      return alice, example.run('openssl', 's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port,
        '-cert', 'cert.pem', '-key', 'key.pem', '-use_srtp', 'SRTP_AEAD_AES_128_GCM',
        '-keymatexport', 'EXTRACTOR-dtls_srtp', '-keymatexportlen', 56)
    end
    local alice, bob = listen(fingerprint)
    local digits = bob:waitFor('Keying material: (%x+)')
    alice:waitFor('alice SRTP_AEAD_AES_128_GCM ' .. digits .. '\n')
    bob.stdin:shutdown()
    assert.equal(0, alice:waitForEnd())
    alice = listen((fingerprint:gsub('^%x%x', '00')))
    alice:waitFor('EFINGERPRINT')
    assert.is_nil(alice.output:find('SRTP_'))
  end)
end)

describe('swap-certificate', function ()
  it('has new sessions see the new certificate, and the open ones go on', function ()
    local old, new = helper.identity('127.0.0.1', 'old.test'), helper.identity('127.0.0.1', 'new.test')
    pki.write('live.pem', old.cert)
    pki.write('live-key.pem', old.key)
    local server = example.start('swap-certificate.lua', '127.0.0.1', 0, 'live.pem', 'live-key.pem')
    local port = example.portOf(server)
    local before = ends.opened(ends.connect(port, { ca = old.cert }))
    pki.write('live.pem', new.cert)
    server:kill('sighup')
    server:waitFor('the certificate stays what it was: .* does not belong to the certificate')
    ends.opened(ends.connect(port, { ca = old.cert }))
    pki.write('live-key.pem', new.key)
    server:kill('sighup')
    server:waitFor('a new certificate from now on; open sessions: 2\n')
    ends.opened(ends.connect(port, { ca = new.cert }))
    assert.equal('Echo: still here', ends.asked(before, 'still here'))
    uv.fs_unlink(pki.path('live.pem'))
    server:kill('sighup')
    server:waitFor('stays what it was: .*live%.pem: No such file')
    assert.equal(0, example.interrupt(server))
  end)
end)

describe('resume-after-restart', function ()
  local function serve()
    local server = example.start('resume-after-restart.lua', 'server', '127.0.0.1', 0)
    return server, example.portOf(server)
  end

  it('resumes the session when both ends have been started again', function ()
    -- Somebody has been interrupted while it wrote, or is about to read along.
    uv.fs_chmod(pki.write('session.bin.new', 'for everybody'), tonumber('644', 8))
    for run, what in ipairs({ 'made a session', 'resumed a session' }) do
      local server, port = serve()
      local client = example.start('resume-after-restart.lua', 'client', 'localhost', port)
      assert.equal(0, client:waitForEnd())
      assert.equal(run == 1 and 'made a session\n' or 'resumed the session\n', client.output)
      assert.equal(0, example.interrupt(server))
      assert.equal(('listening on port %d\n%s\n'):format(port, what), server.output)
      for _, name in ipairs({ 'ticket.key', 'session.bin' }) do
        assert.equal(tonumber('600', 8), uv.fs_stat(pki.path(name)).mode % tonumber('1000', 8))
        assert.is_nil(uv.fs_stat(pki.path(name .. '.new')))
      end
    end
  end)

  it('makes a new session where the server has lost its key', function ()
    local outputs = {}
    for run = 1, 2 do
      local server, port = serve()
      local client = example.start('resume-after-restart.lua', 'client', 'localhost', port)
      assert.equal(0, client:waitForEnd())
      outputs[run] = client.output
      example.interrupt(server)
      uv.fs_unlink(pki.path('ticket.key'))
    end
    assert.equal('made a session\n', outputs[2])
  end)
end)
