--- Luvit's own `core.Emitter` inside Luvit, an equal of its elsewhere.

local options = require('dtls/options')

-- From a LuaRocks tree Luvit's `core` is not in reach of `require`; its own `require` has it.
local function requireInLuvit(name)
  return require('require')('bundle:/main.lua')(name)
end

-- A luvi application may be without Luvit, and a `core` be some other module of that name.
if package.loaded.luvi or package.preload.luvi then
  for _, find in ipairs({ require, requireInLuvit }) do
    local found, core = pcall(find, 'core')
    if found and type(core) == 'table' and core.Emitter then return core.Emitter end
  end
end

--- What servers, endpoints and sessions are: objects that tell of events. Handlers get no `self`. Inside
--- Luvit it is Luvit's own, of which this is what can be relied on.
--- @class dtls.Emitter
--- @field private handlers table<string, function[]>?
local Emitter = {}
Emitter.meta = { __index = Emitter }

--- @private Makes a class that inherits from this one.
function Emitter:extend()
  local class = setmetatable({}, self.meta)
  class.meta = { __index = class }
  return class
end

--- @private Makes an instance and initializes it.
function Emitter:new(...)
  local instance = setmetatable({}, self.meta)
  if instance.initialize then instance:initialize(...) end
  return instance
end

--- Calls `handler(...)` whenever `name` is emitted.
--- @param name string
--- @param handler function
--- @return self
function Emitter:on(name, handler)
  if type(handler) ~= 'function' then
    options.raise("emitter:on: the handler of '%s' must be a function, got %s", tostring(name), type(handler))
  end
  -- A list is replaced, never changed: an emission under way goes on with the one it began with.
  local handlers = rawget(self, 'handlers') or {}
  local list = { unpack(handlers[name] or {}) }
  list[#list + 1] = handler
  handlers[name] = list
  self.handlers = handlers
  return self
end

--- Calls `handler(...)` the next time `name` is emitted, and not again.
--- @param name string
--- @param handler function
--- @return self
function Emitter:once(name, handler)
  local function wrapper(...)
    self:removeListener(name, wrapper)
    return handler(...)
  end
  return self:on(name, wrapper)
end

local function contains(list, handler)
  for _, other in ipairs(list) do
    if other == handler then return true end
  end
  return false
end

--- Calls the handlers of `name` in the order they were added; not those that are removed meanwhile,
--- nor those that are added.
--- @param name string
--- @param ... any what they are called with
--- @return self
function Emitter:emit(name, ...)
  local list = self:listeners(name)
  if not list[2] then
    -- Nobody can be removed before its turn.
    if list[1] then list[1](...) end
    return self
  end
  for _, handler in ipairs(list) do
    local now = self:listeners(name)
    if now == list or contains(now, handler) then handler(...) end
  end
  return self
end

--- Removes a handler, and says how many times it was there.
--- @param name string
--- @param handler function
--- @return integer
function Emitter:removeListener(name, handler)
  local kept, removed = {}, 0
  for _, other in ipairs(self:listeners(name)) do
    if other == handler then removed = removed + 1 else kept[#kept + 1] = other end
  end
  if removed > 0 then self.handlers[name] = kept end
  return removed
end

--- Removes all handlers of `name`, or of every name.
--- @param name? string
function Emitter:removeAllListeners(name)
  local handlers = rawget(self, 'handlers')
  if name and handlers then handlers[name] = nil else self.handlers = nil end
end

local none = {}

--- The handlers of `name`: to be looked at, not changed.
--- @param name string
--- @return function[]
function Emitter:listeners(name)
  local handlers = rawget(self, 'handlers')
  return handlers and handlers[name] or none
end

--- How many handlers `name` has.
--- @param name string
--- @return integer
function Emitter:listenerCount(name)
  return #self:listeners(name)
end

return Emitter
