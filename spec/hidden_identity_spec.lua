-- What somebody on the way, or whoever tries identities, learns of a server's PSK identities.

local dtls = require('dtls')
local helper = require('spec.helper')

local KEY, ANOTHER = ('k'):rep(16), ('w'):rep(16)
local ALERT, UNKNOWN_PSK_IDENTITY = 21, 115

-- A datagram in words: the type, epoch and length of each record; and the plaintext alerts in it.
local function shapeOf(datagram, alerts)
  local words, at = {}, 1
  while at <= #datagram do
    local kind, epoch = datagram:byte(at), datagram:byte(at + 4)
    local length = datagram:byte(at + 11) * 256 + datagram:byte(at + 12)
    words[#words + 1] = ('%d/%d %d'):format(kind, epoch, length)
    if kind == ALERT and epoch == 0 then alerts[#alerts + 1] = datagram:byte(at + 14) end
    at = at + 13 + length
  end
  return table.concat(words, ', ')
end

-- How a server answers what its table knows: at once from the table, or later from a hook.
local knowers = {
  ['a table'] = function (known) return known end,
  ['a hook that answers later'] = function (known)
    return function (identity, _, done)
      helper.after(50, function () done(known[identity]) end)
    end
  end,
  ['a coroutine'] = function (known)
    return function (identity)
      local asking = coroutine.running()
      helper.after(50, function () assert(coroutine.resume(asking)) end)
      coroutine.yield()
      return known[identity]
    end
  end,
}

-- A handshake that fails: what passed in each direction, and what the two ends say of it.
local function attempt(psk, hides, identity, key)
  local seen = { fromClient = {}, fromServer = {}, alerts = {} }
  local server = dtls.createServer({
    psk = psk, hideUnknownIdentity = hides, retransmitTimeout = 200, handshakeTimeout = 500,
  })
  assert(server:listen(0, '127.0.0.1'))
  local relay = helper.relay(server:address().port, function (data, fromClient, _, send)
    local list = fromClient and seen.fromClient or seen.fromServer
    list[#list + 1] = shapeOf(data, seen.alerts)
    send(data)
  end)
  server:on('clientError', function (_, name) seen.server = name end)
  local client = dtls.connect({
    port = relay.port, psk = { identity = identity, key = key }, retransmitTimeout = 200,
    handshakeTimeout = 500,
  })
  client:on('error', function (_, name) seen.client = name end)
  helper.runUntil(function () return seen.server and seen.client end)
  relay.close()
  helper.finish(server)
  return seen
end

describe('a PSK identity that nobody has', function ()
  after_each(helper.run)

  for how, knower in pairs(knowers) do
    it(('looks like a wrong key with hideUnknownIdentity, and %s'):format(how), function ()
      local psk = knower({ ['device 1'] = KEY })
      local unknown = attempt(psk, true, 'device 2', ANOTHER)
      local wrong = attempt(psk, true, 'device 1', ANOTHER)
      assert.same(wrong.fromClient, unknown.fromClient)
      assert.same(wrong.fromServer, unknown.fromServer)
      assert.same({}, unknown.alerts)
      -- The one who tries learns the same of both, the server's user the truth.
      assert.same({ 'EPSKKEY', 'EPSKKEY' }, { unknown.client, wrong.client })
      assert.same({ 'EPSKIDENTITY', 'EPSKKEY' }, { unknown.server, wrong.server })
    end)

    it(('is refused with its alert without it, and %s'):format(how), function ()
      local unknown = attempt(knower({ ['device 1'] = KEY }), false, 'device 2', ANOTHER)
      assert.same({ UNKNOWN_PSK_IDENTITY }, unknown.alerts)
      assert.same({ 'EPSKIDENTITY', 'EPSKIDENTITY' }, { unknown.client, unknown.server })
    end)
  end
end)
