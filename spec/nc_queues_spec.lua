-- What dtls-nc keeps for who is slow to take it: a peer, or a reader of its output.

local Outbox = require('dtls/nc/outbox')
local Output = require('dtls/nc/output')
local helper = require('spec.helper')

-- An outbox whose session has room for as many messages as `room` says.
local function make()
  local made = { room = 0, sent = {}, said = {}, emptied = 0 }
  local session = {
    send = function (_, message)
      if made.room == 0 then return nil, 'ENOBUFS: too much waits to be sent', 'ENOBUFS' end
      made.room = made.room - 1
      made.sent[#made.sent + 1] = message
      return true
    end,
  }
  made.outbox = Outbox.new(session, { once = function (_, words) made.said[#made.said + 1] = words end },
    function () made.emptied = made.emptied + 1 end)
  return made
end

describe('the outbox of dtls-nc', function ()
  after_each(function () helper.run() end)

  it('keeps the order of what waits, and says when nothing does any more', function ()
    local made = make()
    for _, message in ipairs({ 'one', 'two', 'three' }) do made.outbox:send(message) end
    made.room = 2
    made.outbox:retry()
    made.outbox:send('four')
    assert.same({ { 'one', 'two' }, 0, false }, { made.sent, made.emptied, made.outbox:isEmpty() })
    made.room = 3
    made.outbox:retry()
    assert.same({ { 'one', 'two', 'three', 'four' }, 1, true },
      { made.sent, made.emptied, made.outbox:isEmpty() })
    made.outbox:send('five')
    assert.equal('five', made.sent[5])
    made.outbox:close()
  end)

  it('does not grow while it is never empty', function ()
    local made = make()
    made.outbox:send('first')
    collectgarbage()
    local before = collectgarbage('count')
    for _ = 1, 200000 do
      made.outbox:send('next')
      made.room, made.sent = 1, {}
      made.outbox:retry()
    end
    collectgarbage()
    local grown = collectgarbage('count') - before
    made.outbox:close()
    assert(grown < 200, grown)
    assert.equal(0, made.emptied)
  end)

  it('holds no more messages, however small they are, than memory was meant for', function ()
    local made = make()
    local count = 0
    while not made.said[1] do
      count = count + 1
      made.outbox:send('x')
      assert(count < 100000)
    end
    made.outbox:close()
    assert.same({ 'messages are lost: too much waits to be sent' }, made.said)
  end)
end)

describe('the output of dtls-nc', function ()
  it('holds no more messages, however small they are, than memory was meant for', function ()
    local lost, count = false, 0
    local output = Output.new({ once = function () lost = true end }, function () end)
    -- Nobody reads what was written last.
    output.busy = true
    while not lost do
      count = count + 1
      output:write('x')
      assert(count < 2 * 1024 * 1024)
    end
    assert.equal(1024 * 1024 + 1, count)
  end)
end)
