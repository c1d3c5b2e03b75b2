--- The documents of this tree, as far as specs look at them: fenced blocks, headings, links, code in prose.

local lfs = require('lfs')
local helper = require('spec.helper')

local markdown = {}

--- A fenced block.
--- @class spec.Block
--- @field language string what stands behind the fence
--- @field line integer of its first line
--- @field text string
--- @field prints? string the ```text block that follows it

--- @class spec.Document
--- @field path string
--- @field blocks spec.Block[]
--- @field anchors table<string, boolean> what a link may have behind its `#`
--- @field links { line: integer, target: string }[]
--- @field spans { line: integer, text: string }[] code in prose

-- What has nothing of ours in it, or what is made.
local SKIPPED = { target = true, build = true, lua_modules = true }

--- Whether a path is of what is made.
function markdown.isMade(path)
  for name in path:gmatch('[^/]+') do
    if SKIPPED[name] then return true end
  end
  return false
end

--- The paths of all documents of the checkout.
function markdown.paths()
  local paths = {}
  local function walk(directory)
    for name in lfs.dir(directory == '' and '.' or directory) do
      local path = directory .. name
      local mode = not name:find('^%.') and not SKIPPED[name] and lfs.symlinkattributes(path, 'mode')
      if mode == 'directory' then
        walk(path .. '/')
      elseif mode and name:find('%.md$') then
        paths[#paths + 1] = path
      end
    end
  end
  walk('')
  table.sort(paths)
  return paths
end

-- The anchor that GitHub gives a heading.
local function slug(heading)
  return (heading:gsub('%b[]%b()', function (link) return link:match('^%[(.*)%]%(') end)
    :lower():gsub('[^%w%s_\128-\255-]', ''):gsub('%s', '-'))
end

-- Hands out the code spans of a line of prose, and returns the line without what is in them.
local function takeSpans(line, onSpan)
  local rest = line:gsub('(`+)(.-)%1', function (_, text)
    onSpan(text)
    return '``'
  end)
  return rest
end

--- Reads a document.
--- @return spec.Document
function markdown.read(path)
  local document = { path = path, blocks = {}, anchors = {}, links = {}, spans = {} }
  local number, open, indent, between = 0, nil, nil, nil
  local seen = {}
  for line in (helper.read(path) .. '\n'):gmatch('(.-)\n') do
    number = number + 1
    local space, language = line:match('^(%s*)```(%S*)')
    if open and space and language == '' then
      open.text = table.concat(open, '\n') .. '\n'
      open, between = nil, ''
    elseif open then
      open[#open + 1] = line:sub(1, indent):find('%S') and line or line:sub(indent + 1)
    elseif space then
      local previous = document.blocks[#document.blocks]
      open, indent = { language = language, line = number + 1 }, #space
      document.blocks[#document.blocks + 1] = open
      -- Directly behind what prints it.
      between = between and between:match('^%s*(.-)%s*$')
      if language == 'text' and previous and (between == '' or between == 'It prints') then
        previous.prints = open
      end
    else
      if between then between = between .. line end
      local heading = line:match('^#+%s+(.-)%s*$')
      if heading then
        local anchor = slug(heading)
        local count = seen[anchor] or 0
        seen[anchor] = count + 1
        document.anchors[count == 0 and anchor or anchor .. '-' .. count] = true
      end
      for id in line:gmatch('<a [^>]*id="([^"]+)"') do document.anchors[id] = true end
      local prose = takeSpans(line, function (text)
        document.spans[#document.spans + 1] = { line = number, text = text }
      end)
      for target in prose:gmatch('%]%(([^)%s]+)[^)]*%)') do
        document.links[#document.links + 1] = { line = number, target = target }
      end
    end
  end
  assert(not open, path .. ' has a block without an end')
  for _, block in ipairs(document.blocks) do block.prints = block.prints and block.prints.text end
  return document
end

--- Whether `output` is what `text` says, where `…` stands for anything within a line, and a line of it alone
--- for any number of lines.
function markdown.matches(text, output)
  local function lines(of)
    local list = {}
    for line in (of:gsub('%s+$', '') .. '\n'):gmatch('(.-)%s*\n') do list[#list + 1] = line end
    return list
  end
  local expected, got = lines(text), lines(output)
  local want, have, star, mark = 1, 1, nil, nil
  while have <= #got do
    local pattern = expected[want]
    if pattern and pattern:match('^%s*…$') then
      star, mark, want = want, have, want + 1
    elseif pattern and got[have]:find('^' .. pattern:gsub('%p', '%%%0'):gsub('…', '.-') .. '$') then
      want, have = want + 1, have + 1
    elseif star then
      -- One line more for the line of dots.
      mark = mark + 1
      want, have = star + 1, mark
    else
      return false
    end
  end
  while expected[want] and expected[want]:match('^%s*…$') do want = want + 1 end
  return expected[want] == nil
end

return markdown
