-- Luvit's ways, where there is no Luvit: runs a script as Luvit would, as far as the loading of modules goes.
--
--   luajit spec/support/luvit.lua SCRIPT
--
-- `require` looks for what is loaded or preloaded; then from the directory of the file that asks upwards,
-- at each step in libs/ and deps/ (the name as it is, with .lua, /init.lua, .so, /init.so); then in what
-- Luvit has built in; then as plain Lua. A module whose load has failed is an empty table the next time.

local uv = require('luv')
local plain = require

package.preload.luvi = function () return {} end
package.preload.uv = function () return uv end

-- What Luvit has built in, out of plain Lua's reach.
local Emitter = { meta = {} }
Emitter.meta.__index = Emitter

function Emitter:extend()
  local class = setmetatable({}, self.meta)
  class.meta = { __index = class, super = self }
  return class
end

function Emitter:new(...)
  local object = setmetatable({}, self.meta)
  if object.initialize then object:initialize(...) end
  return object
end

function Emitter:on(name, handler)
  local handlers = rawget(self, 'handlers') or {}
  self.handlers = handlers
  handlers[name] = handlers[name] or {}
  table.insert(handlers[name], handler)
  return self
end

function Emitter:once(name, handler)
  local function once(...)
    self:removeListener(name, once)
    return handler(...)
  end
  return self:on(name, once)
end

function Emitter:removeListener(name, handler)
  for index, other in ipairs(self:listeners(name)) do
    if other == handler then self.handlers[name][index] = false end
  end
end

function Emitter:listeners(name)
  local handlers = rawget(self, 'handlers')
  return handlers and handlers[name] or {}
end

function Emitter:emit(name, ...)
  local handlers = self:listeners(name)
  for index = 1, #handlers do
    if handlers[index] then handlers[index](...) end
  end
  return self
end

local function instanceof(object, class)
  local meta = object.meta
  while meta do
    if meta.__index == class or meta.super == class then return true end
    meta = meta.super and meta.super.meta
  end
  return false
end

local bundle = { core = { Emitter = Emitter, instanceof = instanceof } }

local function parent(path)
  return path:match('^(.*)/[^/]*$')
end

local function isFile(path)
  local stat = uv.fs_stat(path)
  return stat and stat.type == 'file'
end

local function locate(path)
  for _, ending in ipairs({ '', '.lua', '/init.lua', '.so', '/init.so' }) do
    if isFile(path .. ending) then return path .. ending end
  end
end

-- The file that `name` is, asked for in `directory`.
local function resolve(directory, name)
  if name:sub(1, 1) == '/' then return locate(name) end
  if name:sub(1, 1) == '.' then return locate(directory .. '/' .. name) end
  while directory do
    local path = locate(directory .. '/libs/' .. name) or locate(directory .. '/deps/' .. name)
    if path then return path end
    directory = parent(directory)
  end
end

local loaded = {}
local load

local function requireFrom(path)
  return function (name)
    if package.preload[name] or package.loaded[name] then return plain(name) end
    local found = resolve(parent(path), name)
    if found then return load(found, name) end
    if bundle[name] then return bundle[name] end
    local ok, value = pcall(plain, name)
    if ok then return value end
    error(("No such module '%s' in '%s'\n%s"):format(name, path, value))
  end
end

function load(path, name)
  if loaded[path] then return loaded[path].exports end
  local module = { exports = {} }
  loaded[path] = module
  local chunk
  if path:match('%.so$') then
    chunk = assert(package.loadlib(path, 'luaopen_' .. name:match('[^/]+$'):match('^[^.]+')))
  else
    chunk = setfenv(assert(loadfile(path)), setmetatable({
      require = requireFrom(path), module = module, exports = module.exports,
    }, { __index = _G }))
  end
  module.exports = chunk() or module.exports
  return module.exports
end

-- From plain Lua, Luvit's own `require`.
package.preload.require = function () return requireFrom end

local script = assert(uv.fs_realpath(arg[1]))
-- Luvit has no such global.
rawset(_G, 'arg', nil)
local main = coroutine.create(function () load(script, script) end)
local finished, err = coroutine.resume(main)
if not finished then error(debug.traceback(main, err), 0) end
uv.run()
