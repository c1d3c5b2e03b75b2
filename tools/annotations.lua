--- Reads the annotations of lua/dtls: what is public, in words and types. apidoc.lua makes a page of it.

local annotations = {}

--- What has a name: a module, a class, an alias or a function.
--- @class apidoc.Entry
--- @field name string `dtls.connect`, `dtls.Session`, `dtls.Session:send`
--- @field kind 'module'|'class'|'alias'|'function'
--- @field prose string[] lines
--- @field fields apidoc.Field[] of modules and classes
--- @field members apidoc.Entry[] their functions
--- @field path string of the file
--- @field parent? string of a class
--- @field type? string of an alias
--- @field params? apidoc.Field[] of a function
--- @field overloads? apidoc.Field[][] other parameters that it takes
--- @field returns? string its type
--- @field returnWords? string

--- @class apidoc.Field
--- @field name string
--- @field type string
--- @field words string
--- @field optional boolean
--- @field default? string

local where

--- Ends with a sentence about what is being read or written.
function annotations.fail(format, ...) error(where .. ' ' .. format:format(...), 0) end
local fail = annotations.fail

--- Says what that is.
function annotations.at(place) where = place end

-- Splits `type words`. A type ends at a space that is in no bracket, and behind no `:`, `,` or `|`.
local function splitType(text)
  local depth = 0
  for index = 1, #text do
    local char = text:sub(index, index)
    if char:find('[%(%[{<]') then depth = depth + 1 end
    if char:find('[%)%]}>]') then depth = depth - 1 end
    if char == ' ' and depth == 0 and not text:sub(index - 1, index - 1):find('[:,|]') then
      return text:sub(1, index - 1), text:sub(index + 1)
    end
  end
  return text, ''
end

-- `name? type words (default: value)`
local function field(text)
  local name, optional, rest = text:match('^([^%s?]+)(%??)%s+(.*)$')
  local typed, words = splitType(rest)
  return {
    name = name, type = typed, optional = optional == '?', default = words:match('%(default: ([^)]*)%)'),
    words = words:gsub('%s?%(default: [^)]*%)', ''):gsub('^%s+', ''),
  }
end

-- Takes a comment apart: its prose, and its tags with the lines that continue them.
local function parse(block)
  local prose, tags = {}, {}
  for _, line in ipairs(block) do
    local tag, rest = line:match('^@(%l+)%s*(.*)$')
    if tag then
      tags[#tags + 1] = { tag = tag, text = rest }
      tags.private = tags.private or tag == 'private'
    elseif tags[1] then
      tags[#tags].text = tags[#tags].text .. ' ' .. line:match('^%s*(.-)%s*$')
    elseif line ~= '' or prose[1] then
      prose[#prose + 1] = line
    end
  end
  if prose[#prose] == '' then prose[#prose] = nil end
  return prose, tags
end

-- The parameters of a type `fun(self: X, a: string, b?: fun(c: integer))`.
local function overload(text)
  local params = {}
  for name, optional in text:match('^fun(%b())'):gsub('fun%b()', ''):gmatch('([%w_]+)(%??):') do
    if name ~= 'self' then params[#params + 1] = { name = name, optional = optional == '?' } end
  end
  return params
end

local entries

local function entry(name, kind, prose)
  -- So far it is the path of the file that is being read.
  entries[name] = { name = name, kind = kind, prose = prose, path = where, fields = {}, members = {} }
  return entries[name]
end

-- Enters a function. The annotations must be of its parameters, in their order.
local function enter(owner, found)
  local made = entry(owner.name .. found.mark .. found.name, 'function', found.prose)
  made.params, made.overloads = {}, {}
  annotations.at(made.name)
  local names = {}
  for _, each in ipairs(found.tags) do
    if each.tag == 'param' then
      made.params[#made.params + 1] = field(each.text)
      names[#names + 1] = made.params[#made.params].name
    elseif each.tag == 'return' then
      made.returns, made.returnWords = splitType(each.text)
    elseif each.tag == 'overload' then
      made.overloads[#made.overloads + 1] = overload(each.text)
    else
      fail('has an annotation that is not known here, @%s', each.tag)
    end
  end
  names = table.concat(names, ', ')
  if found.parameters and found.parameters ~= names then
    fail('has the parameters (%s), and annotations of (%s)', found.parameters, names)
  end
  if not made.prose[1] then fail('has no comment') end
  table.insert(owner.members, made)
end

-- Enters the classes and aliases of a comment; returns the class.
local function enterTypes(prose, tags)
  local class
  for _, each in ipairs(tags) do
    if each.tag == 'class' then
      local name, parent = each.text:match('^([^:]+):?%s*(.-)$')
      -- A private one gets its fields, and is not entered.
      class = name:find('^%(private%)') and { fields = {} } or entry(name, 'class', prose)
      class.parent = parent:match('^dtls%.[%w, .]+')
    elseif each.tag == 'alias' then
      local name, text = each.text:match('^(%S+)%s+(.*)$')
      entry(name, 'alias', prose).type = text
    elseif each.tag == 'field' and class and not each.text:find('^private ') then
      table.insert(class.fields, field(each.text))
    end
  end
  return class
end

-- Reads a file, adds its functions to a list, and returns its first comment.
local function read(path, functions)
  local block, head, inside = {}, nil, nil
  -- What variables stand for.
  local named = { dtls = 'dtls', coro = 'coro', metrics = 'metrics' }
  local file = assert(io.open(path))
  local text = file:read('*a')
  file:close()
  for line in (text .. '\n'):gmatch('(.-)\n') do
    annotations.at(path)
    local comment = line:match('^%s*%-%-%- ?(.*)$')
    if comment then
      block[#block + 1] = comment
    else
      local prose, tags = parse(block)
      head = head or (block[1] and prose)
      local class = enterTypes(prose, tags)
      local variable, opened = line:match('^local (%w+) = (.*)$')
      if class and variable then named[variable] = class.name or '' end
      if opened == '{' then inside = entries[named[variable]] elseif line == '}' then inside = nil end
      local key = line:match('^  ([%w_]+) = ')
      if inside and key and prose[1] then
        table.insert(inside.fields, {
          name = key, type = tags[1] and tags[1].text or 'integer', words = table.concat(prose, ' '),
        })
      end
      local owner, mark, name, parameters = line:match('^function (%w+)([:.])(%a%w*)%((.-)%)')
      if not owner and tags[1] then owner, mark, name = line:match('^(%w+)(%.)(%w+) = ') end
      if owner and not tags.private then
        functions[#functions + 1] = {
          owner = named[owner] or 'dtls.' .. owner, mark = mark, name = name, parameters = parameters,
          prose = prose, tags = tags, path = path,
        }
      end
      block = {}
    end
  end
  return head
end

--- Reads all files.
--- @return table<string, apidoc.Entry> by name
--- @return table<string, string[]> heads the first comments of files, by path
function annotations.read()
  local heads, functions = {}, {}
  entries = {}
  entry('dtls', 'module', {})
  entry('coro', 'module', {})
  entry('metrics', 'module', {})
  local list = io.popen('LC_ALL=C ls lua/dtls/*.lua')
  for path in list:lines() do heads[path] = read(path, functions) end
  list:close()
  -- What other files add to a class comes behind what its own has.
  for _, own in ipairs({ true, false }) do
    for _, each in ipairs(functions) do
      local owner = entries[each.owner]
      if owner and (owner.path == each.path or owner.kind == 'module') == own then enter(owner, each) end
    end
  end
  return entries, heads
end

return annotations
