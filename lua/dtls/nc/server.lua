--- `dtls-nc -l [HOST] PORT`: any number of peers, until it is interrupted.

local Input = require('dtls/nc/input')
local Output = require('dtls/nc/output')
local Peer = require('dtls/nc/peer')
local Pump = require('dtls/nc/pump')
local dtls = require('dtls')
local misuse = require('dtls/nc/misuse')
local resolve = require('dtls/nc/resolve')
local settings = require('dtls/nc/settings')
local signals = require('dtls/nc/signals')
local uv = dtls.uv

--- @class (private) dtls.nc.Server
--- @field private given dtls.nc.Given
--- @field private report dtls.nc.Report
--- @field private server dtls.Server
--- @field private peers dtls.nc.Peer[] those that are here, in the order in which they came
--- @field private several boolean? there have been two at once, so whoever speaks is named
local Server = {}
Server.__index = Server

--- @private Nobody is here: for how long, if that matters.
function Server:_alone()
  if not self.lonely then return end
  self.lonely:start(self.given.timeout, 0, function ()
    if not self.served then
      self.status = misuse.TIMEOUT
      self.report:say('ETIMEDOUT: nobody came within %g seconds', self.given.timeout / 1000)
    end
    self:close()
  end)
end

--- @private
function Server:_write(place, message)
  if message == '' then return end
  local output, text = self.output, message
  if not self.given.datagram then
    if self.several then
      -- Each line: else a message of two would pass the second off as anybody's.
      local mark, last = '[' .. place .. '] ', text:match('\n?$')
      text = text:sub(1, #text - #last):gsub('\n', { ['\n'] = '\n' .. mark })
      text = mark .. text .. last
    end
    -- What follows is of somebody else, or on a line of its own.
    if (self.several or output.isTerminal) and text:sub(-1) ~= '\n' then text = text .. '\n' end
  end
  output:write(text)
end

--- @private
function Server:_came(session)
  local report, place = self.report, self.report.place(session:remoteAddress())
  report:connected(place .. ' connected', session)
  self.served = true
  if self.lonely then self.lonely:stop() end
  local peer = Peer.new(session, self.given, report,
    function (message) self:_write(place, message) end, function () self.pump:go() end)
  session:on('error', function (err) report:tell('%s failed: %s', place, err) end)
  session:on('close', function (reason)
    report:tell('%s closed%s', place, report.reason(peer.timedOut and 'silence' or reason))
    self:_left(peer)
  end)
  self.peers[#self.peers + 1] = peer
  if self.peers[2] then self.several = true end
  self.pump:go()
end

--- @private
function Server:_left(peer)
  for index, each in ipairs(self.peers) do
    if each == peer then table.remove(self.peers, index) break end
  end
  if not self.peers[1] then self:_alone() end
  -- It may have been the one that the others were waiting for.
  self.pump:go()
end

--- @private How long a message to all may be.
function Server:_limit()
  local least
  for _, peer in ipairs(self.peers) do
    local most = peer.session:maxPayload()
    if not least or most < least then least = most end
  end
  return least
end

--- @private Whether what is read next has somebody to go to, and can.
function Server:_isReady()
  if not self.peers[1] or self.given.exec or self.given.echo then return false end
  for _, peer in ipairs(self.peers) do
    if not peer.outbox:isEmpty() then return false end
  end
  return true
end

--- @private
function Server:_makePump()
  return Pump.new({
    source = self.input,
    byRead = self.given.datagram,
    limit = function () return self:_limit() end,
    isReady = function () return self:_isReady() end,
    deliver = function (message)
      for _, peer in ipairs(self.peers) do peer.outbox:send(message) end
    end,
    onCut = Peer.cutWarning(self.report),
    -- Whoever is there may still have something to say.
    onEnd = function () end,
  })
end

--- Closes every session, and then the program ends.
function Server:close()
  self.server:close()
end

--- @private
function Server:_closed()
  local given, report = self.given, self.report
  if given.stats then report:stats(self.server:stats()) end
  self.input:close()
  self.pump:close()
  if self.lonely then self.lonely:close() end
  self.output:finish(function ()
    signals.ignore()
    self.onDone(self.status)
  end)
end

--- @private
function Server:_listening(fingerprint)
  local report = self.report
  if fingerprint then report:say('fingerprint %s', fingerprint) end
  report:say('listening on %s', report.place(self.server:address()))
  self:_alone()
end

--- @private Everybody's address, where the system has IPv6 and nothing else was asked for.
function Server:_bind(host)
  local server, port = self.server, self.given.port
  if host or self.given.ipv4 or self.given.ipv6 then
    return server:listen(port, host or self.given.ipv4 and '0.0.0.0' or '::')
  end
  local bound, err, name = server:listen(port, '::')
  if bound or (name ~= 'EAFNOSUPPORT' and name ~= 'EADDRNOTAVAIL') then return bound, err, name end
  return server:listen(port, '0.0.0.0')
end

--- @private
function Server:_listen(host)
  local server, given, report = self.server, self.given, self.report
  local function fail(err)
    self.status = misuse.REFUSED
    report:say('%s (%s port %d)', err, given.host or 'any address', given.port)
  end
  server:on('connection', function (session) self:_came(session) end)
  server:on('clientError', function (err, _, peer) report:tell('%s refused: %s', report.place(peer), err) end)
  server:on('warning', function (err, name) report:warn(err, name) end)
  server:on('error', fail)
  server:on('drain', function ()
    for _, peer in ipairs(self.peers) do peer.outbox:retry() end
  end)
  server:on('close', function () self:_closed() end)
  server:on('listening', function () self:_listening(self.fingerprint) end)
  local bound, err = self:_bind(host)
  if not bound then
    fail(err)
    return self:close()
  end
  signals.watch(function () self:close() end)
end

--- Runs a server. Raises misuse.
--- @param given dtls.nc.Given
--- @param report dtls.nc.Report
--- @param onDone fun(status: integer) everything is over
return function (given, report, onDone)
  local self = setmetatable({
    given = given, report = report, peers = {}, status = misuse.SUCCESS, onDone = onDone,
  }, Server)
  local options
  options, self.fingerprint = settings.server(given)
  options.trace = report:trace()
  self.server = dtls.createServer(options)
  self.input = Input.new()
  self.output = Output.new(report, function (isFault)
    if isFault then self.status = misuse.REFUSED end
    self:close()
  end)
  self.pump = self:_makePump()
  if given.timeout then self.lonely = uv.new_timer() end
  resolve(given, function (host, err)
    if given.host and not host then
      self.status = misuse.REFUSED
      report:say('%s', err)
      return self.server:close(function () self:_closed() end)
    end
    self:_listen(host)
  end)
end
