--- The tests that documents refer to: `` `file` "title" ``.

local helper = require('spec.helper')

local cited = {}

--- Whether a file has a test of that title, or one whose title begins so where the file goes on by itself.
function cited.exists(file, title)
  local text = helper.read(file):gsub("\\'", "'")
  if file:find('%.rs$') then return text:find('#%[test%]%s+fn ' .. title .. '%(') ~= nil end
  local at = text:find(title, 1, true)
  local before = at and text:sub(1, at - 1)
  if not at then return false end
  return (before:find("it%('$") or before:find("describe%('$") or before:find("claim%('$")
    or before:find("itIsolated%('$")) ~= nil
end

--- Fails where a text refers to a test that is not there. Returns how many it refers to.
--- @return integer
function cited.check(text)
  local count = 0
  for file, title in text:gsub('%s+', ' '):gmatch('`([^`]+%.%l+)` "([^"]+)"') do
    assert(cited.exists(file, title), ('%s has no test %q'):format(file, title))
    count = count + 1
  end
  return count
end

return cited
