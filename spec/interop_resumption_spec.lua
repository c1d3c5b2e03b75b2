local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, connect, echoed = ends.certified, ends.trusting, ends.echoed
local list = peers.list
local sClient, sServer, gnutlsCli, gnutlsServ =
  peers.sClient, peers.sServer, peers.gnutlsCli, peers.gnutlsServ

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('tickets', function ()
  local FIRST, SECOND = ('1'):rep(48), ('2'):rep(48)

  -- A session of openssl s_client that ends in good order, and whether it was a new one.
  local function visit(port, more)
    local peer = sClient(port, more)
    echoed(peer)
    local kind = peer:waitFor('\n(%u%l+), TLSv1%.2, Cipher is ')
    peer:write('Q\n')
    peer:waitForEnd()
    return kind
  end

  local function fileOf(name) return pki.path(name .. '.session') end

  it('are taken back from openssl s_client', function ()
    local reused = {}
    local _, port = server({}, function (session) reused[#reused + 1] = session:isSessionReused() end)
    local file = fileOf('plain')
    assert.equal('New', visit(port, { '-sess_out', file }))
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    assert.same({ false, true }, reused)
  end)

  it('are taken back by another server with the same keys', function ()
    local _, first = server({ ticketKeys = { FIRST } })
    local _, second = server({ ticketKeys = { FIRST } })
    local file = fileOf('shared')
    assert.equal('New', visit(first, { '-sess_out', file }))
    assert.equal('Reused', visit(second, { '-sess_in', file }))
  end)

  -- (s_client takes a renewed ticket, and writes it nowhere.)
  it('are taken back as long as their key is in the list', function ()
    local each, port = server({ ticketKeys = { FIRST } })
    local file = fileOf('old')
    visit(port, { '-sess_out', file })
    each:setTicketKeys({ SECOND, FIRST })
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    each:setTicketKeys({ SECOND })
    assert.equal('New', visit(port, { '-sess_in', file }))
  end)

  it('are not taken back by a server that has made up keys of its own', function ()
    local _, first = server()
    local _, second = server()
    local file = fileOf('own')
    visit(first, { '-sess_out', file })
    assert.equal('New', visit(second, { '-sess_in', file }))
  end)

  it('say how long they last', function ()
    local _, port = server({ sessionTimeout = 123 })
    sClient(port):waitFor('TLS session ticket lifetime hint: 123 %(seconds%)')
  end)

  it('keep whom a certificate has shown', function ()
    local seen = {}
    local _, port = server({ requestCert = true, ca = pki.ca('authority').cert }, function (session)
      local certificate = session:getPeerCertificate()
      seen[#seen + 1] = {
        session:isSessionReused(), session.authorized, certificate and certificate.subject.CN,
      }
    end)
    local identity, file = pki.identity('client'), fileOf('identity')
    local shown = { '-cert', identity.certPath, '-key', identity.keyPath }
    visit(port, list({ '-sess_out', file }, shown))
    assert.equal('Reused', visit(port, { '-sess_in', file }))
    assert.same({ { false, true, 'client' }, { true, true, 'client' } }, seen)
  end)

  it('are taken back from gnutls-cli', function ()
    local reused = {}
    local _, port = server({}, function (session) reused[#reused + 1] = session:isSessionReused() end)
    local peer = gnutlsCli(port, { '--resume' })
    peer:waitFor('This is a resumed session')
    echoed(peer)
    assert.same({ false, true }, reused)
  end)

  for name, start in pairs({
    -- With `-listen` it serves one client only.
    ['openssl s_server'] = function () return sServer({}, nil, { '-dtls1_2' }) end,
    ['gnutls-serv'] = gnutlsServ,
  }) do
    it('are given back to ' .. name, function ()
      local peer, port = start()
      local first = ends.opened(connect(port))
      assert.is_false(first:isSessionReused())
      local blob = first:getSession()
      assert.is_string(blob)
      first:close()
      helper.runUntil(function () return first.seen[#first.seen][1] == 'close' end)
      local second = ends.opened(connect(port, { session = blob }))
      assert.is_true(second:isSessionReused())
      assert.is_true(second.authorized)
      if name == 'openssl s_server' then peer:waitFor('Reused session%-id') end
    end)
  end

  it('mean nothing to a server of other keys', function ()
    local _, first = sServer({}, nil, { '-dtls1_2' })
    local blob = ends.opened(connect(first)):getSession()
    local peer, second = sServer({}, nil, { '-dtls1_2' })
    local session = ends.opened(connect(second, { session = blob }))
    assert.is_false(session:isSessionReused())
    session:send('hello\n')
    peer:waitFor('\nhello\n')
  end)
end)
