--- The earliest of many deadlines: a binary heap whose entries know their place.
---
--- A deadline that moves later stays where it is until it comes up, since most move with every
--- message (an idle timeout does): that makes a message cost one comparison, not a walk.

--- @class (private) dtls.Deadlines
local Deadlines = {}
Deadlines.__index = Deadlines

function Deadlines.new()
  return setmetatable({ size = 0 }, Deadlines)
end

local function place(self, item, slot)
  self[slot] = item
  item._slot = slot
end

local function rise(self, item)
  local slot = item._slot
  while slot > 1 do
    local parent = math.floor(slot / 2)
    if self[parent]._filed <= item._filed then break end
    place(self, self[parent], slot)
    slot = parent
  end
  place(self, item, slot)
end

local function sink(self, item)
  local slot = item._slot
  while 2 * slot <= self.size do
    local child = 2 * slot
    if child < self.size and self[child + 1]._filed < self[child]._filed then child = child + 1 end
    if self[child]._filed >= item._filed then break end
    place(self, self[child], slot)
    slot = child
  end
  place(self, item, slot)
end

--- Sets when `item` is due, in milliseconds on the loop's clock; nil for never. `item` is a table
--- whose fields `_due`, `_filed` and `_slot` are used here and nowhere else. (It may be a session, on which
--- users keep fields of their own.)
function Deadlines:set(item, at)
  item._due = at
  if not at then
    self:remove(item)
  elseif not item._slot then
    item._filed = at
    self.size = self.size + 1
    item._slot = self.size
    rise(self, item)
  elseif at < item._filed then
    item._filed = at
    rise(self, item)
  end
end

--- Forgets `item`.
function Deadlines:remove(item)
  local slot = item._slot
  if not slot then return end
  local last = self[self.size]
  self[self.size] = nil
  self.size = self.size - 1
  item._slot = nil
  if last ~= item then
    last._slot = slot
    rise(self, last)
    sink(self, last)
  end
end

--- When something may be due, or nil: the time to look again.
function Deadlines:next()
  local first = self[1]
  return first and first._filed
end

--- Takes out one item that is due, or returns nil when none is.
function Deadlines:take(now)
  local first = self[1]
  while first and first._filed <= now do
    if first._due <= now then
      self:remove(first)
      return first
    end
    first._filed = first._due
    sink(self, first)
    first = self[1]
  end
end

return Deadlines
