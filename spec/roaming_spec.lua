local Nat = require('spec.support.nat')
local dtls = require('dtls')
local ends = require('spec.support.ends')
local hello = require('spec.support.hello')
local helper = require('spec.helper')
local interpreted = require('dtls/interpreted')
local namespace = require('spec.support.namespace')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local sockets = require('dtls/sockets')

local PSK = { identity = 'dev-1', key = '\1\2\3\4\5\6\7\8\9\10\11\12\13\14\15\16' }

-- A server on which peers may move. What it tells is in lists, by session.
local function roamingServer(options, host)
  local all = { served = {}, moves = {}, heard = {}, closed = {} }
  all.server, all.port = ends.listen(helper.merge({ roaming = true }, options), function (session)
    local index = #all.served + 1
    all.served[index], all.heard[index] = session, {}
    session:on('move', function (to, from)
      all.moves[#all.moves + 1] = { session, to, from }
      if all.onMove then all.onMove(session) end
    end)
    session:on('message', function (data)
      all.heard[index][#all.heard[index] + 1] = data
      if not all.silent then session:send('Echo: ' .. data) end
    end)
    session:on('close', function (reason) all.closed[index] = reason end)
  end, host)
  return all
end

local function certified(options, host)
  local identity = pki.identity('server')
  return roamingServer(helper.merge({ cert = identity.cert, key = identity.key }, options), host)
end

-- A client of that server behind a translator of its own: `{ nat, client, session }`.
local function join(all, options, ip)
  local one = { nat = Nat.new(all.port, ip) }
  local count = #all.served
  one.client = ends.connect(one.nat.port, options or { ca = pki.ca('authority').cert })
  ends.opened(one.client)
  helper.runUntil(function () return all.served[count + 1] end)
  one.session, one.heard = all.served[count + 1], all.heard[count + 1]
  return one
end

local function trusting(options)
  return helper.merge({ ca = pki.ca('authority').cert }, options)
end

-- A suite by which records leave no trail.
local TRACKLESS = { ciphers = 'ECDHE-ECDSA-CHACHA20-POLY1305' }

-- Sends datagrams, no more at once than a socket can hold, and has the server read them all.
local function sendAll(all, count, send)
  local before = all.server:stats().datagramsIn
  for index = 1, count do
    send(index)
    if index % 50 == 0 or index == count then
      helper.runUntil(function () return all.server:stats().datagramsIn == before + index end)
    end
  end
end

-- Sees that a client and its session are in touch.
local function assertInTouch(one, line)
  assert.equal('Echo: ' .. line, ends.asked(one.client, line))
  assert.same(one.nat:address(), one.session:remoteAddress())
end

local function recordNumber(datagram)
  local number = 0
  for index = 6, 11 do number = number * 256 + datagram:byte(index) end
  return number
end

-- A sealed record that nobody has sealed.
local function forged(number)
  local body = hello.randomBytes(40)
  return '\23\254\253\0\1\0\0\0\0' .. string.char(math.floor(number / 256), number % 256) .. '\0\40' .. body
end

after_each(function ()
  program.stopAll()
  Nat.closeAll()
  ends.closeAll()
end)

teardown(pki.remove)

describe('a peer that moves', function ()
  it('keeps its session, which tells of it', function ()
    local all = certified()
    local one = join(all)
    local from = one.session:remoteAddress()
    one.nat:rebind()
    assertInTouch(one, 'here')
    assert.same({ { one.session, one.nat:address(), from } }, all.moves)
    local stats = all.server:stats()
    assert.same({ 1, 1, 1, 1 }, { stats.moves, stats.roamTrials, stats.sessions, stats.connected })
    assert.equal(1, one.session:stats().moves)
    assert.is_nil(stats.drops.unknown)
  end)

  it('may come back to where it was', function ()
    local all = certified()
    local one = join(all)
    local first = one.nat:address()
    one.nat:rebind('127.0.0.2')
    assertInTouch(one, 'away')
    one.nat:rebind(first.ip, first.port)
    assertInTouch(one, 'back')
    assert.equal(2, all.server:stats().moves)
  end)

  it('may say goodbye from where it is', function ()
    local all = certified()
    local one = join(all)
    one.nat:rebind()
    one.client:close()
    helper.runUntil(function () return one.client.seen[#one.client.seen][1] == 'close' end)
    assert.equal('closed', all.closed[1])
    assert.equal(1, #all.moves)
    assert.equal(0, all.server:stats().sessions)
  end)

  it('is found among many, at the first try', function ()
    local all = certified()
    local each = {}
    for index = 1, 20 do each[index] = join(all) end
    for index, one in ipairs(each) do
      one.nat:rebind('127.0.0.' .. 1 + index)
      assertInTouch(one, 'here')
    end
    local stats = all.server:stats()
    assert.same({ 20, 20, 20 }, { stats.moves, stats.roamTrials, stats.connected })
  end)

  it('is found among the few of its host where its records leave no trail', function ()
    local all = certified()
    local each = {}
    for index = 1, 8 do each[index] = join(all, trusting(TRACKLESS)) end
    for index, one in ipairs(each) do
      one.nat:rebind()
      assertInTouch(one, 'here ' .. index)
    end
    local stats = all.server:stats()
    assert.same({ 8, 8 }, { stats.moves, stats.connected })
    assert.is_true(stats.roamTrials <= 8 * 8, stats.roamTrials)
  end)

  it('is looked for on its host first', function ()
    local all = certified()
    for index = 1, 20 do join(all, trusting(TRACKLESS), '127.0.1.' .. index) end
    local here = { join(all, trusting(TRACKLESS)), join(all, trusting(TRACKLESS)) }
    for _, one in ipairs(here) do
      one.nat:rebind()
      assertInTouch(one, 'here')
    end
    assert.is_true(all.server:stats().roamTrials <= 2 + 2)
  end)

  -- Messages until one is answered; how many that took, or nil where none was.
  local function knock(one, most)
    local before = #one.client.seen
    for count = 1, most do
      assert(one.client:send('knock'))
      local wait = helper.uv.hrtime() + 2e7
      helper.runUntil(function () return one.client.seen[before + 1] or helper.uv.hrtime() > wait end)
      if one.client.seen[before + 1] then return count end
    end
  end

  it('is found on its host alone where many records leave no trail', function ()
    local all = certified()
    local each = {}
    for index = 1, 65 do each[index] = join(all, trusting(TRACKLESS), '127.0.1.' .. index) end
    each[1].nat:rebind()
    assertInTouch(each[1], 'here')
    each[2].nat:rebind('127.0.0.2')
    assert.is_nil(knock(each[2], 3))
    assert.same({ 1, 1 }, { all.server:stats().moves, all.server:stats().roamTrials })
    -- With one less it is.
    each[65].session:destroy()
    each[65].client:destroy()
    assert.is_number(knock(each[2], 60))
    assertInTouch(each[2], 'there')
    -- Its host is the new one from then on.
    each[65] = join(all, trusting(TRACKLESS))
    local trials = all.server:stats().roamTrials
    each[2].nat:rebind()
    assertInTouch(each[2], 'at the next port')
    assert.equal(trials + 1, all.server:stats().roamTrials)
  end)

  it('is found among many of its host before long', function ()
    local all = certified()
    local each = {}
    for index = 1, 70 do each[index] = join(all, trusting(TRACKLESS)) end
    each[35].nat:rebind()
    assert.is_number(knock(each[35], 100))
    assertInTouch(each[35], 'here')
  end)

  for name, of in pairs({
    ['AES-GCM'] = { server = {}, client = trusting() },
    ['ChaCha20-Poly1305'] = { server = {}, client = trusting(TRACKLESS) },
    ['AES-CCM-8 and a certificate'] = {
      server = { profile = 'iot' }, client = trusting({ profile = 'iot' }),
    },
    ['AES-CCM-8 and a key'] = {
      server = { profile = 'iot', psk = { [PSK.identity] = PSK.key } },
      client = { profile = 'iot', psk = PSK },
    },
  }) do
    -- What a peer sends reaches us wherever it is. What we send is lost where it is on its way to an address
    -- when the peer loses that, or sent there before we hear from the new one.
    it('a hundred times loses no more than what is on its way, with ' .. name, function ()
      local all = certified(of.server)
      all.silent = true
      local one = join(all, of.client)
      local nat, session, client = one.nat, one.session, one.client
      local suite = session:getCipher().name
      assert.equal(name:find('AES%-CCM') ~= nil, suite:find('CCM8') ~= nil, suite)
      local handshakes = #nat.up

      local arrived, passed, mayBeLost = {}, 0, {}
      client:on('message', function (data)
        local number = tonumber(data)
        arrived[number] = (arrived[number] or 0) + 1
      end)
      -- The server's Finished is its record 0.
      nat.onDown = function (data) passed = math.max(passed, recordNumber(data)) end
      local sent = 0
      local ticker = helper.uv.new_timer()
      ticker:start(1, 1, function ()
        sent = sent + 1
        assert(client:send(tostring(sent)))
        assert(session:send(tostring(sent)))
      end)
      local losing
      all.onMove = function ()
        for number = losing, sent do mayBeLost[number] = true end
      end
      local function talk()
        local goal = sent + 3
        helper.runUntil(function () return sent >= goal end)
      end
      for change = 1, 100 do
        talk()
        losing = passed + 1
        nat:rebind(change > 50 and '127.0.0.' .. change)
        helper.runUntil(function () return #all.moves == change end)
        assert.same(nat:address(), session:remoteAddress())
      end
      talk()
      ticker:close()
      helper.runUntil(function () return #one.heard >= sent and arrived[sent] end)

      for number = 1, sent do
        assert.equal(tostring(number), one.heard[number])
        if not mayBeLost[number] then assert.equal(1, arrived[number], number) end
        assert.is_true((arrived[number] or 0) <= 1)
      end
      assert.equal(sent, #one.heard)
      for index = handshakes + 1, #nat.up do assert.equal(23, nat.up[index]:byte()) end
      local stats = all.server:stats()
      assert.same({ 100, 100, 1, 1 }, { stats.moves, stats.roamTrials, stats.connected, stats.challenges })
      assert.same({}, stats.drops)
    end)
  end

  it('takes the socket along that is its own', function ()
    local all = certified({ perPeerSocket = true })
    local one, other = join(all), join(all)
    for round = 1, 20 do
      if round % 2 == 0 then one.nat:rebind('127.0.0.' .. 1 + round) else one.nat:swap(other.nat) end
      assertInTouch(one, 'one ' .. round)
      assertInTouch(other, 'other ' .. round)
      for _, each in ipairs({ one, other }) do
        local peer = each.session._socket.handle:getpeername()
        assert.same(each.nat:address(), { ip = peer.ip, port = peer.port, family = peer.family })
      end
    end
    helper.runUntil(function () return all.server._peerSockets == 2 end)
    assert.equal(2, all.server:stats().connected)
  end)

  it('goes on by the listening socket where there is none for it, whatever a handler does', function ()
    local make = sockets.make
    finally(function () sockets.make = make end)
    for _, row in ipairs({
      {
        'throws', function () error('out of the handler') end,
        errors = 1, told = { 'warning', 'move', 'message' },
      },
      { 'closes the session', function (_, one) one.session:destroy() end, told = { 'warning', 'close' } },
      { 'closes the server', function (all) all.server:close() end, told = { 'warning', 'close' } },
    }) do
      local errors, told = helper.errors(), {}
      local all = certified({ perPeerSocket = true })
      local one = join(all)
      for _, name in ipairs({ 'move', 'message', 'close' }) do
        one.session:on(name, function () told[#told + 1] = name end)
      end
      all.server:on('warning', function ()
        told[#told + 1] = 'warning'
        row[2](all, one)
      end)
      function sockets.make(terms, ip, at, peerIp)
        if peerIp then return nil, 'EMFILE: too many open files', 'EMFILE' end
        return make(terms, ip, at)
      end
      one.nat:rebind()
      assert(one.client:send('here'))
      helper.runUntil(function () return #told >= #row.told end)
      helper.uv.run('nowait')
      assert.same(row.told, told, row[1])
      assert.equal(row.errors or 0, #errors, row[1])
      assert.equal(1, all.server:stats().moves, row[1])
      assert.equal(1, one.session:stats().moves, row[1])
      sockets.make = make
      Nat.closeAll()
      ends.closeAll()
    end
  end)

  for name, ip in pairs({ IPv4 = '127.0.0.1', IPv6 = '::1' }) do
    for trail, options in pairs({ ['with a trail'] = {}, ['without one'] = TRACKLESS }) do
      it('has an ' .. name .. ' address on a dual-stack socket, ' .. trail, function ()
        local all = certified({}, '::')
        local one = join(all, trusting(options), ip)
        local from = one.nat:address()
        one.nat:rebind()
        assertInTouch(one, 'here')
        assert.same({ { one.session, one.nat:address(), from } }, all.moves)
      end)
    end
  end

  it('is openssl s_client, whose records leave a trail', function ()
    program.need('setpriv', 'openssl')
    local all = certified()
    local others = { join(all), join(all, trusting(TRACKLESS)) }
    local nat = Nat.new(all.port)
    local peer = peers.sClient(nat.port)
    helper.runUntil(function () return all.served[3] end)
    -- It has heard the last of the handshake.
    ends.echoed(peer)
    for index = 1, 10 do
      nat:rebind('127.0.0.' .. 1 + index)
      peer:write('line ' .. index .. '\n')
      peer:waitFor('Echo: line ' .. index .. '\n')
    end
    local stats = all.server:stats()
    assert.same({ 10, 10, 3 }, { stats.moves, stats.roamTrials, stats.connected })
    assertInTouch(others[1], 'still there')
  end)

  it('is gnutls-cli, whose records do not', function ()
    program.need('setpriv', 'gnutls-cli')
    local all = certified({ retransmitTimeout = 500 })
    local nat = Nat.new(all.port)
    local peer = peers.gnutlsCli(nat.port)
    helper.runUntil(function () return all.served[1] end)
    local other = join(all)
    for index = 1, 3 do
      nat:rebind(index > 1 and '127.0.0.2')
      peer:write('line ' .. index .. '\n')
      peer:waitFor('Echo: line ' .. index .. '\n')
    end
    local stats = all.server:stats()
    assert.same({ 3, 3 }, { stats.moves, stats.roamTrials })
    assertInTouch(other, 'still there')
  end)

  it('stays where it is if not asked for: the server is silent, and the client resumes', function ()
    local all = certified({ roaming = false })
    local one = join(all)
    local answers = #one.nat.down
    one.nat:rebind()
    sendAll(all, 20, function () assert(one.client:send('hello?')) end)
    assert.equal(answers, #one.nat.down)
    local stats = all.server:stats()
    assert.same({ 0, 0, 20 }, { stats.moves, stats.roamTrials, stats.drops.unknown })
    local again = ends.connect(one.nat.port, trusting({ session = one.client:getSession() }))
    ends.opened(again)
    assert.is_true(again:isSessionReused())
    assert.equal('Echo: x', ends.asked(again, 'x'))
    one.client:destroy()
  end)
end)

describe('a message', function ()
  for name, options in pairs({ ['with a trail'] = {}, ['without one'] = TRACKLESS }) do
    it('that the move has overtaken is delivered, and moves nothing, ' .. name, function ()
      local all = certified()
      local one = join(all, trusting(options))
      local late
      one.nat.onUp = function (data)
        late = data
        return true
      end
      assert(one.client:send('late'))
      helper.runUntil(function () return late end)
      one.nat.onUp = nil
      one.nat:rebind()
      assertInTouch(one, 'here')
      local stranger = one.nat:stranger('127.0.0.9')
      sendAll(all, 1, function () stranger.send(late) end)
      assert.same({ 'here', 'late' }, one.heard)
      helper.runUntil(function () return one.client.seen[3] end)
      -- Twice is once too often.
      sendAll(all, 1, function () stranger.send(late) end)
      assert.same({ 'here', 'late' }, one.heard)
      assertInTouch(one, 'still here')
      assert.equal(1, all.server:stats().moves)
      assert.same({}, stranger.heard)
    end)
  end
end)

describe('a stranger', function ()
  it('moves nothing with ten thousand recorded datagrams, and is not answered', function ()
    local all = certified()
    all.silent = true
    local one = join(all)
    local first = #one.nat.up + 1
    local count = 10000 / helper.slowness
    sendAll(all, count, function (index) assert(one.client:send('message ' .. index)) end)
    one.nat:rebind()
    sendAll(all, 1, function () assert(one.client:send('moved')) end)
    local strangers = {}
    for index = 1, 20 do strangers[index] = one.nat:stranger('127.0.0.' .. index) end
    local before = all.server:stats()
    sendAll(all, count + 1, function (index)
      strangers[index % 20 + 1].send(one.nat.up[first + index - 1])
    end)
    local after = all.server:stats()
    assert.equal(count + 1, #one.heard)
    assert.same({ before.moves, before.datagramsOut, count + 1 },
      { after.moves, after.datagramsOut, after.drops.unknown })
    for _, each in ipairs(strangers) do assert.same({}, each.heard) end
    -- Not in the session either.
    assert.same({}, one.session:stats().drops)
    all.silent = false
    assertInTouch(one, 'still here')
  end)

  it('buys a bounded number of tries with forged records', function ()
    local all = certified()
    local each = {}
    for index = 1, 12 do each[index] = join(all, trusting(TRACKLESS)) end
    local found = join(all)
    local strangers = {}
    for index = 1, 20 do strangers[index] = found.nat:stranger('127.0.0.' .. 1 + index) end
    local began = helper.uv.hrtime()
    sendAll(all, 3000, function (index) strangers[index % 20 + 1].send(forged(index)) end)
    local seconds = (helper.uv.hrtime() - began) / 1e9
    local stats = all.server:stats()
    assert.equal(3000, stats.drops.unknown)
    assert.is_true(stats.roamTrials <= 8 * 500 * (1 + seconds), stats.roamTrials)
    assert.equal(0, stats.moves)
    -- What leaves a trail is found in the middle of it.
    for index = 1, 100 do strangers[index % 20 + 1].send(forged(index)) end
    found.nat:rebind()
    assertInTouch(found, 'here')
    for _, stranger in ipairs(strangers) do assert.same({}, stranger.heard) end
    for index, one in ipairs(each) do
      assertInTouch(one, 'still here')
      assert.is_nil(all.closed[index])
      assert.same({}, one.session:stats().drops)
    end
  end)

  it('buys none at the address of the one session that there is', function ()
    local all = certified()
    local one = join(all, trusting(TRACKLESS))
    sendAll(all, 100, function (index) one.nat:send(forged(index)) end)
    assert.equal(0, all.server:stats().roamTrials)
    assert.equal(100, all.server:stats().drops.unauthenticated)
    assertInTouch(one, 'still here')
  end)

  it('buys one try with a record that bears the trail of a session', function ()
    local all = certified()
    local one = join(all)
    local other = join(all)
    assert(one.client:send('x'))
    helper.runUntil(function () return one.heard[1] end)
    local genuine = one.nat.up[#one.nat.up]
    local stranger = one.nat:stranger()
    sendAll(all, 500, function () stranger.send(genuine:sub(1, -3) .. hello.randomBytes(2)) end)
    local stats = all.server:stats()
    assert.same({ 500, 0 }, { stats.roamTrials, stats.moves })
    assert.same({}, stranger.heard)
    -- From the peer's own address it is no try at all.
    join(all, trusting(TRACKLESS))
    sendAll(all, 1, function () one.nat:send(genuine:sub(1, -3) .. hello.randomBytes(2)) end)
    assert.equal(500, all.server:stats().roamTrials)
    assertInTouch(one, 'still here')
    assertInTouch(other, 'still here')
  end)
end)

describe('sessions that bear one trail', function ()
  -- Has a session bear the trail of another one, as a peer can choose to.
  local function imitate(all, one, other)
    all.server._roam:enter(one.session, other.session._trail)
  end

  it('do not hide the first of them', function ()
    local all = certified()
    local one = join(all)
    local others = {}
    for index = 1, 6 do
      others[index] = join(all)
      imitate(all, others[index], one)
    end
    one.nat:rebind()
    assertInTouch(one, 'here')
    assert.equal(1, all.server:stats().roamTrials)
    -- Those beyond the fourth leave none, and are found all the same.
    others[6].nat:rebind()
    assertInTouch(others[6], 'here')
    for index = 1, 6 do assertInTouch(others[index], 'still here') end
  end)

  it('leave it one by one', function ()
    local all = certified()
    local each = {}
    for index = 1, 4 do
      each[index] = join(all)
      if index > 1 then imitate(all, each[index], each[1]) end
    end
    local trail = each[1].session._trail
    for index, left in pairs({ [2] = 3, [1] = 2, [4] = 1, [3] = 0 }) do
      each[index].session:destroy()
      each[index].client:destroy()
      local count, session = 0, all.server._roam.candidates.trails[trail]
      while session do count, session = count + 1, session._sameTrail end
      assert.is_true(count <= 3 and left <= 3)
    end
    assert.same({}, all.server._roam.candidates.trails)
  end)
end)

describe('peers behind one translator', function ()
  for name, options in pairs({ ['with a trail'] = {}, ['without one'] = TRACKLESS }) do
    it('may be given each other\'s ports, ' .. name, function ()
      local all = certified()
      local one, other = join(all, trusting(options)), join(all, trusting(options))
      for round = 1, 5 do
        one.nat:swap(other.nat)
        assertInTouch(one, 'one ' .. round)
        assertInTouch(other, 'other ' .. round)
        assertInTouch(one, 'one again ' .. round)
      end
      local stats = all.server:stats()
      assert.same({ 10, 2, 2 }, { stats.moves, stats.connected, stats.sessions })
      -- What one session cannot open does not count where another can.
      assert.same({}, stats.drops)
    end)
  end

  it('may be given a port that a silent one had, and restart there', function ()
    local all = certified()
    local silent, one = join(all), join(all)
    local port = silent.nat:address().port
    silent.nat:rebind()
    one.nat:rebind('127.0.0.1', port)
    assertInTouch(one, 'here')
    one.client:destroy()
    local again = ends.connect(one.nat.port, trusting())
    ends.opened(again)
    assert.equal('Echo: again', ends.asked(again, 'again'))
    assert.same({ [2] = 'replaced' }, all.closed)
    assertInTouch(silent, 'not so silent')
    assert.equal(2, all.server:stats().sessions)
  end)

  it('may meet at one address, where the last that was heard is the one that restarts', function ()
    local all = certified()
    local one, other = join(all), join(all)
    other.nat.onUp = function (data)
      one.nat:send(data)
      return true
    end
    sendAll(all, 1, function () assert(other.client:send('here')) end)
    assert.same(one.nat:address(), other.session:remoteAddress())
    other.nat.onUp = nil
    assertInTouch(one, 'here')
    one.client:destroy()
    local again = ends.connect(one.nat.port, trusting())
    ends.opened(again)
    assert.equal('Echo: again', ends.asked(again, 'again'))
    assert.same({ 'replaced' }, all.closed)
    assertInTouch(other, 'back')
  end)

  it('meet at one address up to four at a time', function ()
    local all = certified()
    local each = {}
    for index = 1, 6 do each[index] = join(all) end
    local meeting = each[1].nat
    for index = 2, 6 do
      -- As one that has been given the first one's port, and has lost it again.
      local nat = each[index].nat
      nat.onUp = function (data)
        meeting:send(data)
        return true
      end
      sendAll(all, 1, function () assert(each[index].client:send('here')) end)
      assert.same({ 'here' }, each[index].heard)
      local expected = index <= 4 and meeting or nat
      assert.same(expected:address(), each[index].session:remoteAddress())
      nat.onUp = nil
    end
    for index = 1, 6 do assertInTouch(each[index], 'back') end
    assert.equal(3 + 3, all.server:stats().moves)
  end)
end)

describe('a handshake that is not complete', function ()
  -- Begins one from an address, as somebody does who is there and goes no further.
  local function begin(all, outlet)
    local random = hello.randomBytes(32)
    local before = all.server:stats().sessions
    outlet.handle:try_send(hello.datagram({ random = random }), '127.0.0.1', all.port)
    local cookie
    helper.runUntil(function ()
      for _, data in ipairs(outlet.heard) do cookie = cookie or hello.answer(data) end
      return cookie
    end)
    local second = hello.datagram({ random = random, cookie = cookie, sequence = 1 })
    outlet.handle:try_send(second, '127.0.0.1', all.port)
    helper.runUntil(function () return all.server:stats().sessions == before + 1 end)
  end

  it('stays behind where the session of the same peer moves', function ()
    local all = certified({ handshakeTimeout = 300 })
    local one = join(all)
    one.nat.outlet.heard = {}
    begin(all, one.nat.outlet)
    one.nat:rebind()
    assertInTouch(one, 'here')
    helper.runUntil(function () return all.server:stats().sessions == 1 end)
    assert.equal('ETIMEDOUT', all.server.failures[1][3])
    assertInTouch(one, 'still here')
  end)

  it('does not take what a peer sends that moves to its address', function ()
    local all = certified({ handshakeTimeout = 300 })
    local one = join(all)
    local stranger = one.nat:stranger()
    begin(all, stranger)
    one.nat:take(stranger)
    assertInTouch(one, 'here')
    assert.equal(1, all.server:stats().moves)
    helper.runUntil(function () return all.server:stats().sessions == 1 end)
    assertInTouch(one, 'still here')
  end)
end)

describe('peers that move, swap, meet, restart and leave in any order', function ()
  -- How many sessions are in the tables of those that may be looked for.
  local function candidates(all)
    local found, count = all.server._roam.candidates, #all.server._roam.candidates.trackless
    for _, first in pairs(found.trails) do
      while first do count, first = count + 1, first._sameTrail end
    end
    local byHost = 0
    for _, list in pairs(found.hosts) do byHost = byHost + #list end
    assert.equal(#found.trackless, byHost)
    return count
  end
  interpreted(candidates)

  for name, options in pairs({ shared = {}, own = { perPeerSocket = true } }) do
    it('are found every time, with ' .. name .. ' sockets', function ()
      math.randomseed(20261121)
      local all = certified(options)
      local there = {}
      local function newcomer() return join(all, trusting(math.random(2) == 1 and TRACKLESS or nil)) end
      local function pick() return there[math.random(#there)] end
      for index = 1, 8 do there[index] = newcomer() end
      local steps = {
        function () pick().nat:rebind() end,
        function () pick().nat:rebind('127.0.0.' .. math.random(2, 9)) end,
        function () pick().nat:swap(pick().nat) end,
        -- What one has sent comes from where another is.
        function ()
          local old, other = pick().nat, pick().nat
          other:send(old.up[math.random(#old.up)])
        end,
        function () pick().nat:send(forged(math.random(0, 9))) end,
        function ()
          local index = math.random(#there)
          -- It restarts where it is known to be.
          assertInTouch(there[index], 'before')
          there[index].client:destroy()
          local count, nat = #all.served, there[index].nat
          local client = ends.opened(ends.connect(nat.port, trusting()))
          helper.runUntil(function () return all.served[count + 1] end)
          there[index] = { nat = nat, client = client, session = all.served[count + 1] }
        end,
        function ()
          local index = math.random(#there)
          there[index].client:close()
          local session = there[index].session
          helper.runUntil(function () return session._state == 'closed' end)
          there[index] = newcomer()
        end,
      }
      for round = 1, 150 / helper.slowness do
        steps[math.random(#steps)]()
        local one = pick()
        assertInTouch(one, 'round ' .. round)
      end
      for index, one in ipairs(there) do assertInTouch(one, 'the end of ' .. index) end
      assert.equal(#all.server:sessions(), candidates(all))
      for _, one in ipairs(there) do one.client:destroy() end
      for _, session in ipairs(all.server:sessions()) do session:destroy() end
      assert.equal(0, candidates(all))
      assert.equal(0, all.server:stats().sessions)
    end)
  end
end)

describe('a peer that has moved', function ()
  it('may restart where it is', function ()
    local all = certified()
    local one = join(all)
    one.nat:rebind('127.0.0.2')
    assertInTouch(one, 'here')
    one.client:destroy()
    local again = ends.connect(one.nat.port, trusting())
    ends.opened(again)
    assert.equal('Echo: again', ends.asked(again, 'again'))
    assert.same({ 'replaced' }, all.closed)
    assert.equal(1, all.server:stats().sessions)
  end)

  it('leaves its old address to strangers', function ()
    local all = certified()
    local one = join(all)
    local old = one.nat:address()
    one.nat:rebind('127.0.0.2')
    assertInTouch(one, 'here')
    local nat = Nat.new(all.port)
    nat:rebind(old.ip, old.port)
    local other = ends.connect(nat.port, trusting())
    ends.opened(other)
    assert.equal('Echo: new', ends.asked(other, 'new'))
    assertInTouch(one, 'still here')
    assert.same({}, all.closed)
    assert.equal(2, all.server:stats().sessions)
  end)
end)

describe("a listener of 'move'", function ()
  for name, of in pairs({
    close = { act = function (session) session:close() end, reason = 'closed', told = true },
    destroy = { act = function (session) session:destroy() end, reason = 'destroyed', told = false },
  }) do
    it('may ' .. name .. ' the session', function ()
      local all = certified()
      local one = join(all)
      all.onMove = of.act
      one.nat:rebind()
      local before = #one.nat.down
      assert(one.client:send('here'))
      helper.runUntil(function () return all.closed[1] end)
      assert.equal(of.reason, all.closed[1])
      helper.uv.run('nowait')
      assert.equal(of.told, #one.nat.down > before)
      assert.equal(0, all.server:stats().sessions)
      if not of.told then one.client:destroy() end
    end)
  end

  it('may close the server', function ()
    local all = certified()
    local one = join(all)
    all.onMove = function () all.server:close() end
    one.nat:rebind()
    assert(one.client:send('here'))
    helper.runUntil(function () return one.client.seen[#one.client.seen][1] == 'close' end)
    assert.equal('closed', all.closed[1])
  end)

  it('may answer to the new address', function ()
    local all = certified()
    local one = join(all)
    all.silent = true
    all.onMove = function (session) assert(session:send('welcome')) end
    one.nat:rebind()
    assert.equal('welcome', ends.asked(one.client, 'here'))
  end)

  it('may throw, and the message is delivered', function ()
    local errors = helper.errors()
    local all = certified()
    local one = join(all)
    all.onMove = function () error('from the handler') end
    one.nat:rebind()
    assertInTouch(one, 'here')
    assert.truthy(errors[1]:find('from the handler', 1, true))
    all.onMove = nil
    one.nat:rebind()
    assertInTouch(one, 'there')
  end)
end)

describe('an endpoint', function ()
  namespace.it('finds a link-local peer that moves on the link where it was', function ()
    local output = namespace.cable([[
      local identity = dtls.generateCertificate()
      local server
      server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
        session:on('message', function (data)
          if data == 'one' then
            shell('ip address add fe80::4/64 dev left nodad && ip address del fe80::1/64 dev left')
          end
          session:send('Echo: ' .. data)
        end)
        session:on('close', function () server:close() end)
      end)
      assert(server:listen(5684, '::'))
    ]], [[
      local endpoint = dtls.createEndpoint({
        roaming = true, rejectUnauthorized = false, retransmitTimeout = 100, handshakeTimeout = 3000,
      })
      local session = endpoint:connect({ host = 'fe80::1%right', port = 5684 })
      session:on('secureConnection', function () session:send('one') end)
      session:on('error', print)
      session:on('move', function (to, from) print('moved', from.ip, to.ip, session._target) end)
      session:on('message', function (data)
        print(data)
        if data == 'Echo: one' then return session:send('two') end
        session:close(function () endpoint:close() end)
      end)
    ]])
    assert.equal('moved\tfe80::1\tfe80::4\tfe80::4%right\nEcho: one\nEcho: two\n', output)
  end)

  it('is followed by its own server, too', function ()
    local identity = pki.identity('server')
    local _, port = ends.certified()
    local nat = Nat.new(port)
    local endpoint = dtls.createEndpoint({
      roaming = true, cert = identity.cert, key = identity.key, ca = pki.ca('authority').cert,
    })
    assert(endpoint:listen(0, '127.0.0.1'))
    local session = endpoint:connect({ port = nat.port })
    session.seen = helper.record(session, 'secureConnection', 'message', 'move')
    ends.opened(session)
    assert.equal('Echo: x', ends.asked(session, 'x'))
    -- The server's answers come from another port from now on.
    local front = nat:stranger()
    nat.front = { try_send = function (_, data, ip, to) return front.handle:try_send(data, ip, to) end }
    assert(session:send('y'))
    helper.runUntil(function () return session.seen[4] end)
    assert.equal('move', session.seen[3][1])
    assert.equal(front.port, session:remoteAddress().port)
    assert.same({ 'message', 'Echo: y' }, session.seen[4])
    session:destroy()
    endpoint:close()
  end)
end)
