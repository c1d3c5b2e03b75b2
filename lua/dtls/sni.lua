--- Which context serves which host (RFC 6066 section 3): a table of names as a hook.

local address = require('dtls/address')
local interpreted = require('dtls/interpreted')
local options = require('dtls/options')

local sni = {}

-- An exact name, or a `*` for the first label.
local function find(contexts, name)
  return contexts[name] or contexts[name:gsub('^[^.]+', '*', 1)]
end

-- A name as clients send it, in lower case and without the dot that DNS may end it with; or nil and why no
-- client sends it.
local function normal(name)
  if type(name) ~= 'string' then return nil, ('is no host name but a %s'):format(type(name)) end
  local plain = name:lower():gsub('%.$', '')
  if address.parse(plain) then return nil, 'is an IP address, which clients do not send: leave it to "*"' end
  if not plain:find('^[%w_*][%w%-_.*]*$') then
    return nil, 'is no host name as clients send it: letters, digits, "-" and "_", labels with dots between'
  end
  if plain:find('*', 1, true) and plain ~= '*' and not plain:find('^%*%.[^*]+$') then
    return nil, 'has a "*" that is not the whole first label'
  end
  return plain
end

-- Checks a table of names and returns it with names as clients send them.
local function normalize(caller, given)
  local contexts = {}
  for name, context in pairs(given) do
    local where = ('options.sni[%q]'):format(tostring(name))
    local plain, fault = normal(name)
    if not plain then options.raise('%s: %s %s', caller, where, fault) end
    options.checkValue(caller, where, 'context', context)
    local ready, option, sentence = context.core:check_server()
    if not ready then
      options.raise('%s: %s: options.%s %s', caller, where, options.publicName(option), sentence)
    end
    if contexts[plain] then options.raise('%s: %s is given twice', caller, where) end
    contexts[plain] = context
  end
  if next(contexts) == nil then options.raise('%s: options.sni is empty: there would be no host', caller) end
  return contexts
end
interpreted(normalize)

--- The hook that the option stands for: itself, or a look into the table. Those who name no host are
--- served by the server's own context, where `*` does not serve them and that one can.
function sni.hook(caller, given)
  if type(given) ~= 'table' then return given end
  local contexts = normalize(caller, given)
  return function (name, session)
    if name then return find(contexts, name) or contexts['*'] end
    local default = session._endpoint._context
    return contexts['*'] or (default.core:check_server() and default)
  end
end

return sni
