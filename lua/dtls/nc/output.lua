--- Standard output, which may be slow: what is written waits in memory, and the loop goes on.
---
--- It is written by libuv's threads, one write at a time, and not as a stream of libuv's, which would have to
--- make the descriptor non-blocking for everybody who shares it.

local loop = require('dtls/loop')
local uv = loop.uv

-- How much may wait. What comes then is lost, as it would be in the system's own buffer.
-- Small ones take many times what they hold.
local MOST_BYTES, MOST_TEXTS = 64 * 1024 * 1024, 1024 * 1024

-- How soon a descriptor is tried again that somebody else has made non-blocking.
local RETRY_MS = 5

--- @class (private) dtls.nc.Output
--- @field isTerminal boolean
--- @field private waiting string[] what has not been given to the system
--- @field private bytes integer of that
--- @field private busy boolean? a write is under way
local Output = {}
Output.__index = Output

--- @param report dtls.nc.Report
--- @param onBroken fun(isFault: boolean) nothing can be written any more; that nobody reads it is no fault
function Output.new(report, onBroken)
  local kind = uv.guess_handle(1)
  return setmetatable({
    isTerminal = kind == 'tty', broken = kind == 'unknown', waiting = {}, bytes = 0,
    report = report, onBroken = onBroken,
  }, Output)
end

local writeOn

-- The system has taken `written` bytes of `text`, or has failed.
local function wrote(self, text, failure, written)
  if failure and failure:find('EAGAIN', 1, true) then
    local timer = uv.new_timer()
    timer:start(RETRY_MS, 0, function ()
      timer:close()
      writeOn(self, text)
    end)
  elseif failure then
    self.busy, self.broken, self.waiting, self.bytes = nil, true, {}, 0
    local isFault = not failure:find('^EPIPE')
    if isFault then self.report:say('standard output cannot be written: %s', failure) end
    self.onBroken(isFault)
    if self.onEmpty then self.onEmpty() end
  elseif written < #text then
    self.bytes = self.bytes - written
    writeOn(self, text:sub(written + 1))
  else
    self.bytes = self.bytes - written
    self.busy = nil
    self:_flush()
  end
end

function writeOn(self, text)
  uv.fs_write(1, text, -1, function (failure, written) wrote(self, text, failure, written) end)
end

--- @private Writes what waits, in one go.
function Output:_flush()
  if self.busy then return end
  if not self.waiting[1] then return self.onEmpty and self.onEmpty() end
  local text = table.concat(self.waiting)
  self.waiting, self.busy = {}, true
  writeOn(self, text)
end

--- Writes `text`.
function Output:write(text)
  if self.broken then return end
  local count = #self.waiting
  if self.bytes + #text > MOST_BYTES or count >= MOST_TEXTS then
    return self.report:once('messages are lost: nobody reads the output')
  end
  self.waiting[count + 1] = text
  self.bytes = self.bytes + #text
  self:_flush()
end

--- Calls back when all that was written is the system's.
--- @param callback fun()
function Output:finish(callback)
  self.onEmpty = function ()
    self.onEmpty = nil
    callback()
  end
  self:_flush()
end

return Output
