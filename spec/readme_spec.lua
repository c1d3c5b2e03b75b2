-- The README's code, run; its tables, compared with what they describe.

local helper = require('spec.helper')
local options = require('dtls/options')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local readme = helper.read('README.md')
local errors = helper.read('doc/errors.md')

-- The fenced blocks of a language.
local function blocks(language)
  local found = {}
  for block in readme:gmatch('```' .. language .. '\n(.-)```') do found[#found + 1] = block end
  return found
end

-- The commands of the block that has this text, without their comments.
local function commands(text)
  for _, block in ipairs(blocks('sh')) do
    if block:find(text, 1, true) then
      local list = {}
      for line in block:gmatch('[^\n]+') do list[#list + 1] = (line:gsub('%s+#.*', '')) end
      return list
    end
  end
end

describe('the README', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)
  teardown(pki.remove)

  it('has an example that prints what it says', function ()
    local example = blocks('lua')[1]
    local printed = {}
    local chunk = assert(loadstring(example, 'README.md'))
    setfenv(chunk, setmetatable({
      print = function (...)
        local words = { ... }
        for index = 1, select('#', ...) do words[index] = tostring(words[index]) end
        printed[#printed + 1] = table.concat(words, '\t') .. '\n'
      end,
    }, { __index = _G }))
    chunk()
    assert.equal(blocks('text')[1], table.concat(printed))
  end)

  it('refers to a page that names every error', function ()
    assert.truthy(readme:find('(doc/errors.md)', 1, true))
    for name in helper.read('src/error.rs'):gmatch('=> "(E%u+)"') do
      assert.truthy(errors:find('`' .. name .. '`', 1, true), name .. ' is missing')
    end
  end)

  it('names every option', function ()
    for _, caller in ipairs({ 'createContext', 'createEndpoint', 'connect' }) do
      for name in pairs(options[caller]) do
        assert.truthy(readme:find('`' .. name .. '`', 1, true), name .. ' is missing')
      end
    end
  end)

  it('names only what make can make', function ()
    local makefile = helper.read('Makefile')
    local code = table.concat(blocks('sh')) .. table.concat({ readme:match('`(make [^`\n]+)`') }, '\n')
    for goal in code:gmatch('make (%l[%l-]*)') do
      assert.truthy(('\n' .. makefile):find('\n' .. goal .. ':', 1, true), 'make ' .. goal)
    end
  end)

  -- A command of the README as a child, on `port` instead of the standard one and with the files of
  -- `identity`.
  local function start(command, port, identity)
    local words = {}
    for word in command:gmatch('%S+') do
      word = word:gsub('5684', port)
      words[#words + 1] = word:gsub('^cert%.pem$', identity.certPath):gsub('^key%.pem$', identity.keyPath)
    end
    return program.start(table.remove(words, 1), words, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath,
    })
  end

  local function files()
    local identity = helper.localhost()
    return { certPath = pki.write('cert.pem', identity.cert), keyPath = pki.write('key.pem', identity.key) }
  end

  it('has a server that the other programs can talk to', function ()
    local identity = files()
    local port = program.freePort()
    local list = commands('openssl s_client')
    local server = start(list[1], port, identity)
    server:waitFor('listening')
    for _, command in ipairs({ list[2], list[3] }) do
      local client = start(command, port, identity)
      server:waitFor('connected')
      client:write('hello\n')
      client:waitFor('Echo: hello')
      client:stop()
    end
  end)

  it('has a client that can talk to the other programs', function ()
    local identity = files()
    local list = commands('openssl s_server')
    for server, ready in pairs({ [list[4]] = 'ACCEPT', [list[5]] = 'listening' }) do
      local port = program.freePort()
      local peer = start(server, port, identity)
      peer:waitFor(ready)
      local client = start(list[6], port, identity)
      client:waitFor('connected: DTLSv1%.2')
      client:write('hello\n')
      if ready == 'ACCEPT' then
        peer:waitFor('hello')
        peer:write('hello to you\n')
        client:waitFor('hello to you')
      else
        client:waitFor('hello')
      end
      client.stdin:shutdown()
      client:waitForEnd()
      assert.not_matches('NOT verified', client.output)
      peer:stop()
    end
  end)
end)
