local ends = require('spec.support.ends')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, connect, echoed = ends.certified, ends.trusting, ends.echoed
local sClient, sServer, gnutlsCli = peers.sClient, peers.sServer, peers.gnutlsCli

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a list of revoked certificates', function ()
  it('lets a client refuse openssl s_server, which hears why', function ()
    local peer, port = sServer()
    local session = connect(port, { crl = (pki.crl(pki.identity('server'))) })
    assert.equal('ECERTREVOKED', ends.failureOf(session))
    peer:waitFor('alert certificate revoked')
  end)

  it('lets a client accept openssl s_server where it is not in it', function ()
    local _, port = sServer()
    assert.is_true(ends.opened(connect(port, { crl = (pki.crl(pki.identity('client'))) })).authorized)
  end)

  it('lets a server refuse openssl s_client, which hears why', function ()
    local client = pki.identity('client')
    local each, port = server({ requestCert = true, ca = pki.ca('authority').cert, crl = (pki.crl(client)) })
    sClient(port, { '-cert', client.certPath, '-key', client.keyPath }):waitFor('alert certificate revoked')
    assert.equal('ECERTREVOKED', ends.clientErrorOf(each))
  end)

  it('lets a server accept openssl s_client where it is not in it', function ()
    local client = pki.identity('client')
    local _, port = server({
      requestCert = true, ca = pki.ca('authority').cert, crl = (pki.crl(pki.identity('server'))),
    })
    echoed(sClient(port, { '-cert', client.certPath, '-key', client.keyPath }))
  end)

  -- The programs' own, so that it is known that theirs and ours are lists of the same kind.
  it('is one to openssl and to GnuTLS', function ()
    local each, port = server()
    local _, path = pki.crl(pki.identity('server'))
    sClient(port, { '-CRL', path, '-crl_check', '-verify_return_error' }):waitFor('certificate revoked')
    assert.equal('ECERTREVOKED', ends.clientErrorOf(each))
    gnutlsCli(port, { '--x509crlfile', path }):waitFor('The certificate chain is revoked')
  end)
end)

describe('fingerprints', function ()
  it('are enough to trust openssl s_server', function ()
    local stranger = pki.ca('stranger')
    local peer, port = sServer({}, stranger)
    local session = ends.opened(ends.connect(port, { fingerprints = { pki.fingerprint(stranger) } }))
    session:send('hello\n')
    peer:waitFor('\nhello\n')
    assert.is_true(session.authorized)
  end)

  it('of another refuse openssl s_server', function ()
    local _, port = sServer()
    assert.equal('EFINGERPRINT', ends.failureOf(ends.connect(port, {
      fingerprints = { pki.fingerprint(pki.ca('stranger')) },
    })))
  end)

  it('are enough to trust openssl s_client', function ()
    local stranger = pki.ca('stranger')
    local _, port = server({ requestCert = true, fingerprints = { pki.fingerprint(stranger) } })
    echoed(sClient(port, { '-cert', stranger.certPath, '-key', stranger.keyPath }))
  end)

  it('of another refuse openssl s_client', function ()
    local client = pki.identity('client')
    local each, port = server({ requestCert = true, fingerprints = { pki.fingerprint(pki.ca('stranger')) } })
    sClient(port, { '-cert', client.certPath, '-key', client.keyPath }):waitFor('alert bad certificate')
    assert.equal('EFINGERPRINT', ends.clientErrorOf(each))
  end)
end)
