local Nat = require('spec.support.nat')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local program = require('spec.support.program')

-- A roaming server, and a client of its behind a translator. `pair.moves` is what the session tells.
local function pairOf(serverOptions, clientOptions)
  local pair = { served = {}, moves = {}, heard = {} }
  local server, port = ends.certified(helper.merge({ roaming = true }, serverOptions), function (session)
    pair.served[#pair.served + 1] = session
    session:on('move', function (to, from) pair.moves[#pair.moves + 1] = { to, from } end)
    session:on('message', function (data) pair.heard[#pair.heard + 1] = data end)
  end)
  pair.server, pair.port = server, port
  pair.nat = Nat.new(port)
  pair.client = ends.opened(ends.trusting(pair.nat.port, clientOptions))
  helper.runUntil(function () return pair.served[1] end)
  pair.session = pair.served[1]
  return pair
end

after_each(function ()
  program.stopAll()
  Nat.closeAll()
  ends.closeAll()
end)

describe('a peer that moves', function ()
  it('keeps its session', function ()
    local pair = pairOf()
    local from = pair.session:remoteAddress()
    pair.nat:rebind()
    assert.equal('Echo: here', ends.asked(pair.client, 'here'))
    assert.same(pair.nat:address(), pair.session:remoteAddress())
    assert.same({ { pair.nat:address(), from } }, pair.moves)
    local stats = pair.server:stats()
    assert.same({ 1, 1, 1, 1 }, { stats.moves, stats.roamTrials, stats.sessions, stats.connected })
    assert.equal(1, pair.session:stats().moves)
  end)
end)
