-- How the module is found and loaded, seen in processes of their own.

local helper = require('spec.helper')
local program = require('spec.support.program')

local function run(script, environment)
  local child = program.start('luajit', { '-e', script }, helper.merge({
    LUA_PATH = package.path, LUA_CPATH = package.cpath,
  }, environment))
  local status = child:waitForEnd()
  return child.output, status
end

-- A connection that is made, and then left in good order.
local hello = [[
  local dtls = require('dtls')
  local identity = dtls.generateCertificate()
  local server = dtls.createServer({ cert = identity.cert, key = identity.key })
  assert(server:listen(0, '127.0.0.1'))
  local session = dtls.connect({ host = 'localhost', port = server:address().port, ca = identity.cert })
  session:on('secureConnection', function () print('connected') session:close() end)
  session:on('close', function () server:close() end)
]]

describe('the module', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('works when it is loaded inside a coroutine, as Luvit does', function ()
    local output, status = run('coroutine.wrap(function () ' .. hello .. ' end)() require("luv").run()')
    assert.same({ 'connected\n', 0 }, { output, status })
  end)

  it('sets no global', function ()
    local output = run([[
      setmetatable(_G, { __newindex = function (_, name) print('global ' .. name) end })
      require('dtls')
    ]])
    assert.equal('', output)
  end)

  it('writes to standard error alone, whatever it is to log and to draw', function ()
    local script = [[
      local dtls = require('dtls')
      local make = dtls.createServer
      function dtls.createServer(options)
        options.trace = dtls.trace()
        return make(options)
      end
    ]] .. hello .. 'dtls.uv.run()'
    local function streams(redirected)
      local child = program.start('sh', { '-c', 'exec luajit -e "$0" ' .. redirected, script }, {
        LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = 'trace',
      })
      assert.equal(0, child:waitForEnd())
      return child.output
    end
    assert.equal('connected\n', streams('2>/dev/null'))
    local written = streams('2>&1 >/dev/null')
    assert.matches('\n#1 .* ClientHello ', written)
    assert.matches('\ndtls trace .* ClientHello ', written)
  end)

  -- The tool's own files excepted.
  it('has no line that could write to standard output', function ()
    local search = program.start('grep', {
      '-rnE', '--exclude-dir=nc', 'io\\.(write|stdout)|\\bprint *\\(|print(ln)?!|stdout\\(', 'lua', 'src',
    })
    assert.same({ 1, '' }, { search:waitForEnd(), search.output })
  end)

  it('says what it is and what it runs on', function ()
    local output = run("local dtls = require('dtls') print(dtls._VERSION, dtls.opensslVersion)")
    assert.matches('^%d+%.%d+%.%d+\tOpenSSL 3%.', output)
  end)

  it('reads no configuration that was meant for another OpenSSL', function ()
    local output, status = run(hello .. 'dtls.uv.run()', { OPENSSL_CONF = '/nowhere/openssl.cnf' })
    assert.same({ 'connected\n', 0 }, { output, status })
  end)

  it('shows luaopen_dtls_core and nothing of its OpenSSL', function ()
    local symbols = program.start('nm', { '-D', '--defined-only', 'build/dtls_core.so' })
    assert.equal(0, symbols:waitForEnd())
    assert.matches(' T luaopen_dtls_core\n', symbols.output)
    for _, prefix in ipairs({ 'SSL_', 'EVP_', 'CRYPTO_', 'BIO_', 'X509_', 'ERR_' }) do
      assert.is_nil(symbols.output:find(' %u ' .. prefix), prefix)
    end
  end)

  it('can be loaded again and again', function ()
    local output, status = run([[
      for _ = 1, 100 do
        for name in pairs(package.loaded) do
          if name:match('^dtls') then package.loaded[name] = nil end
        end
        local dtls = require('dtls')
        dtls.createContext()
        collectgarbage()
      end
      print('done')
    ]])
    assert.same({ 'done\n', 0 }, { output, status })
  end)

  it('uses the Emitter and the loop of the host inside Luvit', function ()
    local output, status = run([[
      -- The host: its loop is called uv, its Emitter is out of reach of plain `require`.
      local uv, Emitter = require('luv'), require('dtls/emitter'):extend()
      Emitter.host = true
      for name in pairs(package.loaded) do
        if name == 'luv' or name:match('^dtls') then package.loaded[name] = nil end
      end
      package.preload.luvi = function () return {} end
      package.preload.uv = function () return uv end
      package.preload.luv = function () error('this would be another loop') end
      package.preload.require = function ()
        return function (path)
          assert(path == 'bundle:/main.lua')
          return function (name) return name == 'core' and { Emitter = Emitter } or require(name) end
        end
      end
      local dtls = require('dtls')
      assert(dtls.uv == uv)
      local identity = dtls.generateCertificate()
      local server = dtls.createServer({ cert = identity.cert, key = identity.key })
      print(server.host)
    ]])
    assert.same({ 'true\n', 0 }, { output, status })
  end)

  it('uses an Emitter of its own in a luvi application that has not Luvit in it', function ()
    local output, status = run([[
      package.preload.luvi = function () return {} end
      -- Lit has a `core` of its own, for one, which is a function.
      package.preload.core = function () return function () end end
      local Emitter = require('dtls/emitter')
      Emitter:extend():new():on('event', print):emit('event', 'heard')
    ]])
    assert.same({ 'heard\n', 0 }, { output, status })
  end)
end)
