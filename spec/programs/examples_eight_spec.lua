-- The eight examples that a reader begins with: {blocking, events} × {server, client} × {x509, psk}.

local ends = require('spec.support.ends')
local example = require('spec.support.example')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local STYLES = { 'blocking', 'events' }
local CIPHERS = { x509 = 'ECDHE-ECDSA-AES128-GCM-SHA256', psk = 'ECDHE-PSK-CHACHA20-POLY1305' }
local WAYS = { ['outside any coroutine'] = example.start, ['in a coroutine'] = example.startInCoroutine }

setup(function () program.need('setpriv', 'openssl', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

local function serverOf(style, kind, start, ...)
  local server = (start or example.start)(('%s-server-%s.lua'):format(style, kind), '127.0.0.1', 0, ...)
  return server, example.portOf(server)
end

local function clientOf(style, kind, start, ...)
  return (start or example.start)(('%s-client-%s.lua'):format(style, kind), 'localhost', ...)
end

for kind, cipher in pairs(CIPHERS) do
  local peer = kind == 'psk' and 'lamp%-7' or '127%.0%.0%.1 port %d+'
  local name = cipher:gsub('%-', '%%-')
  local file = kind == 'psk' and 'keys.psk' or 'cert.pem'

  for way, start in pairs(WAYS) do
    for _, style in ipairs(STYLES) do
      it(('%s-server-%s and its clients print what they should, %s'):format(style, kind, way), function ()
        local server, port = serverOf(style, kind, start)
        for _, other in ipairs(STYLES) do
          local client = clientOf(other, kind, start, port)
          assert.equal(0, client:waitForEnd())
          assert.equal('connected: DTLSv1.2, ' .. cipher .. '\nEcho: hello\nclosed: closed\n', client.output)
        end
        server:waitFor('closed.*closed [^\n]*\n')
        assert.equal(0, example.interrupt(server))
        local visit = ('connected %s: %s\nclosed %s: closed\n'):format(peer, name, peer)
        assert.matches('^listening on 127%.0%.0%.1 port %d+\n' .. visit .. visit .. '$', server.output)
      end)
    end
  end

  for _, style in ipairs(STYLES) do
    it(('%s-client-%s sends its messages one by one'):format(style, kind), function ()
      local _, port = serverOf('events', kind)
      local client = clientOf(style, kind, nil, port, file, 'one', 'two', 'three and more')
      assert.equal(0, client:waitForEnd())
      assert.matches('\nEcho: one\nEcho: two\nEcho: three and more\nclosed: closed\n$', client.output)
    end)

    it(('%s-server-%s serves several at once, and says goodbye'):format(style, kind), function ()
      local server, port = serverOf(style, kind)
      local psk = kind == 'psk' and example.psk or nil
      local mine = ends.connect(port, { psk = psk, ca = helper.localhost().cert })
      assert.equal('Echo: first', ends.asked(ends.opened(mine), 'first'))
      assert.equal(0, clientOf('events', kind, nil, port):waitForEnd())
      assert.equal('Echo: last', ends.asked(mine, 'last'))
      assert.equal(0, example.interrupt(server))
      helper.runUntil(function () return mine.seen[#mine.seen][1] == 'close' end)
    end)
  end
end

-- What takes long takes long for all at once: the four clients of a test run beside each other.

-- Starts the client of each style and kind with what `given(kind, style)` returns, and waits for all.
local function clients(given)
  local list = {}
  for _, style in ipairs(STYLES) do
    for kind in pairs(CIPHERS) do
      local client = clientOf(style, kind, nil, given(kind, style))
      list[#list + 1] = { kind = kind, style = style, child = client }
    end
  end
  for _, each in ipairs(list) do each.status, each.output = each.child:waitForEnd(), each.child.output end
  return list
end

describe('a client', function ()
  -- A server of this process for a kind of client, and its port.
  local function listen(kind, onConnection)
    local identity = helper.localhost()
    return select(2, ends.listen(kind == 'psk' and { psk = { [example.psk.identity] = example.psk.key } }
      or { cert = identity.cert, key = identity.key }, onConnection))
  end

  it('says so when its server goes', function ()
    for _, each in ipairs(clients(function (kind)
      return listen(kind, function (session) session:on('message', function () session:close() end) end)
    end)) do
      assert.not_equal(0, each.status)
      assert.matches('the server has closed the session\n', each.output)
    end
  end)

  it('says so when its server does not answer', function ()
    for _, each in ipairs(clients(function (kind) return listen(kind) end)) do
      assert.not_equal(0, each.status)
      local expected = each.style == 'events' and 'the server does not answer\n' or 'ETIMEDOUT: '
      assert.matches(expected, each.output)
    end
  end)

  it('refuses a server that nobody vouches for, or is refused with an unknown identity', function ()
    local servers, ports = {}, {}
    for _, style in ipairs(STYLES) do
      for kind in pairs(CIPHERS) do
        local server, port = serverOf(style, kind)
        servers[#servers + 1] = server
        ports[style .. kind] = port
      end
    end
    local files = {
      x509 = pki.ca('stranger').certPath, psk = pki.write('wrong.psk', 'lamp-8:00112233445566778899\n'),
    }
    for _, each in ipairs(clients(function (kind, style) return ports[style .. kind], files[kind] end)) do
      assert.not_equal(0, each.status)
      assert.matches(each.kind == 'psk' and 'EPSKIDENTITY: ' or 'EUNKNOWNCA: ', each.output)
    end
    for _, server in ipairs(servers) do server:waitFor('refused 127%.0%.0%.1 port %d+: E%u+: ') end
  end)

  it('is answered by gnutls-serv', function ()
    for _, each in ipairs(clients(function (kind)
      if kind == 'x509' then return select(2, peers.gnutlsServ()), pki.ca('authority').certPath end
      return select(2, peers.gnutlsServ(peers.gnutlsServPsk(example.psk, '+ECDHE-PSK')))
    end)) do
      assert.equal(0, each.status)
      assert.matches('\nhello\nclosed: closed\n$', each.output)
    end
  end)

  it('says which file is missing', function ()
    for _, style in ipairs(STYLES) do
      for kind in pairs(CIPHERS) do
        local client = clientOf(style, kind, nil, 9, 'nowhere')
        assert.not_equal(0, client:waitForEnd())
        assert.matches('nowhere: No such file', client.output)
      end
    end
  end)
end)

describe('a server', function ()
  -- The message comes from openssl with its end of line.
  local function talk(port, ...)
    local peer = example.run('openssl', 's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port, ...)
    peer:write('hello\n')
    peer:waitFor('Echo: hello\n')
  end

  it('answers openssl s_client', function ()
    for _, style in ipairs(STYLES) do
      talk(select(2, serverOf(style, 'x509')), '-CAfile', 'cert.pem', '-verify_return_error')
      talk(select(2, serverOf(style, 'psk')), unpack(peers.sClientPsk(example.psk, CIPHERS.psk)))
    end
  end)

  it('says which file is missing', function ()
    for _, style in ipairs(STYLES) do
      for kind in pairs(CIPHERS) do
        local server = example.start(('%s-server-%s.lua'):format(style, kind), '127.0.0.1', 0, 'nowhere')
        assert.not_equal(0, server:waitForEnd())
        assert.matches('nowhere: No such file', server.output)
      end
    end
  end)
end)
