--- UDP sockets as they are asked for: made and bound, or brought by the user.

local address = require('dtls/address')
local core = require('dtls_core')
local loop = require('dtls/loop')
local options = require('dtls/options')
local uv = loop.uv

local sockets = {}

--- What a socket is to be.
--- @class (private) dtls.SocketTerms
--- @field socket? userdata|table
--- @field reusePort? boolean
--- @field perPeerSocket? boolean
--- @field ipv6Only? boolean
--- @field ttl? integer
--- @field recvBufferSize? integer
--- @field sendBufferSize? integer
--- @field recvBatch? integer
--- @field sendQueueSize? integer

-- What is settled when a socket is bound.
local settled = {
  'reusePort', 'perPeerSocket', 'ipv6Only', 'ttl', 'recvBufferSize', 'sendBufferSize', 'recvBatch',
  'localAddress', 'localPort',
}

--- Takes what checked options say of the socket; raises where they contradict each other.
--- @return dtls.SocketTerms
function sockets.terms(caller, given)
  local terms = { socket = given.socket, sendQueueSize = given.sendQueueSize }
  for _, name in ipairs(settled) do
    if given.socket and given[name] ~= nil then
      options.raise('%s: options.%s comes too late for options.socket, which is bound already', caller, name)
    end
    terms[name] = given[name]
  end
  return terms
end

--- libuv's words for a number of the system's.
--- @return string err, string name
function sockets.words(number)
  local err = uv.translate_sys_error(number)
  return err, err:match('^[%u%d_]+')
end

--- Makes a socket that is bound to an address and a port, and to one peer where there is one.
---
--- @param terms dtls.SocketTerms
--- @param ip string with its scope, where it has one
--- @param port integer 0 for any
--- @param peerIp? string with its scope, where it has one
--- @param peerPort? integer
--- @return userdata|nil handle, string? err, string? name
function sockets.make(terms, ip, port, peerIp, peerPort)
  if terms.ipv6Only and address.family(ip) == 'inet' then
    return nil, ('EAFNOSUPPORT: %s is no IPv6 address, and ipv6Only is set'):format(ip), 'EAFNOSUPPORT'
  end
  local shared = terms.reusePort or terms.perPeerSocket
  if shared and not core.shares_ports then
    return nil, 'ENOTSUP: this system does not divide a UDP port among sockets', 'ENOTSUP'
  end
  local fd, number = core.bind_socket({
    ip = ip,
    port = port,
    peer_ip = peerIp,
    peer_port = peerPort,
    shared = shared,
    ipv6_only = terms.ipv6Only,
    ttl = terms.ttl,
    recv_buffer_size = terms.recvBufferSize,
    send_buffer_size = terms.sendBufferSize,
  })
  if not fd then return nil, sockets.words(number) end
  -- luv takes one datagram a call unless it is told otherwise. A batch holds 64 KiB for each while it is
  -- read; on a socket that hears one peer there is seldom more than one.
  local handle = uv.new_udp(terms.recvBatch and not peerIp and { mmsgs = terms.recvBatch } or nil)
  local opened, err, name = handle:open(fd)
  if not opened then
    core.discard_socket(fd)
    sockets.discard(handle)
    return nil, err, name
  end
  core.keep_socket(fd)
  return handle
end

--- Closes a handle that came to nothing. Not at once: a script that ends here, `assert(server:listen(…))`,
--- would take the process down, as luv up to 1.44 crashes where a handle is still closing when Lua ends.
function sockets.discard(handle)
  loop.defer(function () handle:close() end)
end

-- The handles that are in use now, each by one endpoint.
local inUse = setmetatable({}, { __mode = 'k' })

--- Takes over a socket of the user's: one that is bound, and that no other endpoint has.
---
--- @param socket userdata|table luv's UDP handle, or what has it as `_handle`: Luvit's dgram socket
--- @return userdata|nil handle, string? err, string? name
function sockets.borrow(socket)
  local handle = type(socket) == 'table' and socket._handle or socket
  if type(handle) ~= 'userdata' or handle:is_closing() then
    return nil, 'EBADF: options.socket is closed', 'EBADF'
  end
  if inUse[handle] then
    return nil, 'EALREADY: options.socket is in use by another endpoint or session', 'EALREADY'
  end
  local bound = handle:getsockname()
  -- Nothing has a descriptor, or one without a port.
  if not bound or bound.port == 0 then
    return nil, 'EINVAL: options.socket is not bound', 'EINVAL'
  end
  inUse[handle] = true
  -- Whoever heard its datagrams does so no longer.
  handle:recv_stop()
  return handle
end

--- Gives it back: bound as it was, and not receiving.
function sockets.giveBack(handle)
  inUse[handle] = nil
  if not handle:is_closing() then handle:recv_stop() end
end

return sockets
