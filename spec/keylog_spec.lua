local dtls = require('dtls')
local helper = require('spec.helper')
local lfs = require('lfs')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local wire = require('spec.support.wire')

local LINE = '^CLIENT_RANDOM %x+ %x+$'

-- The path of a file that is not there yet.
local function freshPath(name)
  local path = pki.path(name)
  os.remove(path)
  return path
end

local function linesOf(path)
  local lines = {}
  for line in helper.read(path):gmatch('([^\n]*)\n') do lines[#lines + 1] = line end
  return lines
end

-- A session between ends of these options, which says a word each way and is over.
local function converse(serverOptions, clientOptions, port)
  local identity = helper.localhost()
  local server = dtls.createServer(
    helper.merge({ cert = identity.cert, key = identity.key }, serverOptions),
    function (session)
      session:on('message', function () session:send('the word of the server') end)
    end)
  assert(server:listen(port or 0, '127.0.0.1'))
  local ended
  local client = helper.connect(server:address().port, clientOptions, function (client)
    client:send('the word of the client')
  end)
  client:on('message', function () client:close() end)
  client:on('close', function (reason) ended = reason end)
  helper.runUntil(function () return ended end)
  assert.equal('closed', ended)
  server:close()
end

describe('the option keylog', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)
  teardown(pki.remove)

  for _, side in ipairs({ 'server', 'client' }) do
    it(('lets tshark read what was captured of a session, from the %s'):format(side), function ()
      local path, port = freshPath('captured.log'), program.freePort()
      pki.write('captured.log', '')
      local capture, why = wire.watch(port, path)
      if not capture then return pending(why) end
      local given = { [side] = { keylog = path } }
      converse(given.server, given.client, port)
      local read = {}
      for _, packet in ipairs(capture:packets()) do
        if packet.data ~= '' then read[#read + 1] = packet.data end
      end
      capture:stop()
      assert.same({ 'the word of the client', 'the word of the server' }, read)
    end)
  end

  it('gives a function each line, with the session it is of', function ()
    local lines = { client = {}, server = {} }
    local function hook(side)
      return function (line, session)
        assert.matches(LINE, line)
        assert.equal('127.0.0.1', session:remoteAddress().ip)
        lines[side][#lines[side] + 1] = line
      end
    end
    converse({ keylog = hook('server') }, { keylog = hook('client') })
    assert.equal(1, #lines.client)
    assert.same(lines.client, lines.server)
  end)

  it('adds lines to a file that nobody else may read', function ()
    local path = freshPath('lines.log')
    converse({ keylog = path })
    converse({ keylog = path }, { keylog = path })
    local lines = linesOf(path)
    assert.equal(3, #lines)
    for _, line in ipairs(lines) do assert.matches(LINE, line) end
    assert.not_equal(lines[1], lines[2])
    assert.equal(lines[2], lines[3])
    assert.equal('rw-------', lfs.attributes(path, 'permissions'))
  end)

  it('has its line in the file before the session can say a word', function ()
    local path = freshPath('early.log')
    local pair = helper.pair({}, { keylog = path })
    assert.equal(1, #linesOf(path))
    helper.finish(pair.client, pair.server)
  end)

  it('refuses a path that cannot be written, in a sentence', function ()
    for path, why in pairs({ ['/nowhere/at/all.log'] = 'ENOENT', ['/'] = 'EISDIR' }) do
      local ok, err = pcall(function () dtls.createContext({ keylog = path }) end)
      assert.is_false(ok)
      local sentence = 'dtls%.createContext: options%.keylog cannot be written: ' .. why
      assert.matches('keylog_spec%.lua:%d+: ' .. sentence, err)
    end
  end)

  it('refuses what is neither', function ()
    for _, wrong in ipairs({ 1, {}, '', 'with\0nul' }) do
      local ok, err = pcall(function () dtls.createContext({ keylog = wrong }) end)
      assert.is_false(ok)
      assert.matches('options%.keylog must be a function, the path of a file, or true for', err)
    end
  end)

  it('survives a file that cannot be written any more', function ()
    local directory = freshPath('log.d')
    assert(lfs.mkdir(directory))
    local path = directory .. '/session.log'
    local server, port = helper.echoServer({ keylog = path })
    os.remove(path)
    assert(lfs.rmdir(directory))
    local client = helper.connect(port)
    helper.runUntil(function () return client:getProtocol() end)
    helper.finish(client, server)
  end)

  it('lets a hook throw as a handler may', function ()
    local errors = helper.errors()
    local pair = helper.pair({ keylog = function () error('the hook throws', 0) end })
    assert.equal(1, #errors)
    assert.matches('^the hook throws', errors[1])
    helper.finish(pair.client, pair.server)
  end)

  describe('in an environment with SSLKEYLOGFILE', function ()
    -- A process with a client of its own, which has this option; returns what its key log holds.
    local function logOf(option, variable)
      local path = freshPath('environment.log')
      local server, port = helper.echoServer()
      local child = program.script('child.lua', { 'client', port }, {
        SSLKEYLOGFILE = variable or path, KEYLOG = option, HANDSHAKE_TIMEOUT = '3000',
      })
      child:waitFor('connected')
      child:stop()
      helper.finish(server)
      return lfs.attributes(path) and linesOf(path)
    end

    it('writes nothing unasked', function ()
      assert.is_nil(logOf(nil))
    end)

    it('writes to that file where the option is true', function ()
      local lines = logOf('true')
      assert.equal(1, #lines)
      assert.matches(LINE, lines[1])
    end)

    it('writes nothing where the variable is empty, or the option is false', function ()
      assert.is_nil(logOf('true', ''))
      assert.is_nil(logOf('false'))
    end)
  end)
end)
