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

  it('works inside luvit itself', function ()
    if not program.exists('luvit') then pending('there is no luvit on the PATH') return end
    local child = program.start('luvit', { 'spec/luvit/smoke.lua' }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath,
    })
    assert.equal(0, child:waitForEnd())
    assert.matches('Echo: hello%s+closed closed', child.output)
  end)
end)
