local dtls = require('dtls')
local helper = require('spec.helper')
local trace = require('dtls/trace')

local uv = helper.uv
local hrtime = uv.hrtime

-- What the clock says, in milliseconds.
local clock

local function message(type, length, offset, fragment, retransmission)
  return {
    type = type, sequence = 1, length = length, fragmentOffset = offset or 0,
    fragmentLength = fragment or length, retransmission = retransmission or false,
  }
end

-- An event of a record that fills its datagram; `more` says what else there is to it.
local function event(direction, flight, type, epoch, sequence, length, more)
  local made = {
    direction = direction, flight = flight, datagram = length, messages = {},
    record = { type = type, epoch = epoch, sequence = sequence, length = length },
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

local function handshake(direction, flight, sequence, length, ...)
  return event(direction, flight, 'handshake', 0, sequence, length, { messages = { ... } })
end

local function session(isServer, ip, port)
  local address = ip and { ip = ip, port = port, family = 'inet' }
  return { _isServer = isServer, remoteAddress = function () return address end }
end

-- The lines that a hook writes about events, which come a millisecond and a half apart.
local function drawn(events, ofSession)
  local lines = {}
  local hook = trace(function (line) lines[#lines + 1] = line end)
  for _, told in ipairs(events) do
    hook(told, ofSession)
    clock = clock + 1.5
  end
  return lines
end

local function arrowOf(told, ofSession)
  return drawn({ told }, ofSession)[2]:match('│(.-)│')
end

local function remarksOn(told)
  return drawn({ told })[2]:match('│.-│  (.*)')
end

local ladder = [[
#1       ms  flight  client                                            server 192.0.2.7 port 5684
#1      0.0       1  │── ClientHello ────────────────────────────────▶│  157 bytes, epoch 0 record 0
#1      1.5       2  │◀───────────────────────── HelloVerifyRequest ──│  60 bytes, epoch 0 record 0
#1      3.0       3  │── ClientHello ────────────────────────────────▶│  189 bytes, epoch 0 record 1
#1      4.5       4  │◀──────────────────────────────── ServerHello ──│  90 bytes, epoch 0 record 1
#1      6.0       4  │◀──────────────── Certificate (0-999 of 1500) ──│  1025 bytes, epoch 0 record 2
#1      7.5       4  │◀──────────── Certificate (1000-1499 of 1500) ──│  525 bytes, epoch 0 record 3
#1      9.0       4  │◀──────────────────────────── ServerHelloDone ──│  25 bytes, epoch 0 record 4
#1     10.5       5  │── ChangeCipherSpec ───────────────────────────▶│  14 of 200 bytes, epoch 0 record 3
#1     12.0       5  │══ Finished (sealed) ══════════════════════════▶│  61 of 200 bytes, epoch 1 record 0
#1     13.5          │══ application data (sealed) ══════════════════▶│  80 bytes, epoch 1 record 1]]

describe('a trace', function ()
  before_each(function ()
    clock = 5000
    uv.hrtime = function () return clock * 1e6 end
  end)

  after_each(function ()
    uv.hrtime = hrtime
    helper.run()
  end)

  it('draws a handshake as a ladder', function ()
    local sealed = { messages = { { type = 'Finished (sealed)' } }, datagram = 200 }
    local lines = drawn({
      handshake('sent', 1, 0, 157, message('ClientHello', 132)),
      handshake('received', 2, 0, 60, message('HelloVerifyRequest', 35)),
      handshake('sent', 3, 1, 189, message('ClientHello', 164)),
      handshake('received', 4, 1, 90, message('ServerHello', 65)),
      handshake('received', 4, 2, 1025, message('Certificate', 1500, 0, 1000)),
      handshake('received', 4, 3, 525, message('Certificate', 1500, 1000, 500)),
      handshake('received', 4, 4, 25, message('ServerHelloDone', 0)),
      event('sent', 5, 'change_cipher_spec', 0, 3, 14, { datagram = 200 }),
      event('sent', 5, 'handshake', 1, 0, 61, sealed),
      event('sent', nil, 'application_data', 1, 1, 80),
    }, session(false, '192.0.2.7', 5684))
    assert.equal(ladder, table.concat(lines, '\n'))
  end)

  it('has the client on the left at a server too, and the address at the peer', function ()
    local lines = drawn({
      handshake('received', 3, 1, 189, message('ClientHello', 164)),
      handshake('sent', 4, 1, 90, message('ServerHello', 65)),
    }, session(true, '::1', 40123))
    assert.same({
      '#1       ms  flight  client ::1 port 40123                             server',
      '#1      0.0       3  │── ClientHello ────────────────────────────────▶│  189 bytes, epoch 0 record 1',
      '#1      1.5       4  │◀──────────────────────────────── ServerHello ──│  90 bytes, epoch 0 record 1',
    }, lines)
  end)

  it('draws a session that it does not know, or whose peer has no address yet, as a client', function ()
    local hello = handshake('sent', 1, 0, 157, message('ClientHello', 132))
    for _, unknown in ipairs({ false, session(false) }) do
      local lines = drawn({ hello }, unknown or nil)
      assert.equal('#1       ms  flight  client                                            server', lines[1])
      assert.is_truthy(lines[2]:find('│── ClientHello ─', 1, true))
    end
  end)

  it('gives each session a number, a heading and a time of its own', function ()
    local lines = {}
    local hook = trace(function (line) lines[#lines + 1] = line:match('^#%d+ +%S+'):gsub(' +', ' ') end)
    local one, other = session(true, '192.0.2.7', 1), session(true, '192.0.2.7', 2)
    for _, of in ipairs({ one, other, one, other }) do
      hook(handshake('received', 3, 1, 189, message('ClientHello', 164)), of)
      clock = clock + 20
    end
    assert.same({ '#1 ms', '#1 0.0', '#2 ms', '#2 0.0', '#1 40.0', '#2 40.0' }, lines)
  end)

  it('marks what was dropped, on the side where it arrived, with its cause', function ()
    local forged = handshake('received', nil, 7, 90, message('ServerHello', 65))
    forged.dropped = 'handshake'
    assert.equal('✗──────────────────────────────── ServerHello ──', arrowOf(forged, session(false)))
    assert.equal('── ServerHello ────────────────────────────────✗', arrowOf(forged, session(true)))
    assert.equal('90 bytes, epoch 0 record 7, dropped: handshake', remarksOn(forged))
  end)

  it('marks what is sent again', function ()
    local again = message('ServerHello', 65, 0, 65, true)
    assert.equal('90 bytes, epoch 0 record 5, retransmission', remarksOn(handshake('sent', 4, 5, 90, again)))
    assert.equal('115 bytes, epoch 0 record 5, retransmission in part',
      remarksOn(handshake('sent', 4, 5, 115, again, message('ServerHelloDone', 0))))
  end)

  it('names all messages of a record, and grows where they need room', function ()
    local flight = handshake('sent', 4, 1, 900,
      message('ServerHello', 65), message('Certificate', 700), message('ServerHelloDone', 0))
    assert.equal('◀── ServerHello, Certificate, ServerHelloDone ──', arrowOf(flight, session(true)))
    table.insert(flight.messages, 3, message('ServerKeyExchange', 100))
    assert.equal('◀─ ServerHello, Certificate, ServerKeyExchange, ServerHelloDone ──',
      arrowOf(flight, session(true)))
  end)

  for _, row in ipairs({
    { 'alert', 0, 'Alert: fatal handshake failure (40)',
      { alert = { level = 'fatal', description = 40, name = 'handshake failure' } } },
    { 'alert', 0, 'Alert' }, -- of no two bytes
    { 'alert', 1, 'Alert (sealed)' },
    { 'handshake', 1, 'sealed handshake', { messages = { { type = 'sealed handshake' } } } },
    { 'handshake', 0, 'malformed', { messages = { { type = 'malformed' } } } },
    { 'handshake', 0, 'handshake' }, -- of no bytes
    { 'application_data', 0, 'application data' },
    { 'unknown', 0, 'unknown record' },
    { 'unknown', 3, 'unknown record (sealed)' },
  }) do
    local type, epoch, label, more = unpack(row, 1, 4)
    it(('calls a record of epoch %d and type %s %q'):format(epoch, type, label), function ()
      assert.equal(label, arrowOf(event('sent', nil, type, epoch, 0, 60, more)):match('^[─═]+ (.-) [─═]+▶$'))
    end)
  end

  it('shows what is no record with its length', function ()
    local junk = event('received', nil, 'malformed', nil, nil, 20, { datagram = 77, dropped = 'malformed' })
    assert.equal('✗────────────────────────────────── no record ──', arrowOf(junk))
    assert.equal('20 of 77 bytes, dropped: malformed', remarksOn(junk))
  end)

  it('writes lines to standard error if it is given no function', function ()
    local stderr, written = io.stderr, {}
    -- A table stands in for the file, which cannot be changed.
    rawset(io, 'stderr', { write = function (_, ...) written[#written + 1] = table.concat({ ... }) end })
    local ok, err = pcall(function () trace()(handshake('sent', 1, 0, 157, message('ClientHello', 132))) end)
    rawset(io, 'stderr', stderr)
    assert(ok, err)
    assert.equal(2, #written)
    assert.matches(' ClientHello .* 157 bytes, epoch 0 record 0\n$', written[2])
  end)

  it('refuses to write to what is no function', function ()
    for _, wrong in ipairs({ 'file', 1, true, false, {}, io.stdout }) do
      local ok, err = pcall(function () trace(wrong) end)
      assert.is_false(ok)
      -- Raised at the line of the call.
      local sentence = 'dtls%.trace: write must be a function, got ' .. type(wrong)
      assert.matches('trace_spec%.lua:%d+: ' .. sentence, err)
    end
  end)
end)

describe('the option trace', function ()
  after_each(helper.run)

  -- A hook and the list of what it is told: each event in a few words.
  local function recorder()
    local told = {}
    return function (what, where)
      local names = {}
      for index, each in ipairs(what.messages) do names[index] = each.type end
      local label = names[1] and table.concat(names, '+') or what.record.type
      told[#told + 1] = ('%s %s %s'):format(what.direction, what.flight or '-', label)
      told.session = where
    end, told
  end

  -- Nothing is sent again, however slow the machine.
  local function calmPair(serverOptions, clientOptions)
    serverOptions.retransmitTimeout, clientOptions.retransmitTimeout = 4000, 4000
    return helper.pair(serverOptions, clientOptions)
  end

  local handshakeAndMessages = {
    'sent 1 ClientHello',
    'received 2 HelloVerifyRequest',
    'sent 3 ClientHello',
    'received 4 ServerHello',
    'received 4 Certificate',
    'received 4 ServerKeyExchange',
    'received 4 ServerHelloDone',
    'sent 5 ClientKeyExchange',
    'sent 5 change_cipher_spec',
    'sent 5 Finished (sealed)',
    'received 6 NewSessionTicket',
    'received 6 change_cipher_spec',
    'received 6 Finished (sealed)',
    'sent - application_data',
    'received - application_data',
    'sent - alert',
    'received - alert',
  }

  -- The same as the other end tells it.
  local function mirrored(list, first)
    local other, swap = {}, { sent = 'received', received = 'sent' }
    for index = first, #list do other[#other + 1] = list[index]:gsub('^%l+', swap) end
    return other
  end

  it('tells both ends of every record of a session', function ()
    local clientHook, client = recorder()
    local serverHook, server = recorder()
    local pair = calmPair({ trace = serverHook }, { trace = clientHook })
    pair.peer:on('message', function (data) pair.peer:send(data) end)
    pair.client:on('message', function () pair.client:close() end)
    pair.client:send('hello')
    helper.runUntil(function () return pair.client._state == 'closed' end)
    assert.equal(pair.client, client.session)
    assert.equal(pair.peer, server.session)
    client.session, server.session = nil, nil
    assert.same(handshakeAndMessages, client)
    -- The gate keeps nothing of the first two flights.
    assert.same(mirrored(handshakeAndMessages, 3), server)
    helper.finish(pair.server)
  end)

  it('goes with a context of its own, and with sessions from one socket', function ()
    local identity = helper.localhost()
    local context = dtls.createContext({ cert = identity.cert, key = identity.key, ca = identity.cert })
    local ofEndpoint, endpointTold = recorder()
    local ofOne, oneTold = recorder()
    local server = dtls.createServer({ context = context })
    assert(server:listen(0, '127.0.0.1'))
    local endpoint = dtls.createEndpoint({ context = context, trace = ofEndpoint })
    for _, given in ipairs({ { trace = ofOne }, {} }) do
      local ended
      given.port = server:address().port
      local client = endpoint:connect(given, function (client) client:close() end)
      client:on('close', function () ended = true end)
      helper.runUntil(function () return ended end)
      assert.equal('sent 1 ClientHello', (given.trace and oneTold or endpointTold)[1])
      assert.equal(given.trace and 0 or 15, #endpointTold)
    end
    assert.equal(15, #oneTold)
    helper.finish(endpoint, server)
  end)

  it('tells why a datagram was dropped', function ()
    local dropped = {}
    local pair = helper.pair({
      trace = function (told)
        if told.dropped then dropped[#dropped + 1] = told.record.type .. ' ' .. told.dropped end
      end,
    })
    local heard
    pair.peer:on('message', function () heard = true end)
    local address, port = pair.client:address(), pair.port
    -- The client's own socket: nobody else has its address.
    local udp = pair.client._endpoint._udp
    assert(address and udp:send('\21\254\253\0\0\0\0\0\0\0\9\0\2\2\80', '127.0.0.1', port))
    assert(udp:send('junk', '127.0.0.1', port))
    pair.client:send('hello')
    helper.runUntil(function () return heard end)
    assert.same({ 'alert plaintext', 'malformed malformed' }, dropped)
    helper.finish(pair.client, pair.server)
  end)

  it('tells of the close_notify of a server that closes', function ()
    local hook, told = recorder()
    local pair = helper.pair({ trace = hook })
    pair.server:close()
    assert.equal('sent - alert', told[#told])
    helper.finish(pair.client)
  end)

  it('is what dtls.trace returns, and not dtls.trace', function ()
    local ok, err = pcall(dtls.trace, {}, {})
    assert.is_false(ok)
    assert.truthy(err:find('the option is what it returns, trace = dtls.trace()', 1, true))
  end)

  it('draws sessions with dtls.trace', function ()
    local lines = {}
    local hook = dtls.trace(function (line) lines[#lines + 1] = line end)
    local pair = calmPair({}, { trace = hook })
    local address = pair.client:remoteAddress()
    assert.truthy(lines[1]:find(('server 127.0.0.1 port %d'):format(address.port), 1, true))
    assert.truthy(lines[2]:find('│── ClientHello ─────', 1, true))
    assert.equal(1 + 13, #lines)
    helper.finish(pair.client, pair.server)
  end)

  it('may do to the session what a handler may', function ()
    for _, method in ipairs({ 'close', 'destroy' }) do
      for number = 1, 13 do
        local told, ended = 0
        local server, port = helper.echoServer()
        local client
        client = helper.connect(port, {
          trace = function (_, where)
            told = told + 1
            if told == number then where[method](where) end
          end,
        })
        client:on('close', function (reason) ended = reason end)
        helper.runUntil(function () return ended end)
        assert.equal(method == 'close' and 'closed' or 'destroyed', ended)
        assert.is_true(told >= number)
        helper.finish(server)
      end
    end
  end)

  it('may close the endpoint at any record', function ()
    for number = 1, 11 do
      local told = 0
      local server, port
      server, port = helper.echoServer({
        trace = function ()
          told = told + 1
          if told == number then server:close() end
        end,
      })
      local client = helper.connect(port)
      helper.runUntil(function () return told >= number end)
      helper.finish(client)
    end
  end)

  it('harms nothing by throwing, and its error comes out', function ()
    local errors = helper.errors()
    local told = 0
    local pair = calmPair({}, {
      trace = function ()
        told = told + 1
        error('the hook throws', 0)
      end,
    })
    -- The first is thrown where the user connects or at the user's timer, all others from the loop.
    local heard
    pair.peer:on('message', function (data) heard = data end)
    local calledBack
    assert.has_error(function ()
      pair.client:send('hello', function (err) calledBack = err or 'sent' end)
    end, 'the hook throws')
    helper.runUntil(function () return heard and calledBack end)
    assert.same({ 'hello', 'sent' }, { heard, calledBack })
    assert.equal(14, told)
    assert.is_true(#errors > 0)
    pcall(pair.client.close, pair.client)
    helper.finish(pair.server)
  end)
end)
