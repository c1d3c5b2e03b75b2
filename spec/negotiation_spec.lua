-- What the two ends agree on beside a cipher suite.

local dtls = require('dtls')
local helper = require('spec.helper')

-- How a handshake ends that fails: the names of the errors at the client and at the server.
local function failures(serverOptions, clientOptions)
  local server, port = helper.echoServer(serverOptions)
  local refused = helper.record(server, 'clientError')
  local session = helper.connect(port, clientOptions)
  local seen = helper.record(session, 'error')
  helper.runUntil(function () return seen[1] and refused[1] end)
  helper.finish(server)
  return seen[1][3], refused[1][3]
end

-- What `fn` raises, which must be at the line of the call in it.
local function raised(fn)
  local ok, err = pcall(fn)
  assert.is_false(ok, 'nothing was raised')
  local file, line, sentence = tostring(err):match('^(.-):(%d+): (.*)$')
  local where = debug.getinfo(fn, 'S')
  assert.equal(where.short_src, file)
  assert.truthy(tonumber(line) >= where.linedefined and tonumber(line) <= where.lastlinedefined)
  return sentence
end

describe('ALPN', function ()
  it('agrees on the first of the server\'s own protocols that the client offers', function ()
    local pair = helper.pair({ ALPNProtocols = { 'coap', 'mqtt' } }, { ALPNProtocols = { 'mqtt', 'coap' } })
    assert.equal('coap', pair.client.alpnProtocol)
    assert.equal('coap', pair.peer.alpnProtocol)
    helper.finish(pair.client, pair.server)
  end)

  it('takes one protocol as a string', function ()
    local pair = helper.pair({ ALPNProtocols = 'coap' }, { ALPNProtocols = 'coap' })
    assert.equal('coap', pair.client.alpnProtocol)
    helper.finish(pair.client, pair.server)
  end)

  it('goes on without a protocol where one end has none', function ()
    for _, options in ipairs({ { { ALPNProtocols = 'coap' } }, { nil, { ALPNProtocols = 'coap' } } }) do
      local pair = helper.pair(options[1], options[2])
      assert.is_nil(pair.client.alpnProtocol)
      assert.is_nil(pair.peer.alpnProtocol)
      helper.finish(pair.client, pair.server)
    end
  end)

  it('fails with EALPN at both ends where they have no protocol in common', function ()
    local client, server = failures({ ALPNProtocols = 'coap' }, { ALPNProtocols = { 'mqtt', 'http/1.1' } })
    assert.equal('EALPN', client)
    assert.equal('EALPN', server)
  end)

  for _, row in ipairs({
    { 5, 'a string or a list of strings, got 5' },
    { '', 'a string or a list of strings, got an empty string' },
    { { 'a', '' }, 'names of 1 to 255 bytes, got one of 0' },
    { { ('x'):rep(256) }, 'names of 1 to 255 bytes, got one of 256' },
  }) do
    it('refuses a list of ' .. row[2], function ()
      local sentence = raised(function () dtls.createContext({ ALPNProtocols = row[1] }) end)
      assert.matches('^dtls%.createContext: options%.ALPNProtocols must', sentence)
      assert.truthy(sentence:find(row[2], 1, true), sentence)
    end)
  end
end)
