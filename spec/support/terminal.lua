--- A place where the commands of a document run as its reader would run them: a scratch directory with the
--- checkout in it, and a network and processes that nothing else sees.

local lfs = require('lfs')
local helper = require('spec.helper')
local program = require('spec.support.program')
local uv = helper.uv

local terminal = {}

-- The first process of the place. When it ends, so do all others in it.
local FIRST = { '--net', '--pid', '--mount', '--fork', '--kill-child', 'sh', '-euc', [[
  read -r pid rest </proc/self/stat
  mount -t proc proc /proc
  ip link set lo up
  echo "pid $pid"
  exec cat
]] }

-- It takes rights that not everybody has.
local quoted = {}
for index, word in ipairs(FIRST) do quoted[index] = "'" .. word .. "'" end
--- Whether such a place can be made here.
terminal.possible = os.execute('unshare ' .. table.concat(quoted, ' ') .. ' </dev/null >/dev/null 2>&1') == 0

-- What a new shell begins with. The last line ends what the block has left in the background.
local BEFORE = [[
exec 2>&1
eval "$(make -s env)"
trap 'kill $(jobs -p) 2>/dev/null || :' EXIT
]]

--- Makes the directory: what the checkout has, by links, and `lua_modules` as `make build` would leave it.
--- @return string path
function terminal.directory()
  local checkout = lfs.currentdir()
  local path = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. '/dtls-spec-XXXXXX'))
  local function link(from, to) assert(uv.fs_symlink(checkout .. '/' .. from, path .. '/' .. to)) end
  for name in lfs.dir('.') do
    if not name:find('^%.') and name ~= 'lua_modules' then link(name, name) end
  end
  local made = ''
  for directory in ('lua_modules share lua 5.1'):gmatch('%S+') do
    made = made .. directory .. '/'
    assert(uv.fs_mkdir(path .. '/' .. made, 448))
  end
  assert(uv.fs_mkdir(path .. '/lua_modules/lib', 448))
  assert(uv.fs_mkdir(path .. '/lua_modules/lib/lua', 448))
  link('build', 'lua_modules/lib/lua/5.1')
  link('lua/dtls', 'lua_modules/share/lua/5.1/dtls')
  if lfs.attributes('bin') then
    assert(uv.fs_mkdir(path .. '/lua_modules/bin', 448))
    for name in lfs.dir('bin') do
      if not name:find('^%.') then
        local wrapper = path .. '/lua_modules/bin/' .. name
        local file = assert(io.open(wrapper, 'w'))
        file:write(('#!/bin/sh\nexec luajit \'%s/bin/%s\' "$@"\n'):format(checkout, name))
        file:close()
        assert(uv.fs_chmod(wrapper, 493))
      end
    end
  end
  return path
end

--- Takes the directory away, and what was written into it.
function terminal.remove(path)
  assert(path:find('/dtls%-spec%-%w+$'))
  os.execute("rm -rf '" .. path .. "'")
end

--- @class spec.Place
local Place = {}
Place.__index = Place

--- Makes a place whose commands run in `directory`, with a network of its own where that is possible.
--- @return spec.Place
function terminal.open(directory)
  local self = setmetatable({ directory = directory }, Place)
  if terminal.possible then
    self.first = program.start('unshare', FIRST)
    self.pid = self.first:waitFor('pid (%d+)\n')
  end
  return self
end

-- Starts a program in the place.
function Place:start(file, ...)
  local arguments = { '-C', self.directory, file, ... }
  if self.pid then
    local enter = { '-t', self.pid, '-n', '-p', '-m', 'env' }
    for index, word in ipairs(enter) do table.insert(arguments, index, word) end
  end
  return program.start(self.pid and 'nsenter' or 'env', arguments, {
    HOME = self.directory, LC_ALL = 'C.UTF-8', DTLS_LOG = '', LUA_PATH = '', LUA_CPATH = '',
    MAKEFLAGS = '', MFLAGS = '', MAKELEVEL = '',
  })
end

--- Starts a script of bash. Its input is open, and empty.
--- @return spec.Program
function Place:bash(script, ...)
  return self:start('bash', '--norc', '-euc', BEFORE .. script, 'bash', ...)
end

-- How many sockets wait for datagrams or connections.
function Place:_sockets()
  local count = 0
  for _, name in ipairs({ 'udp', 'udp6', 'tcp', 'tcp6' }) do
    local file = io.open(('/proc/%s/net/%s'):format(self.pid, name))
    if file then
      for _ in file:lines() do count = count + 1 end
      file:close()
    end
  end
  return count
end

--- Starts a script that goes on while others run, and waits until they can: it has a new socket, or else has
--- printed its first line and no socket follows, or 5 seconds are over.
function Place:background(script)
  local before, printed = self:_sockets(), nil
  local child = self:bash(script)
  local begin = uv.hrtime() / 1e6
  helper.runUntil(function ()
    local now = uv.hrtime() / 1e6
    if not printed and child.output:find('\n') then printed = now end
    return child.status or self:_sockets() > before or now - begin > 5000
      or (printed and now - printed > 1000)
  end, 10000)
  return child
end

--- What Ctrl-C does to all that runs in the place.
function Place:interrupt()
  self:start('bash', '--norc', '-c', 'kill -INT -1 2>/dev/null'):waitForEnd()
end

return terminal
