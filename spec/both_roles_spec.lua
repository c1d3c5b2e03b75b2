local ends = require('spec.support.ends')
local helper = require('spec.helper')
local pki = require('spec.support.pki')

-- An endpoint that can serve and connect, and what it has met: `.served`, in order.
local function endpoint(options)
  local identity, served = pki.identity('server'), {}
  local made = ends.listen(helper.merge({
    cert = identity.cert, key = identity.key, ca = pki.ca('authority').cert,
  }, options), function (session)
    served[#served + 1] = session
    session:on('message', function (data) session:send('Echo: ' .. data) end)
  end)
  made.served = served
  return made
end

-- Has one endpoint connect to another, and records what comes of it.
local function connect(one, two, via)
  local session = one:connect({ port = via or two:address().port, servername = 'localhost' })
  session.seen = helper.record(session, 'secureConnection', 'message', 'error', 'close')
  return session
end

after_each(ends.closeAll)

describe('one socket', function ()
  it('serves some peers and is the client of others', function ()
    local one, two, three = endpoint(), endpoint(), endpoint()
    local sessions = { connect(one, two), connect(one, three), connect(two, three), connect(three, one) }
    for index, session in ipairs(sessions) do
      ends.opened(session)
      assert.equal('Echo: ' .. index, ends.asked(session, tostring(index)))
    end
    assert.same({ 1, 1, 2 }, { #one.served, #two.served, #three.served })
    assert.equal(one:address().port, two.served[1]:remoteAddress().port)
  end)

  it('is a peer\'s server and then its client as well: two sessions that keep to themselves', function ()
    local one, two = endpoint(), endpoint()
    local there = ends.opened(connect(one, two))
    local back = ends.opened(connect(two, one))
    assert.equal('Echo: there', ends.asked(there, 'there'))
    assert.equal('Echo: back', ends.asked(back, 'back'))
    assert.same({ 2, 2 }, { one:stats().sessions, two:stats().sessions })
    -- The end of one is not the end of the other.
    there:close()
    helper.runUntil(function () return one:stats().sessions == 1 and two:stats().sessions == 1 end)
    assert.equal('Echo: still', ends.asked(back, 'still'))
  end)

  -- The order in which the hellos of two ends come to each other is chance: so often, and both ways round.
  for _, options in ipairs({ {}, { requestCert = true } }) do
    local how = options.requestCert and 'with certificates at both ends' or ''
    it('connects to one that connects to it at the same moment ' .. how, function ()
      for round = 1, 10 do
        local one, two = endpoint(options), endpoint(options)
        local sessions = { connect(one, two), connect(two, one) }
        for index, session in ipairs(sessions) do
          ends.opened(session)
          assert.is_true(session.authorized)
          assert.equal('Echo: ' .. index, ends.asked(session, tostring(index)))
        end
        assert.same({ 1, 1, 2, 2 },
          { #one.served, #two.served, one:stats().sessions, two:stats().sessions }, 'round ' .. round)
        one:close()
        two:close()
      end
    end)
  end

  it('connects to one that connects to it, though the network loses datagrams', function ()
    math.randomseed(7)
    local one, two = endpoint({ requestCert = true }), endpoint({ requestCert = true })
    local relay, across = helper.uv.new_udp(), {}
    assert(relay:bind('127.0.0.1', 0))
    across[one:address().port], across[two:address().port] = two:address().port, one:address().port
    relay:recv_start(function (_, data, from)
      if from and math.random(6) > 1 then relay:try_send(data, '127.0.0.1', across[from.port]) end
    end)
    local via = relay:getsockname().port
    local sessions = { connect(one, two, via), connect(two, one, via) }
    helper.runUntil(function () return sessions[1].seen[1] and sessions[2].seen[1] end, 15000)
    relay:close()
    for _, session in ipairs(sessions) do
      assert.equal('secureConnection', session.seen[1][1], session.seen[1][2])
    end
  end)

  it('hears a peer whose hello had to wait once its own attempt has failed', function ()
    -- It trusts nobody here, so its attempt fails, whichever goes first.
    local one, two = endpoint({ ca = pki.ca('authority').cert }), endpoint({ ca = pki.ca('stranger').cert })
    local fails, works = connect(two, one), connect(one, two)
    helper.runUntil(function () return fails.seen[2] end)
    assert.equal('EUNKNOWNCA', fails.seen[1][3])
    ends.opened(works)
    assert.equal('Echo: x', ends.asked(works, 'x'))
  end)

  it('is not the same peer\'s client twice', function ()
    local one, two = endpoint(), endpoint()
    ends.opened(connect(one, two))
    local again = connect(one, two)
    helper.runUntil(function () return again.seen[2] end)
    assert.equal('EALREADY', again.seen[1][3])
  end)

  it('is the same peer\'s client again from the \'close\' of the session on, and not before', function ()
    local one, two = endpoint(), endpoint()
    local first, next = ends.opened(connect(one, two))
    first:close(function () next = connect(one, two) end)
    local early = connect(one, two)
    helper.runUntil(function () return early.seen[2] and next end)
    assert.equal('EALREADY', early.seen[1][3])
    ends.opened(next)
  end)
end)
