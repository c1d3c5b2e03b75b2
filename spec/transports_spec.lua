-- The two ways to read and write a socket (batch.lua, and libuv's own) must not differ in anything that users
-- see: the same random scenario is played by both, and what was seen is compared. `SEED=100 SEEDS=1000` plays
-- others than the few that are played always.

local core = require('dtls_core')
local dtls = require('dtls')
local ffi = require('ffi')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local uv = helper.uv

local CLIENTS, ROUNDS, MOST_A_ROUND = 5, 12, 40

-- Numbers that depend on the seed alone.
local function dice(seed)
  local state = seed
  return function (most)
    state = (state * 16807) % 2147483647
    return state % most + 1
  end
end

-- Sends datagrams of one length, but for the last that may be shorter: in one piece, which the kernel cuts or
-- hands over as it is (UDP_SEGMENT and UDP_GRO in udp(7)).
ffi.cdef('int setsockopt(int, int, int, const int *, unsigned);')
local SOL_UDP, UDP_SEGMENT = 17, 103
local function sendTrain(udp, ip, port, length, list)
  local function cut(at)
    return ffi.C.setsockopt(udp:fileno(), SOL_UDP, UDP_SEGMENT, ffi.new('int[1]', at), 4) == 0
  end
  if not cut(length) then
    for _, data in ipairs(list) do udp:try_send(data, ip, port) end
    return
  end
  assert(udp:try_send(table.concat(list), ip, port))
  cut(0)
end

-- What is under way comes to its end. On the loopback interface a datagram is there when it has been sent;
-- or, on a busy machine, when one that was sent after it is.
local function settle()
  local last, arrived = uv.new_udp(), false
  assert(last:bind('127.0.0.1', 0))
  last:recv_start(function (_, data) arrived = arrived or data ~= nil end)
  for _ = 1, 3 do
    arrived = false
    last:try_send('the last', '127.0.0.1', last:getsockname().port)
    repeat uv.run('nowait') until arrived
    for _ = 1, 4 do uv.run('nowait') end
  end
  last:close()
end

-- What the server's handlers do about a message, by its first word.
local acts = {
  echo = function (session, data) session:send(data) end,
  burst = function (session, data)
    for index = 1, 3 do session:send(data .. ('x'):rep(index % 2 * 30)) end
  end,
  sure = function (session, data) session:send(data, function () end) end,
  others = function (_, data, all)
    for _, each in ipairs(all) do each:send(data) end
  end,
  loop = function (session, data)
    session:send(data)
    uv.run('nowait')
  end,
  throw = function (session, data)
    session:send(data)
    error('thrown')
  end,
  close = function (session, data)
    session:send(data)
    session:close()
    session:send('never')
  end,
  destroy = function (session) session:destroy() end,
  garbage = function () collectgarbage() end,
}
local often = { 'echo', 'echo', 'echo', 'burst', 'sure', 'others', 'throw', 'garbage' }
local oftenLooping = { 'echo', 'loop', 'loop', 'burst', 'sure', 'others', 'garbage' }
local seldom = { 'close', 'destroy' }

-- Plays the scenario of a seed. Returns what was seen by the server, and by each client: in which order those
-- have their turns is the loop's affair, and so is the order in which the server's sessions have theirs where
-- handlers run the loop (`looping`).
local function play(seed, byLibuv, options, looping)
  local roll, usual = dice(seed), looping and oftenLooping or often
  local seen, sessions, errors = {}, {}, helper.errors()
  local function see(who, ...)
    seen[who] = seen[who] or {}
    table.insert(seen[who], table.concat({ ... }, ' '))
  end
  local function seeSession(id, ...) see(looping and 'session ' .. id or 'server', id, ...) end
  local transport = core.transport
  finally(function () core.transport = transport end)
  -- The clients are read and written in batches in either case.
  if byLibuv then core.transport = nil end
  local identity = helper.localhost()
  local server = dtls.createServer(
    helper.merge({ cert = identity.cert, key = identity.key, retransmitTimeout = 5000, linger = 0 }, options),
    function (session)
      local id = #sessions + 1
      sessions[id] = session
      seeSession(id, 'connection')
      session:on('message', function (data)
        seeSession(id, data)
        local open = {}
        for _, each in ipairs(sessions) do if each._state == 'open' then open[#open + 1] = each end end
        acts[data:match('^%a+')](session, data, open)
      end)
      session:on('close', function (reason) seeSession(id, 'closed', reason) end)
    end)
  for _, name in ipairs({ 'warning', 'clientError', 'error' }) do
    server:on(name, function (_, ...) see('server', name, ...) end)
  end
  assert(server:listen(0, '127.0.0.1'))
  core.transport = transport
  local port = server:address().port

  local clients, stranger, number = {}, uv.new_udp(), 0
  assert(stranger:bind('127.0.0.1', 0))
  local function connect(index, localPort)
    local met = #sessions
    -- Without lingering, which would hang on how long all this takes: where a session has moved, its client
    -- misses what went elsewhere.
    local client = helper.connect(port, { localPort = localPort, retransmitTimeout = 5000, linger = 0 })
    clients[index] = client
    local who = 'client ' .. met + 1
    client:on('message', function (data) see(who, data) end)
    client:on('close', function (reason) see(who, 'closed', reason) end)
    helper.runUntil(function () return client:getProtocol() and #sessions > met end)
    settle()
  end
  for index = 1, CLIENTS do connect(index) end

  -- A message of a client's, sealed and not sent. One that takes its leave has none.
  local function seal(client, of)
    number = number + 1
    return client._core:send(('%s %d %s'):format(of[roll(#of)], number, ('y'):rep(roll(3) * 50))) or ''
  end
  local function junk(most)
    local bytes = {}
    for index = 1, roll(most) do bytes[index] = string.char(roll(256) - 1) end
    return table.concat(bytes)
  end
  -- What may be sent to the server next: a function of an open client, or of nobody, that returns datagrams.
  local old
  local byClient = {
    function (client)
      old = seal(client, usual)
      return old
    end,
    -- Equal lengths in a row: the kernel may hand them over as one.
    function (client)
      local list = {}
      for index = 1, roll(5) do list[index] = seal(client, { 'echo' }) end
      return unpack(list)
    end,
    -- Twice.
    function (client)
      local data = seal(client, usual)
      return data, data
    end,
    -- Two records in a datagram, in order or not, with junk behind them.
    function (client)
      local one, two = seal(client, usual), seal(client, usual)
      return roll(2) == 1 and one .. two or two .. one .. 'junk'
    end,
    -- Forged.
    function (client)
      local data = seal(client, usual)
      return data:sub(1, -2) .. string.char(((data:byte(-1) or 0) + 1) % 256)
    end,
    -- Cut off.
    function (client) return seal(client, usual):sub(1, roll(60)) end,
    function () return junk(40) end,
    function () return '' end,
    function () return hello.datagram({ random = ('r'):rep(32) }) end,
  }
  local byStranger = {
    function () return hello.datagram({ random = ('s'):rep(32) }) end,
    function () return hello.datagram({ random = ('s'):rep(32), cookie = ('c'):rep(32), sequence = 1 }) end,
    function () return old or '' end,
    function () return junk(30) end,
    function () return '' end,
  }
  local function sendAll(udp, ip, to, list)
    for _, data in ipairs(list) do assert(udp:try_send(data, ip, to)) end
  end
  -- Sends what `make` makes for one of the clients.
  local function send(make)
    local client = clients[roll(CLIENTS)]
    if client._core and client._state == 'open' then
      sendAll(client._endpoint._udp.handle, nil, nil, { make(client) })
    end
  end
  -- Anything in one train: what is shorter has nothing behind it.
  local function sendMixture()
    local client, list, longest = clients[roll(CLIENTS)], {}, 0
    if not client._core or client._state ~= 'open' then return end
    for _ = 1, roll(6) + 1 do
      for _, data in ipairs({ byClient[roll(#byClient)](client) }) do
        list[#list + 1] = data
        longest = math.max(longest, #data)
      end
    end
    for index, data in ipairs(list) do
      if index < #list then list[index] = data .. ('\0'):rep(longest - #data) end
    end
    if roll(4) > 1 then
      sendTrain(client._endpoint._udp.handle, nil, nil, longest, list)
    else
      sendTrain(stranger, '127.0.0.1', port, longest, list)
    end
  end
  local function step()
    local which = roll(#byClient + #byStranger + 3)
    if byClient[which] then return send(byClient[which]) end
    which = which - #byClient
    if not byStranger[which] then return sendMixture() end
    sendAll(stranger, '127.0.0.1', port, { byStranger[which]() })
  end
  for _ = 1, ROUNDS do
    for _ = 1, roll(MOST_A_ROUND) do step() end
    settle()
    if roll(4) == 1 then send(function (client) return seal(client, seldom) end) end
    settle()
    for index = 1, CLIENTS do
      local client = clients[index]
      if not client._core then
        connect(index)
      elseif client._state == 'open' and roll(12) == 1 then
        -- It restarts where it was: the server has another session with it.
        local localPort = client:address().port
        client:destroy()
        settle()
        connect(index, localPort)
      end
    end
  end
  settle()
  local function count(stats)
    local lines = {}
    for name, value in pairs(stats) do
      if type(value) == 'table' then
        for cause, times in pairs(value) do lines[#lines + 1] = ('%s.%s=%d'):format(name, cause, times) end
      -- Signatures differ in length, and times in everything.
      elseif not name:match('^bytes') and not name:match('^roundTrip') then
        lines[#lines + 1] = ('%s=%d'):format(name, value)
      end
    end
    table.sort(lines)
    return table.concat(lines, ' ')
  end
  for id, session in ipairs(sessions) do see('stats', id, count(session:stats())) end
  see('stats', count(server:stats()))
  -- Of several handlers that throw in one batch the first is heard.
  see('stats', tostring(#errors > 0))
  -- They end in no order.
  local all = seen
  seen = {}
  for _, client in ipairs(clients) do client:destroy() end
  stranger:close()
  server:close()
  helper.run()
  return all
end

-- Where two lists of lines differ first, with what is around that; nil where they do not.
local function difference(one, other)
  for index = 1, math.max(#one, #other) do
    if one[index] ~= other[index] then
      local from, to = math.max(index - 3, 1), index + 3
      return table.concat(one, '\n', from, math.min(to, #one)),
        table.concat(other, '\n', from, math.min(to, #other))
    end
  end
end

describe('a server', function ()
  for _, row in ipairs({
    { 'as it is' },
    { 'whose peers may move', { roaming = true } },
    { 'that is watched', { trace = function () end } },
    { 'whose handlers run the loop', nil, true },
  }) do
    it(row[1] .. ' shows no difference between batches and libuv', function ()
      local first = tonumber(os.getenv('SEED') or 1)
      for seed = first, first + tonumber(os.getenv('SEEDS') or 4) - 1 do
        local one, other = play(seed, true, row[2], row[3]), play(seed, false, row[2], row[3])
        for who in pairs(helper.merge(one, other)) do
          local mine, its = one[who] or {}, other[who] or {}
          if row[3] and who:find('^client') then
            table.sort(mine)
            table.sort(its)
          end
          local expected, found = difference(mine, its)
          assert.equal(expected, found, ('%s, seed %d'):format(who, seed))
        end
      end
    end)
  end
end)
