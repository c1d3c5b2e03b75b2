-- Link-local addresses, which mean something only together with an interface: luv reports them without it.

local helper = require('spec.helper')
local namespace = require('spec.support.namespace')
local program = require('spec.support.program')

-- A server with these options at one end of a cable, which lives for a second or until its session has ended.
local function serving(host, options)
  return ([[
    local identity = dtls.generateCertificate()
    local server
    local timer = uv.new_timer()
    local function leave()
      if timer:is_closing() then return end
      timer:close()
      print('errors', server:stats().sendErrors > 0)
      server:close()
    end
    timer:start(1000, 0, leave)
    server = dtls.createServer({ cert = identity.cert, key = identity.key, %s }, function (session)
      print('peer', session:remoteAddress().ip, session._socket and session._socket.connected)
      session:on('message', function (data) session:send(data) end)
      session:on('close', leave)
    end)
    server:on('warning', print)
    assert(server:listen(5684, '%s'))
  ]]):format(options or '', host)
end

local CLIENT = [[
  local session = dtls.connect({
    host = 'fe80::1%right', port = 5684, rejectUnauthorized = false, handshakeTimeout = 700,
    retransmitTimeout = 100,
  })
  session:on('secureConnection', function () session:send('hello') end)
  session:on('error', print)
  session:on('message', function (data)
    print('heard', data, session:remoteAddress().ip)
    session:close()
  end)
]]

describe('a server with a link-local address', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  local function sorted(output)
    local lines = {}
    for line in output:gmatch('[^\n]+') do lines[#lines + 1] = line end
    table.sort(lines)
    return lines
  end

  namespace.it('answers the peers of its own link', function ()
    assert.same({ 'errors\tfalse', 'heard\thello\tfe80::1', 'peer\tfe80::2\tnil' },
      sorted(namespace.cable(serving('fe80::1%left'), CLIENT)))
  end)

  namespace.it('gives them sockets of their own', function ()
    assert.same({ 'errors\tfalse', 'heard\thello\tfe80::1', 'peer\tfe80::2\ttrue' },
      sorted(namespace.cable(serving('fe80::1%left', 'perPeerSocket = true'), CLIENT)))
  end)

  namespace.it('tells the system which link that is', function ()
    assert.matches('sent to fe80::2%%left\n', namespace.cable(serving('fe80::1%left') .. [[
      local batch = server._udp.batch
      local methods = batch and getmetatable(batch) or getmetatable(server._udp.handle).__index
      local name = batch and 'send' or 'try_send'
      local send = methods[name]
      methods[name] = function (by, data, ip, port)
        print('sent to ' .. ip)
        return send(by, data, ip, port)
      end
    ]], CLIENT))
  end)

  -- With several links the system sends by the first that it finds, and nobody hears of the others' loss.
  namespace.it('that is bound to all addresses answers where there is one link', function ()
    assert.same({ 'errors\tfalse', 'heard\thello\tfe80::1', 'peer\tfe80::2\tnil' },
      sorted(namespace.cable(serving('::'), CLIENT)))
  end)

  namespace.it('that is bound to all addresses has no sockets for them, and serves them', function ()
    local output = namespace.cable(serving('::', 'perPeerSocket = true'), CLIENT)
    assert.matches('EINVAL: [%l ]+: a peer gets no socket of its own', output)
    assert.matches('heard\thello', output)
  end)

  namespace.it('is lost with its interface, which harms nobody else', function ()
    local output = namespace.run([[
      shell('ip link add left type veth peer name right')
      for number, name in ipairs({ 'left', 'right' }) do
        shell(('ip link set %s addrgenmode none && ip link set %s up'):format(name, name))
        shell(('ip address add fe80::%d/64 dev %s nodad'):format(number, name))
      end
      local identity = dtls.generateCertificate()
      local server = dtls.createServer({ cert = identity.cert, key = identity.key })
      assert(server:listen(5684, '::'))
      local endpoint = dtls.createEndpoint({ rejectUnauthorized = false, retransmitTimeout = 100 })
      endpoint:on('warning', function (_, name) print('warning', name) end)
      local session = endpoint:connect({ host = 'fe80::2%right', port = 5684 })
      session:on('secureConnection', function ()
        shell('ip link delete left')
        print(select(3, session:send('lost')))
        session:close()
      end)
      session:on('close', function (reason)
        print('closed', reason)
        server:close()
        endpoint:close()
      end)
    ]])
    assert.equal('ENETUNREACH\nwarning\tENETUNREACH\nclosed\tclosed\n', output)
  end)

  namespace.it('may be the peer of an endpoint that has one socket for all', function ()
    local output = namespace.cable(serving('fe80::1%left'), [[
      local endpoint = dtls.createEndpoint({ rejectUnauthorized = false, retransmitTimeout = 100 })
      local session = endpoint:connect({ host = 'fe80::1%right', port = 5684 })
      session:on('secureConnection', function () session:send('hello') end)
      session:on('message', function (data)
        print('heard', data)
        session:close(function () endpoint:close() end)
      end)
    ]])
    assert.matches('heard\thello\n', output)
  end)
end)
