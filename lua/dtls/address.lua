--- Hosts: names turned into addresses.

local loop = require('dtls/loop')
local uv = loop.uv

local address = {}

--- Whether `host` is the text of an IP address, with or without a scope.
function address.isLiteral(host)
  return host:find(':', 1, true) ~= nil or host:match('^%d+%.%d+%.%d+%.%d+$') ~= nil
end

--- `inet` or `inet6`.
function address.family(ip)
  return ip:find(':', 1, true) and 'inet6' or 'inet'
end

--- The address that stands for all of a family.
function address.any(family)
  return family == 'inet6' and '::' or '0.0.0.0'
end

--- Looks `host` up without blocking.
--- @param callback fun(ips: string[]|nil, err: string?, name: string?) in the system's order
function address.resolve(host, callback)
  local function answer(failure, found)
    local list, seen = {}, {}
    for _, entry in ipairs(found or {}) do
      if entry.addr and not seen[entry.addr] then
        seen[entry.addr] = true
        list[#list + 1] = entry.addr
      end
    end
    if list[1] then return callback(list) end
    local name = failure or 'EAI_NODATA'
    callback(nil, ('%s: there is no address for the host %q'):format(name, host), name)
  end
  local request, err, name = uv.getaddrinfo(host, nil, { socktype = 'dgram' }, answer)
  if not request then loop.defer(callback, nil, err, name) end
end

return address
