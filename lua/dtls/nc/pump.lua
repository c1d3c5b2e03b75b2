--- Moves messages from a source to whoever they are for, no faster than a receiver can take them.
---
--- UDP has no way to say "not so fast": what arrives at a full buffer is gone. Linux gives a socket 416 KiB
--- (`net.core.rmem_max`, twice) unless it is told otherwise, and charges a datagram with some 700 bytes more
--- than it holds. So that much a millisecond may pass as a receiver makes good that was kept waiting for 50.

local loop = require('dtls/loop')
local Cutter = require('dtls/nc/cutter')
local uv = loop.uv

local BYTES_A_MS, BURST_BYTES, OVERHEAD_BYTES = 8 * 1024, 16 * 1024, 700

--- What a pump is between.
--- @class (private) dtls.nc.Joint
--- @field source { more: fun(self: table, onChunk: fun(chunk: string?)) } where chunks come from
--- @field byRead boolean? messages are what reads bring, and not lines
--- @field limit fun(): integer how long a message may be
--- @field isReady fun(): boolean whether a message can be sent now; whoever says no calls `go` later
--- @field deliver fun(message: string)
--- @field onCut fun() a line goes in pieces
--- @field onEnd fun() the source has ended, and all of it has been delivered

--- @class (private) dtls.nc.Pump
--- @field private joint dtls.nc.Joint
--- @field private credit number bytes that may pass now
local Pump = {}
Pump.__index = Pump

--- @param joint dtls.nc.Joint
function Pump.new(joint)
  local self = setmetatable({
    joint = joint, cutter = Cutter.new(joint.byRead, joint.onCut), timer = uv.new_timer(),
    credit = BURST_BYTES, at = uv.hrtime(),
  }, Pump)
  self.onTime = function () self:go() end
  self.onChunk = function (chunk)
    self.reading = false
    self.cutter:feed(chunk)
    self:go()
  end
  return self
end

-- Says whether a message may pass now.
local function earn(self)
  local now = uv.hrtime()
  self.credit = math.min(BURST_BYTES, self.credit + (now - self.at) / 1e6 * BYTES_A_MS)
  self.at = now
  return self.credit > 0
end

--- Goes on as far as that is possible. Called at the beginning, and when what was not ready is.
function Pump:go()
  local joint, cutter = self.joint, self.cutter
  if self.over or self.going then return end
  self.going = true
  while not self.over and joint.isReady() do
    if self.credit <= 0 and not earn(self) then
      self.timer:start(1, 0, self.onTime)
      break
    end
    local message = cutter:take(joint.limit())
    if message then
      self.credit = self.credit - #message - OVERHEAD_BYTES
      joint.deliver(message)
    elseif cutter.ended then
      self:close()
      joint.onEnd()
    else
      if not self.reading then
        self.reading = true
        joint.source:more(self.onChunk)
      end
      break
    end
  end
  self.going = false
end

--- Moves no more.
function Pump:close()
  if self.over then return end
  self.over = true
  self.timer:close()
end

return Pump
