--- `dtls-nc HOST PORT`: one session, from the handshake to the end of input or of the peer.

local Input = require('dtls/nc/input')
local Output = require('dtls/nc/output')
local Peer = require('dtls/nc/peer')
local Pump = require('dtls/nc/pump')
local dtls = require('dtls')
local loop = require('dtls/loop')
local misuse = require('dtls/nc/misuse')
local resolve = require('dtls/nc/resolve')
local resume = require('dtls/nc/resume')
local settings = require('dtls/nc/settings')
local signals = require('dtls/nc/signals')
local uv = dtls.uv

-- How long somebody may take to begin to listen where nobody does: a retransmission is after a second.
local REFUSAL_MS = 1500

--- @class (private) dtls.nc.Client
--- @field private given dtls.nc.Given
--- @field private report dtls.nc.Report
--- @field private session dtls.Session
--- @field private peer dtls.nc.Peer? once the handshake is complete
--- @field private status integer what the program ends with
local Client = {}
Client.__index = Client

-- What to do about a handshake that has failed.
local REMEDY = {
  ENOCERT = '-c FILE -k FILE presents one',
  ENOCIPHER = 'see --ciphers, and --psk where an end has nothing but keys',
  EPSKIDENTITY = 'see --psk',
  EUNKNOWNCA = '-C FILE trusts a CA, --fingerprint this certificate alone, --insecure anybody',
  ECERTNAME = '--servername says what name it should be for',
  EFINGERPRINT = 'see --fingerprint',
  EPSKKEY = 'see --psk',
}

function Client:_fail(status, sentence)
  self.status = status
  self.report:say('%s', sentence)
end

-- Whether all that has been heard is that nothing listens there.
local function isRefused(self)
  return self.refusal and not self.peer and self.session:stats().datagramsIn == 0
end

--- @private
function Client:_failed(err, name)
  if isRefused(self) then
    name = 'ECONNREFUSED'
    err = ('%s: nobody listens on %s port %d'):format(name, self.given.host, self.given.port)
  end
  local remedy = REMEDY[name]
  self:_fail(misuse.statusOf(name), remedy and ('%s; %s'):format(err, remedy) or err)
end

--- @private Somebody has said that nothing listens there. Another address may answer, or the server be about
--- to start.
function Client:_refused()
  if self.refusal then return end
  self.refusal = uv.new_timer()
  self.refusal:start(REFUSAL_MS, 0, function ()
    if not isRefused(self) then return end
    self:_failed()
    self.session:destroy()
  end)
end

--- @private
function Client:_warned(err, name)
  if name == 'ESESSION' then return self.report:tell('%s', err) end
  if name ~= 'ECONNREFUSED' then return self.report:warn(err, name) end
  if not self.peer then return self:_refused() end
  -- Whoever can forge that could end the session by it.
  self.report:once('ECONNREFUSED: nobody listens any more where the peer was')
  self.heardBefore = self.session:stats().datagramsIn
end

--- @private Keeps the session for the next time.
function Client:_keep()
  local session, path, report = self.session, self.given.resume, self.report
  report:say(session:isSessionReused() and 'the session was resumed' or
    'the session was not resumed: the handshake was a full one')
  local kept = session:getSession()
  if not kept then return report:say('the server does not have sessions resumed: nothing is kept') end
  local written, err = resume.write(path, kept)
  if not written then self:_fail(misuse.REFUSED, ('--resume cannot be written: %s'):format(err)) end
end

--- @private Input has ended. Answers may be on their way: they are over when it has been quiet for a while.
function Client:_linger()
  local patience = self.given.linger
  if patience == 0 then return self.peer:finish() end
  if patience < 0 then return end
  self.quiet = uv.new_timer()
  self.quiet:start(patience, patience, function () self.session:close() end)
end

--- @private
function Client:_opened()
  local given, report, session, output = self.given, self.report, self.session, self.output
  report:connected('connected to ' .. report.place(session:remoteAddress()), session)
  if given.insecure and given.verbose == 0 and session:getPeerCertificate() then
    report:say('NOT verified: the server has the fingerprint %s', session:getPeerCertificate().fingerprint256)
  end
  if given.resume then self:_keep() end
  local function onMessage(message)
    if self.quiet then self.quiet:again() end
    -- Prompts and other people's messages may lack it; bytes that go elsewhere are nobody's to change.
    local bare = output.isTerminal and not given.datagram and message:sub(-1) ~= '\n'
    output:write(bare and message .. '\n' or message)
  end
  self.peer = Peer.new(session, given, report, onMessage, function () self.pump:go() end)
  local peer = self.peer
  self.pump = Pump.new({
    source = self.input,
    byRead = given.datagram,
    limit = function () return session:maxPayload() end,
    -- A command has the peer for itself.
    isReady = function () return not given.exec and peer.outbox:isEmpty() end,
    deliver = function (message) peer.outbox:send(message) end,
    onCut = Peer.cutWarning(report),
    onEnd = function () self:_linger() end,
  })
  self.pump:go()
end

--- @private The session is over: what has come is written, and everything given back.
function Client:_closed(reason)
  local peer = self.peer
  if peer then self.report:tell('closed%s', self.report.reason(reason)) end
  if peer and peer.timedOut then
    local seconds = self.given.timeout / 1000
    self:_fail(misuse.TIMEOUT, ('ETIMEDOUT: there was silence for %g seconds'):format(seconds))
  elseif peer and peer.failed then
    self.status = misuse.REFUSED
  elseif self.heardBefore == self.session:stats().datagramsIn then
    self.status = misuse.TIMEOUT
  end
  if self.given.stats then self.report:stats(self.session:stats()) end
  self.input:close()
  if self.pump then self.pump:close() end
  if self.quiet then self.quiet:close() end
  if self.refusal then self.refusal:close() end
  self.output:finish(function ()
    signals.ignore()
    self.onDone(self.status)
  end)
end

--- @private
function Client:_connect(options)
  local session = dtls.connect(options)
  self.session = session
  session:on('secureConnection', function () self:_opened() end)
  session:on('warning', function (err, name) self:_warned(err, name) end)
  session:on('error', function (err, name) self:_failed(err, name) end)
  session:on('close', function (reason) self:_closed(reason) end)
  signals.watch(function ()
    if not self.peer then self.status = misuse.REFUSED end
    session:close()
  end)
  return true
end

--- Runs a client. Raises misuse.
--- @param given dtls.nc.Given
--- @param report dtls.nc.Report
--- @param onDone fun(status: integer) everything is over
return function (given, report, onDone)
  local self = setmetatable({
    given = given, report = report, status = misuse.SUCCESS, onDone = onDone,
  }, Client)
  local options = settings.client(given)
  options.trace = report:trace()
  self.input = Input.new()
  self.output = Output.new(report, function (isFault)
    if isFault then self.status = misuse.REFUSED end
    self.session:close()
  end)
  resolve(given, function (host, err, name)
    options.host = host
    local begun, sentence
    if host then
      begun, sentence = misuse.call(function () return self:_connect(options) end)
      if not begun then self:_fail(misuse.WRONG, sentence) end
    else
      self:_failed(err, name)
    end
    if begun then return end
    self.input:close()
    loop.defer(onDone, self.status)
  end)
end
