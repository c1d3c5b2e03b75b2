local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

-- The deadline of a handshake, and how late its end may be.
local DEADLINE, SLACK = 600, 300 * helper.slowness
local HOUR = 3600

-- What puts a false clock under a child, and why there is none.
local library, why

setup(function ()
  if not program.exists('faketime') then
    why = 'faketime is not installed'
    return
  end
  -- The command knows where its library is.
  local child = program.start('faketime', { '-f', '+0', 'printenv', 'LD_PRELOAD' })
  child:waitForEnd()
  library = child.output:match('%S+')
  child:stop()
end)

teardown(pki.remove)

local children = {}

after_each(function ()
  program.stopAll()
  helper.run()
  -- What the library shares with the descendants of a process stays when that is killed.
  for _, child in ipairs(children) do
    os.remove('/dev/shm/faketime_shm_' .. child.pid)
    os.remove('/dev/shm/sem.faketime_sem_' .. child.pid)
  end
  children = {}
end)

-- A child whose time of day can be stepped, and nothing but that: `step(seconds)`.
local function childWithClock(...)
  local offset = pki.write('clock', '+0\n')
  local child = program.script('child.lua', { ... }, {
    LD_PRELOAD = library, FAKETIME_TIMESTAMP_FILE = offset, FAKETIME_NO_CACHE = '1',
    DONT_FAKE_MONOTONIC = '1', FAKETIME_DONT_FAKE_MONOTONIC = '1', HANDSHAKE_TIMEOUT = DEADLINE,
  })
  children[#children + 1] = child
  return child, function (seconds) pki.write('clock', ('%+d\n'):format(seconds)) end
end

-- Waits for what the child says of its handshake, which must be in time: how it ended. Its clock
-- must have been off by so many hours by then.
local function outcome(child, hours)
  local how, time = child:waitFor('(%l+ ?%u*) at (%d+)', DEADLINE + SLACK)
  assert.equal(hours, math.floor((time - os.time()) / HOUR + 0.5))
  return how
end

local function settled(how)
  return how == 'connected' or how == 'error ETIMEDOUT'
end

-- OpenSSL reckons its retransmissions by the time of day: set back by an hour, it sends none before
-- that hour has passed, and a handshake that has lost a datagram would wait as long.
for direction, hours in pairs({ back = -1, forward = 1 }) do
  describe(('a handshake during which the clock is set %s by an hour'):format(direction), function ()
    -- What is lost while the clock is set, and which datagram of its sender that is.
    for name, lost in pairs({ ['first hello'] = 1, ['hello with the cookie'] = 2, ['Finished'] = 3 }) do
      it(('ends in time for a client whose %s is lost'):format(name), function ()
        if why then return pending(why) end
        local server, port = helper.echoServer({ handshakeTimeout = DEADLINE })
        local child, step, begun
        local relay = helper.relay(port, function (data, fromClient, number, send)
          begun = true
          if fromClient and number == lost then step(hours * HOUR) else send(data) end
        end)
        child, step = childWithClock('client', relay.port)
        helper.runUntil(function () return begun end)
        local how = outcome(child, hours)
        assert.is_true(settled(how), how)
        relay.close()
        server:close()
      end)
    end

    for name, lost in pairs({ HelloVerifyRequest = 1, ['first flight'] = 2 }) do
      it(('ends in time for a server whose %s is lost'):format(name), function ()
        if why then return pending(why) end
        local child, step = childWithClock('server')
        local relay = helper.relay(tonumber(child:waitFor('port (%d+)')),
          function (data, fromClient, number, send)
            if not fromClient and number == lost then step(hours * HOUR) else send(data) end
          end)
        local session = helper.connect(relay.port,
          { rejectUnauthorized = false, handshakeTimeout = DEADLINE })
        local seen = helper.record(session, 'secureConnection', 'error')
        local how = outcome(child, hours)
        assert.is_true(settled(how), how)
        helper.runUntil(function () return seen[1] end, DEADLINE + SLACK)
        session:destroy()
        relay.close()
      end)
    end

    it('completes though the cookie is of another hour', function ()
      if why then return pending(why) end
      local child, step = childWithClock('server')
      local relay = helper.relay(tonumber(child:waitFor('port (%d+)')),
        function (data, fromClient, number, send)
          if not fromClient and number == 1 then step(hours * HOUR) end
          send(data)
        end)
      local session = helper.connect(relay.port,
        { rejectUnauthorized = false, handshakeTimeout = DEADLINE })
      assert.equal('connected', outcome(child, hours))
      session:destroy()
      relay.close()
    end)
  end)
end
