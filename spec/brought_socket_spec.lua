-- A socket that the user brings: taken over, used, and given back.

local dtls = require('dtls')
local helper = require('spec.helper')
local uv = helper.uv

local me = helper.localhost()

local function bound(host)
  local udp = uv.new_udp()
  assert(udp:bind(host or '127.0.0.1', 0))
  return udp, udp:getsockname().port
end

-- What Luvit's dgram makes, as far as anybody looks at it: a table with a handle, which receives from its
-- bind on.
local function dgram(onMessage)
  local socket = { _handle = uv.new_udp() }
  function socket:recvStart()
    self._handle:recv_start(function (_, data, from)
      if data and from then onMessage(data, from) end
    end)
  end
  function socket:recvStop() return self._handle:recv_stop() end
  function socket:bind(port, host)
    assert(self._handle:bind(host, port))
    self:recvStart()
  end
  function socket:close()
    self:recvStop()
    self._handle:close()
    self._handle = nil
  end
  return socket
end

local function serve(socket)
  return dtls.createServer({ cert = me.cert, key = me.key, socket = socket }, function (session)
    session:on('message', function (data) session:send('Echo: ' .. data) end)
  end)
end

local function echo(client)
  local heard = helper.record(client, 'message')
  helper.runUntil(function () return client:getProtocol() end)
  client:send('hello')
  helper.runUntil(function () return heard[1] end)
  return heard[1][2]
end

local function closed(each)
  local ends = helper.record(each, 'close')
  each:close()
  helper.runUntil(function () return ends[1] end)
end

-- A datagram to a port from somewhere else.
local function say(port, data)
  local udp = uv.new_udp()
  assert(udp:try_send(data, '127.0.0.1', port))
  udp:close()
end

describe('a UDP handle that is brought', function ()
  after_each(function () helper.run() end)

  it('is listened on, and given back on close', function ()
    local udp, port = bound()
    local server = serve(udp)
    local listening
    assert.equal(server, server:listen(function () listening = true end))
    assert.equal(port, server:address().port)
    local client = helper.connect(port)
    assert.equal('Echo: hello', echo(client))
    assert.is_true(listening)
    closed(client)
    closed(server)
    assert.is_false(udp:is_closing())
    -- What comes now waits for whoever receives next.
    say(port, 'mine again')
    local heard
    udp:recv_start(function (_, data) heard = heard or data end)
    helper.runUntil(function () return heard end)
    assert.equal('mine again', heard)
    udp:close()
  end)

  it('is connected from, and given back when the session has ended', function ()
    local server, port = helper.echoServer()
    local udp, mine = bound()
    for _ = 1, 2 do
      local client = helper.connect(port, { socket = udp })
      assert.equal('Echo: hello', echo(client))
      assert.equal(mine, client:address().port)
      closed(client)
    end
    assert.is_false(udp:is_active())
    udp:close()
    server:close()
  end)

  it('is what an endpoint listens and connects by', function ()
    local server, port = helper.echoServer()
    local udp, mine = bound()
    local endpoint = dtls.createEndpoint({ cert = me.cert, key = me.key, ca = me.cert, socket = udp })
    local out = endpoint:connect({ port = port, host = '127.0.0.1' })
    assert.equal('Echo: hello', echo(out))
    assert.equal(mine, out:address().port)
    assert.same({ n = 3, nil, 'EALREADY: the server has a socket already', 'EALREADY' },
      { n = 3, endpoint:listen() })
    closed(endpoint)
    endpoint = dtls.createEndpoint({ cert = me.cert, key = me.key, ca = me.cert, socket = udp })
    assert(endpoint:listen())
    out = endpoint:connect({ port = port, host = '127.0.0.1' })
    local come = helper.connect(mine)
    assert.equal('Echo: hello', echo(out))
    helper.runUntil(function () return come:getProtocol() end)
    come:destroy()
    closed(endpoint)
    udp:close()
    server:close()
  end)

  it('may be connected to the very peer', function ()
    local server, port = helper.echoServer()
    local udp = bound()
    assert(udp:connect('127.0.0.1', port))
    local client = helper.connect(port, { socket = udp })
    assert.equal('Echo: hello', echo(client))
    closed(client)
    assert.equal(port, udp:getpeername().port)
    udp:close()
    server:close()
  end)

  it('is refused where it is of no use, and left alone', function ()
    local unbound, gone, elsewhere, busy = uv.new_udp(), bound(), bound(), bound()
    gone:close()
    assert(elsewhere:connect('127.0.0.1', 9))
    local other = serve(busy)
    assert(other:listen())
    for _, row in ipairs({
      { unbound, '^EINVAL: options%.socket is not bound$' },
      { gone, '^EBADF: options%.socket is closed$' },
      { elsewhere, '^EISCONN: options%.socket is connected to 127%.0%.0%.1 port 9' },
      { busy, '^EALREADY: options%.socket is in use by another endpoint or session$' },
    }) do
      local server = serve(row[1])
      local listening, err, name = server:listen()
      assert.is_nil(listening)
      assert.matches(row[2], err)
      assert.equal(err:match('^E%u+'), name)
      local client = helper.connect(10, { socket = row[1] })
      local seen = helper.record(client, 'error', 'close')
      helper.runUntil(function () return seen[2] end)
      assert.matches(row[2], seen[1][2])
      assert.same({ 'close', 'error' }, seen[2])
      server:close()
    end
    closed(other)
    for _, each in ipairs({ unbound, elsewhere, busy }) do
      assert.is_false(each:is_closing())
      each:close()
    end
  end)

  it('may be closed under a session, which is not ended by that', function ()
    local udp, port = bound()
    local server = serve(udp)
    assert(server:listen())
    local client = helper.connect(port)
    assert.equal('Echo: hello', echo(client))
    local session = server._peers:list()[1]
    udp:close()
    assert.same({ n = 3, nil, 'ENOTCONN: the socket is closed', 'ENOTCONN' }, { n = 3, session:send('x') })
    assert.equal('open', session._state)
    client:destroy()
    closed(server)
  end)

  it('of Luvit, a dgram socket, is used and given back as well', function ()
    local heard = {}
    local socket = dgram(function (data) heard[#heard + 1] = data end)
    socket:bind(0, '127.0.0.1')
    local port = socket._handle:getsockname().port
    local server = serve(socket)
    assert(server:listen())
    local client = helper.connect(port)
    assert.equal('Echo: hello', echo(client))
    closed(client)
    closed(server)
    socket:recvStart()
    say(port, 'mine again')
    helper.runUntil(function () return heard[1] end)
    assert.same({ 'mine again' }, heard)
    -- Closed, it has no handle any more.
    socket:close()
    assert.has_error(function () serve(socket) end)
  end)
end)
