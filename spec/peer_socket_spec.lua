-- A socket of its own for each peer: whose it is, and that nothing gets lost on the way there and back.

local dtls = require('dtls')
local core = require('dtls_core')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local peerSocket = require('dtls/peer_socket')
local program = require('spec.support.program')
local sockets = require('dtls/sockets')
local strangersOf = require('spec.support.strangers')
local uv = helper.uv

local function echoServer(options, onConnection)
  return helper.echoServer(helper.merge({ perPeerSocket = true }, options), onConnection)
end

-- How many descriptors this process has.
local function descriptors()
  local request, count = uv.fs_scandir('/proc/self/fd'), 0
  while uv.fs_scandir_next(request) do count = count + 1 end
  return count
end

-- Fails unless every session of a server has a socket that is connected to its own peer, and nothing else.
local function assertOwnSockets(server)
  local count = 0
  for _, session in ipairs(server._peers:list()) do
    local peer = session._socket.handle:getpeername()
    assert.same({ session._ip, session._port }, { peer.ip, peer.port })
    assert.equal(server:address().port, session._socket:address().port)
    count = count + 1
  end
  assert.equal(count, server._peerSockets)
  return count
end

-- What a client says and hears back.
local function ask(client, text)
  local heard = helper.record(client, 'message')
  assert(client:send(text))
  helper.runUntil(function () return heard[1] end)
  return heard[1][2]
end

-- Strangers that send a hello each when told, and count what comes back to each.
local function strangers(port, count)
  local list = { answered = 0 }
  for index = 1, count do
    local udp = uv.new_udp()
    assert(udp:bind('127.0.0.1', 0))
    udp:recv_start(function (_, data, from)
      if from and hello.answer(data) then list.answered = list.answered + 1 end
    end)
    list[index] = udp
  end
  function list.greet()
    for _, udp in ipairs(list) do
      assert(udp:try_send(hello.datagram({ random = hello.randomBytes(32) }), '127.0.0.1', port))
    end
  end
  function list.close()
    for _, udp in ipairs(list) do udp:close() end
  end
  return list
end

describe("a peer's own socket", function ()
  local make = sockets.make

  local function madeForListeners(terms, ip, at, peerIp)
    if peerIp then return nil, 'EMFILE: too many open files', 'EMFILE' end
    return make(terms, ip, at)
  end

  after_each(function ()
    sockets.make = make
    program.stopAll()
    helper.run()
  end)

  for _, hosts in ipairs({
    { '127.0.0.1', '127.0.0.1' }, { '0.0.0.0', '127.0.0.1' }, { '::', '127.0.0.1' }, { '::', '::1' },
    { '::1', '::1' },
  }) do
    it(('takes over from a listener of %s for a peer of %s'):format(hosts[1], hosts[2]), function ()
      local identity = helper.localhost()
      local server = dtls.createServer(
        { cert = identity.cert, key = identity.key, perPeerSocket = true },
        function (session)
          session:on('message', function (data) session:send(data) end)
        end)
      assert(server:listen(0, hosts[1]))
      local before = descriptors()
      local client = helper.connect(server:address().port, { host = hosts[2] })
      helper.runUntil(function () return client:getProtocol() end)
      -- From here on nothing may go by the listening socket, in either direction.
      server._udp.handle:recv_stop()
      local send = server._udp.send
      server._udp.send = function () error('sent by the listening socket') end
      assert.equal('hello', ask(client, 'hello'))
      server._udp.send = send
      assert.equal(1, assertOwnSockets(server))
      local closed = helper.record(client, 'close')
      client:close()
      helper.runUntil(function () return closed[1] and server._peerSockets == 0 end)
      -- The client's is gone as well.
      helper.runUntil(function () return descriptors() == before end)
      server:close()
    end)
  end

  it('serves two hundred peers that arrive at once, and nothing is lost', function ()
    local server, port = echoServer({ recvBufferSize = 4e6 })
    local warnings = helper.record(server, 'warning')
    -- Load, before and meanwhile: hellos without a cookie, and junk.
    local flood = program.script('flood.lua', { port, 20000 })
    local crowds = {}
    for index = 1, 2 do crowds[index] = program.script('crowd.lua', { port, 100, 20 }) end
    local before = descriptors()
    for _, crowd in ipairs(crowds) do crowd:waitFor('done 100 wrong 0\n', 20000) end
    assert.equal(200, assertOwnSockets(server))
    local stats = server:stats()
    assert.same({ 200, 0, 0, 0 }, { stats.connected, stats.failed, stats.peerSocketErrors, stats.sendDrops })
    for _, crowd in ipairs(crowds) do crowd:write('\n') end
    helper.runUntil(function () return server._peerSockets == 0 end)
    flood:stop()
    server:close()
    program.stopAll()
    helper.runUntil(function () return descriptors() <= before end)
    assert.same({}, warnings)
  end)

  it("hands on what others have sent before it was connected", function ()
    local server, port = echoServer()
    local list = strangers(port, 100)
    -- The moment between bind and connect, made as long as it takes a hundred strangers to send.
    function sockets.make(terms, ip, at, peerIp, peerPort)
      if not peerIp then return make(terms, ip, at) end
      local own = assert(make(terms, ip, at))
      list.greet()
      assert(own:connect(peerIp, peerPort))
      return own
    end
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() and list.answered == 100 end)
    assert.equal('Echo: hello', ask(client, 'hello'))
    assert.equal(1, assertOwnSockets(server))
    client:close()
    list.close()
    server:close()
  end)

  it('is read empty before it is closed', function ()
    local server, port = echoServer()
    local list = strangers(port, 100)
    local reading = true
    function sockets.make(terms, ip, at, peerIp, peerPort)
      if not peerIp then return make(terms, ip, at) end
      local own = assert(make(terms, ip, at))
      list.greet()
      assert(own:connect(peerIp, peerPort))
      return own
    end
    local open = peerSocket.open
    finally(function () peerSocket.open = open end)
    function peerSocket.open(endpoint, session)
      open(endpoint, session)
      -- As if the loop had not come to it yet.
      if reading then session._socket.handle:recv_stop() end
    end
    local client = helper.connect(port)
    helper.runUntil(function () return list.answered > 0 and server:stats().sessions == 1 end)
    -- The kernel has given some of them to the socket that is not read.
    assert.truthy(list.answered < 100)
    client:destroy()
    local waited = 0
    helper.after(50, function () waited = list.answered end)
    helper.runUntil(function () return waited > 0 end)
    assert.truthy(waited < 100, 'none was in its queue')
    server._peers:list()[1]:destroy()
    helper.runUntil(function () return list.answered == 100 end)
    list.close()
    server:close()
  end)

  it('is closed where its session has a handler that throws at what was left', function ()
    local errors = helper.errors()
    local server, port = echoServer()
    local other = helper.connect(port)
    helper.runUntil(function () return other:getProtocol() and server:stats().connected == 1 end)
    local session = server._peers:list()[1]
    session:on('message', function () error('out of the handler') end)
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() and server:stats().connected == 2 end)
    local mine
    for _, each in ipairs(server._peers:list()) do mine = each ~= session and each or mine end
    -- What belongs to the other session, found in this one's queue.
    local take, left = mine._socket.take, nil
    local datagram = assert(other._core:send('hello'))
    local address = other:address()
    mine._socket.take = function (self)
      if left then return take(self) end
      left = true
      return datagram, address.ip, address.port
    end
    client:destroy()
    mine:destroy()
    helper.runUntil(function () return server._peerSockets == 1 end)
    assert.equal(1, #errors)
    assert.matches('out of the handler', errors[1])
    other:destroy()
    server:close()
  end)

  it('is closed with its endpoint, whose close comes last', function ()
    local server, port = echoServer()
    local log = {}
    for _ = 1, 5 do helper.connect(port) end
    helper.runUntil(function () return server:stats().connected == 5 end)
    local before = descriptors()
    for _, session in ipairs(server._peers:list()) do
      session:on('close', function () log[#log + 1] = 'session' end)
    end
    server:on('close', function () log[#log + 1] = server._peerSockets end)
    server:close()
    helper.runUntil(function () return #log == 6 end)
    assert.same({ 'session', 'session', 'session', 'session', 'session', 0 }, log)
    assert.truthy(descriptors() <= before - 6)
  end)

  it('is not had where there are no descriptors, and the peers are served all the same', function ()
    local server = program.start('sh', { '-c', 'ulimit -n 64; exec luajit spec/support/share.lua 0' }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, PER_PEER = '1',
    })
    local port = server:waitFor('port (%d+)')
    local crowd = program.script('crowd.lua', { port, 100, 3 })
    crowd:waitFor('done 100 wrong 0\n', 10000)
    server:write('\n')
    local shared, warnings = server:waitFor('served 100 failed 0 shared (%d+) warnings (%d+)')
    assert.truthy(tonumber(shared) > 50 and tonumber(shared) < 100, shared)
    assert.equal('1', warnings)
    assert.matches('EMFILE: [%l ]+: a peer gets no socket of its own and shares the listening one\n',
      server.output)
  end)

  it('is not had where the warning of that throws, and the peer is served all the same', function ()
    local errors = helper.errors()
    sockets.make = madeForListeners
    local server, port = echoServer()
    server:on('warning', function () error('out of the handler') end)
    -- It says nothing twice: the first flight is sent without that.
    local client = helper.connect(port, { retransmitTimeout = 60000 })
    helper.runUntil(function () return client:getProtocol() end)
    assert.equal('Echo: hello', ask(client, 'hello'))
    assert.equal(1, #errors)
    assert.matches('out of the handler', errors[1])
    client:close()
    server:close()
  end)

  it('is not had where the warning of that throws, and a peer that says no more ends in time', function ()
    local errors = helper.errors()
    sockets.make = madeForListeners
    local server, port = echoServer({ handshakeTimeout = 50 })
    local failures = helper.record(server, 'clientError')
    server:on('warning', function () error('out of the handler') end)
    local stranger = strangersOf.new():begin(port)
    helper.runUntil(function () return failures[1] end)
    assert.equal('ETIMEDOUT', failures[1][3])
    assert.equal(1, #errors)
    stranger:close()
    server:close()
  end)

  it('is not had where the warning of that closes the server', function ()
    sockets.make = madeForListeners
    local server, port = echoServer()
    local closed = helper.record(server, 'close')
    server:on('warning', function () server:close() end)
    local client = helper.connect(port)
    helper.runUntil(function () return closed[1] end)
    assert.equal(0, server:stats().sessions)
    client:destroy()
  end)

  it('hears of a peer that has gone, and its session goes on', function ()
    local server, port = echoServer()
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() and server:stats().connected == 1 end)
    local session = server._peers:list()[1]
    local warnings, ends = helper.record(session, 'warning'), helper.record(session, 'close', 'error')
    local ofServer = helper.record(server, 'warning')
    client:destroy()
    helper.after(5, function () session:send('hello?') end)
    helper.runUntil(function () return warnings[1] end)
    assert.equal('ECONNREFUSED', warnings[1][3])
    assert(session:send('hello?'))
    assert.same({ {}, {} }, { ends, ofServer })
    server:close()
  end)

  it('follows a session that moves', function ()
    local server, port = echoServer()
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() and server:stats().connected == 1 end)
    local session = server._peers:list()[1]
    local elsewhere, heard = uv.new_udp(), 0
    assert(elsewhere:bind('127.0.0.1', 0))
    elsewhere:recv_start(function (_, data) if data then heard = heard + 1 end end)
    local old, from = session._socket, session._port
    session._port = elsewhere:getsockname().port
    peerSocket.move(server, session)
    assert.not_equal(old, session._socket)
    assert(session:send('hello'))
    helper.runUntil(function () return heard == 1 and server._peerSockets == 1 end)
    assert.is_nil(old.handle)
    -- And home again.
    session._port = from
    peerSocket.move(server, session)
    assert.equal('Echo: hello', ask(client, 'hello'))
    elsewhere:close()
    client:close()
    helper.runUntil(function () return server._peerSockets == 0 end)
    server:close()
  end)

  it('is no other than the listening one on a system that shares no ports', function ()
    local shares = core.shares_ports
    finally(function () core.shares_ports = shares end)
    core.shares_ports = false
    local identity = helper.localhost()
    for _, option in ipairs({ 'reusePort', 'perPeerSocket' }) do
      local server = dtls.createServer({ cert = identity.cert, key = identity.key, [option] = true })
      assert.same(
        { n = 3, nil, 'ENOTSUP: this system does not divide a UDP port among sockets', 'ENOTSUP' },
        { n = 3, server:listen(0, '127.0.0.1') })
      server:close()
    end
  end)
end)
