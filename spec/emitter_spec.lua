local Emitter = require('dtls/emitter')

describe('an emitter', function ()
  local Thing = Emitter:extend()

  local function record(thing, ...)
    local seen = {}
    for _, name in ipairs({ ... }) do
      thing:on(name, function (...) seen[#seen + 1] = table.concat({ name, ... }, ' ') end)
    end
    return seen
  end

  it('calls handlers in the order they were added, without self', function ()
    local thing = Thing:new()
    local seen = {}
    thing:on('event', function (a, b) seen[#seen + 1] = 'first ' .. a .. b end)
    thing:on('event', function (a, b) seen[#seen + 1] = 'second ' .. a .. b end)
    thing:emit('event', 1, 2)
    assert.same({ 'first 12', 'second 12' }, seen)
  end)

  it('keeps the handlers of instances and of names apart', function ()
    local one, other = Thing:new(), Thing:new()
    local seen, unseen = record(one, 'a', 'b'), record(other, 'a', 'b')
    one:emit('b', 'x')
    assert.same({ 'b x' }, seen)
    assert.same({}, unseen)
  end)

  it('initializes an instance, and inherits', function ()
    local Child = Thing:extend()
    function Thing:initialize(name) self.name = name end
    local child = Child:new('Ada')
    Thing.initialize = nil
    assert.equal('Ada', child.name)
    assert.equal(Emitter.on, child.on)
  end)

  it('calls a handler of once no second time', function ()
    local thing = Thing:new()
    local calls = 0
    thing:once('event', function () calls = calls + 1 end)
    thing:emit('event'):emit('event')
    assert.equal(1, calls)
    assert.equal(0, thing:listenerCount('event'))
  end)

  it('drops what nobody listens to, errors too', function ()
    assert.has_no.errors(function () Thing:new():emit('error', 'EPROTO: nobody is here', 'EPROTO') end)
  end)

  it('removes a handler, and all of them', function ()
    local thing = Thing:new()
    local function handler() error('was removed') end
    thing:on('event', handler)
    assert.equal(1, thing:removeListener('event', handler))
    assert.equal(0, thing:removeListener('event', handler))
    thing:emit('event')
    record(thing, 'a', 'b')
    thing:removeAllListeners('a')
    assert.same({ 0, 1 }, { thing:listenerCount('a'), thing:listenerCount('b') })
    thing:removeAllListeners()
    assert.equal(0, thing:listenerCount('b'))
  end)

  it('calls no handler that another has just removed', function ()
    local thing = Thing:new()
    local function second() error('was removed') end
    thing:on('event', function () thing:removeListener('event', second) end)
    thing:on('event', second)
    thing:emit('event')
    assert.equal(1, thing:listenerCount('event'))
  end)

  it('calls no handler that another has just added, until the next time', function ()
    local thing = Thing:new()
    local late = 0
    thing:once('event', function ()
      thing:on('event', function () late = late + 1 end)
    end)
    thing:emit('event')
    thing:on('event', function ()
      thing:on('event', function () late = late + 10 end)
    end)
    assert.equal(0, late)
    thing:emit('event')
    assert.equal(1, late)
  end)
end)
