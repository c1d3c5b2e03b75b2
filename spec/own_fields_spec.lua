-- What users keep on a session is theirs: no name without an underscore is used for ours but those that are
-- documented.

local helper = require('spec.helper')

-- Names that a user may well take.
local names = { 'slot', 'due', 'filed', 'wake', 'ring', 'session', 'host', 'next', 'size' }

local function mark(session)
  local kept = {}
  for index, name in ipairs(names) do
    kept[name] = index % 2 == 0 and 'mine' or function () error(name) end
    session[name] = kept[name]
  end
  return function ()
    for _, name in ipairs(names) do assert.equal(kept[name], session[name], name) end
  end
end

describe("a user's own fields on a session", function ()
  it('stay as they are, and disturb nothing in its whole life', function ()
    local lost, checks = 0, {}
    local server, port = helper.echoServer({ handshakeTimeout = 2000 }, function (session)
      checks[#checks + 1] = mark(session)
    end)
    -- Its second flight is lost, so that there is a deadline to come up in the handshake.
    local relay = helper.relay(port, function (data, fromClient, number, send)
      if fromClient and number == 3 then lost = lost + 1 else send(data) end
    end)
    local client = helper.connect(relay.port, { retransmitTimeout = 20, idleTimeout = 150 })
    checks[#checks + 1] = mark(client)
    local seen = helper.record(client, 'secureConnection', 'message', 'timeout', 'close')
    client:on('secureConnection', function ()
      client:setTimeout(20)
      client:send('hello')
    end)
    helper.runUntil(function () return seen[#seen] and seen[#seen][1] == 'close' end)
    assert.same({
      { 'secureConnection' }, { 'message', 'Echo: hello' }, { 'timeout' }, { 'close', 'timeout' },
    }, seen)
    assert.equal(1, lost)
    for _, check in ipairs(checks) do check() end
    assert.equal(2, #checks)
    relay.close()
    helper.finish(server)
  end)
end)
