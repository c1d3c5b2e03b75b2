-- Inside Luvit itself, where there is one: the scripts of spec/luvit/, with the module in a LuaRocks tree,
-- and in the deps/ of a project. (Luvit is in no package registry. Where it is missing, loading_spec.lua and
-- luvit_deps_spec.lua have what can be seen without it.)

local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

if not program.exists('luvit') then
  it('works inside luvit', function () pending('there is no luvit on the PATH') end)
  return
end

local function run(command)
  assert(os.execute(command) == 0, command)
end

-- Both have every script of spec/luvit/ at their root, and are out of the checkout's reach.
local places = {
  ['from a LuaRocks tree'] = function (scratch)
    run('luarocks --lua-version 5.1 --tree ' .. scratch .. '/tree make dtls-scm-1.rockspec >/dev/null 2>&1')
    return {
      LUA_PATH = scratch .. '/tree/share/lua/5.1/?.lua;' .. scratch .. '/tree/share/lua/5.1/?/init.lua',
      LUA_CPATH = scratch .. '/tree/lib/lua/5.1/?.so',
    }
  end,
  ['from deps/'] = function (scratch)
    run('make -s luvit-deps DIR=' .. scratch .. ' >/dev/null')
    return { LUA_PATH = '/nowhere/?.lua', LUA_CPATH = '/nowhere/?.so' }
  end,
}

for place, install in pairs(places) do
  describe('inside luvit, ' .. place .. ',', function ()
    local scratch, environment

    -- What a script prints on its standard output, on standard error, and its exit status.
    local function luvit(script, extra)
      local child = program.start('sh', { '-c', 'exec luvit "$0" 2>"$0.err"', scratch .. '/' .. script },
        helper.merge(environment, extra))
      local status = child:waitForEnd(20000)
      return child.output, helper.read(scratch .. '/' .. script .. '.err'), status
    end

    setup(function ()
      scratch = assert(uv.fs_mkdtemp('/tmp/dtls-luvit-XXXXXX'))
      run('cp spec/luvit/*.lua ' .. scratch)
      environment = install(scratch)
    end)
    teardown(function () os.execute('rm -r ' .. scratch) end)
    after_each(function ()
      program.stopAll()
      helper.run()
    end)

    for script, printed in pairs({
      ['events.lua'] = 'server\ttrue\nendpoint\ttrue\nsession\ttrue\naccepted session\ttrue\n'
        .. 'Echo: hello\nclosed\tclosed\n',
      ['blocking.lua'] = 'Echo: hello\nETIMEDOUT\nclosed\tclosed\n',
      ['dgram.lua'] = 'same port\ttrue\nEcho: hello\nclosed\tclosed\nplain\tto myself\n',
      ['beside_tls.lua'] = 'DTLS: hello\nTLS: hello\n',
    }) do
      it(script .. ' prints what it should, and the library nothing', function ()
        assert.same({ printed, '', 0 }, { luvit(script) })
      end)

      it(script .. ' does so with one datagram a call', function ()
        assert.same({ printed, '', 0 }, { luvit(script, { DTLS_TRANSPORT = 'libuv' }) })
      end)
    end

    it('what DTLS_LOG shows goes to standard error', function ()
      local output, log, status = luvit('blocking.lua', { DTLS_LOG = 'debug' })
      assert.same({ 'Echo: hello\nETIMEDOUT\nclosed\tclosed\n', 0 }, { output, status })
      assert.matches('dtls info  connected 127%.0%.0%.1 port %d+: DTLSv1%.2', log)
    end)

    it('a handler that throws ends the process with its error', function ()
      local output, log, status = luvit('throws.lua')
      assert.same({ '', 255 }, { output, status })
      assert.matches('throws%.lua:%d+: thrown by a handler', log)
    end)

    it('process hears of an error that nobody listens to, and may end with sessions open', function ()
      assert.same({ 'unheard\tEFINGERPRINT\n', '', 7 }, { luvit('process.lua') })
    end)
  end)
end
