local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local PSK = { identity = 'dev-1', key = '\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16' }

-- What a constrained device must speak (RFC 7252 section 9.1.3, RFC 7925 section 4). Their tags of 64 bits
-- are too short for any security level of OpenSSL's but 0.
--
-- Of each suite: what a server and a client of ours are given for it, and the options of the programs of
-- OpenSSL and GnuTLS, which speak nothing else.
local SUITES = {
  ['PSK-AES128-CCM8'] = {
    server = function () return { psk = { [PSK.identity] = PSK.key } } end,
    client = function () return { psk = PSK } end,
    sClient = function (list) return peers.sClientPsk(PSK, list) end,
    sServer = function (list) return peers.sServerPsk(PSK, list) end,
    gnutlsCli = function () return peers.gnutlsCliPsk(PSK, '+PSK:-CIPHER-ALL:+AES-128-CCM-8') end,
    gnutlsServ = function () return peers.gnutlsServPsk(PSK, '+PSK:-CIPHER-ALL:+AES-128-CCM-8') end,
  },
  ['ECDHE-ECDSA-AES128-CCM8'] = {
    server = function ()
      local identity = pki.identity('server')
      return { cert = identity.cert, key = identity.key }
    end,
    client = function () return { ca = pki.ca('authority').cert } end,
    sClient = function (list) return { '-cipher', list } end,
    sServer = function (list) return { '-cipher', list } end,
    gnutlsCli = function () return { '--priority', peers.PRIORITY .. ':-CIPHER-ALL:+AES-128-CCM-8' } end,
    gnutlsServ = function () return { '--priority', peers.PRIORITY .. ':-CIPHER-ALL:+AES-128-CCM-8' } end,
  },
}

setup(function () program.need('setpriv', 'openssl', 'gnutls-cli', 'gnutls-serv') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

for suite, of in pairs(SUITES) do
  local list = suite .. ':@SECLEVEL=0'

  describe('the profile for constrained devices, with ' .. suite .. ',', function ()
    -- The profile's own patience is for slower networks than this.
    local IOT = { profile = 'iot', retransmitTimeout = 500 }

    local function server()
      local accepted = {}
      local _, port = ends.server(helper.merge(of.server(), IOT),
        function (session) accepted.session = session end)
      return accepted, port
    end

    local function connect(port) return ends.connect(port, helper.merge(of.client(), IOT)) end

    it('has a server answer openssl s_client', function ()
      local accepted, port = server()
      local peer = peers.sClient(port, of.sClient(list))
      peer:write('hello\n')
      peer:waitFor('Cipher is ' .. suite:gsub('%p', '%%%0') .. '\n')
      peer:waitFor('Echo: hello')
      assert.equal(suite, accepted.session:getCipher().name)
    end)

    it('has a server answer gnutls-cli', function ()
      local accepted, port = server()
      local peer = peers.gnutlsCli(port, of.gnutlsCli())
      peer:waitFor('Handshake was completed')
      peer:write('hello\n')
      peer:waitFor('\nEcho: hello')
      assert.equal(suite, accepted.session:getCipher().name)
    end)

    it('has a client ask openssl s_server', function ()
      local peer, port = peers.sServer(of.sServer(list))
      local session = ends.opened(connect(port))
      session:send('hello\n')
      peer:waitFor('\nhello\n')
      assert.equal(suite, session:getCipher().name)
    end)

    it('has a client ask gnutls-serv', function ()
      local _, port = peers.gnutlsServ(of.gnutlsServ())
      local session = ends.opened(connect(port))
      assert.equal('hello\n', ends.asked(session, 'hello\n'))
      assert.equal(suite, session:getCipher().name)
    end)
  end)

  describe('without the profile for constrained devices, ' .. suite, function ()
    it('is refused to openssl s_client', function ()
      local each, port = ends.server(of.server())
      peers.sClient(port, of.sClient(list)):waitFor('alert handshake failure')
      assert.equal('ENOCIPHER', ends.clientErrorOf(each))
    end)

    it('is not offered to openssl s_server', function ()
      local peer, port = peers.sServer(of.sServer(list))
      assert.equal('ENOCIPHER', ends.failureOf(ends.connect(port, of.client())))
      peer:waitFor('no shared cipher')
    end)
  end)
end
