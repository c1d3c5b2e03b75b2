-- `make luvit-deps`, and what it has laid: loaded by Luvit's rules, which spec/support/luvit.lua follows.

local dtls = require('dtls')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local scratch

local function make(...)
  local child = program.start('make', { '-s', ... })
  return child:waitForEnd(300000), child.output
end

-- Makes a file, and the directories that it is in.
local function write(path, text)
  local made = scratch
  for part in path:gmatch('([^/]+)/') do
    made = made .. '/' .. part
    uv.fs_mkdir(made, 493)
  end
  local file = assert(io.open(scratch .. '/' .. path, 'w'))
  file:write(text)
  file:close()
end

-- Runs a script of the project; by default with nothing of the checkout in the paths, luv excepted.
local function runInProject(script, path, cpath)
  local child = program.start('luajit', { 'spec/support/luvit.lua', scratch .. '/' .. script }, {
    LUA_PATH = path or '/nowhere/?.lua', LUA_CPATH = cpath or package.cpath:gsub('build/', '/nowhere/'),
  })
  return child:waitForEnd(), child.output
end

local eventsPrinted = 'server\ttrue\nendpoint\ttrue\nsession\ttrue\naccepted session\ttrue\n'
  .. 'Echo: hello\nclosed\tclosed\n'

-- The files of a tree, by their paths in it.
local function files(root, under, found)
  found, under = found or {}, under or ''
  local request = assert(uv.fs_scandir(root .. '/' .. under))
  for name, kind in uv.fs_scandir_next, request do
    if kind == 'directory' then
      files(root, under .. name .. '/', found)
    else
      found[#found + 1] = under .. name
    end
  end
  table.sort(found)
  return found
end

describe('make luvit-deps', function ()
  setup(function () scratch = assert(uv.fs_mkdtemp('/tmp/dtls-luvit-XXXXXX')) end)
  teardown(function () os.execute('rm -r ' .. scratch) end)
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('lays the Lua files, a lit package, and the native part into the deps/ of a project', function ()
    local status, output = make('luvit-deps', 'DIR=' .. scratch)
    assert.equal(0, status, output)
    assert.truthy(output:find(('dtls: laid dtls/ into %s/deps, dtls_core.so into %s/deps\n')
      :format(scratch, scratch), 1, true))
    local expected = { 'package.lua' }
    for _, file in ipairs(files('lua/dtls')) do expected[#expected + 1] = file end
    table.sort(expected)
    assert.same(expected, files(scratch .. '/deps/dtls'))
    assert.equal(helper.read('build/dtls_core.so'), helper.read(scratch .. '/deps/dtls_core.so'))
    assert.is_nil(output:find('error'))
  end)

  it('replaces what was laid before, and leaves the other deps alone', function ()
    write('deps/dtls/of_an_older_version.lua', 'error("stale")')
    write('deps/dtls/nc/stale.lua', 'error("stale")')
    write('deps/other.lua', 'return "other"')
    assert.equal(0, (make('luvit-deps', 'DIR=' .. scratch)))
    for _, file in ipairs(files(scratch .. '/deps')) do assert.is_nil(file:find('stale'), file) end
    assert.is_nil(uv.fs_stat(scratch .. '/deps/dtls/of_an_older_version.lua'))
    assert.equal('return "other"', helper.read(scratch .. '/deps/other.lua'))
  end)

  it('replaces the native part in libs/ where it has been moved there, for lit to pack it', function ()
    write('packed/libs/dtls_core.so', 'of an older version')
    assert.equal(0, (make('luvit-deps', 'DIR=' .. scratch .. '/packed')))
    assert.same({ 'dtls_core.so' }, files(scratch .. '/packed/libs'))
    assert.is_nil(uv.fs_stat(scratch .. '/packed/deps/dtls_core.so'))
    write('packed/main.lua', helper.read('spec/luvit/blocking.lua'))
    assert.equal(0, (runInProject('packed/main.lua')))
  end)

  it('takes a project whose name has spaces and quotes in it', function ()
    local project = scratch .. "/it's a project"
    assert(uv.fs_mkdir(project, 493))
    assert.equal(0, (make('luvit-deps', 'DIR=' .. project)))
    assert.is_truthy(uv.fs_stat(project .. '/deps/dtls/init.lua'))
  end)

  for what, each in pairs({
    ['no project'] = { {}, 'which project? make luvit-deps DIR=path/to/project' },
    ['an empty one'] = { { 'DIR=' }, 'which project?' },
    ['one that is not there'] = { { 'DIR=/nowhere/project' }, 'there is no /nowhere/project: DIR is' },
    ['a file'] = { { 'DIR=README.md' }, 'README.md is not a directory: DIR is the project' },
  }) do
    it('refuses ' .. what .. ' in a sentence, before it builds anything', function ()
      local status, output = make('luvit-deps', unpack(each[1]))
      assert.not_equal(0, status)
      assert.truthy(output:find('dtls: ' .. each[2], 1, true), output)
      assert.is_nil(output:find('cargo', 1, true))
    end)
  end

  it('refuses a deps/, which is not the project, and a project where deps is a file', function ()
    local status, output = make('luvit-deps', 'DIR=' .. scratch .. '/deps')
    assert.not_equal(0, status)
    assert.truthy(output:find('/deps is a deps/ itself: DIR is the project that it is of', 1, true), output)
    write('odd/deps', 'a file')
    status, output = make('luvit-deps', 'DIR=' .. scratch .. '/odd')
    assert.not_equal(0, status)
    assert.truthy(output:find('odd/deps is in the way, and is not a directory', 1, true), output)
  end)

  it('lays what works by Luvit\'s rules, with Luvit\'s Emitters, from anywhere in the project', function ()
    write('app/server/main.lua', helper.read('spec/luvit/events.lua'))
    local status, output = runInProject('app/server/main.lua')
    assert.same({ 0, eventsPrinted }, { status, output })
  end)

  it('lays what works by blocking calls in the main coroutine', function ()
    write('blocking.lua', helper.read('spec/luvit/blocking.lua'))
    local status, output = runInProject('blocking.lua')
    assert.same({ 0, 'Echo: hello\nETIMEDOUT\nclosed\tclosed\n' }, { status, output })
  end)

  it('lays modules that can be required each by itself, first of all', function ()
    local lines = {}
    for _, file in ipairs(files('lua/dtls')) do
      local name = file:match('^(.*)%.lua$')
      if name ~= 'init' then lines[#lines + 1] = ("assert(require('dtls/%s'))"):format(name) end
    end
    -- Turned about, so that no order has been seen to.
    for index = 1, math.floor(#lines / 2) do
      lines[index], lines[#lines + 1 - index] = lines[#lines + 1 - index], lines[index]
    end
    write('each.lua', table.concat(lines, '\n') .. '\nprint(#require("dtls")._VERSION > 0)')
    local status, output = runInProject('each.lua')
    assert.same({ 0, 'true\n' }, { status, output })
  end)

  it('ends with the error itself where a handler throws', function ()
    write('throws.lua', helper.read('spec/luvit/throws.lua'))
    local status, output = runInProject('throws.lua')
    assert.not_equal(0, status)
    assert.matches('throws%.lua:%d+: thrown by a handler', output)
  end)
end)

describe('a LuaRocks tree', function ()
  setup(function () scratch = assert(uv.fs_mkdtemp('/tmp/dtls-luvit-XXXXXX')) end)
  teardown(function () os.execute('rm -r ' .. scratch) end)
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('works by Luvit\'s rules, with Luvit\'s Emitters', function ()
    write('main.lua', helper.read('spec/luvit/events.lua'))
    local status, output = runInProject('main.lua', package.path, package.cpath)
    assert.same({ 0, eventsPrinted }, { status, output })
  end)
end)

describe('the lit package', function ()
  local package = dofile('lua/package.lua')

  it('has the version of the native part', function ()
    assert.equal(dtls._VERSION, package.version)
    assert.equal(helper.read('Cargo.toml'):match('\nversion = "(.-)"'), package.version)
  end)

  it('has the license of the rest, and the types that lit wants', function ()
    assert.equal(helper.read('Cargo.toml'):match('\nlicense = "(.-)"'), package.license)
    for field, kind in pairs({
      name = 'string', description = 'string', license = 'string', private = 'boolean', tags = 'table',
      dependencies = 'table', files = 'table',
    }) do
      assert.equal(kind, type(package[field]), field)
    end
    for _, dependency in ipairs(package.dependencies) do assert.matches('^[%w-]+/[%w-]+@%d', dependency) end
  end)
end)
