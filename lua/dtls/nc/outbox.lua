--- What is to be sent to one peer. When the socket's queue is full a message waits here, and is sent when
--- there is room.

local uv = require('dtls/loop').uv

-- Whoever fills this has been answering somebody who sends faster than can be answered.
local MOST_BYTES = 4 * 1024 * 1024
-- What a message takes beside its bytes.
local EACH_BYTES = 64

-- The socket's 'drain' says when there is room. Of a shortage of the system's own nobody tells.
local RETRY_MS = 20

--- @class (private) dtls.nc.Outbox
--- @field private session dtls.Session
--- @field private report dtls.nc.Report
--- @field private onReady fun() nothing waits any more
local Outbox = {}
Outbox.__index = Outbox

--- @param session dtls.Session
--- @param report dtls.nc.Report
--- @param onReady fun()
function Outbox.new(session, report, onReady)
  return setmetatable({
    session = session, report = report, onReady = onReady, waiting = {}, first = 1, last = 0, bytes = 0,
    timer = uv.new_timer(),
  }, Outbox)
end

--- Whether all has been sent.
function Outbox:isEmpty()
  return self.bytes == 0
end

-- Says whether the message is off its hands.
local function attempt(self, message)
  local sent, err, name = self.session:send(message)
  if sent or name == 'ENOTCONN' then return true end
  if name == 'ENOBUFS' then return false end
  self.report:once('a message is lost: %s', err)
  return true
end

--- Sends a message, at once or later.
--- @param message string not empty
function Outbox:send(message)
  if self.closed or (self.bytes == 0 and attempt(self, message)) then return end
  local takes = #message + EACH_BYTES
  if self.bytes + takes > MOST_BYTES then
    return self.report:once('messages are lost: too much waits to be sent')
  end
  self.last = self.last + 1
  self.waiting[self.last], self.bytes = message, self.bytes + takes
  if not self.timer:is_active() then self.timer:start(RETRY_MS, RETRY_MS, function () self:retry() end) end
end

--- Sends what waits, as far as there is room.
function Outbox:retry()
  while self.bytes > 0 do
    local message = self.waiting[self.first]
    if not attempt(self, message) then return end
    -- It may never be empty while the peer goes on.
    self.bytes, self.waiting[self.first] = self.bytes - #message - EACH_BYTES, nil
    self.first = self.first + 1
  end
  if self.closed or not self.timer:is_active() then return end
  self.waiting, self.first, self.last = {}, 1, 0
  self.timer:stop()
  self.onReady()
end

--- Forgets what waits.
function Outbox:close()
  if self.closed then return end
  self.closed, self.bytes, self.waiting = true, 0, {}
  self.timer:close()
end

return Outbox
