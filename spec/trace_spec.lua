local helper = require('spec.helper')
local trace = require('dtls/trace')

local uv = helper.uv
local hrtime = uv.hrtime

-- What the clock says, in milliseconds.
local clock

before_each(function ()
  clock = 5000
  uv.hrtime = function () return clock * 1e6 end
end)

after_each(function ()
  uv.hrtime = hrtime
  helper.run()
end)

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

  it('writes lines to standard output if it is given no function', function ()
    local stdout, written = io.stdout, {}
    -- A table stands in for the file, which cannot be changed.
    rawset(io, 'stdout', { write = function (_, ...) written[#written + 1] = table.concat({ ... }) end })
    local ok, err = pcall(function () trace()(handshake('sent', 1, 0, 157, message('ClientHello', 132))) end)
    rawset(io, 'stdout', stdout)
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
      assert.matches('trace_spec%.lua:%d+: ' .. sentence .. '$', err)
    end
  end)
end)
