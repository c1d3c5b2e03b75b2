-- Hundreds of handshakes that wait for their hooks, on a server whose established sessions notice nothing.

local dtls = require('dtls')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local me = helper.localhost()
local KEY = 'a key of 16 byte'
local COUNT = 500 / helper.slowness
local WAIT_MS, TICK_MS, LONGEST_GAP_MS = 200, 5, 50 * helper.slowness

after_each(function ()
  program.stopAll()
  helper.run()
end)

-- How a hook is asked about whom, and what lets the handshake go on.
local kinds = {
  psk = function (later)
    return { psk = function (identity, _, done) later(done, identity == 'lamp-7' and KEY or nil) end }
  end,
  sni = function (later)
    local context = dtls.createContext({ cert = me.cert, key = me.key })
    return { sni = function (name, _, done) later(done, name == 'localhost' and context or nil) end }
  end,
  verify = function (later)
    return {
      requestCert = true, ca = me.cert,
      verify = function (peer, _, done) later(done, peer.name == 'EUNKNOWNCA') end,
    }
  end,
}

-- How long this process has waited for a processor so far, in milliseconds, and this machine for its host:
-- what others take is not the server's doing.
local function kept()
  local file, host = io.open('/proc/self/schedstat'), io.open('/proc/stat')
  if not (file and host) then return 0 end
  local _, waited = file:read('*n', '*n')
  local TICK = 10
  local stolen = host:read('*l'):match('^cpu' .. (' +%d+'):rep(7) .. ' +(%d+)')
  file:close()
  host:close()
  return waited / 1e6 + stolen * TICK
end

local function summary(gaps)
  table.sort(gaps)
  return ('%d gaps between echoes, median %.1f ms, 99 %% up to %.1f ms, longest %.1f ms'):format(
    #gaps, gaps[math.ceil(#gaps / 2)], gaps[math.ceil(#gaps * 0.99)], gaps[#gaps])
end

describe(('%d handshakes at once, each waiting %d ms for its hook,'):format(COUNT, WAIT_MS), function ()
  for _, kind in ipairs({ 'psk', 'sni', 'verify' }) do
    it(('which is %s, keep no established session waiting'):format(kind), function ()
      local waiting, most = 0, 0
      local function later(done, answer)
        waiting = waiting + 1
        most = math.max(most, waiting)
        local timer = uv.new_timer()
        timer:start(WAIT_MS, 0, function ()
          timer:close()
          waiting = waiting - 1
          done(answer)
        end)
      end
      -- Who is here already is asked about as well.
      local server, port = helper.echoServer(helper.merge(kinds[kind](later), { retransmitTimeout = 1000 }))
      local stranger = helper.identity('stranger')
      local session = helper.connect(port, {
        psk = kind == 'psk' and { identity = 'lamp-7', key = KEY } or nil,
        cert = kind == 'verify' and stranger.cert or nil, key = kind == 'verify' and stranger.key or nil,
        servername = 'localhost',
      })
      helper.runUntil(function () return session:getProtocol() end)

      local gaps, last = {}, nil
      session:on('message', function ()
        local now = uv.hrtime() / 1e6 - kept()
        gaps[#gaps + 1], last = last and now - last, now
      end)
      local ticker = uv.new_timer()
      ticker:start(0, TICK_MS, function () session:send('tick') end)

      local child = program.script('many.lua', { port, COUNT, kind })
      child:waitFor('started\n')
      local early = server:stats().connected
      local outcome = child:waitFor('(connected [^\n]*)\n', 60000)
      ticker:close()
      child:write('leave\n')
      child:waitForEnd()
      session:destroy()
      server:close()
      assert.equal(('connected %d failed 0 '):format(COUNT), outcome)
      -- All had begun before the first was complete, and many waited together.
      assert.equal(1, early)
      assert.is_true(most > COUNT / 100, most)
      local longest = summary(gaps)
      assert.is_true(gaps[#gaps] <= LONGEST_GAP_MS, longest)
      if os.getenv('FIGURES') then print(kind, longest, 'at most ' .. most .. ' waited at once') end
    end)
  end
end)
