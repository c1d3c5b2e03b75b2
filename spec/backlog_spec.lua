-- What waits its turn while handshakes take all the time there is.

local ends = require('spec.support.ends')
local helper = require('spec.helper')
local strangers = require('spec.support.strangers')
local turns = require('dtls/turns')

describe('while handshakes have to wait', function ()
  local budget

  before_each(function ()
    budget = turns.budget
    -- Nothing is done at once, and one thing in a turn.
    turns.budget = 0
  end)
  after_each(function ()
    turns.budget = budget
    strangers.closeAll()
    ends.closeAll()
  end)

  it('one that talks a lot leaves room for the others', function ()
    local server, port = ends.certified({ recvBufferSize = 2 ^ 20 })
    local udp = strangers.admitted(port).udp
    -- 64 KiB of them wait, the others do not; and they are read in one turn.
    for _ = 1, 10 do udp:try_send('\22' .. ('x'):rep(2 ^ 15 - 1), '127.0.0.1', port) end
    local most = 0
    helper.runUntil(function ()
      most = math.max(most, server._backlog)
      return server:stats().datagramsIn == 12
    end)
    assert.is_true(most <= 64 * 1024, most .. ' bytes')
    assert.equal(8, server:stats().drops.backlog)
  end)

  it('what comes after an established session\'s first messages does not wait for them', function ()
    local server, port = ends.certified()
    local client = ends.opened(ends.trusting(port))
    helper.runUntil(function () return server:sessions()[1] end)
    local peer, heard = server:sessions()[1], {}
    peer:on('message', function (data) heard[#heard + 1] = data end)
    -- As if one were waiting for ever.
    peer._postponed = 1000
    client:send('at once')
    helper.runUntil(function () return heard[1] end)
    assert.same({ 'at once' }, heard)
  end)
end)
