-- The CoAP examples: with libcoap's programs, with each other, and with peers that know RFC 7252 less well.

local coap = require('spec.support.coap')
local ends = require('spec.support.ends')
local example = require('spec.support.example')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local KEY = example.environment.COAP_KEY
local PSK = { identity = 'lamp-7', key = KEY }

setup(function () program.need('setpriv', 'coap-client-openssl', 'coap-server-openssl') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

local function bytes(hex)
  return (hex:gsub(' ', ''):gsub('%x%x', function (pair) return string.char(tonumber(pair, 16)) end))
end

describe('coap-server', function ()
  for _, library in ipairs(coap.LIBRARIES) do
    it('is asked by coap-client over ' .. library, function ()
      local server = example.start('coap-server.lua', '127.0.0.1', 0)
      local base = ('coaps://127.0.0.1:%d'):format(example.portOf(server))
      for _, each in ipairs({
        { '/hello', 'Hello, CoAP.\n' }, { '/.well-known/core', '</hello>;ct=0\n' }, { '/nowhere', '4.04\n' },
        { '/hello', 'Hello, CoAP.\n', '-N' }, { '/hello', '4.05\n', '-m', 'delete' },
        { '/hello', '4.02\n', '-A', '40' },
        { '/a-segment-that-is-longer-than-a-nibble-says?and=a-query', '4.04\n' },
      }) do
        local path, expected = unpack(each)
        local arguments = { '-u', 'lamp-7', '-k', KEY, '-B', '2', unpack(each, 3) }
        arguments[#arguments + 1] = base .. path
        local client = program.start('coap-client-' .. library, arguments)
        client:waitForEnd()
        assert.equal(expected, client.output)
      end
      assert.equal(0, example.interrupt(server))
      assert.matches('^listening on port %d+\n$', server.output)
    end)
  end

  it('says what the RFC has it say, and nothing where that is so', function ()
    local server = example.start('coap-server.lua', '127.0.0.1', 0)
    local session = ends.opened(ends.connect(example.portOf(server), { psk = PSK }))
    local content = 'c0 ff 48 65 6c 6c 6f 2c 20 43 6f 41 50 2e'
    for _, each in ipairs({
      { 'a GET', '42 01 12 34 aa bb b5 68 65 6c 6c 6f', '62 45 12 34 aa bb ' .. content },
      { 'one that is not confirmable', '51 01 12 34 aa b5 68 65 6c 6c 6f',
        '51 45 12 34 aa ' .. content },
      { 'a host of 20 bytes first', '40 01 12 34 3d 07' .. ('61'):rep(20) .. '85 68 65 6c 6c 6f',
        '60 45 12 34 ' .. content },
      { 'an option that may be ignored', '40 01 12 34 b5 68 65 6c 6c 6f e0 00 00',
        '60 45 12 34 ' .. content },
      { 'one that may not', '40 01 12 34 b5 68 65 6c 6c 6f e0 00 01', '60 82 12 34' },
      { 'a ping', '40 00 12 34', '70 00 12 34' },
      { 'a response', '40 45 12 34', '70 00 12 34' },
      { 'a token that is too long', '49 01 12 34 01 02 03 04 05 06 07 08 09', '70 00 12 34' },
      { 'an option that is cut off', '40 01 12 34 b5 68 65', '70 00 12 34' },
      { 'a length that is cut off', '40 01 12 34 bd', '70 00 12 34' },
      { 'a length that is reserved', '40 01 12 34 bf 00', '70 00 12 34' },
      { 'a marker without a payload', '40 01 12 34 b5 68 65 6c 6c 6f ff', '70 00 12 34' },
    }) do
      assert.equal(bytes(each[3]), ends.asked(session, bytes(each[2])), each[1])
    end
    -- To these the answer is silence: the next is the ping's.
    local ignored = { '50 00 12 34', '50 01 12 34 bf', '60 00 12 34', '70 00 12 34', '80 01 12 34', '40 01' }
    for _, silent in ipairs(ignored) do
      assert(session:send(bytes(silent)))
    end
    assert.equal(bytes('70 00 56 78'), ends.asked(session, bytes('40 00 56 78')))
  end)
end)

describe('coap-client', function ()
  local function ask(port, path, ...)
    return example.start('coap-client.lua', ('coaps://127.0.0.1:%d/%s'):format(port, path), ...)
  end

  -- A server of this process, whose sessions are given their messages one by one.
  local function serve(onMessage)
    local number = 0
    local _, port = ends.listen({ psk = { [PSK.identity] = PSK.key } }, function (session)
      session:on('message', function (data)
        number = number + 1
        onMessage(session, data, number)
      end)
    end)
    return port
  end

  it('asks coap-server, at once or later', function ()
    local _, port = coap.server('openssl', { '-k', KEY })
    local all = {
      ['.well-known/core'] = { 0, '^</>;title="General Info".*</time>' },
      time = { 0, '^%a%a%a %d%d %d%d:%d%d:%d%d\n$' },
      async = { 0, '^done\n$' },
      nowhere = { 1, '^4%.04 .*\n$' },
      ['a-segment-that-is-longer/than-a-nibble-can-say'] = { 1, '^4%.04 .*\n$' },
    }
    for path, each in pairs(all) do each.client = ask(port, path) end
    for _, each in pairs(all) do
      assert.equal(each[1], each.client:waitForEnd(10000))
      assert.matches(each[2], each.client.output)
    end
  end)

  it('asks the example of a server', function ()
    local port = example.portOf(example.start('coap-server.lua', '127.0.0.1', 0, 'lamp-8'))
    local client = ask(port, 'hello', 'lamp-8')
    assert.equal(0, client:waitForEnd())
    assert.equal('Hello, CoAP.\n', client.output)
  end)

  it('asks again where nothing comes back', function ()
    local asked = {}
    local port = serve(function (session, data, number)
      asked[number] = data
      if number == 2 then session:send(coap.answer(coap.decode(data), '2.05', 'at last')) end
    end)
    local client = ask(port, 'hello')
    assert.equal(0, client:waitForEnd())
    assert.equal('at last\n', client.output)
    assert.equal(asked[1], asked[2])
    assert.same({ 'hello' }, coap.decode(asked[1]).path)
  end)

  it('acknowledges an answer that comes later, and resets what it has not asked for', function ()
    local heard, token = {}, nil
    local port = serve(function (session, data, number)
      heard[number] = data
      if number > 1 then return end
      token = data:sub(5, 8)
      session:send('\96\0' .. data:sub(3, 4))                          -- an empty acknowledgement
      session:send('x')
      session:send('\0\69' .. data:sub(3, 4))                          -- of a version that is none
      session:send('\80\69\0\1')                                       -- with another token
      session:send('\64\69\0\2')                                       -- the same, confirmable
      session:send('\68\69\0\3' .. token .. '\221\7\7' .. ('o'):rep(20) .. '\255later')
    end)
    local client = ask(port, 'hello')
    assert.equal(0, client:waitForEnd())
    assert.equal('later\n', client.output)
    assert.same({ '\112\0\0\2', '\96\0\0\3' }, { heard[2], heard[3] })
  end)

  it('says what goes wrong', function ()
    local reset = serve(function (session, data) session:send('\112\0' .. data:sub(3, 4)) end)
    local leaving = serve(function (session) session:close() end)
    for expected, client in pairs({
      ['the server has not understood'] = ask(reset, 'hello'),
      ['the server has closed the session'] = ask(leaving, 'hello'),
      ['is no URI of this kind'] = example.start('coap-client.lua', 'coap://127.0.0.1/hello'),
      ['a URI is missing'] = example.start('coap-client.lua'),
    }) do
      assert.not_equal(0, client:waitForEnd())
      assert.matches(expected, client.output)
    end
  end)
end)
