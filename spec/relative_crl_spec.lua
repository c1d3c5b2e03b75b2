-- A certificate may say where its CA's revocation lists are by names relative to the CA's own (RFC 5280
-- section 4.2.1.13). OpenSSL before 3.6.5 copies the CA's name for each, as soon as it looks at the
-- certificate, whoever has signed that: CVE-2026-35189. With 16 KiB, which anybody may present where
-- certificates are asked for, that was 17 MiB for as long as the handshake lasted.

local dtls = require('dtls')
local helper = require('spec.helper')
local pki = require('spec.support.pki')

local me = helper.localhost()

local function der(tag, content)
  local length = #content < 128 and string.char(#content)
    or '\130' .. string.char(math.floor(#content / 256), #content % 256)
  return string.char(tag) .. length .. content
end

-- Distribution points: `name` is a DistributionPointName.
local function points(name, count)
  local list = der(0x30, der(0x30, der(0xa0, name)):rep(count))
  return '2.5.29.31=DER:' .. list:gsub('.', function (byte) return ('%02x'):format(byte:byte()) end)
end

local RELATIVE = der(0xa1, der(0x30, '\6\3\85\4\3' .. der(0x13, 'x')))
local FULL = der(0xa0, der(0x86, 'http://ca.test/list.crl'))

-- Of a CA with a long name.
local function identity(id, extension)
  local subject = '/CN=' .. id .. ('/OU=a part of a long name'):rep(100)
  return pki.selfSigned(id, subject, { extension, 'subjectAltName=DNS:localhost,IP:127.0.0.1' })
end

local function resident()
  return tonumber(helper.read('/proc/self/statm'):match('^%d+ (%d+)')) * 4
end

describe('a certificate with relative names for its CA\'s lists', function ()
  teardown(pki.remove)

  it('is refused to a server before OpenSSL works them out, and takes no memory', function ()
    local theirs = identity('relative', points(RELATIVE, 400))
    -- It would wait for ever, and keep what the client has shown.
    local server = dtls.createServer({
      cert = me.cert, key = me.key, requestCert = true, verify = function (_, _, _done) end,
    })
    local failures = helper.record(server, 'clientError')
    assert(server:listen(0, '127.0.0.1'))
    -- What it takes of the clients' own memory is had with the first.
    local context, clients = dtls.createContext({ cert = theirs.cert, key = theirs.key, ca = me.cert }), {}
    local function connect(count)
      for _ = 1, count do
        clients[#clients + 1] = dtls.connect({ port = server:address().port, context = context })
      end
      helper.runUntil(function () return #failures >= #clients end)
    end
    connect(1)
    local before = resident()
    connect(4)
    assert.is_true(resident() - before < 10000)
    for _, failure in ipairs(failures) do
      assert.matches('^ECERT: .*CVE%-2026%-35189%) %(sent alert 42, bad certificate%)$', failure[2])
    end
    for _, client in ipairs(clients) do client:destroy() end
    helper.finish(server)
  end)

  it('is refused to a client', function ()
    local theirs = identity('relative', points(RELATIVE, 400))
    local server, port = helper.echoServer({ cert = theirs.cert, key = theirs.key })
    local client = helper.connect(port, { ca = theirs.cert })
    local errors = helper.record(client, 'error')
    helper.runUntil(function () return errors[1] end)
    assert.equal('ECERT', errors[1][3])
    helper.finish(server)
  end)

  it('is not one with whole names', function ()
    local theirs = identity('whole', points(FULL, 3))
    local server, port = helper.echoServer({ cert = theirs.cert, key = theirs.key })
    local client = helper.connect(port, { ca = theirs.cert })
    helper.runUntil(function () return client:getProtocol() end)
    helper.finish(client, server)
  end)
end)
