local dtls = require('dtls')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, connect, echoed = ends.certified, ends.trusting, ends.echoed
local merge = helper.merge

-- What a server shows to those who want a certain host: a certificate that says which.
local function context(id, options)
  local identity = pki.identity(id)
  return dtls.createContext(merge({ cert = identity.cert, key = identity.key }, options))
end

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a server of several hosts, to openssl s_client,', function ()
  -- The options of a client, and the certificate it is shown.
  for options, shown in pairs({
    ['-servername a.test'] = 'sni-a', ['-servername A.Test'] = 'sni-a', ['-servername x.b.test'] = 'sni-b',
    ['-servername b.test'] = 'sni-rest', ['-servername x.y.b.test'] = 'sni-rest',
    ['-servername c.test'] = 'sni-rest', ['-noservername'] = 'sni-rest',
  }) do
    it('shows the certificate for ' .. options, function ()
      local session
      local _, port = server({
        sni = { ['a.test'] = context('sni-a'), ['*.b.test'] = context('sni-b'), ['*'] = context('sni-rest') },
      }, function (each) session = each end)
      local option, name = options:match('^(%S+) ?(.*)$')
      local peer = peers.sClient(port, { option, name ~= '' and name or nil })
      echoed(peer)
      peer:waitFor('\n 0 s:CN = ' .. shown:gsub('%p', '%%%0') .. '\n')
      assert.equal(name ~= '' and name:lower() or nil, session.servername)
    end)
  end

  it('shows its own certificate where no host is named, and none is for that', function ()
    local _, port = server({ sni = { ['a.test'] = context('sni-a') } })
    local peer = peers.sClient(port, { '-noservername' })
    echoed(peer)
    peer:waitFor('\n 0 s:CN = server\n')
  end)

  it('refuses an unknown host and says so', function ()
    local each, port = server({ sni = { ['a.test'] = context('sni-a') } })
    peers.sClient(port, { '-servername', 'c.test' }):waitFor('SSL alert number 112')
    assert.equal('ESERVERNAME', ends.clientErrorOf(each))
    assert.match("'c%.test'.* %(sent alert 112, ", each.failures[1][2])
    assert.equal(0, each:stats().sessions)
  end)

  it('asks a function, which may take its time', function ()
    local asked, connected
    local _, port = server({
      sni = function (name, session, done)
        asked = { name, session }
        helper.after(20, function () done(context('sni-a')) end)
      end,
    }, function (session) connected = session end)
    local peer = peers.sClient(port, { '-servername', 'a.test' })
    echoed(peer)
    peer:waitFor('\n 0 s:CN = sni%-a\n')
    assert.equal('a.test', asked[1])
    assert.equal(connected, asked[2])
  end)

  it('asks for a certificate where the host does', function ()
    local names, identity = {}, pki.identity('client')
    local strict = context('sni-a', { requestCert = true, ca = pki.ca('authority').cert })
    local each, port = server({ sni = { ['a.test'] = strict, ['b.test'] = context('sni-b') } },
      function (session)
        local certificate = session:getPeerCertificate()
        names[session.servername] = certificate and certificate.subject.CN or 'nobody'
      end)
    local shown = { '-cert', identity.certPath, '-key', identity.keyPath }
    echoed(peers.sClient(port, peers.list({ '-servername', 'a.test' }, shown)))
    echoed(peers.sClient(port, peers.list({ '-servername', 'b.test' }, shown)))
    assert.same({ ['a.test'] = 'client', ['b.test'] = 'nobody' }, names)
    peers.sClient(port, { '-servername', 'a.test' }):waitFor('alert handshake failure')
    assert.equal('ENOCERT', ends.clientErrorOf(each))
  end)

  it('has keys of its own for each host', function ()
    local function keyed(psk) return dtls.createContext({ psk = { ['dev-1'] = psk } }) end
    local _, port = ends.server({ psk = { nobody = 'x' }, sni = {
      ['a.test'] = keyed('first key'), ['b.test'] = keyed('second key'),
    } })
    for name, key in pairs({ ['a.test'] = 'first key', ['b.test'] = 'second key' }) do
      echoed(peers.sClient(port, peers.list({ '-servername', name },
        peers.sClientPsk({ identity = 'dev-1', key = key }, 'ECDHE-PSK-CHACHA20-POLY1305'))))
    end
  end)
end)

describe('a server of several hosts, to gnutls-cli,', function ()
  it('shows the certificate for the host it wants', function ()
    local _, port = server({ sni = { ['a.test'] = context('sni-a') }, retransmitTimeout = 500 })
    local peer = peers.gnutlsCli(port, { '--sni-hostname', 'a.test', '--verify-hostname', 'localhost' })
    echoed(peer)
    peer:waitFor('subject `CN=sni%-a\'')
  end)

  -- It heeds an alert no sooner than it would repeat its hello, a second later: that is not waited for.
  it('refuses an unknown host', function ()
    local each, port = server({ sni = { ['a.test'] = context('sni-a') } })
    peers.gnutlsCli(port, { '--sni-hostname', 'c.test' })
    assert.equal('ESERVERNAME', ends.clientErrorOf(each))
    assert.equal(0, each:stats().sessions)
  end)
end)

describe('a client of a server of several hosts', function ()
  local function second(more)
    local identity = pki.identity('sni-second', 'ecdsa', 'DNS:b.test')
    return peers.sServer(peers.list(
      { '-servername', 'b.test', '-cert2', identity.certPath, '-key2', identity.keyPath }, more or {}))
  end

  it('is shown by openssl s_server what it wants', function ()
    local peer, port = second({ '-servername_fatal' })
    local session = ends.opened(connect(port, { servername = 'b.test' }))
    peer:waitFor('Hostname in TLS extension: "b%.test"\n')
    peer:waitFor('Switching server context%.\n')
    assert.equal('sni-second', session:getPeerCertificate().subject.CN)
    assert.is_true(session.authorized)
    assert.equal('b.test', session.servername)
  end)

  it('names no host to openssl s_server where all it has is an address', function ()
    local peer, port = second({ '-servername_fatal' })
    local session = ends.opened(connect(port))
    assert.equal('server', session:getPeerCertificate().subject.CN)
    assert.is_nil(session.servername)
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    assert.is_nil(peer.output:find('Hostname in TLS extension'))
  end)

  it('hears from openssl s_server that a host is unknown', function ()
    local _, port = second({ '-servername_fatal' })
    local session = connect(port, { servername = 'c.test' })
    assert.equal('ESERVERNAME', ends.failureOf(session))
    assert.match('%(received alert 112, ', session.seen[1][2])
  end)

  -- An alert of the level of a warning, which changes nothing.
  it('goes on with openssl s_server where that only warns of an unknown host', function ()
    local peer, port = second()
    local session = ends.opened(connect(port, { servername = 'localhost' }))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
  end)

  -- It has the certificate of another.
  it('is known to gnutls-serv by the host it wants', function ()
    local _, port = peers.gnutlsServ({ '--sni-hostname', 'b.test', '--sni-hostname-fatal' })
    ends.opened(connect(port, { servername = 'b.test', rejectUnauthorized = false }))
  end)

  -- It keeps the alert to itself.
  it('may be refused by gnutls-serv for the host it wants', function ()
    local peer, port = peers.gnutlsServ({ '--sni-hostname', 'b.test', '--sni-hostname-fatal' })
    connect(port, { servername = 'c.test' })
    peer:waitFor('SNI host name not recognised')
  end)
end)
