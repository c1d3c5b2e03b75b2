-- The blocking calls: what they return, outside a coroutine and inside one.

local coro = require('dtls/coro')
local helper = require('spec.helper')
local namespace = require('spec.support.namespace')
local program = require('spec.support.program')
local uv = helper.uv

local identity = helper.localhost()

local function connect(port, options)
  return coro.connect(helper.merge({
    host = '127.0.0.1', port = port, ca = identity.cert, retransmitTimeout = 100,
  }, options))
end

local function listen(options, handler)
  return assert(coro.listen(helper.merge({
    cert = identity.cert, key = identity.key, host = '127.0.0.1', port = 0, retransmitTimeout = 100,
  }, options), handler))
end

local function echo(session)
  for message in session:messages() do session:send('Echo: ' .. message) end
end

-- How a program waits: `start` runs it to its end.
local ways = {
  ['outside a coroutine'] = function (act) act() end,
  ['inside a coroutine'] = function (act)
    local finished
    coroutine.wrap(function ()
      act()
      finished = true
    end)()
    helper.runUntil(function () return finished end)
  end,
}

for way, start in pairs(ways) do
  describe('a program ' .. way, function ()
    after_each(function () helper.run() end)

    it('connects, sends, hears and closes from top to bottom', function ()
      local server, port = helper.echoServer()
      start(function ()
        local session = assert(connect(port))
        assert.is_true(session:send('one'))
        assert.equal('Echo: one', session:recv())
        assert.is_true(session:send('two'))
        assert.equal('Echo: two', session:recv(1000))
        assert.is_true(session:close())
        assert.equal('closed', session.closed)
      end)
      server:close()
    end)

    it('is told why it cannot connect', function ()
      local server, port = helper.echoServer()
      start(function ()
        local session, err, name = connect(port, { ca = helper.identity('another.example').cert })
        assert.same({ 'nil', 'EUNKNOWNCA' }, { type(session), name })
        assert.matches('^EUNKNOWNCA: ', err)
        local nobody = uv.new_udp()
        nobody:bind('127.0.0.1', 0)
        assert.equal('ETIMEDOUT',
          (select(3, connect(nobody:getsockname().port, { handshakeTimeout = 20 }))))
        nobody:close()
      end)
      server:close()
    end)

    it('waits no longer than it says, and the session goes on', function ()
      local server, port = helper.echoServer()
      start(function ()
        local session = assert(connect(port))
        local began = uv.hrtime()
        local message, err, name = session:recv(30)
        assert.same({ 'nil', 'ETIMEDOUT: no message has come within 30 ms', 'ETIMEDOUT' },
          { type(message), err, name })
        assert(uv.hrtime() - began >= 29e6)
        assert.equal('ETIMEDOUT', (select(3, session:recv(0))))
        session:send('late')
        assert.equal('Echo: late', session:recv(5000))
        session:close()
      end)
      server:close()
    end)

    it('reads what has come before the end, and then nil, as often as it asks', function ()
      local server, port = helper.echoServer(nil, function (session)
        session:send('one')
        session:send('two')
        session:close()
      end)
      start(function ()
        local heard = {}
        local session = assert(connect(port))
        for message in session:messages() do heard[#heard + 1] = message end
        assert.same({ 'one', 'two' }, heard)
        assert.equal(0, select('#', session:recv()) - 1)
        assert.is_nil(session:recv())
        assert.is_nil(session:recv(0))
        assert.equal('ENOTCONN', (select(3, session:send('too late'))))
        assert.is_true(session:close())
      end)
      server:close()
    end)

    it('is told by recv of a failure, as often as it asks', function ()
      local server, port = helper.echoServer()
      start(function ()
        local session = assert(connect(port, {
          keepAlive = { message = 'are you there?', interval = 20, probes = 1 },
        }))
        server:sessions()[1]:destroy()
        for _ = 1, 2 do
          local message, err, name = session:recv()
          assert.same({ 'nil', 'ETIMEDOUT' }, { type(message), name })
          assert.matches('keepAlive', err)
        end
        assert.equal('timeout', session.closed)
      end)
      server:close()
    end)

    it('accepts peers one by one', function ()
      start(function ()
        local server = listen()
        local client = helper.connect(server:address().port)
        client:on('secureConnection', function () client:send('hello') end)
        local session = assert(server:accept(5000))
        assert.equal('hello', session:recv(5000))
        assert.equal('ETIMEDOUT', (select(3, server:accept(0))))
        assert.equal('ETIMEDOUT: nobody has come within 10 ms', (select(2, server:accept(10))))
        assert.is_true(server:close())
        assert.is_nil(server:accept())
        assert.equal(0, select('#', server:accept()) - 1)
        assert.equal('closed', session.closed)
        assert.is_true(server:close())
      end)
    end)

    it('is told why it cannot listen', function ()
      start(function ()
        local server = listen()
        local port = server:address().port
        local other, _, name = coro.listen({
          cert = identity.cert, key = identity.key, host = '127.0.0.1', port = port,
        })
        assert.same({ 'nil', 'EADDRINUSE' }, { type(other), name })
        other, _, name = coro.listen({
          cert = identity.cert, key = identity.key, host = 'no.such.host.invalid', port = port,
        })
        assert.is_nil(other)
        assert.matches('^EAI_', name)
        server:close()
        server = listen({ host = 'localhost' })
        assert.truthy(server:address().port > 0)
        server:close()
      end)
    end)
  end)
end

describe('a server with a function', function ()
  after_each(function () helper.run() end)

  it('serves each peer in a coroutine of its own, and closes when that returns', function ()
    local served = 0
    local server = listen(nil, function (session)
      local name = session:recv()
      while true do
        local message = session:recv()
        if message == 'enough' then break end
        session:send(name .. ' says ' .. message)
      end
      served = served + 1
    end)
    local sessions = {}
    for number = 1, 5 do sessions[number] = assert(connect(server:address().port)) end
    for number, session in ipairs(sessions) do session:send('peer ' .. number) end
    for round = 1, 3 do
      for _, session in ipairs(sessions) do session:send('round ' .. round) end
      for number, session in ipairs(sessions) do
        assert.equal(('peer %d says round %d'):format(number, round), session:recv(5000))
      end
    end
    for _, session in ipairs(sessions) do session:send('enough') end
    for _, session in ipairs(sessions) do
      assert.is_nil(session:recv(5000))
      assert.equal('closed', session.closed)
    end
    assert.equal(5, served)
    server:close()
  end)

  it('lets what that throws end the program, with the place it was thrown at', function ()
    local server = listen(nil, function (session)
      session:recv()
      error('the user has erred')
    end)
    local client = assert(connect(server:address().port))
    local errors = helper.errors()
    client:send('hello')
    helper.runUntil(function () return errors[1] end)
    assert.matches('coro_spec%.lua:%d+: the user has erred\nstack traceback', errors[1])
    client:close()
    server:close()
  end)

  it('is asked for no peers', function ()
    local server = listen(nil, echo)
    local accepted, err = pcall(function () server:accept() end)
    assert.is_false(accepted)
    assert.matches('coro_spec%.lua:%d+: server:accept: every peer is given to the function', err)
    server:close()
  end)
end)

describe('a coroutine', function ()
  after_each(function () helper.run() end)

  it('lets others run while it waits', function ()
    local server, port = helper.echoServer()
    local order = {}
    for number = 1, 2 do
      coroutine.wrap(function ()
        local session = assert(connect(port))
        for round = 1, 3 do
          session:send(('%d %d'):format(round, number))
          local message = session:recv()
          order[#order + 1] = message
        end
        session:close()
        if #order == 6 then server:close() end
      end)()
    end
    helper.run()
    assert.equal(6, #order)
    local before = {}
    for index = 1, 4 do before[order[index]] = true end
    -- Neither was through before the other had begun.
    assert.truthy(before['Echo: 1 1'] and before['Echo: 1 2'])
  end)

  it('shares a session with another: each message goes to one, in turn', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local heard = {}
    for reader = 1, 2 do
      coroutine.wrap(function ()
        for message in session:messages() do
          heard[#heard + 1] = reader .. ' ' .. message
          if #heard == 4 then session:close() end
        end
      end)()
    end
    for number = 1, 4 do session:send(number .. '') end
    helper.runUntil(function () return session.closed end)
    assert.same({ '1 Echo: 1', '2 Echo: 2', '1 Echo: 3', '2 Echo: 4' }, heard)
    server:close()
  end)

  it('that waited too long is not given what comes later', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local late
    coroutine.wrap(function () late = select(3, session:recv(5)) end)()
    helper.runUntil(function () return late end)
    session:send('hello')
    assert.equal('Echo: hello', session:recv(5000))
    assert.equal('ETIMEDOUT', late)
    session:close()
    server:close()
  end)

  it('is told where it cannot wait, and takes nothing from those that can', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local raised, heard
    coroutine.wrap(function ()
      raised = select(2, pcall(table.sort, { 1, 2 }, function ()
        local message = session:recv(1000)
        return message
      end))
    end)()
    assert.matches('coro_spec%.lua:%d+: session:recv: it would have to wait in a function', raised)
    coroutine.wrap(function () heard = session:recv() end)()
    session:send('hello')
    helper.runUntil(function () return heard end)
    assert.equal('Echo: hello', heard)
    session:close()
    server:close()
  end)

  it('that could not wait does not end a program in plain Lua', function ()
    local path = os.tmpname()
    local file = assert(io.open(path, 'w'))
    file:write([[
      require('luv')
      local Wait = require('dtls/wait')
      local line, heard = Wait.new(), nil
      print(pcall(coroutine.wrap(function () pcall(line.wait, line, 'it') end)))
      coroutine.wrap(function () heard = line:wait('it') end)()
      print(line:wake(), heard, line:wake())
    ]])
    file:close()
    local child = program.start('lua5.1', { path }, { LUA_PATH = package.path, LUA_CPATH = package.cpath })
    local status = child:waitForEnd()
    os.remove(path)
    program.stopAll()
    assert.equal('true\ntrue\twoken\tfalse\n', child.output)
    assert.equal(0, status)
  end)

  it('waits from when it asks, however long it has worked before', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local waited
    helper.after(0, coroutine.wrap(function ()
      local began = uv.hrtime()
      while uv.hrtime() - began < 60e6 do end
      session:recv(50)
      waited = uv.hrtime() - began
    end))
    helper.runUntil(function () return waited end)
    assert(waited >= 109e6, waited)
    session:close()
    server:close()
  end)

  it('is not taken in by who resumes it for another reason', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local heard
    local routine = coroutine.create(function () heard = session:recv() end)
    coroutine.resume(routine)
    coroutine.resume(routine)
    session:send('hello')
    helper.runUntil(function () return heard end)
    assert.equal('Echo: hello', heard)
    session:close()
    server:close()
  end)

  it('is woken by the close of another', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local ended = 0
    for _ = 1, 2 do
      coroutine.wrap(function ()
        assert.is_nil(session:recv())
        session:close()
        ended = ended + 1
      end)()
    end
    session:close()
    assert.equal(2, ended)
    server:close()
  end)
end)

describe('what nobody reads', function ()
  after_each(function () helper.run() end)

  it('takes no more memory than recvQueueSize, and what is dropped is counted', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port, { recvQueueSize = 1000 }))
    local peer = server:sessions()[1]
    for number = 1, 20 do peer:send(('%03d'):format(number) .. ('x'):rep(97)) end
    helper.runUntil(function () return session:stats().messagesIn == 20 end)
    -- Each is 100 bytes, and 64 more.
    assert.equal(14, session.recvDrops)
    for number = 1, 6 do assert.equal(('%03d'):format(number), session:recv(0):sub(1, 3)) end
    assert.equal('ETIMEDOUT', (select(3, session:recv(0))))
    peer:send('there is room again')
    assert.equal('there is room again', session:recv(5000))
    peer:send(('x'):rep(2000))
    assert.equal(2000, #session:recv(5000))
    session:close()
    server:close()
  end)

  it('sends peers away that nobody accepts, beyond backlog', function ()
    local server = listen({ backlog = 2 })
    local sessions = {}
    for number = 1, 3 do sessions[number] = assert(connect(server:address().port)) end
    assert.is_nil(sessions[3]:recv(5000))
    assert.equal('closed', sessions[3].closed)
    assert.equal(1, server.acceptDrops)
    assert.truthy(server:accept(0))
    assert.truthy(server:accept(0))
    assert.equal('ETIMEDOUT', (select(3, server:accept(0))))
    for _, session in ipairs(sessions) do session:close() end
    server:close()
  end)
end)

describe('a session whose calls wait', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('can do whatever else a session can', function ()
    local server = listen()
    local session = assert(connect(server:address().port, { ALPNProtocols = 'coap' }))
    assert.is_true(session.authorized)
    assert.equal('DTLSv1.2', session:getProtocol())
    assert.equal(session.session:getCipher().name, session:getCipher().name)
    assert.equal(1, server:stats().connected)
    assert.is_false(server.busy)
    server.busy = true
    assert.is_true(server.server.busy)
    assert.matches('^dtls%.CoroSession with 127%.0%.0%.1 port %d+ %(open%)$', tostring(session))
    local closed
    session:on('close', function (reason) closed = reason end)
    session:close()
    assert.equal('closed', closed)
    assert.matches('%(closed%)$', tostring(session))
    server:close()
  end)

  namespace.it('waits in send until there is room', function ()
    local output = namespace.run([[
      local coro = require('dtls/coro')
      local identity = dtls.generateCertificate()
      local server = assert(coro.listen({
        cert = identity.cert, key = identity.key, host = '127.0.0.1', port = 0, sendQueueSize = 10000,
      }, function (session)
        session:recv()
        local sent = 0
        for _ = 1, 60 do if session:send(('x'):rep(1000)) then sent = sent + 1 end end
        print(sent, session:stats().messagesOut)
      end))
      local session = assert(coro.connect({
        host = '127.0.0.1', port = server:address().port, rejectUnauthorized = false, sendQueueSize = 10000,
        recvBufferSize = 200000,
      }))
      shell('tc qdisc add dev lo root tbf rate 8mbit burst 32kbit latency 10s')
      session:send('go on')
      local heard = 0
      for message in session:messages() do heard = heard + #message end
      print(heard)
      shell('tc qdisc del dev lo root')
      session:close()
      server:close()
    ]])
    assert.equal('60\t60\n60000\n', output)
  end)

  it('raises at the line that waits in a callback of the loop', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local errors = helper.errors()
    helper.after(0, function () session:recv() end)
    helper.runUntil(function () return errors[1] end)
    assert.matches('coro_spec%.lua:%d+: session:recv: it would have to wait in a callback of the loop',
      errors[1])
    session:close()
    server:close()
  end)

  it('begins nothing where it could not wait for it', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    local own = listen()
    local raised
    helper.after(0, function ()
      raised = {}
      for index, call in ipairs({
        function () connect(port) end,
        function () listen({ host = 'localhost' }) end,
        function () session:close() end,
        function () own:close() end,
      }) do
        raised[index] = select(2, pcall(call))
      end
    end)
    helper.runUntil(function () return raised end)
    for index, caller in ipairs({ 'coro.connect', 'coro.listen', 'session:close', 'server:close' }) do
      assert.matches('coro_spec%.lua:%d+: ' .. caller .. ': it would have to wait', raised[index])
    end
    session:send('hello')
    assert.equal('Echo: hello', session:recv(5000))
    assert.equal(1, #server:sessions())
    assert.truthy(own:address())
    session:close()
    own:close()
    server:close()
  end)

  it('raises what cannot be, at the caller\'s line', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    for words, call in pairs({
      ['session:recv: timeout must be a whole number of milliseconds, or 0 for not waiting at all, got %-1'] =
        function () session:recv(-1) end,
      ['session:recv: timeout must be .*, got string'] = function () session:recv('1') end,
      ['session:send: data must be a string, got nil'] = function () session:send() end,
      ['coro.connect: options must be a table, got nil'] = function () coro.connect() end,
      ['coro.connect: options.recvQueueSize must be an integer, a number of bytes, got 0'] =
        function () coro.connect({ port = 1, recvQueueSize = 0 }) end,
      ['options.port is missing'] = function () coro.connect({}) end,
      ['coro.listen: options.port is missing'] = function () coro.listen({}) end,
      ['coro.listen: the callback must be a function, got table'] =
        function () coro.listen({ port = 0 }, {}) end,
      ['coro.listen: options.backlog must be an integer, 1 or more, got 0'] =
        function () coro.listen({ port = 0, backlog = 0 }) end,
      ['unknown option "recieveQueue"'] = function () coro.connect({ port = 1, recieveQueue = 1 }) end,
    }) do
      local finished, err = pcall(call)
      assert.is_false(finished)
      assert.matches('coro_spec%.lua:%d+: .*' .. words, err)
    end
    session:close()
    server:close()
  end)

  it('takes a socket that was brought', function ()
    local udp = uv.new_udp()
    udp:bind('127.0.0.1', 0)
    local options = { cert = identity.cert, key = identity.key, socket = udp }
    local finished, err = pcall(function () coro.listen(helper.merge(options, { port = 0 })) end)
    assert.is_false(finished)
    assert.matches('coro_spec%.lua:%d+: server:listen: options.socket is bound already', err)
    local server = assert(coro.listen(options, echo))
    local session = assert(connect(udp:getsockname().port))
    session:send('hello')
    assert.equal('Echo: hello', session:recv(5000))
    session:close()
    server:close()
    udp:close()
  end)

  it('may be closed twice, and while it is closing', function ()
    local server, port = helper.echoServer()
    local session = assert(connect(port))
    assert.is_true(session:close())
    assert.is_true(session:close())
    server:close()
  end)
end)
