-- What the socket refuses. What needs a network of its own runs in a namespace.

local Udp = require('dtls/udp')
local helper = require('spec.helper')
local namespace = require('spec.support.namespace')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local uv = helper.uv

-- Runs a script in a network namespace with a server, a connected session and `shell` at hand. Returns what
-- it printed.
local function inNamespace(script, serverOptions, clientOptions)
  return namespace.run(([[
    local identity = dtls.generateCertificate()
    local server = dtls.createServer({ cert = identity.cert, key = identity.key, %s }, function (session)
      session:on('message', function (data) session:send(data) end)
    end)
    assert(server:listen(0, '127.0.0.1'))
    local port = server:address().port
    local session = dtls.connect({ port = port, rejectUnauthorized = false, %s })
    session:on('error', print)
    session:on('close', function (reason) print('closed ' .. reason) server:close() end)
    session:on('secureConnection', function ()
  ]]):format(serverOptions or '', clientOptions or '') .. script .. ' end)')
end

local itIsolated = namespace.it

describe('a session whose socket refuses a datagram', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)
  teardown(pki.remove)

  itIsolated('says so, takes it for lost and goes on', function ()
    local output = inNamespace([[
      shell('iptables -A OUTPUT -p udp --dport ' .. port .. ' -j REJECT')
      print(select(2, session:send('lost')))
      shell('iptables -F OUTPUT')
      session:on('message', function (data) print(data) session:close() end)
      assert(session:send('arrives'))
    ]])
    assert.matches('^EPERM: [^\n]+\tEPERM\narrives\nclosed closed\n$', output)
  end)

  itIsolated('is told so where it sends in a handler, watched or with a callback', function ()
    for _, options in ipairs({ '', 'trace = function () end' }) do
      local output = inNamespace([[
        local peer = server._peers:list()[1]
        server:on('warning', function (err) print('warning', err) end)
        peer:removeAllListeners('message')
        peer:on('message', function ()
          shell('iptables -A OUTPUT -p udp --sport ' .. port .. ' -j REJECT')
          print(select(3, peer:send('lost', function (_, name)
            print('called', name, server:stats().sendErrors)
            session:close()
          end)))
          shell('iptables -F OUTPUT')
        end)
        session:on('message', print)
        session:send('hello')
      ]], options)
      assert.equal('EPERM\ncalled\tEPERM\t1\nclosed closed\n', output)
    end
  end)

  itIsolated('goes on when there is a way again, with a socket of its own as well', function ()
    for _, options in ipairs({ '', 'perPeerSocket = true' }) do
      local output = inNamespace([[
        local peer = server._peers:list()[1]
        shell('ip route flush table local')
        print(select(3, session:send('lost')), select(3, peer:send('lost')), server:stats().sendErrors)
        shell('ip route add local 127.0.0.0/8 dev lo table local')
        session:on('message', function (data) print(data) session:close() end)
        assert(session:send('arrives'))
      ]], options)
      assert.equal('ENETUNREACH\tENETUNREACH\t1\narrives\nclosed closed\n', output)
    end
  end)

  itIsolated('keeps the order of what a message handler sends more of than the network takes', function ()
    local output = inNamespace([[
      local peer = server._peers:list()[1]
      peer:on('message', function (data)
        if data ~= 'all' then return end
        for number = 1, 400 do
          -- What is longer than what went before makes a message of its own.
          assert(peer:send(('%03d '):format(number) .. ('x'):rep(900 + number % 3 * 100)))
        end
      end)
      local heard = {}
      session:on('message', function (data)
        heard[#heard + 1] = tonumber(data:match('^%d+'))
        if #heard < 400 then return end
        local disorder = 0
        for index, number in ipairs(heard) do if index ~= number then disorder = disorder + 1 end end
        print('out of order', disorder)
        session:close()
      end)
      shell('tc qdisc add dev lo root tbf rate 40mbit burst 32kbit latency 10s')
      session:send('all')
    ]], 'sendQueueSize = 1000000')
    assert.equal('out of order\t0\nclosed closed\n', output)
  end)

  itIsolated('loses what waits and is refused in the end, counts it and says so', function ()
    local output = inNamespace([[
      shell('tc qdisc add dev lo root tbf rate 4mbit burst 32kbit latency 10s')
      local peer = server._peers:list()[1]
      local count = 0
      repeat
        assert(peer:send(('x'):rep(1000)))
        count = server._udp.handle:get_send_queue_count()
      until count == 5
      local warnings, last = 0, nil
      server:on('warning', function (err, name)
        warnings = warnings + 1
        last = err .. '\t' .. name
      end)
      local ticker = uv.new_timer()
      ticker:start(5, 5, function ()
        if warnings == 0 or server._udp.handle:get_send_queue_count() > 0 then return end
        -- There may have been room for the first again.
        print(last, server:stats().sendErrors == warnings and warnings >= 4)
        ticker:close()
        shell('iptables -F OUTPUT')
        session:close()
      end)
      shell('iptables -A OUTPUT -p udp --sport ' .. port .. ' -j REJECT')
      shell('tc qdisc del dev lo root')
    ]])
    assert.equal('EPERM: a datagram that waited to be sent is lost\tEPERM\ttrue\nclosed closed\n', output)
  end)

  for who, options in pairs({
    ['the endpoint'] = '', ['a session with a socket of its own, too,'] = 'perPeerSocket = true',
  }) do
    itIsolated('bounds what waits by sendQueueSize, and tells ' .. who .. ' when it is gone', function ()
      local output = inNamespace([[
        shell('tc qdisc add dev lo root tbf rate 4mbit burst 32kbit latency 10s')
        local peer = server._peers:list()[1]
        local sent, err, name
        repeat sent, err, name = peer:send(('x'):rep(1000)) until not sent
        local handle = (peer._socket or server._udp).handle
        print(err, handle:get_send_queue_size() > 9000 and handle:get_send_queue_size() <= 10000)
        for _ = 1, 10 do peer:send(('x'):rep(1000)) end
        local stats = server:stats()
        print(stats.sendDrops, stats.sendErrors)
        peer:on('drain', function () print('the session') end)
        server:on('drain', function ()
          print('the endpoint', handle:get_send_queue_count())
          assert(peer:send('again'))
        end)
        session:on('message', function (data) if data == 'again' then session:close() end end)
      ]], options .. (options ~= '' and ', ' or '') .. 'sendQueueSize = 10000')
      assert.equal('ENOBUFS: too many datagrams wait to be sent\ttrue\n11\t0\n'
        .. (options ~= '' and 'the session\n' or '') .. 'the endpoint\t0\nclosed closed\n', output)
    end)
  end

  itIsolated('may run the loop in the handlers that are told so', function ()
    local output = inNamespace([[
      shell('tc qdisc add dev lo root tbf rate 4mbit burst 32kbit latency 10s')
      local peer = server._peers:list()[1]
      local sent
      repeat sent = peer:send(('x'):rep(1000)) until not sent
      server:once('drain', function ()
        uv.run('nowait')
        print('drained')
        repeat sent = peer:send(('x'):rep(1000)) until not sent
        server:once('warning', function (_, name)
          uv.run('nowait')
          print(name)
          shell('iptables -F OUTPUT')
          session:close()
        end)
        shell('iptables -A OUTPUT -p udp --sport ' .. port .. ' -j REJECT')
        shell('tc qdisc del dev lo root')
      end)
    ]], 'sendQueueSize = 10000')
    assert.equal('drained\nEPERM\nclosed closed\n', output)
  end)

  itIsolated('lets one datagram wait that is larger than sendQueueSize, and tells a client', function ()
    local output = inNamespace([[
      shell('tc qdisc add dev lo root tbf rate 4mbit burst 32kbit latency 10s')
      local sent, err
      repeat sent, err = session:send(('x'):rep(1000)) until not sent
      print(err, session._endpoint._udp.handle:get_send_queue_count())
      session:on('drain', function ()
        print('drained')
        session:close()
      end)
    ]], '', 'sendQueueSize = 1')
    assert.equal('ENOBUFS: too many datagrams wait to be sent\t1\ndrained\nclosed closed\n', output)
  end)

  itIsolated('keeps a bounded queue when it is told to send more than the network takes', function ()
    local output = inNamespace([[
      -- A slow link: what waits for it counts against the socket's buffer.
      shell('tc qdisc add dev lo root tbf rate 10mbit burst 32kbit latency 10s')
      local function resident()
        local file = io.open('/proc/self/statm')
        local pages = file:read('*a'):match('^%d+ (%d+)')
        file:close()
        return pages * 4096
      end
      collectgarbage()
      local before, refused = resident(), {}
      local message = ('x'):rep(1000)
      for _ = 1, 200000 do
        local sent, err, name = session:send(message)
        if not sent then refused[name] = (refused[name] or 0) + 1 end
      end
      collectgarbage()
      assert(refused.ENOBUFS > 100000 and refused.EAGAIN == nil)
      print('grown by less than 20 MB', resident() - before < 20e6)
      shell('tc qdisc del dev lo root')
      local last
      session:on('message', function (data) if data == 'the last' then session:close() end end)
      -- The receiver's buffer is full as well: what arrives is a matter of trying.
      last = uv.new_timer()
      last:start(50, 50, function () session:send('the last') end)
      session:on('close', function () last:close() end)
    ]])
    assert.equal('grown by less than 20 MB\ttrue\nclosed closed\n', output)
  end)

  itIsolated('sends what waits before its socket is closed, the last word too', function ()
    local output = inNamespace([[
      shell('tc qdisc add dev lo root tbf rate 4mbit burst 32kbit latency 10s')
      local peer = server._peers:list()[1]
      for _ = 1, 300 do peer:send(('x'):rep(1000)) end
      print('waiting', server._udp.handle:get_send_queue_count() > 0)
      server:close()
    ]])
    assert.equal('waiting\ttrue\nclosed closed\n', output)
  end)

  it('makes the datagrams of a handshake smaller where they are too long, once a flight', function ()
    local chain = pki.longChain()
    local send, warnings = Udp.send, {}
    -- A link that takes no more than IPv6 asks of every link.
    function Udp:send(datagram, ...)
      if #datagram > 1280 - 48 then return nil, 'EMSGSIZE: message too long', 'EMSGSIZE' end
      return send(self, datagram, ...)
    end
    finally(function () Udp.send = send end)
    local server, port = helper.echoServer({ cert = chain.cert, key = chain.key, mtu = 4096 })
    server:on('warning', function (err) warnings[#warnings + 1] = err end)
    local client = helper.connect(port, { ca = chain.ca })
    helper.runUntil(function () return client:getProtocol() end)
    for _, warning in ipairs(warnings) do
      assert.equal('EMSGSIZE: message too long: the handshake goes on with an mtu of 1232', warning)
    end
    assert.equal(#warnings, server:stats().sendErrors)
    assert.truthy(#warnings >= 1)
    helper.finish(client, server)
  end)
end)

describe('an answer to a stranger that the socket refuses', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  itIsolated('is counted, and nobody is told', function ()
    assert.equal('0\t50\t50\t0\n', namespace.run([[
      local hello = require('spec.support.hello')
      local identity = dtls.generateCertificate()
      local server = dtls.createServer({ cert = identity.cert, key = identity.key })
      assert(server:listen(0, '127.0.0.1'))
      local warnings = 0
      server:on('warning', function () warnings = warnings + 1 end)
      local stranger = uv.new_udp()
      stranger:bind('127.0.0.1', 0)
      shell('iptables -A OUTPUT -p udp --dport ' .. stranger:getsockname().port .. ' -j REJECT')
      for _ = 1, 50 do
        local data = hello.datagram({ random = hello.randomBytes(32) })
        assert(stranger:try_send(data, '127.0.0.1', server:address().port))
      end
      local ticker = uv.new_timer()
      ticker:start(5, 5, function ()
        local stats = server:stats()
        if stats.datagramsIn < 50 then return end
        print(warnings, stats.challenges, stats.sendErrors, stats.datagramsOut)
        ticker:close()
        stranger:close()
        server:close()
      end)
    ]]))
  end)
end)

describe('a datagram that is lost after it has waited', function ()
  -- A server that has dropped datagrams, and hears of the last one that waited that it is lost.
  local function lose(onWarning)
    local server = helper.echoServer()
    local seen = helper.record(server, 'warning', 'drain')
    server:on('warning', function () onWarning(server) end)
    local udp = server._udp
    udp.full = true
    local thrown = helper.errors()
    udp:_sent('EHOSTUNREACH')
    helper.runUntil(function () return seen[1] end)
    server:close()
    helper.run()
    local names = {}
    for index, each in ipairs(seen) do names[index] = each[1] end
    return names, thrown[1]
  end

  it("is no reason for want of 'drain', though the handler of its warning throws", function ()
    local names, err = lose(function () error('of the user') end)
    assert.same({ 'warning', 'drain' }, names)
    assert.matches('of the user', err)
  end)

  it("is followed by no 'drain' of a socket that the handler of its warning has closed", function ()
    local names, err = lose(function (server) server:close() end)
    assert.same({ 'warning' }, names)
    assert.is_nil(err)
  end)
end)

describe('a burst of messages', function ()
  it('arrives whole and once each, as far as the socket can hold it', function ()
    local pair = helper.pair()
    local heard, wrong, count, over = {}, 0, 0, false
    pair.peer:on('message', function (data)
      if data == 'over' then over = true return end
      local number = tonumber(data:match('^(%d+) x+$'))
      if not number or #data ~= 100 + number % 100 or heard[number] then wrong = wrong + 1 end
      heard[number or 0] = true
      count = count + 1
    end)
    for number = 1, 1000 do
      local start = number .. ' '
      assert(pair.client:send(start .. ('x'):rep(100 + number % 100 - #start)))
    end
    -- Said until it is heard, since the socket may still be full.
    local saying = uv.new_timer()
    saying:start(10, 10, function () pair.client:send('over') end)
    helper.runUntil(function () return over end)
    saying:close()
    helper.finish(pair.client, pair.server)
    assert.equal(0, wrong)
    assert.truthy(count > 100, count .. ' have arrived')
  end)
end)

describe('a socket that reports an error on receiving', function ()
  it('goes on receiving', function ()
    -- A relay whose front can go and come back, while the server sees the same peer.
    local back, front, clientPort = uv.new_udp()
    local server, port = helper.echoServer()
    assert(back:bind('127.0.0.1', 0))
    local function open(at)
      front = uv.new_udp()
      assert(front:bind('127.0.0.1', at))
      front:recv_start(function (_, data, from)
        if not from then return end
        clientPort = from.port
        back:try_send(data, '127.0.0.1', port)
      end)
      return front:getsockname().port
    end
    local at = open(0)
    back:recv_start(function (_, data, from)
      if from and not front:is_closing() then front:try_send(data, '127.0.0.1', clientPort) end
    end)
    local session = helper.connect(at)
    local warnings, heard = helper.record(session, 'warning'), helper.record(session, 'message')
    helper.runUntil(function () return session:getProtocol() end)
    front:close()
    helper.after(5, function () session:send('lost') end)
    helper.runUntil(function () return #warnings > 0 end)
    assert.equal('ECONNREFUSED', warnings[1][3])
    open(at)
    assert(session:send('arrives'))
    helper.runUntil(function () return #heard == 1 end)
    assert.equal('Echo: arrives', heard[1][2])
    session:close(function ()
      front:close()
      back:close()
    end)
    helper.runUntil(function () return server:stats().sessions == 0 end)
    helper.finish(server)
  end)
end)
