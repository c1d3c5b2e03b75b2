--- Hosts: names turned into addresses, and addresses into the one text that each has.

local loop = require('dtls/loop')
local uv = loop.uv

local address = {}

--- Reads the text of an IP address: `0:0::1` and `127.1` are ones, names are not.
--- @param host string
--- @return string|nil ip as luv reports it: `::1`
--- @return string? target the same with its scope, where it has one: `fe80::1%eth0`
function address.parse(host)
  -- Spares names the system call: no top-level domain is a number.
  if not host:find(':', 1, true) and not host:match('%.?%d+$') then return nil end
  local found = uv.getaddrinfo(host, nil, { numerichost = true, socktype = 'dgram' })
  if not (found and found[1]) then return nil end
  return found[1].addr, found[1].addr .. (host:match('%%.*$') or '')
end

--- `inet` or `inet6`.
function address.family(ip)
  return ip:find(':', 1, true) and 'inet6' or 'inet'
end

--- The address that stands for all of a family.
function address.any(family)
  return family == 'inet6' and '::' or '0.0.0.0'
end

local MAPPED = '::ffff:'

--- What a dual-stack socket calls an IPv4 address (RFC 4291 section 2.5.5.2).
function address.mapped(ip)
  return MAPPED .. ip
end

--- The IPv4 address that `ip` stands for, or `ip` itself.
function address.unmapped(ip)
  return ip:match('^' .. MAPPED .. '(%d+%.%d+%.%d+%.%d+)$') or ip
end

-- The groups of a part of an IPv6 address. An IPv4 address at its end stands for two.
local function groupsOf(part)
  local groups = {}
  for group in part:gmatch('[^:]+') do
    groups[#groups + 1] = group
    if group:find('.', 1, true) then groups[#groups + 1] = group end
  end
  return groups
end

--- What counts as one host: an IPv4 address, whichever way it is written, or the /64 network of an IPv6
--- address, since who has one address of it has them all (RFC 6177). The link-local addresses are one host.
--- @param ip string as luv reports it, with its scope or without
--- @return string host the same for all its addresses, and different from those of other hosts
function address.host(ip)
  ip = address.unmapped(ip)
  if not ip:find(':', 1, true) then return ip end
  local front, back = ip:match('^(.-)::(.*)$')
  local groups = groupsOf(front or ip)
  if front then
    for _ = #groups + #groupsOf(back) + 1, 8 do groups[#groups + 1] = '0' end
    for _, group in ipairs(groupsOf(back)) do groups[#groups + 1] = group end
  end
  return table.concat(groups, ':', 1, 4) .. '::/64'
end

--- Looks `host` up without blocking. Returns the request, which `uv.cancel` may end.
--- @param callback fun(ips: string[]|nil, err: string?, name: string?) in the system's order
--- @param family? 'inet'|'inet6' both by default
--- @return userdata?
function address.resolve(host, callback, family)
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
    local kind = (family == 'inet' and 'IPv4 ') or (family == 'inet6' and 'IPv6 ') or ''
    callback(nil, ('%s: there is no %saddress for the host %q'):format(name, kind, host), name)
  end
  local request, err, name = uv.getaddrinfo(host, nil, { socktype = 'dgram', family = family }, answer)
  if not request then loop.defer(callback, nil, err, name) end
  return request
end

return address
