local dtls = require('dtls')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

-- The deadline of a handshake, and of silence afterwards: at no retransmission, which come after
-- 100, 300 and 700 ms, since each of them might notice as well.
local DEADLINE = 300 + 50 * helper.slowness
-- How late its event may be.
local SLACK = 200 * helper.slowness

-- A relay that passes so many datagrams, whichever way, and then kills one end.
local function relayAndKill(port, passes, kill)
  local relay
  local passed = 0
  relay = helper.relay(port, function (data, _, _, send)
    if relay.killed then return end
    if passed < passes then
      passed = passed + 1
      send(data)
    end
    if passed == passes then
      relay.killed = uv.hrtime() / 1e6
      kill()
    end
  end)
  return relay
end

-- Waits for the end that the survivor is to have, then long enough for another one.
local function watch(relay, ends, expected)
  helper.runUntil(function () return relay.killed end)
  if expected[1] then
    helper.runUntil(function () return #ends == #expected end)
    local late = uv.hrtime() / 1e6 - relay.killed - DEADLINE
    assert.is_true(late < SLACK, ('%d ms late'):format(late))
  end
  local over
  helper.after(50, function () over = true end)
  helper.runUntil(function () return over end)
end

after_each(function ()
  program.stopAll()
  helper.run()
end)

describe('a server whose client is killed', function ()
  -- How many datagrams had passed, and what the server makes of it.
  local failed = { { 'clientError', 'ETIMEDOUT' } }
  local closed = { { 'close', 'timeout' } }
  for passes, row in ipairs({
    { 'its first hello', {} },
    { 'the HelloVerifyRequest', {} },
    { 'the hello with the cookie', failed },
    { "the server's first flight", failed },
    { "the client's Finished", closed },
    { "the server's Finished", closed },
    { 'a message', closed },
    { 'the answer to a message', closed },
  }) do
    local claim = row[2][1] and 'notices once, in time,' or 'never knew it'
    it(('%s after %s'):format(claim, row[1]), function ()
      local ends = {}
      local server, port = helper.echoServer(
        { handshakeTimeout = DEADLINE, idleTimeout = DEADLINE },
        function (session)
          session:on('error', function (_, name) ends[#ends + 1] = { 'error', name } end)
          session:on('close', function (reason) ends[#ends + 1] = { 'close', reason } end)
        end)
      server:on('clientError', function (_, name) ends[#ends + 1] = { 'clientError', name } end)
      local child
      local relay = relayAndKill(port, passes, function () child:kill() end)
      child = program.script('child.lua', { 'client', relay.port })
      watch(relay, ends, row[2])
      assert.same(row[2], ends)
      assert.equal(0, server:stats().sessions)
      relay.close()
      server:close()
    end)
  end
end)

describe('a client whose server is killed', function ()
  local failed = { { 'error', 'ETIMEDOUT' }, { 'close', 'timeout' } }
  local closed = { { 'close', 'timeout' } }
  for index, row in ipairs({
    { 'before anything', failed },
    { 'after its first hello', failed },
    { 'after the HelloVerifyRequest', failed },
    { 'after the hello with the cookie', failed },
    { "after the server's first flight", failed },
    { "after the client's Finished", failed },
    { "after the server's Finished", closed },
    { 'after a message', closed },
    { 'after the answer to a message', closed },
  }) do
    it('notices once, in time, ' .. row[1], function ()
      local child = program.script('child.lua', { 'server' })
      local relay = relayAndKill(tonumber(child:waitFor('port (%d+)')), index - 1,
        function () child:kill() end)
      local endpoint = dtls.createEndpoint({ rejectUnauthorized = false, retransmitTimeout = 100 })
      local session = endpoint:connect(
        { port = relay.port, handshakeTimeout = DEADLINE, idleTimeout = DEADLINE },
        function (session) session:send('hello') end)
      local ends = {}
      session:on('error', function (_, name) ends[#ends + 1] = { 'error', name } end)
      session:on('close', function (reason) ends[#ends + 1] = { 'close', reason } end)
      watch(relay, ends, row[2])
      assert.same(row[2], ends)
      assert.equal(0, endpoint:stats().sessions)
      relay.close()
      endpoint:close()
    end)
  end
end)
