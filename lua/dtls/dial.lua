--- How a client finds its peer: the name's addresses one after the other, until one answers.

local Endpoint = require('dtls/endpoint')
local address = require('dtls/address')
local loop = require('dtls/loop')

--- The search of one session for its peer. *resolving → trying → over*
--- @class (private) dtls.Dial
local Dial = {}
Dial.__index = Dial

--- How long the first address may stay silent before the next is tried, in milliseconds; doubled each
--- time round. The handshake's own first retransmission falls into it.
Dial.patience = 1500

-- How long an address is kept that cannot be left at the moment.
local RETRY_MS = 5

--- Starts the search. `shared` is the endpoint whose socket is to be used; without one, each address
--- is tried from a socket of its own, connected to it, so that a refusal is heard of.
function Dial.start(session, context, opts, shared)
  loop.refresh()
  local self = setmetatable({
    session = session,
    context = context,
    opts = opts,
    shared = shared,
    endsAt = loop.now() + opts.handshakeTimeout,
    timer = loop.uv.new_timer(),
  }, Dial)
  session._dial = self
  if shared and shared._closed then
    return self:failSoon('ENOTCONN: the endpoint is closed', 'ENOTCONN')
  end
  if shared then shared._dials[self] = true end
  local ip, target = address.parse(opts.host)
  self.servername = opts.servername or ip or opts.host
  if opts.session then self:recall() end
  if target then return self:begin({ target }) end
  self:watch(self.endsAt, function ()
    self:fail('ETIMEDOUT: the host name was not resolved in time', 'ETIMEDOUT', 'timeout')
  end)
  self.request = address.resolve(opts.host, function (list, err, name)
    self.request = nil
    if self.over then return end
    if list then self:begin(list) else self:fail(err, name) end
  end)
end

--- Finds out whether the session that is to be resumed can be offered to this peer.
function Dial:recall()
  local earlier, err, name = self.context.core:earlier(self.servername, self.opts.session)
  self.earlier = earlier
  if earlier then return end
  -- From the loop, so that whoever called has had time to listen.
  loop.defer(function ()
    if self.session._state ~= 'closed' then self.session:emit('warning', err, name) end
  end)
end

--- Tries the addresses of the list, which has one at least: when there is a socket to try them from.
function Dial:begin(list)
  self.list, self.index = list, 0
  local waiting = self.shared and self.shared._resolving
  if not waiting then return self:try() end
  self:watch(self.endsAt, function ()
    self:fail('ETIMEDOUT: the host name to listen on was not resolved in time', 'ETIMEDOUT', 'timeout')
  end)
  waiting[#waiting + 1] = self
end

--- Goes on: the endpoint listens, from whose socket the addresses are to be tried.
function Dial:goOn()
  if not self.over then self:try() end
end

--- Tries the next address that can be tried, the first after the last.
function Dial:try()
  local begun, err, name
  for _ = 1, #self.list do
    self.index = self.index + 1
    if self.index > #self.list then
      self.index, self.patience = 1, self.patience * 2
    end
    begun, err, name = self:attempt(self.list[self.index])
    if begun then return end
    self:abandon()
  end
  self:failSoon(err, name)
end

--- Begins a handshake with one address.
--- @return true|nil, string?, string?
function Dial:attempt(text)
  local session, port, now = self.session, self.opts.port, loop.now()
  local ip, target = address.parse(text)
  local endpoint, err, name = self:socket(address.family(ip))
  if not endpoint then return nil, err, name end
  local bound
  bound, err, name = endpoint:address()
  -- One that the user has brought, the user may have closed.
  if not bound then return nil, err, name end
  if address.family(bound.ip) ~= address.family(ip) then
    if address.family(ip) == 'inet6' then
      return nil, ('EAFNOSUPPORT: the IPv4 socket cannot reach %s'):format(ip), 'EAFNOSUPPORT'
    end
    ip = address.mapped(ip)
    target = ip
  end
  if endpoint._peers:findClient(ip, port) then
    -- The peer would take the second hello for a restart, and replace the first session.
    return nil, 'EALREADY: this socket has a session with that peer already', 'EALREADY'
  end
  local only = endpoint._udp.peer
  if only and (only.ip ~= ip or only.port ~= port) then
    return nil, ('EISCONN: options.socket is connected to %s port %d'):format(only.ip, only.port), 'EISCONN'
  end
  if self.own then
    local connected
    connected, err, name = endpoint._udp:connect(target, port)
    if not connected then return nil, err, name end
  end
  local made
  made, err, name = self.context.core:connect(self.servername, {
    handshake_ms = self.opts.handshakeTimeout,
    spent_ms = self.opts.handshakeTimeout - math.max(self.endsAt - now, 1),
    idle_ms = self.opts.idleTimeout,
    linger_ms = self.opts.linger,
    refuse_oversize = self.opts.oversize == 'error',
    mtu = session._mtu,
    trace = session._trace ~= nil,
    roams = endpoint._terms.roams,
    earlier = self.earlier,
    totals = endpoint._terms.totals,
  }, now)
  if not made then return nil, err, name end
  if #self.list > 1 then
    self:watch(now + self.patience, function () self:moveOn(endpoint) end)
  else
    self.timer:stop()
  end
  session._heard = false
  endpoint:_adopt(session, made, ip, port, target)
  return true
end

--- The endpoint to try an address of a family from.
function Dial:socket(family)
  local opts, endpoint = self.opts, self.shared
  if endpoint then
    if endpoint._udp then return endpoint end
    local bound, err, name = endpoint:_bind(address.any(family), 0)
    if not bound then return nil, err, name end
    return endpoint
  end
  endpoint = Endpoint:new(self.context, { sockets = opts.sockets })
  local bound, err, name = endpoint:_bind(opts.localAddress or address.any(family), opts.localPort or 0)
  if not bound then return nil, err, name end
  self.own = endpoint
  endpoint:on('drain', function () self.session:emit('drain') end)
  endpoint:on('warning', function (warning, warningName)
    if warningName == 'ECONNREFUSED' and self.index < #self.list then
      -- From the loop: a send in the middle of a drain may have brought it.
      loop.defer(function () self:moveOn(endpoint) end)
    end
    self.isRefused = warningName == 'ECONNREFUSED'
    self.session:emit('warning', warning, warningName)
  end)
  return endpoint
end

--- Leaves the address tried from `endpoint`, which has not answered, for the next.
function Dial:moveOn(endpoint)
  local session = self.session
  if session._endpoint ~= endpoint or session._heard or session._state ~= 'handshaking' then return end
  -- It has been left, and no other could be tried: the end is on its way.
  if not session._core then return end
  -- A handler of the session's runs the loop itself: what is being done for it is of this address.
  if session._draining then
    return self:watch(loop.now() + RETRY_MS, function () self:moveOn(endpoint) end)
  end
  endpoint:_forget(session)
  endpoint._stats.abandoned = endpoint._stats.abandoned + 1
  self:abandon()
  self:try()
end

--- What to say of an end in the midst of the search: whoever has not listened to `'warning'` wants to know
--- what may be the matter.
function Dial:explain(err, name)
  if name ~= 'ETIMEDOUT' or self.over or not self.isRefused then return err end
  return err .. '; the network says that nobody listens there (ECONNREFUSED)'
end

--- Ends the search in the user's name.
function Dial:cancel(reason)
  self.session:_finish(reason)
end

function Dial:fail(err, name, reason)
  self.session:_finish(reason or 'error', err, name)
end

--- Fails from the loop, so that whoever called has had time to listen.
function Dial:failSoon(err, name)
  self.timer:stop()
  loop.defer(function () self:fail(err, name) end)
end

--- Calls `fn` at a time on the loop's clock, instead of what was to be called before.
function Dial:watch(at, fn)
  self.timer:start(math.max(at - loop.now(), 0), 0, fn)
end

--- Gives back the socket of an address.
function Dial:abandon()
  if self.own then self.own:_release() end
  self.own = nil
end

--- The peer is found: nothing is searched any more.
function Dial:arrive()
  if self.over then return end
  self.over = true
  self.timer:close()
  if self.shared then self.shared._dials[self] = nil end
  if self.request then loop.uv.cancel(self.request) end
end

--- Gives back what the session held, now that it is over.
function Dial:release()
  self:arrive()
  self:abandon()
end

return Dial
