--- The address of a host in the family that `-4` or `-6` asks for.

local address = require('dtls/address')

--- Calls back with `host` itself where any family will do, or where it is an address already.
--- @param given dtls.nc.Given
--- @param callback fun(ip: string?, err: string?, name: string?)
return function (given, callback)
  local host = given.host
  local family = given.ipv4 and 'inet' or given.ipv6 and 'inet6'
  if not host or not family or address.parse(host) then return callback(host) end
  address.resolve(host, function (ips, err, name) callback(ips and ips[1], err, name) end, family)
end
