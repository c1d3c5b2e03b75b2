-- How the module is built, packed, installed and tested by LuaRocks, and what is said where a tool is
-- missing.

local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

-- The second run, with the other transport, has nothing of its own to see here.
if os.getenv('DTLS_TRANSPORT') then return end

local here = uv.cwd()
local scratch

-- Runs a command of the shell in a directory, the checkout's by default. Returns its status, and what it
-- prints.
local function sh(command, environment, directory)
  local child = program.start('sh', { '-c', 'cd "$0" && ' .. command, directory or here },
    helper.merge({ CARGO_NET_OFFLINE = 'true' }, environment))
  return child:waitForEnd(300000), child.output
end

local function contains(text, part)
  assert.truthy(text:find(part, 1, true), ('%q is not in:\n%s'):format(part, text))
end

-- Where cargo has built everything already.
local target = os.getenv('CARGO_TARGET_DIR') or here .. '/target'

local function beginning()
  setup(function () scratch = assert(uv.fs_mkdtemp('/tmp/dtls-packaging-XXXXXX')) end)
  teardown(function () os.execute('rm -rf ' .. scratch) end)
  after_each(function ()
    program.stopAll()
    helper.run()
  end)
end

describe('a packed source rock', function ()
  beginning()

  local rock = 'build/dtls-scm-1.src.rock'

  it('is made by `make rock`, and holds a rockspec and the sources, without what was built', function ()
    local status, output = sh('make -s rock')
    assert.equal(0, status, output)
    contains(output, 'dtls: packed ' .. rock)
    status, output = sh(('unzip -o -q %s/%s && tar -xzf dtls-scm-1.tar.gz && ls && ls -A dtls-scm-1')
      :format(here, rock), nil, scratch)
    assert.equal(0, status, output)
    contains(output, 'dtls-scm-1.rockspec\ndtls-scm-1.tar.gz\n')
    for _, name in ipairs({ 'Cargo.lock', 'Makefile', 'lua', 'src', 'spec', 'LICENSE-MIT' }) do
      contains(output, '\n' .. name .. '\n')
    end
    for _, name in ipairs({ '.git', 'target', 'build', 'bench', 'lua_modules' }) do
      assert.is_nil(output:find('\n' .. name .. '\n', 1, true), name)
    end
  end)

  it('is the same where it is made of what it holds', function ()
    local list = "find . -type f ! -path './build/*' | sort"
    local unpacked = scratch .. '/dtls-scm-1'
    local _, before = sh(list, nil, unpacked)
    local status, output = sh('make -s rock', nil, unpacked)
    assert.equal(0, status, output)
    assert.equal(0, (sh('mkdir again && cd again && unzip -q ../dtls-scm-1/' .. rock
      .. ' && tar -xzf dtls-scm-1.tar.gz', nil, scratch)))
    local _, after = sh(list, nil, scratch .. '/again/dtls-scm-1')
    assert.equal(before, after)
  end)

  it('is installed into an empty tree from another directory, and works from there', function ()
    local status, output = sh('luarocks --lua-version 5.1 --tree tree install ' .. here .. '/' .. rock,
      { CARGO_TARGET_DIR = target }, scratch)
    assert.equal(0, status, output)
    local tree = scratch .. '/tree'
    status, output = sh([[luajit -e "
      local dtls = require('dtls')
      print(package.searchpath('dtls', package.path))
      print(package.searchpath('dtls_core', package.cpath))
      local coro = require('dtls/coro')
      local me = dtls.generateCertificate()
      local terms = { host = '127.0.0.1', port = 0, cert = me.cert, key = me.key }
      local server = coro.listen(terms, function (session)
        for message in session:messages() do session:send('Echo: ' .. message) end
      end)
      local session = coro.connect({ host = 'localhost', port = server:address().port, ca = me.cert })
      session:send('hello')
      print(session:recv(5000))
      session:close()
      server:close()"]], {
      LUA_PATH = tree .. '/share/lua/5.1/?.lua;' .. tree .. '/share/lua/5.1/?/init.lua',
      -- luv, which is the host's, is found by the default path.
      LUA_CPATH = tree .. '/lib/lua/5.1/?.so;;',
    }, '/')
    assert.equal(tree .. '/share/lua/5.1/dtls.lua\n'
      .. tree .. '/lib/lua/5.1/dtls_core.so\n'
      .. 'Echo: hello\n', output)
    assert.equal(0, status)
    status, output = sh(tree .. '/bin/dtls-nc --help', nil, '/')
    assert.equal(0, status, output)
    contains(output, 'dtls-nc HOST PORT')
  end)
end)

describe('luarocks test', function ()
  beginning()

  local function test(title, text)
    local path = scratch .. '/' .. title .. '_spec.lua'
    local file = assert(io.open(path, 'w'))
    file:write(text)
    file:close()
    return sh('luarocks --lua-version 5.1 test -- -o plainTerminal ' .. path)
  end

  it('runs specs under LuaJIT, with what was built', function ()
    local status, output = test('good', [[
      it('runs', function () assert(jit and require('dtls') and require('spec.helper')) end)]])
    assert.equal(0, status, output)
    contains(output, '1 success / 0 failures / 0 errors')
  end)

  it('fails where one of them does', function ()
    local status, output = test('bad', "it('fails', function () error('on purpose') end)")
    assert.not_equal(0, status)
    contains(output, 'on purpose')
  end)
end)

describe('building', function ()
  beginning()

  -- What building takes, and this spec.
  local programs = {
    'setpriv', 'sh', 'make', 'grep', 'sed', 'awk', 'uname', 'mkdir', 'cmp', 'cp', 'mv',
    'cargo', 'cc', 'perl', 'luarocks',
  }

  -- A path with nothing but those, of which some are missing, or scripts of our own.
  local function pathWith(changes)
    local farm = assert(uv.fs_mkdtemp(scratch .. '/path-XXXXXX'))
    for _, name in ipairs(programs) do
      for directory in os.getenv('PATH'):gmatch('[^:]+') do
        if uv.fs_access(directory .. '/' .. name, 'X') then
          uv.fs_symlink(directory .. '/' .. name, farm .. '/' .. name)
        end
      end
    end
    for name, script in pairs(changes) do
      uv.fs_unlink(farm .. '/' .. name)
      if script then
        local file = assert(io.open(farm .. '/' .. name, 'w'))
        file:write('#!/bin/sh\n', script, '\n')
        file:close()
        assert(uv.fs_chmod(farm .. '/' .. name, 493))
      end
    end
    return farm
  end

  local least = helper.read('Cargo.toml'):match('\nrust%-version = "(.-)"')

  for what, each in pairs({
    ['without Rust'] = { { cargo = false }, 'cargo was not found: install Rust ' .. least .. ' or newer.' },
    ['with a Rust that is too old'] = {
      { cargo = 'echo "cargo 1.63.0"' }, 'this Rust is too old: install ' .. least .. ' or newer.',
    },
    ['with a rustup that has no Rust'] = {
      { cargo = 'exit 1' }, 'cargo does not run: `cargo --version` says why.',
    },
    ['without a C compiler'] = {
      { cc = false }, 'cc was not found: OpenSSL and the Rust linker need a C compiler.',
    },
    ['without perl'] = {
      { perl = false }, 'perl with its standard modules was not found: building OpenSSL needs it.',
    },
    ['with a perl that lacks its modules'] = {
      { perl = 'exit 2' }, 'perl with its standard modules was not found: building OpenSSL needs it.',
    },
  }) do
    it(what .. ' ends with a sentence, before anything is built', function ()
      local status, output = sh('make -s lib', { PATH = pathWith(each[1]) })
      assert.not_equal(0, status)
      contains(output, 'dtls: ' .. each[2])
      assert.is_nil(output:find('Compiling', 1, true))
    end)
  end

  it('ends with a sentence without LuaRocks, where it is wanted', function ()
    for _, goal in ipairs({ 'build', 'rock' }) do
      local status, output = sh('make -s ' .. goal, { PATH = pathWith({ luarocks = false }) })
      assert.not_equal(0, status)
      contains(output, 'dtls: luarocks was not found: install it or run `make deps-demo`.')
    end
  end)

  it('needs no perl where it builds no OpenSSL', function ()
    local status, output = sh("make -s lib CARGO_FLAGS='--no-default-features --features luajit'",
      { PATH = pathWith({ perl = false, cargo = 'echo "cargo 1.99.0, given: $*" && [ $1 = --version ]' }) })
    assert.not_equal(0, status)
    contains(output, 'given: build --release --locked --no-default-features --features luajit')
  end)

  -- The command that LuaRocks runs.
  local fields = {}
  setfenv(assert(loadfile('dtls-scm-1.rockspec')), fields)()
  local command = fields.build.build_command

  it('by LuaRocks ends with a sentence without GNU make', function ()
    for _, changes in ipairs({
      { make = false, gmake = false },
      { make = 'echo "make: unknown option --version" >&2; exit 1', gmake = false },
    }) do
      local status, output = sh(command, { PATH = pathWith(changes) })
      assert.not_equal(0, status)
      assert.equal('dtls: GNU make was not found: install it.\n', output)
    end
  end)

  it('by LuaRocks takes GNU make by its other name, and no compiler of LuaRocks\' own', function ()
    local status, output = sh(command, { CC = 'other-cc', PATH = pathWith({
      make = 'echo "another make"; exit 1',
      gmake = '[ "$1" = --version ] && echo "GNU Make 4.3" || echo "gmake $* CC=$CC"',
    }) })
    assert.same({ 0, 'gmake lib CC=\n' }, { status, output })
  end)

  it('asks for no older Rust than the crates it takes', function ()
    -- Of this system: the crates of others have not been fetched.
    local status, output = sh('cargo metadata --locked --offline --format-version 1 '
      .. '--filter-platform "$(rustc -vV | sed -n "s/^host: //p")" 2>/dev/null')
    assert.equal(0, status)
    local function number(version)
      local major, minor = version:match('^(%d+)%.(%d+)')
      return major * 1000 + minor
    end
    local count = 0
    for version in output:gmatch('"rust_version":"(.-)"') do
      count = count + 1
      assert.is_true(number(version) <= number(least), version)
    end
    assert.is_true(count > 5)
  end)

  it('tells macOS\'s linker that Lua is in the host, and no other', function ()
    assert.equal(0, (sh(('rustc -o %s/script build.rs'):format(scratch))))
    local argument = 'cargo:rustc-cdylib-link-arg=-Wl,-undefined,dynamic_lookup'
    local _, output = sh(scratch .. '/script', { CARGO_CFG_TARGET_OS = 'macos' })
    contains(output, argument)
    for _, system in ipairs({ 'linux', 'freebsd', 'windows' }) do
      _, output = sh(scratch .. '/script', { CARGO_CFG_TARGET_OS = system })
      assert.is_nil(output:find('link-arg', 1, true), system)
    end
  end)
end)
