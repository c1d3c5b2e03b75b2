--- One peer, and who talks to it here: standard input and output, a command, or an echo.

local Exec = require('dtls/nc/exec')
local Outbox = require('dtls/nc/outbox')
local Pump = require('dtls/nc/pump')

--- @class (private) dtls.nc.Peer
--- @field session dtls.Session
--- @field outbox dtls.nc.Outbox
--- @field private exec dtls.nc.Exec?
local Peer = {}
Peer.__index = Peer

--- Joins a session whose handshake is complete to what the command line says. Messages are for `onMessage`
--- unless there is a command or an echo.
---
--- @param session dtls.Session
--- @param given dtls.nc.Given
--- @param report dtls.nc.Report
--- @param onMessage fun(message: string)
--- @param onReady fun() its outbox is empty again
--- @return dtls.nc.Peer
function Peer.new(session, given, report, onMessage, onReady)
  local self = setmetatable({ session = session, report = report }, Peer)
  self.outbox = Outbox.new(session, report, function ()
    if self.pump then self.pump:go() end
    if self.ending then return session:close() end
    onReady()
  end)
  if given.timeout then
    session:setTimeout(given.timeout)
    session:on('timeout', function ()
      self.timedOut = true
      session:close()
    end)
  end
  session:on('drain', function () self.outbox:retry() end)
  session:on('close', function () self:_release() end)
  if given.exec then
    self:_execute(given)
  elseif given.echo then
    session:on('message', function (message) if message ~= '' then self.outbox:send(message) end end)
  else
    session:on('message', onMessage)
  end
  return self
end

--- @private
function Peer:_execute(given)
  local session, outbox, report = self.session, self.outbox, self.report
  local exec, err = Exec.start(given.exec, session, function (status)
    if status == 0 or self.exec.stopped then return end
    report:tell('the command has ended with status %d', status)
  end)
  if not exec then
    report:say('--exec: sh cannot be started: %s', err)
    self.failed = true
    return session:close()
  end
  self.exec = exec
  session:on('message', function (message)
    if not exec:write(message) then report:once('messages are lost: the command does not read them') end
  end)
  self.pump = Pump.new({
    source = exec.source,
    byRead = given.datagram,
    limit = function () return session:maxPayload() end,
    isReady = function () return outbox:isEmpty() end,
    deliver = function (message) outbox:send(message) end,
    onCut = Peer.cutWarning(report),
    onEnd = function () self:finish() end,
  })
  self.pump:go()
end

--- What to do when a line goes in pieces: say so, once.
function Peer.cutWarning(report)
  return function ()
    report:once('a line is longer than a datagram holds, and goes in pieces: see --mtu and --datagram')
  end
end

--- Closes the session when all has been sent.
function Peer:finish()
  if self.outbox:isEmpty() then self.session:close() else self.ending = true end
end

--- @private The session is closed.
function Peer:_release()
  self.outbox:close()
  if self.pump then self.pump:close() end
  if self.exec then self.exec:stop() end
end

return Peer
