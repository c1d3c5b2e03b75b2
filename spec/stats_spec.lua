--- What can be seen from outside: `endpoint:stats()` and `session:stats()`.

local helper = require('spec.helper')

describe('stats', function ()
  it('counts the messages of a session and their bytes, and keeps them when it ends', function ()
    local pair = helper.pair()
    pair.peer:on('message', function (data) pair.peer:send(data) end)
    local heard = helper.record(pair.client, 'message')
    pair.client:send('one')
    pair.client:send('twice')
    helper.runUntil(function () return #heard == 2 end)
    local before = pair.peer:stats()
    assert.same({ 2, 8, 2, 8 },
      { before.messagesIn, before.messageBytesIn, before.messagesOut, before.messageBytesOut })
    helper.finish(pair.client, pair.server)
    local after = pair.peer:stats()
    assert.same({ 2, 8, 2, 8 },
      { after.messagesIn, after.messageBytesIn, after.messagesOut, after.messageBytesOut })
  end)
end)
