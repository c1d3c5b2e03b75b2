-- dtls-nc with itself: what it does, what it says, and what it ends with.

local helper = require('spec.helper')
local nc = require('spec.support.nc')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

setup(function () program.need('setpriv', 'openssl', 'script') end)

teardown(pki.remove)

after_each(nc.stopAll)

describe('dtls-nc', function ()
  it('talks both ways, and ends with its input', function ()
    local server, port, fingerprint = nc.server()
    local client = nc.client(port, fingerprint, '-q', '0.1')
    client:write('from the client\n')
    server:waitFor('\nfrom the client\n')
    server:write('from the server\n')
    client:waitFor('from the server\n')
    nc.say(client)
    assert.equal(0, client:waitForEnd())
    assert.equal('from the server\n', client.output)
    assert.equal(0, nc.interrupt(server))
  end)

  it('waits for answers when its input has ended, as long as -q says', function ()
    local server, port, fingerprint = nc.server()
    local client = nc.say(nc.client(port, fingerprint, '-q', '-1'), 'question\n')
    server:waitFor('question\n')
    server:write('answer\n')
    client:waitFor('answer\n')
    assert.is_nil(client.status)
    nc.interrupt(server)
    assert.equal(0, client:waitForEnd())
  end)

  it('goes on serving when the standard input of a server has ended', function ()
    local server, port, fingerprint = nc.server()
    nc.say(server)
    assert.equal(0, nc.say(nc.client(port, fingerprint, '-q', '0'), 'one\n'):waitForEnd())
    assert.equal(0, nc.say(nc.client(port, fingerprint, '-q', '0'), 'two\n'):waitForEnd())
    server:waitFor('one\n.*two\n')
  end)

  it('keeps what a server is given to say until somebody is there', function ()
    local server, port, fingerprint = nc.server()
    server:write('who is there?\n')
    nc.client(port, fingerprint):waitFor('who is there%?\n')
  end)

  it('sends a last line that has no end as it is', function ()
    local server, port, fingerprint = nc.server('--echo')
    local client = nc.say(nc.client(port, fingerprint, '-q', '0.2'), 'one\n\ntwo')
    assert.equal(0, client:waitForEnd())
    assert.equal('one\n\ntwo', client.output)
    assert.is_nil(server.output:find('two'))
  end)

  it('says with -v who comes and goes, and with what', function ()
    local server, port, fingerprint = nc.server('-v', '--alpn', 'nc/1,nc/2')
    local client = nc.client(port, fingerprint, '-v', '--alpn', 'nc/2', '--servername', 'a.test', '-q', '0')
    nc.say(client, 'hello\n')
    assert.equal(0, client:waitForEnd())
    client:waitFor('dtls%-nc: connected to 127%.0%.0%.1:%d+: DTLSv1%.2, ECDHE%S+, verified DNS:localhost, '
      .. 'ALPN nc/2\n')
    client:waitFor('dtls%-nc: closed\n')
    server:waitFor('dtls%-nc: 127%.0%.0%.1:%d+ connected: DTLSv1%.2, ECDHE%S+, no certificate, for a%.test, '
      .. 'ALPN nc/2\n')
    server:waitFor('dtls%-nc: 127%.0%.0%.1:%d+ closed\n')
  end)

  it('draws handshakes with -vv, and their retransmissions', function ()
    local _, port, fingerprint = nc.server()
    local relay = helper.relay(tonumber(port), function (data, fromClient, number, send)
      if number > 1 or not fromClient then send(data) end
    end)
    local client = nc.client(relay.port, fingerprint, '-vv', '-q', '0')
    nc.say(client, 'hello\n')
    assert.equal(0, client:waitForEnd())
    relay.close()
    for _, expected in ipairs({
      '│── ClientHello ─+▶│  %d+ bytes\n', '│── ClientHello ─+▶│  %d+ bytes, retransmission\n',
      '◀─+ ServerHello ──│  %d+ of %d+ bytes\n', '══ Finished %(sealed%)', 'Alert %(sealed%)',
      'handshake: sent %d+ datagrams, %d+ bytes; received %d+, %d+ bytes; %d retransmissions; round trip',
    }) do
      assert.matches((expected:gsub('─%+', '[─ ]+')), client.output)
    end
    assert.is_nil(client.output:find('application data', 1, true))
    assert.is_nil(client.output:find('\27', 1, true))
  end)

  it('prints the counters at the end with --stats', function ()
    local server, port, fingerprint = nc.server('--stats')
    local client = nc.say(nc.client(port, fingerprint, '--stats', '-q', '0'), 'hello\n')
    assert.equal(0, client:waitForEnd())
    assert.matches('\nmessagesOut +1\n', client.output)
    nc.interrupt(server)
    assert.matches('\nconnected +1\n', server.output)
  end)

  it('joins each peer to a command with --exec, which hears who the peer is', function ()
    local server, port, fingerprint = nc.server('-v', '--exec',
      'echo "you are $DTLS_PEER_IP port $DTLS_PEER_PORT"; read -r line; echo "you said $line"')
    local client = nc.client(port, fingerprint)
    client:write('this; that\n')
    assert.equal(0, client:waitForEnd())
    local own = server:waitFor('127%.0%.0%.1:(%d+) connected')
    assert.equal(('you are 127.0.0.1 port %s\nyou said this; that\n'):format(own), client.output)
  end)

  it('ends a command that has lost its peer, and what it has started', function ()
    local server, port, fingerprint = nc.server('--exec', 'sleep 1000 & echo $!; wait')
    local client = nc.client(port, fingerprint, '-q', '0')
    local pid = tonumber(client:waitFor('(%d+)\n'))
    nc.say(client):waitForEnd()
    -- Nobody may have taken note of its end yet.
    helper.runUntil(function ()
      local file = io.open(('/proc/%d/stat'):format(pid))
      local state = file and file:read('*a'):match('%) (%a)') or 'Z'
      if file then file:close() end
      return state == 'Z'
    end)
    assert.is_nil(server.status)
  end)

  it('ends its commands before itself, in Luvit, too', function ()
    for _, words in ipairs({ { 'bin/dtls-nc' }, { 'spec/support/coroutine.lua', 'bin/dtls-nc' } }) do
      for _, word in ipairs({ '-l', '--exec', 'echo $$; exec sleep 1000', '127.0.0.1', 0 }) do
        words[#words + 1] = word
      end
      local server = program.start('luajit', words, nc.environment)
      local port, fingerprint = nc.ready(server)
      local pid = tonumber(nc.client(port, fingerprint):waitFor('(%d+)\n'))
      assert.equal(0, nc.interrupt(server))
      assert.matches('^ESRCH', (select(2, helper.uv.kill(pid, 0))))
    end
  end)

  it('does not wait for what a command has left behind', function ()
    local _, port, fingerprint = nc.server('--echo')
    -- The pipe is full, and somebody has it who does not read.
    local client = nc.client(port, fingerprint, '--datagram', '--exec',
      'exec 3<&0; sleep 1000 <&3 >/dev/null 2>&1 & echo $! >&2; head -c 300000 /dev/zero; sleep 0.2')
    local pid = tonumber(client:waitFor('^(%d+)\n'))
    local ended, status = pcall(client.waitForEnd, client)
    helper.uv.kill(pid, 'sigkill')
    assert.same({ true, 0 }, { ended, status })
  end)

  it('goes on when a command does not read any more', function ()
    local server, port, fingerprint = nc.server('--exec', 'exec <&-; echo deaf; exec sleep 1000')
    local client = nc.client(port, fingerprint, '-q', '0')
    client:waitFor('deaf\n')
    client:write('one\n')
    client:write('two\n')
    nc.client(port, fingerprint):waitFor('deaf\n')
    assert.equal(0, nc.say(client):waitForEnd())
    assert.equal(0, nc.interrupt(server))
  end)

  it('closes its session when nobody reads what it prints', function ()
    local server, port, fingerprint = nc.server('-v')
    local client = nc.redirected('| true', '--fingerprint', fingerprint, '127.0.0.1', port)
    server:waitFor(' connected: ')
    server:write('one\n')
    server:waitFor(' closed\n')
    assert.equal(0, client:waitForEnd())
  end)

  it('joins a client to a command as well', function ()
    local server, port, fingerprint = nc.server()
    local client = nc.client(port, fingerprint, '--exec', 'echo "$DTLS_CIPHER"; cat >&2')
    server:waitFor('\nECDHE%-%S+\n')
    server:write('to the command\n')
    client:waitFor('to the command\n')
  end)

  it('leaves the terminal out of it where a client has a command, also when the socket was full', function ()
    local server, port, fingerprint = nc.server()
    local full = [[
      local Session, isFirst = require('dtls/session'), true
      local send = Session.send
      function Session:send(...)
        if not isFirst then return send(self, ...) end
        isFirst = false
        return nil, 'ENOBUFS: too much waits to be sent', 'ENOBUFS'
      end
    ]]
    local client = program.start('luajit', { '-e', full, 'bin/dtls-nc', '-q', '0',
      '--fingerprint', fingerprint, '--exec', 'echo one; read -r line; echo two', '127.0.0.1', port,
    }, nc.environment)
    nc.say(client, 'typed\n')
    server:waitFor('\none\n')
    server:write('go on\n')
    server:waitFor('\ntwo\n')
    assert.equal(0, client:waitForEnd())
    assert.is_nil(server.output:find('typed', 1, true))
  end)

  it('sends what each read brings with --datagram, whatever bytes these are', function ()
    local bytes = {}
    for byte = 0, 255 do bytes[byte + 1] = string.char(byte) end
    local all = table.concat(bytes)
    local _, port, fingerprint = nc.server('--datagram', '--echo')
    local client = nc.client(port, fingerprint, '--datagram', '--stats', '-q', '0.2')
    client:write(all)
    helper.runUntil(function () return #client.output == 256 end)
    nc.say(client, all .. all)
    client:waitForEnd()
    assert.equal(all .. all .. all, client.output:sub(1, 768))
    assert.matches('\nmessagesOut +2\n', client.output)
  end)

  it('sends a line that no datagram holds in pieces, and says so once', function ()
    local long = ('0123456789'):rep(1000)
    local server, port, fingerprint = nc.server('--stats')
    local client = nc.say(nc.client(port, fingerprint, '-q', '0'), long .. '\n' .. long .. '\n')
    client:waitForEnd()
    assert.equal(
      'dtls-nc: a line is longer than a datagram holds, and goes in pieces: see --mtu and --datagram\n',
      client.output)
    server:waitFor('\n' .. long .. '\n' .. long .. '\n', 5000)
    nc.interrupt(server)
    assert.matches('\nmessagesIn +18\n', server.output)
  end)

  it('resumes a session that it has kept in a file, for its owner alone', function ()
    local path = pki.path('kept.session')
    local _, port, fingerprint = nc.server()
    local function run(...)
      return nc.say(nc.client(port, fingerprint, '--resume', path, '-q', '0', ...))
    end
    local first = run()
    assert.equal(0, first:waitForEnd())
    assert.equal('dtls-nc: the session was not resumed: the handshake was a full one\n', first.output)
    assert.equal(tonumber('600', 8), helper.uv.fs_stat(path).mode % 512)
    local second = run('-v')
    assert.equal(0, second:waitForEnd())
    assert.matches(', resumed\ndtls%-nc: the session was resumed\n', second.output)
  end)

  it('leaves a kept session as it was where the next one finds no room', function ()
    local path = pki.path('roomy.session')
    local _, port, fingerprint = nc.server()
    nc.say(nc.client(port, fingerprint, '--resume', path, '-q', '0')):waitForEnd()
    local kept = helper.read(path)
    -- A file may have one block.
    local full = "trap '' XFSZ; ulimit -f 1; exec luajit bin/dtls-nc \"$@\""
    local client = program.start('sh', { '-c', full, 'sh', '--resume', path, '-q', '0',
      '--fingerprint', fingerprint, '127.0.0.1', port }, nc.environment)
    assert.equal(1, nc.say(client):waitForEnd())
    assert.matches('\ndtls%-nc: %-%-resume cannot be written: ', client.output)
    assert.is_true(kept == helper.read(path))
    assert.is_nil(helper.uv.fs_stat(path .. '.new'))
  end)

  it('keeps the key log', function ()
    local path = pki.path('nc.keylog')
    local _, port, fingerprint = nc.server()
    nc.say(nc.client(port, fingerprint, '--keylog', path, '-q', '0')):waitForEnd()
    assert.matches('^CLIENT_RANDOM %x+ %x+\n$', helper.read(path))
  end)

  it('asks clients for certificates with -C', function ()
    local authority, own, client = pki.ca('authority'), pki.identity('server'), pki.identity('client')
    local server, port = nc.server('-v', '-c', own.certPath, '-k', own.keyPath, '-C', authority.certPath)
    local known = nc.say(nc.client(port, nil, '-C', authority.certPath, '-c', client.certPath,
      '-k', client.keyPath, '-q', '0'), 'hello\n')
    assert.equal(0, known:waitForEnd())
    server:waitFor('connected: .*verified DNS:localhost')
    local stranger = nc.say(nc.client(port, nil, '-C', authority.certPath, '-q', '0'))
    assert.equal(1, stranger:waitForEnd())
    assert.matches('^dtls%-nc: ENOCERT: [^\n]*\n$', stranger.output)
    server:waitFor('refused: ENOCERT: ')
  end)

  it('reads a key that lies with its certificate', function ()
    local own = pki.identity('server')
    local both = pki.write('both.pem', own.cert .. own.key)
    local _, port = nc.server('-c', both)
    local client = nc.say(nc.client(port, nil, '-C', pki.ca('authority').certPath, '-q', '0'))
    assert.equal(0, client:waitForEnd())
  end)

  it('has several pre-shared keys as a server, and may read one from a file', function ()
    local digits = pki.write('psk.hex', '0a0B0c0d0e0f101112131415161718\n19\n')
    local server, port = nc.server('-v', '--psk', 'a:b:00112233445566778899aabbccddeeff',
      '--psk', 'dev:@' .. digits)
    for _, psk in ipairs({ 'a:b:00112233445566778899AABBCCDDEEFF', 'dev:@' .. digits }) do
      assert.equal(0, nc.say(nc.client(port, nil, '--psk', psk, '-q', '0')):waitForEnd())
      server:waitFor('pre%-shared key of ' .. psk:match('^(.*):'))
    end
    assert.is_nil(server.output:find('fingerprint'))
  end)

  it('tells of silence with -w', function ()
    local server, port, fingerprint = nc.server('-w', '0.5', '-v')
    local client = nc.client(port, fingerprint, '-w', '0.2')
    assert.equal(3, client:waitForEnd())
    assert.equal('dtls-nc: ETIMEDOUT: there was silence for 0.2 seconds\n', client.output)
    -- It has served somebody.
    assert.equal(0, server:waitForEnd())
    local lonely = nc.start('-l', '-w', '0.1', '127.0.0.1', 0)
    assert.equal(3, lonely:waitForEnd())
    assert.matches('\ndtls%-nc: ETIMEDOUT: nobody came within 0%.1 seconds\n$', lonely.output)
  end)

  it('gives up a server that does not answer', function ()
    local mute = helper.uv.new_udp()
    mute:bind('127.0.0.1', 0)
    local client = nc.client(mute:getsockname().port, nil, '-w', '0.2')
    assert.equal(3, client:waitForEnd())
    assert.matches('^dtls%-nc: ETIMEDOUT: [^\n]*\n$', client.output)
    mute:close()
  end)

  it('ends quietly when nobody reads what it prints', function ()
    local _, port, fingerprint = nc.server('--echo')
    local client = nc.redirected('| head -n 1', '--fingerprint', fingerprint, '127.0.0.1', port)
    client:write('one\n')
    client:waitFor('one\n')
    client:write('two\n')
    assert.equal(0, client:waitForEnd())
    assert.equal('one\n', client.output)
  end)

  it('fails when what it has heard cannot be written', function ()
    local FULL = '\ndtls%-nc: standard output cannot be written: ENOSPC'
    local _, port, fingerprint = nc.server('--echo')
    local client = nc.redirected('>/dev/full', '-v', '--fingerprint', fingerprint, '127.0.0.1', port)
    assert.equal(1, nc.say(client, 'one\n'):waitForEnd())
    assert.matches(FULL, client.output)
    local server = nc.redirected('>/dev/full', '-l', '127.0.0.1', 0)
    port, fingerprint = nc.ready(server)
    nc.say(nc.client(port, fingerprint, '-q', '0'), 'one\n'):waitForEnd()
    assert.equal(1, server:waitForEnd())
    assert.matches(FULL, server.output)
  end)

  it('stays within IPv4 or IPv6 where it is told to', function ()
    local both = nc.start('-l', 0)
    local port, fingerprint = nc.ready(both)
    for host, expected in pairs({
      ['localhost'] = '127%.0%.0%.1:', ['::1'] = '%[::1%]:', ['[::1]'] = '%[::1%]:',
    }) do
      local option = host == 'localhost' and '-4' or '-6'
      local client = nc.start(option, '-v', '-q', '0', '--fingerprint', fingerprint, host, port)
      assert.equal(0, nc.say(client):waitForEnd())
      assert.matches('connected to ' .. expected .. port, client.output)
    end
    for option, expected in pairs({ ['-4'] = '0%.0%.0%.0:%d', ['-6'] = '%[::%]:%d' }) do
      local only = nc.start(option, '-l', 0)
      only:waitFor('listening on ' .. expected)
    end
  end)

  it('connects from the port that --source-port says', function ()
    local server, port, fingerprint = nc.server('-v')
    local own = program.freePort()
    nc.say(nc.client(port, fingerprint, '--source-port', own, '-q', '0')):waitForEnd()
    server:waitFor('127%.0%.0%.1:' .. own .. ' connected')
  end)
end)

describe('dtls-nc on a terminal', function ()
  -- A terminal's line ends are the terminal's own.
  local function onTerminal(environment, ...)
    -- Without a shell of `script`'s in between, which Control-C would end.
    local words = { 'exec luajit bin/dtls-nc', ... }
    return program.start('script', { '-qec', table.concat(words, ' '), '/dev/null' },
      helper.merge(nc.environment, { TERM = 'xterm' }, environment))
  end

  it('puts a newline where a message has none, and takes Control-D for the end', function ()
    local server = onTerminal({}, '-l', '127.0.0.1', 0)
    local fingerprint, port = server:waitFor('fingerprint ([%x:]+).-listening on %S+:(%d+)')
    for _ = 1, 2 do nc.say(nc.client(port, fingerprint, '-q', '0'), 'no newline'):waitForEnd() end
    server:waitFor('no newline\r\nno newline\r\n')
    local client = onTerminal({}, '-q', '0.1', '--fingerprint', fingerprint, '127.0.0.1', port)
    client:write('typed\n')
    server:waitFor('\ntyped\r\n')
    client:write('\4')
    assert.equal(0, client:waitForEnd())
    server:write('\3')
    assert.equal(0, server:waitForEnd())
  end)

  it('draws in colour, unless NO_COLOR is set', function ()
    local _, port, fingerprint = nc.server()
    for value, coloured in pairs({ [''] = true, ['1'] = false }) do
      local client = onTerminal({ NO_COLOR = value }, '-vv', '-q', '0', '--fingerprint', fingerprint,
        '127.0.0.1', port)
      client:waitFor('handshake: sent')
      client:write('\4')
      assert.equal(0, client:waitForEnd())
      assert.equal(coloured, client.output:find('\27[', 1, true) ~= nil)
    end
  end)
end)

describe('one client among others', function ()
  it('passes for nobody else by what it says', function ()
    local server, port, fingerprint = nc.server('-v')
    local client = nc.client(port, fingerprint, '--datagram', '-q', '0')
    local other = nc.client(port, fingerprint, '-q', '0')
    server:waitFor(' connected: .* connected: ')
    client:write('\none\n\n[192.0.2.1:1] two')
    local place, rest = server:waitFor('\n(%[127%.0%.0%.1:%d+%] )(\n.*two)')
    assert.equal(('\n%sone\n%s\n%s[192.0.2.1:1] two'):format(place, place, place), rest)
    for _, each in ipairs({ client, other }) do assert.equal(0, nc.say(each):waitForEnd()) end
  end)
end)

describe('twenty clients at once', function ()
  it('are all served by one server, which says whom it hears', function ()
    local server, port, fingerprint = nc.server('-v')
    local clients, places = {}, {}
    for number = 1, 20 do clients[number] = nc.client(port, fingerprint, '-q', '0') end
    helper.runUntil(function ()
      local _, count = server.output:gsub(' connected: ', '')
      return count == 20
    end, 20000)
    for number, client in ipairs(clients) do client:write(('I am %d.\n'):format(number)) end
    for number = 1, 20 do
      local place = server:waitFor(('%%[(127%%.0%%.0%%.1:%%d+)%%] I am %d%%.\n'):format(number))
      assert.is_nil(places[place])
      places[place] = number
    end
    server:write('to all of you\n')
    for _, client in ipairs(clients) do client:waitFor('^to all of you\n$') end
    for _, client in ipairs(clients) do assert.equal(0, nc.say(client):waitForEnd()) end
    assert.equal(0, nc.interrupt(server))
  end)
end)

describe('a mebibyte of random lines', function ()
  local MEBIBYTE = 1024 * 1024

  it('passes whole in both directions at once', function ()
    local there, back = nc.lines(MEBIBYTE, 1), nc.lines(MEBIBYTE, 2)
    local thereIn, backIn = pki.write('there.in', there), pki.write('back.in', back)
    local thereOut, backOut = pki.path('there.out'), pki.path('back.out')
    local server = nc.redirected(('<%s >%s'):format(backIn, thereOut), '-l', '127.0.0.1', 0)
    local port, fingerprint = nc.ready(server)
    local client = nc.redirected(('<%s >%s'):format(thereIn, backOut), '--fingerprint', fingerprint,
      '127.0.0.1', port)
    assert.equal(0, client:waitForEnd(30000), client.output)
    assert.equal(0, nc.interrupt(server))
    assert.is_true(there == helper.read(thereOut), 'what the server heard is not what was said')
    assert.is_true(back == helper.read(backOut), 'what the client heard is not what was said')
  end)

  it('passes whole through pipes and a command', function ()
    local said = nc.lines(MEBIBYTE, 3)
    local _, port, fingerprint = nc.server('--exec', 'cat')
    local path = pki.path('pipe.out')
    local client = nc.redirected('| cat >' .. path, '--fingerprint', fingerprint, '127.0.0.1', port)
    nc.say(client, said)
    assert.equal(0, client:waitForEnd(30000))
    assert.is_true(said == helper.read(path), 'what came back is not what was said')
  end)
end)
