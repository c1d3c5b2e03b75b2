--- Cuts what is read into messages: lines, or whatever came together.
---
--- A line keeps its newline, so that what comes out at the other end is what went in here, and what other
--- programs send by the line looks the same. What is longer than a message may be goes in pieces.

--- @class (private) dtls.nc.Cutter
--- @field ended boolean nothing more comes
--- @field private byRead boolean? by the read, and not by the line
--- @field private text string what has come in, from `at` on
local Cutter = {}
Cutter.__index = Cutter

--- @param byRead? boolean messages are what reads bring, binary data among it
--- @param onCut? fun() a line was too long for one message
function Cutter.new(byRead, onCut)
  return setmetatable({ byRead = byRead, onCut = onCut, text = '', at = 1, ended = false }, Cutter)
end

--- Takes what was read, when all that could be cut from what came before has been; nil at the end.
--- @param chunk string?
function Cutter:feed(chunk)
  if not chunk then
    self.ended = true
  else
    self.text = self.text:sub(self.at) .. chunk
    self.at = 1
  end
end

--- The next message; nil where there is none yet.
--- @param limit integer how many bytes it may have
--- @return string?
function Cutter:take(limit)
  local text, at = self.text, self.at
  local rest = #text - at + 1
  if rest == 0 then return nil end
  local length = rest
  if not self.byRead then
    local newline = text:find('\n', at, true)
    if newline then
      length = newline - at + 1
    elseif rest < limit and not self.ended then
      return nil
    end
    if length > limit and self.onCut then self.onCut() end
  end
  if length > limit then length = limit end
  self.at = at + length
  return text:sub(at, at + length - 1)
end

return Cutter
