-- What strangers, and those who pretend to be a peer, can send; and that it comes to nothing.

local helper = require('spec.helper')
local hello = require('spec.support.hello')
local program = require('spec.support.program')
local uv = helper.uv

-- A plaintext record, or one that claims to be of a later epoch.
local function record(kind, epoch, body)
  local length = string.char(math.floor(#body / 256), #body % 256)
  return string.char(kind) .. '\254\253' .. string.char(0, epoch) .. '\0\0\0\0\0\99' .. length .. body
end

local function handshake(kind, sequence, body, length)
  length = length or #body
  local function u24(n) return string.char(math.floor(n / 65536), math.floor(n / 256) % 256, n % 256) end
  local header = string.char(kind) .. u24(length) .. string.char(0, sequence) .. u24(0) .. u24(#body)
  return record(22, 0, header .. body)
end

local forged = {
  { '', 'nothing at all' },
  { '\0', 'one byte' },
  { ('junk'):rep(50), 'junk' },
  { record(22, 0, 'short'), 'a handshake header cut short' },
  { record(19, 0, 'x'), 'an unknown record type' },
  { record(23, 0, 'plaintext'), 'data in plaintext' },
  { record(21, 0, '\2\40'), 'a fatal alert' },
  { record(21, 0, '\1\0'), 'a close_notify in plaintext' },
  { record(21, 0, '\1\90'):rep(6), 'six warnings' },
  { record(21, 0, '\2'), 'half an alert' },
  { record(20, 0, '\2'), 'a malformed ChangeCipherSpec' },
  { record(20, 0, '\1'), 'a ChangeCipherSpec' },
  { handshake(0, 2, ''), 'a HelloRequest' },
  { handshake(20, 2, ('x'):rep(12)), 'a Finished in plaintext' },
  { handshake(16, 2, 'x', 60000), 'a part of a huge message' },
  { handshake(1, 0, ('x'):rep(60)), 'another ClientHello' },
  { handshake(3, 0, '\254\255\1x'), 'another HelloVerifyRequest' },
  { record(23, 1, 'x'), 'a sealed record of one byte' },
  { record(23, 1, ('x'):rep(23)), 'a sealed record shorter than nonce and tag' },
  { record(23, 1, ('x'):rep(24)), 'a sealed record of nonce and tag' },
  { record(21, 1, ('x'):rep(26)), 'a sealed alert' },
  { record(22, 1, ('x'):rep(60)), 'a sealed handshake message' },
  { record(23, 2, ('x'):rep(60)), 'a record of an epoch to come' },
}

describe('a stranger', function ()
  -- Sends datagrams from one socket to a server, and then connects. Returns the server's statistics.
  local function bother(datagrams)
    local server, port = helper.echoServer()
    local events = helper.record(server, 'connection', 'clientError', 'warning', 'error')
    local stranger = uv.new_udp()
    assert(stranger:bind('127.0.0.1', 0))
    local expected = server:stats().datagramsIn
    for _, datagram in ipairs(datagrams) do
      stranger:try_send(datagram, '127.0.0.1', port)
      expected = expected + 1
      -- What the socket's buffer cannot hold would be lost.
      if expected % 50 == 0 then
        helper.runUntil(function () return server:stats().datagramsIn == expected end)
      end
    end
    helper.runUntil(function () return server:stats().datagramsIn == expected end)
    local stats = server:stats()
    assert.same({}, events)
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() end)
    stranger:close()
    helper.finish(client, server)
    return stats
  end

  local function times(count, datagram)
    local list = {}
    for index = 1, count do list[index] = datagram end
    return list
  end

  it('is ignored and counted by cause, whatever it sends', function ()
    local list = {}
    for index, row in ipairs(forged) do list[index] = row[1] end
    local stats = bother(list)
    assert.equal(0, stats.sessions)
    assert.equal(0, stats.admitted)
    local dropped = stats.challenges
    for _, count in pairs(stats.drops) do dropped = dropped + count end
    assert.equal(#forged, dropped)
  end)

  it('may send a thousand empty datagrams', function ()
    assert.same({ malformed = 1000 }, bother(times(1000, '')).drops)
  end)

  it('gets a cookie for a ClientHello, and leaves nothing behind', function ()
    local stats = bother(times(100, hello.datagram({ random = ('r'):rep(32) })))
    assert.same({ 100, 0, 0 }, { stats.challenges, stats.admitted, stats.sessions })
  end)

  it('may send the largest datagrams there are', function ()
    local first = hello.datagram({ random = ('r'):rep(32) })
    local stats = bother({ ('x'):rep(65507), first .. ('x'):rep(65507 - #first) })
    assert.equal(1, stats.drops.malformed)
    assert.equal(1, stats.challenges)
  end)

  it('that claims to come from port 0 gets no answer', function ()
    local server, port = helper.echoServer()
    -- A raw socket writes the UDP header itself: ports, length, no checksum.
    local child = program.start('python3', { '-c', [[
import socket, struct, sys
body = sys.stdin.buffer.read()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.sendto(struct.pack('!HHHH', 0, int(sys.argv[1]), 8 + len(body), 0) + body, ('127.0.0.1', 0))
]], port })
    finally(function ()
      program.stopAll()
      helper.finish(server)
    end)
    child:write(hello.datagram({ random = ('r'):rep(32) }))
    child.stdin:shutdown()
    if child:waitForEnd() ~= 0 then
      assert.matches('PermissionError', child.output)
      pending('this needs the right to open a raw socket')
      return
    end
    helper.runUntil(function () return server:stats().datagramsIn == 1 end)
    assert.same({ address = 1 }, server:stats().drops)
  end)
end)

describe('whoever pretends to be the peer', function ()
  for _, toServer in ipairs({ true, false }) do
    local victim = toServer and 'server' or 'client'

    it('ends no session of a ' .. victim, function ()
      local relay
      local pair = helper.pair({}, {}, function (port)
        relay = helper.relay(port, function (data, _, _, send) send(data) end)
        return relay.port
      end)
      local session = toServer and pair.peer or pair.client
      local events = helper.record(session, 'error', 'close')
      for _, row in ipairs(forged) do
        for _ = 1, 3 do relay.inject(row[1], toServer) end
        local answered
        pair.peer:once('message', function (data) pair.peer:send(data) end)
        pair.client:once('message', function (data) answered = data end)
        pair.client:send(row[2])
        helper.runUntil(function () return answered end)
        assert.equal(row[2], answered)
      end
      assert.same({}, events)
      pair.client:destroy()
      relay.close()
      helper.finish(pair.server)
    end)

    it('ends no handshake of a ' .. victim, function ()
      for _, row in ipairs(forged) do
        local relay
        -- Before every datagram to the victim, whatever that is. But whoever forges every answer to
        -- every hello keeps a client from its server: nothing in DTLS 1.2 tells the two apart.
        local pair = helper.pair({}, {}, function (port)
          relay = helper.relay(port, function (data, fromClient, number, send)
            local everywhere = row[2] ~= 'another HelloVerifyRequest'
            if fromClient == toServer and (everywhere or number == 1) then send(row[1]) end
            send(data)
          end)
          return relay.port
        end)
        assert.equal('DTLSv1.2', pair.client:getProtocol(), row[2])
        pair.client:destroy()
        relay.close()
        helper.finish(pair.server)
      end
    end)
  end

  it('sees the records of a datagram judged one by one', function ()
    local relay
    local amidJunk = false
    local pair = helper.pair({}, {}, function (port)
      relay = helper.relay(port, function (data, fromClient, _, send)
        if not (fromClient and amidJunk) then return send(data) end
        send(record(23, 1, ('x'):rep(40)) .. record(21, 0, '\2\40') .. data .. ('junk'):rep(1000))
      end)
      return relay.port
    end)
    local seen = helper.record(pair.peer, 'message', 'close')
    amidJunk = true
    pair.client:send('in the midst of junk')
    helper.runUntil(function () return seen[1] end)
    assert.same({ { 'message', 'in the midst of junk' } }, seen)
    pair.client:destroy()
    relay.close()
    helper.finish(pair.server)
  end)
end)
