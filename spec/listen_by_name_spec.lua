--- A server that listens by a host name: until the name is resolved it has no socket, and what else wants one
--- of it has to wait.

local dtls = require('dtls')
local helper = require('spec.helper')
local uv = helper.uv

-- Lets names resolve to what `answers` has for them, a list of addresses or an error's name, when the
-- function that is returned is called.
local function resolving(answers)
  local original, held = uv.getaddrinfo, {}
  uv.getaddrinfo = function (host, service, hints, callback)
    if not (callback and answers[host]) then return original(host, service, hints, callback) end
    held[#held + 1] = function ()
      local answer, found = answers[host], {}
      if type(answer) == 'string' then return callback(answer) end
      for index, ip in ipairs(answer) do found[index] = { addr = ip } end
      callback(nil, found)
    end
    return {}
  end
  finally(function () uv.getaddrinfo = original end)
  return function ()
    helper.after(1, function ()
      for _, answer in ipairs(held) do answer() end
    end)
  end
end

local function endpoint(options)
  local identity = helper.localhost()
  local made = dtls.createEndpoint(helper.merge({
    cert = identity.cert, key = identity.key, ca = identity.cert, retransmitTimeout = 100,
  }, options))
  made.seen = helper.record(made, 'listening', 'error', 'close')
  return made
end

-- A session of an endpoint's; what it emits is in `.seen`.
local function connect(from, port, options)
  local session = from:connect(helper.merge({ port = port }, options))
  session.seen = helper.record(session, 'secureConnection', 'error', 'close')
  return session
end

describe('an endpoint that is to listen by a name', function ()
  -- Once the session had a socket made on the spot, which was lost and never closed when the name was there.
  it('connects from the socket that it listens on, when it has it', function ()
    local resolve = resolving({ ['here.test'] = { '127.0.0.1' } })
    local server, port = helper.echoServer()
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    local session = connect(one, port)
    assert.is_nil((one:address()))
    assert.is_nil((session:address()))
    resolve()
    helper.runUntil(function () return session.seen[1] end)
    assert.equal('secureConnection', session.seen[1][1], session.seen[1][2])
    assert.same({ { 'listening' } }, one.seen)
    assert.equal('127.0.0.1', one:address().ip)
    assert.equal(one:address().port, server:sessions()[1]:remoteAddress().port)
    -- It serves on the same socket.
    local client = helper.connect(one:address().port)
    helper.runUntil(function () return client:getProtocol() end)
    helper.finish(client, one, server)
  end)

  it('connects to a name that is resolved first', function ()
    local resolve = resolving({ ['here.test'] = { '127.0.0.1' } })
    local elsewhere = { ['there.test'] = { '127.0.0.1' } }
    local resolveThere = resolving(elsewhere)
    local server, port = helper.echoServer()
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    local session = connect(one, port, { host = 'there.test', servername = 'localhost' })
    resolveThere()
    helper.after(20, resolve)
    helper.runUntil(function () return session.seen[1] end)
    assert.equal('secureConnection', session.seen[1][1], session.seen[1][2])
    helper.finish(one, server)
  end)

  it('ends what waits for its socket where the name does not resolve', function ()
    local resolve = resolving({ ['here.test'] = 'EAI_NONAME' })
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    local session = connect(one, 9)
    resolve()
    helper.run()
    assert.same({ { 'close', 'closed' } }, session.seen)
    assert.same({ 'error', 'close' }, { one.seen[1][1], one.seen[2][1] })
    assert.equal('EAI_NONAME', one.seen[1][3])
  end)

  it("says why it cannot, though the 'close' of a session throws that has waited", function ()
    local resolve = resolving({ ['here.test'] = 'EAI_NONAME' })
    local errors = helper.errors()
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    one:connect({ port = 9 }):on('close', function () error('of the user') end)
    resolve()
    helper.run()
    assert.same({ 'error', 'close' }, { one.seen[1][1], (one.seen[2] or {})[1] })
    assert.equal(1, #errors)
    assert.matches('of the user', errors[1])
  end)

  it('ends what waits for its socket in time', function ()
    local resolve = resolving({ ['here.test'] = { '127.0.0.1' } })
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    local session = connect(one, 9, { handshakeTimeout = 30 })
    helper.runUntil(function () return session.seen[2] end)
    assert.equal('ETIMEDOUT', session.seen[1][3])
    assert.matches('^ETIMEDOUT: ', session.seen[1][2])
    assert.same({ 'close', 'timeout' }, session.seen[2])
    -- Nobody comes back to it.
    resolve()
    helper.runUntil(function () return one.seen[1] end)
    assert.same({ { 'listening' } }, one.seen)
    helper.finish(one)
  end)

  it('lets what waits for its socket be closed, and be closed with it', function ()
    local resolve = resolving({ ['here.test'] = { '127.0.0.1' } })
    local one = endpoint()
    assert(one:listen(0, 'here.test'))
    local first, second = connect(one, 9), connect(one, 10)
    first:close()
    assert.same({ { 'close', 'closed' } }, first.seen)
    one:close()
    assert.same({ { 'close', 'closed' } }, second.seen)
    resolve()
    helper.run()
    assert.same({ { 'close' } }, one.seen)
  end)

  it('has one socket and no other', function ()
    local one = endpoint()
    assert(one:listen(0, '127.0.0.1'))
    local bound, err, name = one:_bind('127.0.0.1', 0)
    assert.is_nil(bound)
    assert.equal('EALREADY', name)
    assert.matches('^EALREADY: ', err)
    helper.finish(one)
  end)
end)
