--- The address of a host in the family that `-4` or `-6` asks for.

local address = require('dtls/address')
local loop = require('dtls/loop')

--- Calls back with `host` itself where any family will do, or where it is an address already.
--- @param given dtls.nc.Given
--- @param callback fun(ip: string?, err: string?, name: string?)
return function (given, callback)
  local host = given.host
  local family = given.ipv4 and 'inet' or given.ipv6 and 'inet6'
  if not host or not family or address.parse(host) then return callback(host) end
  local function answer(failure, found)
    local entry = found and found[1]
    if entry then return callback(entry.addr) end
    local name, version = failure or 'EAI_NODATA', given.ipv4 and 4 or 6
    callback(nil, ('%s: there is no IPv%d address for the host %q'):format(name, version, host), name)
  end
  local request, err, name = loop.uv.getaddrinfo(host, nil, { socktype = 'dgram', family = family }, answer)
  if not request then loop.defer(callback, nil, err, name) end
end
