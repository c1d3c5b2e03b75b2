-- dtls-nc with OpenSSL's and GnuTLS's own programs, as server and as client, by certificate and by key.

local helper = require('spec.helper')
local nc = require('spec.support.nc')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local PSK = { identity = 'dev-1', key = '\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16' }
local HEX = 'dev-1:0102030405060708090a0b0c0d0e0f10'
-- A suite that all have, and that gnutls-cli survives.
local SUITE, SUITES = 'PSK-AES128-GCM-SHA256', '+PSK:-CIPHER-ALL:+AES-128-GCM'

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(nc.stopAll)

-- A server of the authority's, or with a pre-shared key.
local function certified(...)
  local own = pki.identity('server')
  return nc.server('-v', '-c', own.certPath, '-k', own.keyPath, ...)
end

local function keyed(...)
  return nc.server('-v', '--psk', HEX, '--ciphers', SUITE, ...)
end

-- Clients of the same kinds.
local function trusting(port, ...)
  return nc.client(port, nil, '-v', '-C', pki.ca('authority').certPath, ...)
end

local function withKey(port, ...)
  return nc.client(port, nil, '-v', '--psk', HEX, '--ciphers', SUITE, ...)
end

-- Both ends say something, and hear it as it was said.
local function talk(ours, theirs)
  theirs:write('from another maker\n')
  ours:waitFor('\nfrom another maker\n')
  ours:write('from dtls-nc\n')
  theirs:waitFor('from dtls%-nc\n')
end

describe('dtls-nc -l', function ()
  it('talks with openssl s_client, by certificate', function ()
    local server, port = certified()
    local peer = peers.sClient(port, { '-verify_return_error' })
    peer:waitFor('Verify return code: 0 %(ok%)')
    talk(server, peer)
    server:waitFor('connected: DTLSv1%.2, ECDHE%S+, no certificate\n')
    peer:write('Q\n')
    server:waitFor('closed\n')
  end)

  it('talks with openssl s_client, by certificates of both', function ()
    local client = pki.identity('client')
    local server, port = certified('-C', pki.ca('authority').certPath)
    talk(server, peers.sClient(port, { '-cert', client.certPath, '-key', client.keyPath }))
    server:waitFor('connected: .*, verified DNS:localhost\n')
  end)

  it('talks with openssl s_client, by a pre-shared key', function ()
    local server, port = keyed()
    talk(server, peers.sClient(port, peers.sClientPsk(PSK, SUITE)))
    server:waitFor('connected: DTLSv1%.2, ' .. SUITE:gsub('%p', '%%%0') .. ', pre%-shared key of dev%-1\n')
  end)

  it('talks with gnutls-cli, by certificate', function ()
    local server, port = certified()
    local peer = peers.gnutlsCli(port)
    peer:waitFor('Handshake was completed')
    talk(server, peer)
  end)

  it('talks with gnutls-cli, by a pre-shared key', function ()
    local server, port = keyed()
    local peer = peers.gnutlsCli(port, peers.gnutlsCliPsk(PSK, SUITES))
    peer:waitFor('Handshake was completed')
    talk(server, peer)
  end)

  it('serves all of them at once, and marks whom it hears', function ()
    local server, port = certified('--psk', HEX, '--ciphers', SUITE .. ':ECDHE-ECDSA-AES128-GCM-SHA256')
    local all = {
      peers.sClient(port), peers.sClient(port, peers.sClientPsk(PSK, SUITE)), trusting(port), withKey(port),
    }
    local cli = peers.gnutlsCli(port)
    cli:waitFor('Handshake was completed')
    all[#all + 1] = cli
    helper.runUntil(function ()
      local _, count = server.output:gsub(' connected: ', '')
      return count == #all
    end)
    for number, each in ipairs(all) do each:write(('number %d\n'):format(number)) end
    for number = 1, #all do server:waitFor(('\n%%[127%%.0%%.0%%.1:%%d+%%] number %d\n'):format(number)) end
    server:write('to all\n')
    for _, each in ipairs(all) do each:waitFor('to all\n') end
  end)
end)

describe('dtls-nc', function ()
  it('talks with openssl s_server, by certificate', function ()
    local peer, port = peers.sServer()
    local client = trusting(port, '-q', '0')
    client:waitFor('connected to 127%.0%.0%.1:%d+: DTLSv1%.2, ECDHE%S+, verified DNS:localhost\n')
    talk(client, peer)
    assert.equal(0, nc.say(client):waitForEnd())
    peer:waitFor('DONE')
  end)

  it('talks with openssl s_server, by certificates of both', function ()
    local own = pki.identity('client')
    local peer, port = peers.sServer({ '-Verify', '1', '-verify_return_error' })
    local client = trusting(port, '-c', own.certPath, '-k', own.keyPath)
    talk(client, peer)
  end)

  it('talks with openssl s_server, by a pre-shared key', function ()
    local peer, port = peers.sServer(peers.sServerPsk(PSK, SUITE))
    local client = withKey(port)
    client:waitFor('pre%-shared key of dev%-1\n')
    talk(client, peer)
  end)

  it('wants the name that --servername says, and agrees on a protocol', function ()
    local peer, port = peers.sServer({ '-alpn', 'coap' })
    local client = trusting(port, '--servername', 'localhost', '--alpn', 'http/1.1,coap')
    client:waitFor('ALPN coap\n')
    talk(client, peer)
  end)

  it('is echoed by gnutls-serv, by certificate', function ()
    local _, port = peers.gnutlsServ()
    local client = trusting(port, '-q', '0.5')
    client:waitFor('verified DNS:localhost')
    nc.say(client, 'hello\n')
    assert.equal(0, client:waitForEnd())
    assert.matches('\nhello\n', client.output)
  end)

  it('is echoed by gnutls-serv, by a pre-shared key', function ()
    local _, port = peers.gnutlsServ(peers.gnutlsServPsk(PSK, SUITES))
    local client = withKey(port, '-q', '0.5')
    client:waitFor('pre%-shared key of dev%-1\n')
    nc.say(client, 'hello\n')
    assert.equal(0, client:waitForEnd())
    assert.matches('\nhello\n', client.output)
  end)

  it('refuses a server of openssl that its authority has not vouched for', function ()
    local _, port = peers.sServer()
    local client = nc.client(port, nil, '-C', pki.ca('another authority').certPath)
    assert.equal(1, client:waitForEnd())
    assert.matches('^dtls%-nc: EUNKNOWNCA: [^\n]*\n$', client.output)
  end)

  it('finds out in time that a server of openssl has another key', function ()
    local _, port = peers.sServer(peers.sServerPsk(PSK, SUITE))
    local client = nc.client(port, nil, '--psk', 'dev-1:ffff', '--ciphers', SUITE, '-w', '0.5')
    assert.equal(1, client:waitForEnd())
    assert.matches('^dtls%-nc: EPSKKEY: [^\n]*\n$', client.output)
  end)

  -- As many as its socket holds, should it not be looking.
  it('sends lines that arrive whole and in order at openssl s_server', function ()
    local said = nc.lines(16 * 1024, 5)
    local peer, port = peers.sServer()
    local client = nc.redirected('<' .. pki.write('s_server.in', said), '-C', pki.ca('authority').certPath,
      '127.0.0.1', port)
    assert.equal(0, client:waitForEnd(20000))
    peer:waitFor('DONE')
    assert.is_truthy(peer.output:find(said, 1, true), #peer.output .. ' bytes')
  end)
end)
