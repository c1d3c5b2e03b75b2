--- Which context serves which host (RFC 6066 section 3): a table of names as a hook.

local interpreted = require('dtls/interpreted')
local options = require('dtls/options')

local sni = {}

-- An exact name, or a `*` for the first label.
local function find(contexts, name)
  return contexts[name] or contexts[name:gsub('^[^.]+', '*', 1)]
end

-- Checks a table of names and returns it with names as clients send them.
local function normalize(caller, given)
  local contexts = {}
  for name, context in pairs(given) do
    if type(name) ~= 'string' or name == '' then
      options.raise('%s: options.sni must have host names as keys, got %s', caller, tostring(name))
    end
    local where = ('options.sni[%q]'):format(name)
    options.checkValue(caller, where, 'context', context)
    local ready, option, sentence = context.core:check_server()
    if not ready then options.raise('%s: %s: options.%s %s', caller, where, option, sentence) end
    contexts[name:lower():gsub('%.$', '')] = context
  end
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
