--- Makes doc/api.md of the annotations in lua/dtls: `luajit tools/apidoc.lua`. With `--check` it compares
--- instead, and says which line differs. What is public and has no words, or no place on the page, ends it
--- with a sentence, as does a type that does not exist.

package.path = 'tools/?.lua;' .. package.path

local annotations = require('annotations')

local PATH = 'doc/api.md'

-- What users read first is first. A heading, then what is below it; a heading that is a class has what the
-- class has below it.
local PAGE = {
  { 'dtls', 'dtls.createServer', 'dtls.connect', 'dtls.createEndpoint', 'dtls.createContext',
    'dtls.generateCertificate', 'dtls.trace' },
  { 'dtls.Server' }, { 'dtls.Endpoint' }, { 'dtls.Session' },
  { 'Options', 'dtls.EndpointOptions', 'dtls.ConnectOptions', 'dtls.SessionOptions', 'dtls.ContextOptions',
    'dtls.PeerOptions', 'dtls.PskPair', 'dtls.KeepAlive', 'dtls.SessionCache', 'dtls.CookiePeer' },
  { 'Hooks', 'dtls.VerifyHook', 'dtls.PskHook', 'dtls.SniHook', 'dtls.OcspHook', 'dtls.TraceHook' },
  { 'coro', 'coro.connect', 'coro.listen', 'dtls.CoroConnectOptions', 'dtls.CoroListenOptions' },
  { 'dtls.CoroSession' }, { 'dtls.CoroServer' },
  { 'metrics', 'metrics.exposition' },
  { 'Results', 'dtls.fail', 'dtls.Context', 'dtls.Certificate', 'dtls.Presented', 'dtls.StatusRequest',
    'dtls.SrtpKeys', 'dtls.EndpointStats', 'dtls.SessionStats', 'dtls.TraceEvent', 'dtls.TraceRecord',
    'dtls.TraceMessage', 'dtls.TraceAlert' },
  { 'dtls.Emitter' },
}

-- What headings that are no classes say.
local WORDS = {
  Options = {
    'Each is a field of the table that the call takes. One that is not known raises an error, and so does',
    'one that cannot be what it is.',
  },
  Hooks = {
    'Functions among the options, each called as `hook(about, session, done)`. A hook answers by what it',
    'returns, at once or after it has yielded; or by `done(answer)` later, if it names that parameter and',
    'returns nothing. One that throws fails its handshake, and nothing else, with EHOOK:',
    '`doc/handshake.md#hooks`.',
  },
  Results = { 'What calls return and hooks are told.' },
}

-- Above all.
local INTRODUCTION = [[
<!-- Made by `make api` of the annotations in lua/dtls. -->

# The API

All that is public, with its types. The [README](../README.md) begins with an example.

%s
These are the annotations of the installed files (LuaCATS). For lua-language-server to show them while you
type, name their directory in the `.luarc.json` of your project, and luv's, which it has itself:

```json
{
  "runtime.version": "LuaJIT",
  "workspace.library": ["lua_modules/share/lua/5.1", "${3rd}/luv/library"]
}
```
]]

local entries, heads
local fail = annotations.fail
local out = {}

local function put(format, ...) out[#out + 1] = format:format(...) end

-- `dtls.Session:send` is dtls-session-send for links, which no other heading is.
local function anchor(name) return (name:gsub('%W+', '-'):lower()) end

-- And `session:send` for readers.
local function shown(name)
  return (name:gsub('^dtls%.(%u%w*):', function (class) return class:gsub('^Coro', ''):lower() .. ':' end))
end

-- The modules beside `dtls` are named as they are required.
local function titled(name) return (name:gsub('^coro$', 'dtls/coro'):gsub('^metrics$', 'dtls/metrics')) end

local function linked(text, name) return ('[`%s`](#%s)'):format(text, anchor(name)) end

-- Of a table's cell.
local function cell(text) return (text:gsub('|', '\\|')) end

-- A type as code, with links to what it names. `T|nil, string?, string?` is T or a failure.
local function typeOf(text)
  local typed = ('`' .. text .. '`'):gsub('|nil, string%?, string%?`$', '|dtls.fail`')
    :gsub('%?, string%?, string%?`$', '|nil|dtls.fail`'):gsub('|', ' | ')
    :gsub('dtls%.%w+', function (name)
      if not entries[name] then fail('names %s, which does not exist', name) end
      return '`' .. linked(name == 'dtls.fail' and 'fail' or name, name) .. '`'
    end)
  return (typed:gsub('``', ''))
end

-- The function that code in the text of `of` is about: `session:send`, `maxPayload()`.
local function functionOf(code, of)
  local receiver, name = code:match('^(%l+)[:.](%w+)$')
  if not name then receiver, name = (of or ''):match('^dtls%.(%u%w*)'), code:match('^(%w+)%(.*%)$') end
  if not (receiver and name) then return end
  -- An endpoint is made with all that a server has.
  receiver = receiver:gsub('^Coro', ''):gsub('^%l', string.upper):gsub('^Endpoint$', 'Server')
  for _, before in ipairs({ (of or ''):find('[cC]oro') and 'dtls.Coro' or 'dtls.', 'dtls.' }) do
    local class = entries[before .. receiver]
    while class do
      if entries[class.name .. ':' .. name] then return class.name .. ':' .. name end
      class = entries[class.parent]
    end
  end
end

-- Prose with links, to other pages and to what is on this one.
local function link(text, of)
  return (text:gsub('`([^`]+)`', function (code)
    local page, heading = code:match('^doc/(%w+%.md)(#?[%w-]*)$')
    if page then return ('[doc/%s](%s%s)'):format(page, page, heading) end
    local name = functionOf(code:gsub('%b()$', '()'):gsub('^([^()]+:[^()]+)%(%)$', '%1'), of)
    name = name or entries[code:match('^[^(]+')] and code:match('^[^(]+')
    if name and name ~= of and name ~= 'dtls' then return linked(code, name) end
  end))
end

local function putProse(lines, of)
  local fenced = false
  for _, line in ipairs(lines) do
    if line:find('^```') then fenced = not fenced end
    -- An event.
    local name, arguments, rest = line:match("^%- `'(%w+)'` `(%(.-%))` (.*)$")
    if name then
      put("- <a id=\"%s-event-%s\"></a>`'%s'` %s %s", anchor(of), name:lower(), name,
        typeOf(arguments), link(rest, of))
    else
      put('%s', fenced and line or link(line, of))
    end
  end
  put('')
end

-- `(a[, b[, c]])`
local function parameterList(params)
  local list, closing = '', ''
  for index, each in ipairs(params) do
    local comma = index > 1 and ', ' or ''
    list = list .. (each.optional and '[' .. comma or comma) .. each.name
    closing = closing .. (each.optional and ']' or '')
  end
  return '(' .. list .. closing .. ')'
end

local function putFunction(made)
  annotations.at(made.name)
  for _, each in ipairs(made.params) do
    -- In the code a module has that name.
    if each.name == 'given' then each.name = 'options' end
  end
  put('<a id="%s"></a>\n', anchor(made.name))
  put('### `%s%s`%s\n', shown(made.name), parameterList(made.params),
    made.returns and ' → ' .. typeOf(made.returns) or '')
  for _, params in ipairs(made.overloads) do put('Or `%s%s`.\n', shown(made.name), parameterList(params)) end
  putProse(made.prose, made.name)
  for _, each in ipairs(made.params) do
    put('- `%s` (%s%s)%s', each.name, typeOf(each.type), each.optional and ', optional' or '',
      each.words ~= '' and ': ' .. link(each.words, made.name) or '')
  end
  if made.params[1] then put('') end
  if (made.returnWords or '') ~= '' then put('Returns %s.\n', link(made.returnWords, made.name)) end
end

-- A table of what it has, with a column for defaults where there are any.
local function putFields(of)
  local isOptions = of.name:find('Options$') ~= nil
  for _, each in ipairs(of.fields) do isOptions = isOptions or each.default ~= nil end
  put(isOptions and '| option | type | default | |\n|---|---|---|---|' or '| field | type | |\n|---|---|---|')
  for _, each in ipairs(of.fields) do
    annotations.at(of.name .. '.' .. each.name)
    if each.words == '' then fail('has no words') end
    local typed = cell(typeOf(each.type .. (each.optional and not isOptions and '|nil' or '')))
    if isOptions then
      typed = typed .. ' | ' .. cell(link(each.default or each.optional and '' or '*required*'))
    end
    put('| `%s` | %s | %s |', each.name, typed, cell(link(each.words, of.name)))
  end
  put('')
end

local function putType(class, level)
  annotations.at(class.name)
  if not class.prose[1] then fail('has no comment') end
  put('<a id="%s"></a>\n', anchor(class.name))
  put('%s %s\n', level, class.name)
  if class.type then put('%s\n', typeOf(class.type)) end
  putProse(class.prose, class.name)
  local parents, names = {}, {}
  for name in (class.parent or ''):gmatch('dtls%.%w+') do
    parents[#parents + 1] = typeOf(name)
    for _, each in ipairs(entries[name].members) do
      names[#names + 1] = linked(each.name:match('%w+$'), each.name)
    end
  end
  if parents[1] then
    put('It has all of %s%s%s.\n', table.concat(parents, ' and '), names[1] and ': ' or '',
      table.concat(names, ', '))
  end
  if class.fields[1] then putFields(class) end
  for _, each in ipairs(class.members) do putFunction(each) end
end

local function putGroup(group)
  local head = entries[group[1]]
  if head and head.kind == 'class' then return putType(head, '##') end
  put('<a id="%s"></a>\n', anchor(group[1]))
  put('## %s\n', titled(group[1]))
  putProse(WORDS[group[1]] or heads['lua/dtls/' .. group[1]:gsub('^dtls$', 'init') .. '.lua'], group[1])
  if head and head.fields[1] then putFields(head) end
  for index = 2, #group do
    local each = entries[group[index]]
    if each.kind == 'function' then putFunction(each) else putType(each, '###') end
  end
end

-- The headings, and what is below each.
local function contents()
  local list = {}
  for _, group in ipairs(PAGE) do
    local names = { unpack(group, 2) }
    if not names[1] then
      for index, each in ipairs(entries[group[1]].members) do names[index] = each.name end
    end
    for index, name in ipairs(names) do names[index] = linked(shown(name):match('[^.:]+$'), name) end
    list[#list + 1] = ('- [%s](#%s): %s\n'):format(titled(group[1]), anchor(group[1]),
      table.concat(names, ', '))
  end
  return table.concat(list)
end

-- Everything has its place, and every place has something.
local function checkPlaces()
  local placed = {}
  for _, group in ipairs(PAGE) do
    for index, name in ipairs(group) do
      annotations.at('tools/apidoc.lua:')
      if not entries[name] and not (index == 1 and WORDS[name]) then fail('there is no %s any more', name) end
      placed[name] = true
      if index == 1 and entries[name] and entries[name].kind == 'class' then
        for _, each in ipairs(entries[name].members) do placed[each.name] = true end
      end
    end
  end
  for name in pairs(entries) do
    annotations.at(name)
    if not placed[name] then fail('has no place in tools/apidoc.lua') end
  end
end

local function compare(made)
  local file = io.open(PATH)
  local number, there = 0, file and file:read('*a') or ''
  if there == made then return end
  local lines = there:gmatch('([^\n]*)\n')
  for line in made:gmatch('([^\n]*)\n') do
    number = number + 1
    local old = lines()
    if old ~= line then
      error(('%s:%d is not what the annotations say: run `make api`.\n- %s\n+ %s'):format(PATH, number,
        old or '(its end)', line), 0)
    end
  end
  error(('%s:%d is more than the annotations say: run `make api`.'):format(PATH, number + 1), 0)
end

local ok, err = pcall(function ()
  entries, heads = annotations.read()
  checkPlaces()
  put(link(INTRODUCTION), contents())
  for _, group in ipairs(PAGE) do putGroup(group) end
  local made = table.concat(out, '\n'):gsub('\n\n\n+', '\n\n'):gsub('%s*$', '\n')
  if arg[1] == '--check' then return compare(made) end
  local file = assert(io.open(PATH, 'w'))
  file:write(made)
  file:close()
end)
if not ok then
  io.stderr:write(err, '\n')
  os.exit(1)
end
