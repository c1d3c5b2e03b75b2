local lfs = require('lfs')

-- The rockspec, read as LuaRocks reads it: a chunk whose globals are the fields.
local function rockspec()
  local fields = {}
  setfenv(assert(loadfile('dtls-scm-1.rockspec')), fields)()
  return fields
end

-- The modules of a directory and of those in it, by name.
local function modulesOf(directory, name, modules)
  for file in lfs.dir(directory) do
    local path, stem = directory .. '/' .. file, file:match('^(.+)%.lua$')
    if stem then
      modules[stem == 'init' and name or name .. '.' .. stem] = path
    elseif not file:find('^%.') and lfs.attributes(path, 'mode') == 'directory' then
      modulesOf(path, name .. '.' .. file, modules)
    end
  end
  return modules
end

local function filesOf(directory)
  local files = {}
  for file in lfs.dir(directory) do
    if not file:find('^%.') then files[#files + 1] = directory .. '/' .. file end
  end
  table.sort(files)
  return files
end

local function output(command)
  local pipe = assert(io.popen(command .. ' 2>&1'))
  local text = pipe:read('*a')
  pipe:close()
  return text
end

describe('the rockspec', function ()
  it('lists exactly the files of lua/dtls', function ()
    assert.same(modulesOf('lua/dtls', 'dtls', {}), rockspec().build.install.lua)
  end)

  it('installs exactly the programs of bin', function ()
    assert.same(filesOf('bin'), rockspec().build.install.bin)
  end)
end)

describe('the installed tree', function ()
  it('is what LuaJIT finds from any other directory', function ()
    if not lfs.attributes('lua_modules') then
      return pending('`make build` has not been run')
    end
    -- By slash, the spelling the module itself uses: it is the one that works in every host.
    local script = [[
      assert(require('dtls') and require('dtls/session') and require('dtls_core'))
      for _, name in ipairs({ 'dtls', 'dtls/session' }) do print(package.searchpath(name, package.path)) end
      print(package.searchpath('dtls_core', package.cpath))]]
    local tree = lfs.currentdir() .. '/lua_modules/'
    assert.equal(
      tree .. 'share/lua/5.1/dtls.lua\n'
        .. tree .. 'share/lua/5.1/dtls/session.lua\n'
        .. tree .. 'lib/lua/5.1/dtls_core.so\n',
      output(([[eval "$(make -s env)" && cd / && luajit -e "%s"]]):format(script)))
  end)
end)
