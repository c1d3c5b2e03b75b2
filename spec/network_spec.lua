-- What networks do to datagrams, done to real ones by a relay. Handshake datagrams are kept small,
-- so that there are many to lose.

local helper = require('spec.helper')

-- Connects through a relay, exchanges `count` messages and closes. Returns what the client heard,
-- sorted, and what the server heard, in order.
local function exchange(count, onDatagram)
  local relay
  local heard, atServer = {}, {}
  local pair = helper.pair({ mtu = 256, retransmitTimeout = 50 }, { mtu = 256, retransmitTimeout = 50 },
    function (port)
      relay = helper.relay(port, onDatagram)
      return relay.port
    end)
  pair.client:on('message', function (data) heard[#heard + 1] = data end)
  pair.peer:on('message', function (data)
    atServer[#atServer + 1] = data
    pair.peer:send(data)
  end)
  for number = 1, count do assert(pair.client:send(('message %03d'):format(number))) end
  return pair, relay, heard, atServer
end

-- A connected pair from now on whose server is not heard: what it sends is in `held`, as functions
-- that let it go.
local function exchangeHeld()
  local held, holding = {}, false
  local pair, relay, heard, atServer = exchange(0, function (data, fromClient, _, send)
    if fromClient or not holding then return send(data) end
    held[#held + 1] = function () send(data) end
  end)
  holding = true
  return pair, relay, heard, atServer, held
end

local function finish(pair, relay)
  pair.client:destroy()
  pair.server:close()
  relay.close()
  helper.run()
end

describe('over a network', function ()
  it('that loses any one datagram of a handshake, it completes', function ()
    for _, fromClient in ipairs({ true, false }) do
      for lost = 1, 12 do
        local passed = 0
        local pair, relay = exchange(0, function (data, direction, number, send)
          if direction == fromClient and number == lost then return end
          passed = passed + 1
          send(data)
        end)
        assert.equal('DTLSv1.2', pair.peer:getProtocol())
        finish(pair, relay)
      end
    end
  end)

  it('that doubles every datagram, each message comes once and there is one session', function ()
    local pair, relay, heard, atServer = exchange(20, function (data, _, _, send)
      send(data)
      send(data)
    end)
    helper.runUntil(function () return #heard == 20 end)
    assert.equal(20, #atServer)
    local stats = pair.server:stats()
    assert.same({ 1, 1, 1 }, { stats.sessions, stats.connected, stats.admitted })
    finish(pair, relay)
    assert.equal(20, #heard)
  end)

  it('that replays what it has carried, nothing comes twice', function ()
    local carried, replaying = {}, false
    local pair, relay, _, atServer = exchange(10, function (data, fromClient, _, send)
      if fromClient and not replaying then carried[#carried + 1] = data end
      send(data)
    end)
    helper.runUntil(function () return #atServer == 10 end)
    replaying = true
    for _ = 1, 3 do
      for _, data in ipairs(carried) do relay.inject(data, true) end
    end
    pair.client:send('the last')
    helper.runUntil(function () return atServer[#atServer] == 'the last' end)
    assert.equal(11, #atServer)
    assert.truthy(pair.server:stats().drops.replayed >= 30)
    finish(pair, relay)
  end)

  it('that holds thirty datagrams and lets them go at once, every message is whole', function ()
    local pair, relay, heard, atServer, held = exchangeHeld()
    for number = 1, 30 do pair.client:send(('%d'):format(number) .. ('x'):rep(30 * number)) end
    helper.runUntil(function () return #held == 30 end)
    for _, release in ipairs(held) do release() end
    helper.runUntil(function () return #heard == 30 end)
    assert.same(atServer, heard)
    finish(pair, relay)
  end)

  it('that turns the order of a burst round, every message is whole', function ()
    local pair, relay, heard, atServer, held = exchangeHeld()
    for number = 1, 30 do pair.client:send('message ' .. number) end
    helper.runUntil(function () return #held == 30 end)
    for index = 30, 1, -1 do held[index]() end
    helper.runUntil(function () return #heard == 30 end)
    for index, data in ipairs(heard) do assert.equal(atServer[31 - index], data) end
    finish(pair, relay)
  end)

  it('that puts datagrams together, every record of them counts', function ()
    local gathered = {}
    local gathering = false
    local pair, relay, heard, atServer = exchange(0, function (data, fromClient, _, send)
      if not (fromClient and gathering) then return send(data) end
      gathered[#gathered + 1] = data
      if #gathered == 40 then send(table.concat(gathered)) end
    end)
    gathering = true
    for number = 1, 40 do pair.client:send('message ' .. number) end
    helper.runUntil(function () return #heard == 40 end)
    assert.equal(40, #atServer)
    finish(pair, relay)
  end)

  for _, ending in ipairs({ 'close', 'destroy' }) do
    it(('that puts datagrams together, who calls %s at the first hears no other'):format(ending), function ()
      local gathered = {}
      local gathering = false
      local pair, relay, _, atServer = exchange(0, function (data, fromClient, _, send)
        if not (fromClient and gathering) then return send(data) end
        gathered[#gathered + 1] = data
        if #gathered == 5 then send(table.concat(gathered)) end
      end)
      local reasons = helper.record(pair.peer, 'close')
      pair.peer:on('message', function () pair.peer[ending](pair.peer) end)
      gathering = true
      for number = 1, 5 do pair.client:send('message ' .. number) end
      helper.runUntil(function () return #atServer > 0 end)
      finish(pair, relay)
      assert.same({ 'message 1' }, atServer)
      assert.same({ { 'close', ending == 'close' and 'closed' or 'destroyed' } }, reasons)
    end)
  end

  it('that puts the data in front of the Finished, they come behind it', function ()
    -- The server's Finished is held until its tenth message, record number 10 of epoch 1, has passed.
    local heard, held = {}, nil
    local relay
    local server, port = helper.echoServer({}, function (session)
      for number = 1, 10 do session:send('early ' .. number) end
    end)
    relay = helper.relay(port, function (data, fromClient, _, send)
      if not fromClient and not held and data:find('\22\254\253\0\1', 1, true) then
        held = function () send(data) end
        return
      end
      send(data)
      if held and data:byte() == 23 and data:byte(11) == 10 then held() end
    end)
    local client = helper.connect(relay.port)
    client:on('message', function (data) heard[#heard + 1] = data end)
    helper.runUntil(function () return #heard == 10 end)
    client:destroy()
    server:close()
    relay.close()
    helper.run()
    assert.equal('early 1', heard[1])
  end)
end)
