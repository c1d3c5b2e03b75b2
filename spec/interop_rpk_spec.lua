local coap = require('spec.support.coap')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local echoed = ends.echoed
local list, merge = peers.list, helper.merge
local gnutlsCli, gnutlsServ = peers.gnutlsCli, peers.gnutlsServ

setup(function ()
  program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv', 'coap-client-gnutls', 'coap-server-gnutls')
end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('raw public keys', function ()
  local function raw(identity, known)
    return { key = identity.key, rawPublicKeys = { (pki.publicKey(known)) } }
  end

  -- It cannot verify one: it is told not to mind.
  local function client(port, identity)
    return gnutlsCli(port, list({ '--insecure' }, peers.gnutlsRaw(identity)))
  end

  it('are shown to gnutls-cli, and asked of it', function ()
    local ours, theirs = pki.identity('server'), pki.identity('client')
    local session
    local _, port = ends.server(merge(raw(ours, theirs), { requestCert = true }),
      function (each) session = each end)
    local peer = client(port, theirs)
    peer:waitFor('Certificate type: Raw Public Key')
    echoed(peer)
    peer:waitFor('%(DTLS1%.2%-Raw Public Key%)')
    assert.is_true(session.authorized)
    assert.is_nil(session:getPeerCertificate())
  end)

  it('are shown to gnutls-cli, and not asked of it', function ()
    local _, port = ends.server({ key = pki.identity('server').key })
    local peer = client(port, pki.identity('client'))
    peer:waitFor('Certificate type: Raw Public Key')
    echoed(peer)
  end)

  it('of others are refused to gnutls-cli', function ()
    local each, port = ends.server(
      merge(raw(pki.identity('server'), pki.identity('other')), { requestCert = true }))
    client(port, pki.identity('client')):waitFor('alert')
    assert.is_string(ends.clientErrorOf(each))
    assert.equal(0, each:stats().sessions)
  end)

  it('are all that a server has, and gnutls-cli without them hears of it', function ()
    local each, port = ends.server({ key = pki.identity('server').key })
    gnutlsCli(port)
    assert.is_string(ends.clientErrorOf(each))
  end)

  it('are shown to gnutls-serv, and asked of it', function ()
    local ours, theirs = pki.identity('client'), pki.identity('server')
    local _, port = gnutlsServ(list({ '--require-client-cert' }, peers.gnutlsRaw(theirs)))
    local session = ends.opened(ends.connect(port, raw(ours, theirs)))
    assert.equal('hello\n', ends.asked(session, 'hello\n'))
    assert.is_true(session.authorized)
  end)

  it('of others are refused to gnutls-serv', function ()
    local peer, port = gnutlsServ(peers.gnutlsRaw(pki.identity('server')))
    local session = ends.connect(port, raw(pki.identity('client'), pki.identity('other')))
    assert.is_string(ends.failureOf(session))
    peer:waitFor('[Aa]lert')
  end)
end)

-- libcoap over OpenSSL has no raw public keys.
describe('raw public keys in CoAP', function ()
  -- Asks an established session for the time.
  local function ask(session)
    return coap.decode(ends.asked(session, coap.get('time', 0x1234)))
  end

  it('are shown to coap-client over gnutls, and asked of it', function ()
    local ours, theirs = pki.identity('server'), pki.identity('client')
    local authorized
    local _, port = ends.listen({
      key = ours.key, requestCert = true, rawPublicKeys = { (pki.publicKey(theirs)) },
    }, function (session)
      authorized = session.authorized
      coap.serve(session, 'world')
    end)
    local peer = coap.client('gnutls', port, { '-M', coap.rawKeyFile(theirs) })
    peer:waitForEnd()
    assert.equal('world\n', peer.output)
    assert.is_true(authorized)
  end)

  it('are shown to coap-server over gnutls, and asked of it', function ()
    local ours, theirs = pki.identity('client'), pki.identity('server')
    local peer, port = coap.server('gnutls', { '-M', coap.rawKeyFile(theirs) })
    local session = ends.opened(ends.connect(port, {
      key = ours.key, rawPublicKeys = { (pki.publicKey(theirs)) },
    }))
    assert.is_true(session.authorized)
    assert.equal('2.05', ask(session).code)
    peer:waitFor("CN 'RPK' presented by client")
  end)

  it('of others are refused', function ()
    local _, port = coap.server('gnutls', { '-M', coap.rawKeyFile(pki.identity('server')) })
    local session = ends.connect(port, {
      key = pki.identity('client').key, rawPublicKeys = { (pki.publicKey(pki.identity('other'))) },
    })
    assert.is_string(ends.failureOf(session))
  end)
end)
