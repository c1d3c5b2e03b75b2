-- The socket under an endpoint: what it is asked to be, and what the system makes of that.

local dtls = require('dtls')
local helper = require('spec.helper')
local namespace = require('spec.support.namespace')
local program = require('spec.support.program')
local uv = helper.uv

-- A server that listens where it is told.
local function listening(options, host)
  local identity = helper.localhost()
  local server = dtls.createServer(helper.merge({ cert = identity.cert, key = identity.key }, options))
  return server, server:listen(0, host)
end

-- How many descriptors this process has.
local function descriptors()
  local request, count = uv.fs_scandir('/proc/self/fd'), 0
  while uv.fs_scandir_next(request) do count = count + 1 end
  return count
end

-- What a client of a server sends and hears back.
local function echoed(port, options)
  local client = helper.connect(port, options, function (session) session:send('hello') end)
  local heard = helper.record(client, 'message')
  helper.runUntil(function () return heard[1] end)
  return client, heard[1][2]
end

describe('the socket of an endpoint', function ()
  after_each(function () program.stopAll() end)

  it('has a name for why it cannot be', function ()
    local taken = uv.new_udp()
    assert(taken:bind('127.0.0.1', 0))
    local identity = helper.localhost()
    local port = taken:getsockname().port
    local before = descriptors()
    for _, row in ipairs({
      { {}, '127.0.0.1', '^EADDRINUSE: address already in use$' },
      { { reusePort = true }, '127.0.0.1', '^EADDRINUSE: ' },
      { {}, '192.0.2.1', '^EADDRNOTAVAIL: ' },
      { { ipv6Only = true }, '127.0.0.1', '^EAFNOSUPPORT: 127.0.0.1 is no IPv6 address, and ipv6Only' },
    }) do
      local server = dtls.createServer(helper.merge({ cert = identity.cert, key = identity.key }, row[1]))
      local bound, err, name = server:listen(port, row[2])
      assert.is_nil(bound)
      assert.matches(row[3], err)
      assert.equal(err:match('^E%u+'), name)
      server:close()
    end
    local later
    helper.after(20, function () later = true end)
    helper.runUntil(function () return later end)
    assert.equal(before, descriptors())
    taken:close()
    helper.run()
  end)

  it('leaves no descriptor behind where the loop does not take it', function ()
    local probe = uv.new_udp()
    local methods = getmetatable(probe).__index
    local open, recv_start, new_poll = methods.open, methods.recv_start, uv.new_poll
    finally(function () methods.open, methods.recv_start, uv.new_poll = open, recv_start, new_poll end)
    -- Where there are no batches, it is the handle that has to receive.
    uv.new_poll = function () return nil, 'ENOMEM: not enough memory', 'ENOMEM' end
    probe:close()
    helper.run()
    local before = descriptors()
    for _, name in ipairs({ 'open', 'recv_start' }) do
      methods.open, methods.recv_start = open, recv_start
      methods[name] = function () return nil, 'ENOMEM: not enough memory', 'ENOMEM' end
      for _, options in ipairs({ {}, { reusePort = true } }) do
        local server, bound, err, code = listening(options, '127.0.0.1')
        assert.same({ nil, 'ENOMEM: not enough memory', 'ENOMEM' }, { bound, err, code })
        server:close()
      end
      helper.run()
      assert.equal(before, descriptors())
    end
  end)

  it('is open to IPv4 and IPv6 as :: and to IPv6 alone with ipv6Only', function ()
    local server
    for _, ipv6Only in ipairs({ false, true }) do
      server = listening({ ipv6Only = ipv6Only }, '::')
      local port = server:address().port
      local four = helper.connect(port, { host = '127.0.0.1', handshakeTimeout = 300 })
      local six = helper.connect(port, { host = '::1' })
      local ends = helper.record(four, 'error', 'secureConnection')
      helper.runUntil(function () return ends[1] and six:getProtocol() end)
      assert.equal(ipv6Only and 'error' or 'secureConnection', ends[1][1])
      if not ipv6Only then
        local hosts = {}
        for _, session in ipairs(server._peers:list()) do
          hosts[#hosts + 1] = session:remoteAddress().ip .. ' ' .. session:remoteAddress().family
        end
        table.sort(hosts)
        assert.same({ '127.0.0.1 inet', '::1 inet6' }, hosts)
      end
      four:destroy()
      helper.finish(six, server)
    end
  end)

  it('is bound to :: where ipv6Only is all that is said', function ()
    local server = listening({ ipv6Only = true })
    assert.equal('::', server:address().ip)
    helper.finish(server)
  end)

  it('has buffers of the size it is asked for, and says so', function ()
    local server = dtls.createEndpoint()
    for _, name in ipairs({ 'getRecvBufferSize', 'getSendBufferSize' }) do
      local size, err, code = server[name](server)
      assert.same({ nil, 'ENOTCONN: the socket is not bound', 'ENOTCONN' }, { size, err, code })
    end
    server = listening({ recvBufferSize = 40000, sendBufferSize = 50000 })
    -- Linux counts its own share.
    assert.equal(80000, server:getRecvBufferSize())
    assert.equal(100000, server:getSendBufferSize())
    helper.finish(server)
    -- As much as the system allows, where that is less.
    server = listening({ recvBufferSize = 2 ^ 30 })
    assert.truthy(server:getRecvBufferSize() > 200000)
    helper.finish(server)
  end)

  -- Nothing with another ttl gets through: 3 from a server, of either family, and 5 from its clients.
  namespace.it('gives its datagrams the ttl that it is asked for', function ()
    local output = namespace.run([[
      for _, command in ipairs({ 'iptables', 'ip6tables' }) do
        local field = command == 'iptables' and 'ttl --ttl-eq' or 'hl --hl-eq'
        for side, ttl in pairs({ sport = 3, dport = 5 }) do
          shell(('%s -A INPUT -p udp --%s 5684 -m %s %d -j ACCEPT'):format(command, side, field, ttl))
        end
        shell(command .. ' -A INPUT -p udp -j DROP')
      end
      local identity = dtls.generateCertificate()
      for _, perPeerSocket in ipairs({ false, true }) do
        local server = dtls.createServer({
          cert = identity.cert, key = identity.key, ttl = 3, perPeerSocket = perPeerSocket,
        })
        assert(server:listen(5684, '::'))
        local left = 2
        for _, host in ipairs({ '127.0.0.1', '::1' }) do
          dtls.connect({
            host = host, port = 5684, ttl = 5, rejectUnauthorized = false, handshakeTimeout = 2000,
          }, function (session)
            print('connected to ' .. host)
            session:destroy()
            left = left - 1
            if left == 0 then server:close() end
          end):on('error', function (err)
            print(err)
            os.exit(1)
          end)
        end
        uv.run()
      end
    ]])
    assert.equal(2, select(2, output:gsub('connected to 127.0.0.1\n', '')))
    assert.equal(2, select(2, output:gsub('connected to ::1\n', '')))
  end)

  it('reads bursts whole with any recvBatch', function ()
    for _, recvBatch in ipairs({ 1, 16, 20 }) do
      local pair = helper.pair({ recvBatch = recvBatch, recvBufferSize = 4e6 }, { sendBufferSize = 4e6 })
      local heard, count, wrong = {}, 0, 0
      pair.peer:on('message', function (data)
        local number = tonumber(data:match('^(%d+) x+$'))
        if not number or #data ~= 100 + number % 900 or heard[number] then wrong = wrong + 1 end
        heard[number or 0] = true
        count = count + 1
      end)
      for number = 1, 1000 do
        local start = number .. ' '
        assert(pair.client:send(start .. ('x'):rep(100 + number % 900 - #start)))
      end
      helper.runUntil(function () return count == 1000 end)
      helper.finish(pair.client, pair.server)
      assert.equal(0, wrong)
    end
  end)
end)

describe('a port that processes share', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  local function counts(server)
    server.output = ''
    server:write('\n')
    local served, failed = server:waitFor('served (%d+) failed (%d+)')
    return tonumber(served), tonumber(failed)
  end

  it('is served by both, and nothing is lost', function ()
    local shared = { COOKIE_SECRET = 'a secret that both have' }
    local first = program.script('share.lua', { 0 }, shared)
    local port = first:waitFor('port (%d+)')
    local second = program.script('share.lua', { port }, shared)
    assert.equal(port, second:waitFor('port (%d+)'))
    local sessions, heard, rounds = {}, 0, 5
    for index = 1, 40 do
      local session = dtls.connect({ port = tonumber(port), rejectUnauthorized = false })
      local left = rounds
      session:on('secureConnection', function () session:send(('%d of %d'):format(left, index)) end)
      session:on('message', function (data)
        assert.equal(('Echo: %d of %d'):format(left, index), data)
        heard, left = heard + 1, left - 1
        if left > 0 then session:send(('%d of %d'):format(left, index)) end
      end)
      sessions[index] = session
    end
    helper.runUntil(function () return heard == 40 * rounds end, 10000)
    local a, failedAtA = counts(first)
    local b, failedAtB = counts(second)
    assert.equal(40, a + b)
    assert.truthy(a > 5 and b > 5, ('%d and %d'):format(a, b))
    assert.equal(0, failedAtA + failedAtB)
    for _, session in ipairs(sessions) do session:destroy() end
  end)

  it('takes a cookie that the other has issued, and is not taken by one who does not share', function ()
    -- Whoever has answered the first hello is gone when the second comes.
    local shared = { COOKIE_SECRET = 'a secret that both have' }
    local first = program.script('share.lua', { 0 }, shared)
    local port = first:waitFor('port (%d+)')
    local alone = program.script('share.lua', { port }, { NO_SHARE = '1' })
    alone:waitFor('EADDRINUSE')
    local second
    local relay = helper.relay(tonumber(port), function (data, fromClient, number, send)
      if fromClient and number == 2 and not second then
        first:stop()
        second = program.script('share.lua', { port }, shared)
        second:waitFor('port')
      end
      send(data)
    end)
    local client, reply = echoed(relay.port, { rejectUnauthorized = false })
    assert.equal('Echo: hello', reply)
    assert.same({ 1, 0 }, { counts(second) })
    client:destroy()
    relay.close()
  end)

  it('stays what it is to the peers that have sockets of their own, whoever joins', function ()
    local first = program.script('share.lua', { 0 }, { PER_PEER = '1' })
    local port = tonumber(first:waitFor('port (%d+)'))
    local sessions, heard = {}, 0
    for index = 1, 20 do
      local session = dtls.connect({ port = port, rejectUnauthorized = false })
      session:on('message', function () heard = heard + 1 end)
      sessions[index] = session
    end
    helper.runUntil(function ()
      for _, session in ipairs(sessions) do
        if not session:getProtocol() then return false end
      end
      return true
    end)
    -- Without sockets of their own, every other peer would be this one's now.
    local second = program.script('share.lua', { port }, { PER_PEER = '1' })
    second:waitFor('port')
    for _, session in ipairs(sessions) do assert(session:send('still there?')) end
    helper.runUntil(function () return heard == 20 end)
    assert.same({ 0, 0 }, { counts(second) })
    for _, session in ipairs(sessions) do session:destroy() end
  end)

  it('lets nobody in who is another user', function ()
    if uv.getuid() ~= 0 then pending('this needs the right to be somebody else') return end
    local server = listening({ reusePort = true }, '127.0.0.1')
    local script = ([[
      local core = require('dtls_core')
      local uv = require('luv')
      local fd, number = core.bind_socket({ ip = '127.0.0.1', port = %d, shared = true })
      print(fd or uv.translate_sys_error(number))
      print(select(2, uv.new_udp():bind('127.0.0.1', %d, { reuseaddr = true })))
    ]]):format(server:address().port, server:address().port)
    local child = program.start('setpriv', {
      '--reuid', '65534', '--clear-groups', 'luajit', '-e', script,
    }, { LUA_PATH = package.path, LUA_CPATH = package.cpath })
    child:waitForEnd()
    server:close()
    assert.matches('^EADDRINUSE[^\n]+\nEADDRINUSE', child.output)
  end)
end)
