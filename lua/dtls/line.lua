--- Who came first: a doubly linked list whose items know their neighbours, so that whoever is in the midst of
--- it leaves at no more cost than whoever is at its ends.

--- @class (private) dtls.Line
--- @field first table? who has been in it for the longest time
--- @field count integer how many are in it
--- @field private last table?
--- @field private before string the field in which an item keeps its neighbour
--- @field private after string
local Line = {}
Line.__index = Line

--- An empty line. Items keep their neighbours in the fields of these names, and may be in one line for each
--- such pair at a time.
function Line.new(before, after)
  return setmetatable({ count = 0, before = before, after = after }, Line)
end

--- Adds an item that is in no such line, behind all others.
function Line:join(item)
  local last = self.last
  item[self.before] = last
  if last then last[self.after] = item else self.first = item end
  self.last = item
  self.count = self.count + 1
end

--- Takes out an item that is in it.
function Line:leave(item)
  local before, after = item[self.before], item[self.after]
  if before then before[self.after] = after else self.first = after end
  if after then after[self.before] = before else self.last = before end
  item[self.before], item[self.after] = nil, nil
  self.count = self.count - 1
end

return Line
