local dtls = require('dtls')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local wire = require('spec.support.wire')

-- Content types and handshake types of RFC 5246 and RFC 6347.
local CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
local CLIENT_HELLO, SERVER_HELLO, HELLO_VERIFY_REQUEST = 1, 2, 3

local MTU = 512

-- What was captured, by scenario, and why nothing could be.
local captured = {}
local why

-- One session on `port`: handshake, a message each way, close. `between` may put something between
-- the two, and returns the port to connect to and what to close.
local function converse(port, options, between)
  local server = dtls.createServer(options.server, function (session)
    session:on('message', function (data) session:send(data) end)
  end)
  assert(server:listen(port, '127.0.0.1'))
  local relay
  if between then relay = helper.relay(port, between) end
  local session = helper.connect(relay and relay.port or port, options.client)
  session:on('secureConnection', function () session:send('hello') end)
  session:on('message', function () session:close() end)
  local ending
  session:on('close', function (reason) ending = reason end)
  helper.runUntil(function () return ending end)
  assert.equal('closed', ending)
  server:close()
  if relay then relay.close() end
end

-- All is captured once, and judged afterwards.
setup(function ()
  local port = program.freePort()
  local capture
  capture, why = wire.watch(port)
  if not capture then return end
  local identity, chain = helper.localhost(), pki.longChain()
  local plain = {
    server = { cert = identity.cert, key = identity.key, retransmitTimeout = 100 * helper.slowness },
    client = { ca = identity.cert },
  }

  converse(port, plain)
  captured.plain = capture:packets()

  -- The chain in both directions.
  converse(port, {
    server = {
      cert = chain.cert, key = chain.key, requestCert = true, ca = chain.ca, mtu = MTU,
      retransmitTimeout = 4000,
    },
    client = { cert = chain.cert, key = chain.key, ca = chain.ca, mtu = MTU, retransmitTimeout = 4000 },
  })
  captured.chain = capture:packets()

  -- The first two answers to a hello are lost.
  local lost = 0
  converse(port, plain, function (data, fromClient, _, send)
    if not fromClient and lost < 2 then lost = lost + 1 else send(data) end
  end)
  captured.lostAnswers = capture:packets()

  -- As before, and the server's first flight as well, so that it is sent twice.
  local lostFlight = 0
  converse(port, plain, function (data, fromClient, number, send)
    if not fromClient and (number <= 2 or (number > 3 and lostFlight == 0)) then
      if number > 3 then lostFlight = number end
    else
      send(data)
    end
  end)
  captured.lostFlight = capture:packets()

  -- OpenSSL's own client, and the first answer to it is lost.
  local server = dtls.createServer(plain.server, function (session)
    session:on('message', function (data) session:send('Echo: ' .. data) end)
  end)
  assert(server:listen(port, '127.0.0.1'))
  local relay = helper.relay(port, function (data, fromClient, number, send)
    if fromClient or number > 1 then send(data) end
  end)
  local peer = peers.sClient(relay.port)
  peer:write('hello\n')
  peer:waitFor('Echo: hello')
  peer:stop()
  server:close()
  relay.close()
  captured.otherClient = capture:packets()

  capture:stop()
end)

teardown(function ()
  program.stopAll()
  pki.remove()
  helper.run()
end)

-- A claim about what was captured.
local function claim(title, fn)
  it(title, function ()
    if why then return pending(why) end
    fn()
  end)
end

local function hasMessage(packet, kind)
  for _, message in ipairs(packet.messages) do
    if message == kind then return true end
  end
  return false
end

local function count(packets, kind)
  local total = 0
  for _, packet in ipairs(packets) do
    if hasMessage(packet, kind) then total = total + 1 end
  end
  return total
end

-- The hello that the server has accepted: the last before its ServerHello. And that ServerHello.
local function acceptance(packets)
  local hello
  for _, packet in ipairs(packets) do
    if hasMessage(packet, CLIENT_HELLO) then hello = packet end
    if hasMessage(packet, SERVER_HELLO) then return hello, packet end
  end
end

local function largest(packets)
  local most = 0
  for _, packet in ipairs(packets) do most = math.max(most, packet.length) end
  return most
end

describe('a session on the wire', function ()
  claim('is the flights of RFC 6347, a message each way, and a close_notify each way', function ()
    local told = {}
    for index, packet in ipairs(captured.plain) do
      local kinds = {}
      for each, record in ipairs(packet.records) do kinds[each] = record.kind .. '/' .. record.epoch end
      told[index] = ('%s %s: %s'):format(packet.fromServer and '<-' or '->',
        table.concat(kinds, ' '), table.concat(packet.messages, ' '))
    end
    local sealed = ('%d/0 %d/1'):format(CHANGE_CIPHER_SPEC, HANDSHAKE)
    assert.same({
      '-> 22/0: 1', -- ClientHello
      '<- 22/0: 3', -- HelloVerifyRequest
      '-> 22/0: 1', -- ClientHello with the cookie
      '<- 22/0 22/0 22/0 22/0: 2 11 12 14', -- ServerHello, Certificate, ServerKeyExchange, ServerHelloDone
      '-> 22/0 ' .. sealed .. ': 16', -- ClientKeyExchange, ChangeCipherSpec, Finished
      '<- 22/0 ' .. sealed .. ': 4', -- NewSessionTicket, ChangeCipherSpec, Finished
      '-> ' .. APPLICATION .. '/1: ',
      '<- ' .. APPLICATION .. '/1: ',
      '-> ' .. ALERT .. '/1: ',
      '<- ' .. ALERT .. '/1: ',
    }, told)
  end)

  claim('is well-formed throughout', function ()
    for name, packets in pairs(captured) do
      for index, packet in ipairs(packets) do
        assert.is_false(packet.malformed, name .. ' ' .. index)
      end
    end
  end)

  claim('keeps every datagram within the mtu, long chains both ways included', function ()
    assert.is_true(largest(captured.plain) <= 1200)
    assert.is_true(#captured.chain > 20)
    assert.is_true(largest(captured.chain) <= MTU)
    assert.is_true(largest(captured.chain) > MTU - 32)
  end)

  claim('has no answer to a stranger that is longer than his hello', function ()
    local answers = 0
    for name, packets in pairs(captured) do
      for index, packet in ipairs(packets) do
        if hasMessage(packet, HELLO_VERIFY_REQUEST) then
          answers = answers + 1
          assert.is_true(hasMessage(packets[index - 1], CLIENT_HELLO), name)
          assert.is_true(packet.length <= packets[index - 1].length, name)
        end
      end
    end
    assert.equal(1 + 1 + 3 + 3 + 2, answers)
  end)

  claim('numbers ServerHello as the hello that was accepted', function ()
    for name, number in pairs({ plain = 1, chain = 1, lostAnswers = 3, lostFlight = 3, otherClient = 2 }) do
      local hello, answer = acceptance(captured[name])
      assert.equal(number, hello.records[1].number, name)
      assert.equal(number, answer.records[1].number, name)
    end
  end)

  -- OpenSSL numbers ServerHello 1 whatever the hello's number was. A client that has heard a
  -- HelloVerifyRequest of that number takes ServerHello for a replay, and everything waits for its
  -- retransmission (openssl#32063).
  claim('does not repeat a flight because answers to hellos were lost', function ()
    assert.equal(4, count(captured.lostAnswers, CLIENT_HELLO))
    assert.equal(3, count(captured.lostAnswers, HELLO_VERIFY_REQUEST))
    assert.equal(1, count(captured.lostAnswers, SERVER_HELLO))
    assert.equal(3, count(captured.otherClient, CLIENT_HELLO))
    assert.equal(1, count(captured.otherClient, SERVER_HELLO))
  end)

  claim('repeats a flight that was lost', function ()
    assert.equal(2, count(captured.lostFlight, SERVER_HELLO))
  end)

  claim('has no plaintext record number of the server twice', function ()
    for name, packets in pairs(captured) do
      local used = {}
      for _, packet in ipairs(packets) do
        for _, record in ipairs(packet.records) do
          if packet.fromServer and record.epoch == 0 then
            assert.is_nil(used[record.number], ('%s: %d'):format(name, record.number))
            used[record.number] = true
          end
        end
      end
    end
  end)
end)
