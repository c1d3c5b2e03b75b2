-- Three endpoints that are each other's clients and servers, over a network that loses, doubles, delays and
-- replays datagrams, under users who connect, send, close and destroy at random: whatever happens, every
-- session ends once and nothing is left of it.

local ends = require('spec.support.ends')
local helper = require('spec.helper')
local pki = require('spec.support.pki')
local uv = helper.uv

local STEPS = 600

after_each(ends.closeAll)

-- Sockets that stand between the endpoints: each endpoint sees the others behind ports of the network's.
local function network(endpoints)
  local made = { sockets = {}, recorded = {} }
  for from in ipairs(endpoints) do
    for to in ipairs(endpoints) do
      if from ~= to then
        local udp = uv.new_udp()
        assert(udp:bind('127.0.0.1', 0))
        made.sockets[#made.sockets + 1] = udp
        made[from .. '>' .. to] = udp
      end
    end
  end
  for from in ipairs(endpoints) do
    for to in ipairs(endpoints) do
      if from ~= to then
        -- What `from` sends to this socket reaches `to` from the socket where `to` sees `from`.
        local there = made[to .. '>' .. from]
        local port = endpoints[to]:address().port
        local function pass(data)
          if not there:is_closing() then there:try_send(data, '127.0.0.1', port) end
        end
        made[from .. '>' .. to]:recv_start(function (_, data, source)
          if not source then return end
          made.recorded[#made.recorded + 1] = function () pass(data) end
          local luck = math.random(100)
          if luck <= 10 then return end
          if luck <= 20 then pass(data) end
          if luck <= 30 then return helper.after(math.random(20), function () pass(data) end) end
          pass(data)
        end)
      end
    end
  end
  function made.close()
    for _, udp in ipairs(made.sockets) do udp:close() end
  end
  return made
end

for seed = 1, 3 do
  it('leaves nothing behind in bad weather, seed ' .. seed, function ()
    math.randomseed(seed)
    local identity, all, endpoints = pki.identity('server'), {}, {}
    local function note(session)
      all[#all + 1] = { session = session, closed = 0 }
      local entry = all[#all]
      session:on('error', function () entry.failed = true end)
      session:on('close', function () entry.closed = entry.closed + 1 end)
      session:on('message', function (data)
        assert(entry.closed == 0, 'a message after the end')
        if #data < 100 then session:send('more ' .. data) end
      end)
    end
    for index = 1, 3 do
      endpoints[index] = ends.listen({
        cert = identity.cert, key = identity.key, ca = pki.ca('authority').cert, requestCert = index == 1,
        retransmitTimeout = 30, handshakeTimeout = 400, idleTimeout = 500,
      }, note)
    end
    local net = network(endpoints)
    local function any() return all[math.random(#all)] end
    local actions = {
      function ()
        local from = math.random(3)
        local to = (from + math.random(2) - 1) % 3 + 1
        note(endpoints[from]:connect({
          port = net[from .. '>' .. to]:getsockname().port, servername = 'localhost',
        }))
      end,
      function () if all[1] then any().session:send('x') end end,
      function () if all[1] then any().session:send('y') end end,
      function () if all[1] and math.random(4) == 1 then any().session:close() end end,
      function () if all[1] and math.random(4) == 1 then any().session:destroy() end end,
      function () if net.recorded[1] then net.recorded[math.random(#net.recorded)]() end end,
    }
    local step = 0
    local ticker = uv.new_timer()
    ticker:start(1, 1, function ()
      step = step + 1
      actions[math.random(#actions)]()
      if step == STEPS then ticker:close() end
    end)
    helper.runUntil(function () return step == STEPS end)
    local connected = 0
    for _, each in ipairs(endpoints) do
      connected = connected + each:stats().connected
      each:close()
    end
    helper.runUntil(function ()
      for _, entry in ipairs(all) do
        if entry.closed == 0 then return false end
      end
      return true
    end)
    net.close()
    helper.run()
    for _, entry in ipairs(all) do assert.equal(1, entry.closed) end
    assert.is_true(connected > 10, connected .. ' handshakes')
    for _, each in ipairs(endpoints) do assert.equal(0, each:stats().sessions) end
  end)
end
