-- What may stand in for a CA, or beside one: pinned fingerprints, and what certificates have to say.

local dtls = require('dtls')
local helper = require('spec.helper')

-- Connects and runs until both ends have come to an end or to a session.
-- @return the client session, `{ session, err, name }` of the server, `{ err, name }` of the client
local function meet(serverOptions, clientOptions)
  local met, failed = {}, {}
  local server, port = helper.echoServer(serverOptions, function (session) met.session = session end)
  server:on('clientError', function (err, name) met.err, met.name = err, name end)
  local client = dtls.connect(helper.merge({
    host = '127.0.0.1', port = port, retransmitTimeout = 100,
  }, clientOptions))
  client:on('error', function (err, name) failed.err, failed.name = err, name end)
  helper.runUntil(function ()
    return (failed.err or client:getProtocol()) and (met.session or met.err)
  end)
  helper.finish(client, server)
  return client, met, failed
end

describe('options.fingerprints', function ()
  local mine, yours = dtls.generateCertificate(), dtls.generateCertificate({ names = 'nobody' })

  it('lets two peers meet that know each other by nothing else, as in WebRTC', function ()
    local client, met, failed = meet(
      { cert = mine.cert, key = mine.key, requestCert = true, fingerprints = { yours.fingerprint256 } },
      { cert = yours.cert, key = yours.key, fingerprints = 'sha-256 ' .. mine.fingerprint256 })
    assert.is_nil(failed.err)
    assert.is_true(client.authorized)
    assert.is_true(met.session.authorized)
    assert.equal(mine.fingerprint256, client:getPeerCertificate().fingerprint256)
    assert.equal(yours.fingerprint256, met.session:getPeerCertificate().fingerprint256)
  end)

  it('refuses everybody else', function ()
    local _, met, failed = meet(
      { cert = mine.cert, key = mine.key }, { ca = mine.cert, fingerprints = yours.fingerprint256 })
    assert.matches('^EFINGERPRINT: .* %(sent alert 42, bad certificate%)$', failed.err)
    assert.equal('EFINGERPRINT', failed.name)
    assert.equal('ECERT', met.name)
  end)

  it('only tells, where nobody is rejected', function ()
    local client = meet({ cert = mine.cert, key = mine.key },
      { fingerprints = yours.fingerprint256, rejectUnauthorized = false })
    assert.is_false(client.authorized)
    assert.matches('^EFINGERPRINT: ', client.authorizationError)
  end)

  it('leaves the last word to a verify hook', function ()
    local seen
    local client = meet({ cert = mine.cert, key = mine.key }, {
      fingerprints = yours.fingerprint256,
      verify = function (peer)
        seen = peer
        return true
      end,
    })
    assert.equal('EFINGERPRINT', seen.name)
    assert.is_true(client.authorized)
  end)

  it('must be SHA-256', function ()
    local function refused(value)
      local _, err = pcall(dtls.createContext, { fingerprints = value })
      return err
    end
    assert.matches("options%.fingerprints holds 'sha%-1 AB:CD', which is no SHA%-256", refused('sha-1 AB:CD'))
    assert.matches('options%.fingerprints is an empty list', refused({}))
    assert.matches('options%.fingerprints must be a string or a list of strings', refused(5))
  end)
end)
