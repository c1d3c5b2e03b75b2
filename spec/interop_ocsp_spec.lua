local ends = require('spec.support.ends')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, patientServer, connect, echoed = ends.certified, ends.patient, ends.trusting, ends.echoed
local sClient, sServer, gnutlsCli, gnutlsServ =
  peers.sClient, peers.sServer, peers.gnutlsCli, peers.gnutlsServ

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('OCSP responses', function ()
  it('are stapled for openssl s_client', function ()
    local _, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = sClient(port, { '-status' })
    echoed(peer)
    peer:waitFor('OCSP Response Status: successful')
    peer:waitFor('Cert Status: good')
  end)

  it('are left out where nobody asks', function ()
    local _, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = sClient(port)
    echoed(peer)
    assert.is_nil(peer.output:find('OCSP Response Status'))
  end)

  it('may be missing', function ()
    local _, port = server()
    local peer = sClient(port, { '-status' })
    echoed(peer)
    peer:waitFor('OCSP response: no response sent')
  end)

  it('satisfy gnutls-cli', function ()
    local _, port = patientServer({ ocspResponse = (pki.ocspResponse(pki.identity('server'))) })
    local peer = gnutlsCli(port, { '--ocsp' })
    echoed(peer)
    peer:waitFor('OCSP status request')
  end)

  it('tell gnutls-cli of a revocation', function ()
    local each, port = server({ ocspResponse = (pki.ocspResponse(pki.identity('server'), true)) })
    gnutlsCli(port):waitFor('revoked via OCSP')
    assert.equal('ECERT', ends.clientErrorOf(each))
  end)

  for name, start in pairs({
    ['openssl s_server'] = function (path) return sServer({ '-status_file', path }) end,
    ['gnutls-serv'] = function (path) return gnutlsServ({ '--ocsp-response', path }) end,
  }) do
    it('are had from ' .. name, function ()
      local der, path = pki.ocspResponse(pki.identity('server'))
      local _, port = start(path)
      assert.equal(der, ends.opened(connect(port, { requestOCSP = true })):getOCSPResponse())
    end)

    it('are not had from ' .. name .. ' unasked', function ()
      local _, path = pki.ocspResponse(pki.identity('server'))
      local _, port = start(path)
      assert.is_nil(ends.opened(connect(port)):getOCSPResponse())
    end)
  end

  it('may be missing at openssl s_server', function ()
    local _, port = sServer()
    assert.is_nil(ends.opened(connect(port, { requestOCSP = true })):getOCSPResponse())
  end)

  it('may not be missing at openssl s_server where one is required', function ()
    local peer, port = sServer()
    local session = connect(port, { requireOCSP = true })
    assert.equal('EOCSP', ends.failureOf(session))
    assert.match('%(sent alert 113, ', session.seen[1][2])
    peer:waitFor('SSL alert number 113')
  end)

  it('of openssl s_server are enough where one is required', function ()
    local _, path = pki.ocspResponse(pki.identity('server'))
    local _, port = sServer({ '-status_file', path })
    assert.is_true(ends.opened(connect(port, { requireOCSP = true })).authorized)
  end)

  it('have a client refuse openssl s_server whose certificate is revoked', function ()
    local _, path = pki.ocspResponse(pki.identity('server'), true)
    local peer, port = sServer({ '-status_file', path })
    assert.equal('ECERTREVOKED', ends.failureOf(connect(port, { requestOCSP = true })))
    peer:waitFor('alert certificate revoked')
  end)

  it('about another certificate have a client refuse openssl s_server', function ()
    local _, path = pki.ocspResponse(pki.identity('client'))
    local _, port = sServer({ '-status_file', path })
    assert.equal('EOCSP', ends.failureOf(connect(port, { requestOCSP = true })))
  end)
end)
