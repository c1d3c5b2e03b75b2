-- A server that has a key and no certificate is shown as its raw public key (RFC 7250). OpenSSL before 3.6.4
-- reads the certificate that is not there, and with that the process ends, where a client that takes raw keys
-- also says which signatures certificates may bear: CVE-2026-14457. Anybody who returns a cookie can say so.

local dtls = require('dtls')
local hello = require('spec.support.hello')
local helper = require('spec.helper')

local me = helper.localhost()
local uv = helper.uv

-- server_certificate_type: a raw public key, or an X.509 certificate.
local TAKES_RAW_KEYS = '\0\20\0\3\2\2\0'
-- signature_algorithms_cert: ECDSA with SHA-256.
local CERTIFICATE_SIGNATURES = '\0\50\0\4\0\2\4\3'

-- What a server of these options answers to such a hello, once its cookie has come back.
local function answer(options, more)
  local server = dtls.createServer(options)
  local errors = helper.record(server, 'clientError')
  assert(server:listen(0, '127.0.0.1'))
  local port = server:address().port
  local udp, first = uv.new_udp(), nil
  assert(udp:bind('127.0.0.1', 0))
  local function ask(cookie)
    local random = ('r'):rep(32)
    local given = { random = random, cookie = cookie, sequence = cookie and 1, more = more }
    udp:try_send(hello.datagram(given), '127.0.0.1', port)
  end
  udp:recv_start(function (_, data)
    if not data then return end
    local cookie = hello.answer(data)
    if cookie then ask(cookie) else first = first or data end
  end)
  ask()
  helper.runUntil(function () return first end)
  udp:close()
  helper.finish(server)
  return first, errors[1]
end

-- The first message of a datagram that begins with a handshake record.
local function message(datagram)
  assert.equal(22, datagram:byte(1))
  return datagram:byte(14)
end

local SERVER_HELLO = 2

describe('a server with a key alone', function ()
  it('survives who says which signatures certificates may bear, and refuses it', function ()
    local datagram, failure = answer({ key = me.key }, TAKES_RAW_KEYS .. CERTIFICATE_SIGNATURES)
    -- A newer OpenSSL need not be spared it.
    if datagram:byte(1) == 22 then return assert.equal(SERVER_HELLO, message(datagram)) end
    assert.equal('\2\40', datagram:sub(14, 15))
    assert.matches('^ENOCIPHER: .*signature_algorithms_cert', failure[2])
    assert.matches(' %(sent alert 40, handshake failure%)$', failure[2])
  end)

  it('goes on with all others that take raw keys', function ()
    assert.equal(SERVER_HELLO, message((answer({ key = me.key }, TAKES_RAW_KEYS))))
  end)
end)

describe('a server with a certificate', function ()
  it('goes on with who says which signatures certificates may bear', function ()
    local options = { cert = me.cert, key = me.key }
    for _, more in ipairs({ CERTIFICATE_SIGNATURES, TAKES_RAW_KEYS .. CERTIFICATE_SIGNATURES }) do
      assert.equal(SERVER_HELLO, message((answer(options, more))))
    end
  end)
end)
