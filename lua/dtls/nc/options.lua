--- The command line, as a table.

local misuse = require('dtls/nc/misuse')

local options = {}

--- What was asked for.
--- @class (private) dtls.nc.Given
--- @field host string?
--- @field port integer
--- @field listen boolean?
--- @field psk string[]? `ID:HEX`, as they were given
--- @field fingerprint string[]?
--- @field verbose integer how many `-v` there are
--- @field timeout integer? -w, in milliseconds
--- @field linger number -q, in milliseconds; -1 for ever

-- The field that an option fills, and what it takes: a flag nothing, a list may be given several times.
local known = {}

local function option(field, kind, ...)
  for _, name in ipairs({ ... }) do known[name] = { field = field, kind = kind } end
end

option('listen', 'flag', '-l', '--listen')
option('cert', 'text', '-c', '--cert')
option('key', 'text', '-k', '--key')
option('ca', 'list', '-C', '--ca')
option('psk', 'list', '--psk')
option('insecure', 'flag', '--insecure')
option('fingerprint', 'list', '--fingerprint')
option('servername', 'text', '--servername')
option('alpn', 'text', '--alpn')
option('ciphers', 'text', '--ciphers')
option('mtu', 'mtu', '--mtu')
option('keylog', 'text', '--keylog')
option('resume', 'text', '--resume')
option('echo', 'flag', '--echo')
option('exec', 'text', '--exec')
option('sourcePort', 'port', '--source-port')
option('ipv4', 'flag', '-4')
option('ipv6', 'flag', '-6')
option('timeout', 'seconds', '-w', '--timeout')
option('linger', 'patience', '-q')
option('datagram', 'flag', '--datagram')
option('verbose', 'count', '-v', '--verbose')
option('stats', 'flag', '--stats')
option('help', 'flag', '-h', '--help')
option('version', 'flag', '--version')

local function takesValue(kind)
  return kind ~= 'flag' and kind ~= 'count'
end

local function number(text)
  -- Not what else `tonumber` takes: `0x1f`, `1e3`, `nan`.
  return text:match('^%-?%d+%.?%d*$') and tonumber(text)
end

-- libuv's timers take more; nobody has that patience.
local MOST_SECONDS = 10 ^ 6

local function port(name, text, least)
  local value = text:match('^%d+$') and tonumber(text)
  if not value or value < least or value > 65535 then
    misuse.raise('%s must be a number from %d to 65535, got %q', name, least, text)
  end
  return value
end

local read = {}

function read.text(name, text)
  if text == '' then misuse.raise('%s must not be empty', name) end
  return text
end
read.list = read.text

function read.mtu(name, text)
  local value = text:match('^%d+$') and tonumber(text)
  if not value or value < 256 or value > 4096 then
    misuse.raise('%s must be a number of bytes from 256 to 4096, got %q', name, text)
  end
  return value
end

function read.port(name, text) return port(name, text, 1) end

function read.seconds(name, text)
  local value = number(text)
  if not value or value < 0.001 or value > MOST_SECONDS then
    misuse.raise('%s must be a number of seconds, more than 0, got %q', name, text)
  end
  return math.floor(value * 1000)
end

function read.patience(name, text)
  local value = number(text)
  if not value or value > MOST_SECONDS then
    misuse.raise('%s must be a number of seconds, or -1 for no end, got %q', name, text)
  end
  return value < 0 and -1 or math.floor(value * 1000)
end

local function enter(given, name, text)
  local field, kind = known[name].field, known[name].kind
  if kind == 'count' then
    given[field] = given[field] + 1
  elseif kind == 'flag' then
    given[field] = true
  elseif kind == 'list' then
    local list = given[field] or {}
    list[#list + 1] = read.list(name, text)
    given[field] = list
  elseif given[field] ~= nil then
    misuse.raise('%s is given twice', name)
  else
    given[field] = read[kind](name, text)
  end
end

-- `--name VALUE`, `--name=VALUE`. Returns how many arguments that was.
local function enterLong(given, argument, following)
  local name, value = argument:match('^(%-%-[^=]*)=(.*)$')
  name = name or argument
  local of = known[name]
  if not of then misuse.raise('there is no option %s: see --help', name) end
  if not takesValue(of.kind) then
    if value then misuse.raise('%s takes no value', name) end
    enter(given, name)
    return 1
  end
  if not (value or following) then misuse.raise('%s needs a value', name) end
  enter(given, name, value or following)
  return value and 1 or 2
end

-- `-v`, `-lv`, `-w 5`, `-w5`. Returns how many arguments that was.
local function enterShort(given, argument, following)
  for index = 2, #argument do
    local name = '-' .. argument:sub(index, index)
    local of = known[name]
    if not of then misuse.raise('there is no option %s: see --help', name) end
    if takesValue(of.kind) then
      local value = index < #argument and argument:sub(index + 1) or following
      if not value then misuse.raise('%s needs a value', name) end
      enter(given, name, value)
      return index < #argument and 1 or 2
    end
    enter(given, name)
  end
  return 1
end

-- HOST and PORT.
local function place(given, words)
  if #words > 2 then misuse.raise('there is one word too many: %q', words[3]) end
  if given.listen and #words == 1 then
    given.port = port('PORT', words[1], 0)
  elseif #words < 2 then
    misuse.raise(given.listen and 'PORT is missing: dtls-nc -l [HOST] PORT' or
      #words == 1 and 'PORT is missing: dtls-nc HOST PORT, or dtls-nc -l PORT to listen' or
      'HOST and PORT are missing: see --help')
  else
    -- An IPv6 address may be in brackets, as it is where a port follows.
    given.host = read.text('HOST', words[1]:match('^%[([^%]]+)%]$') or words[1])
    given.port = port('PORT', words[2], given.listen and 0 or 1)
  end
end

--- Reads the command line. Raises misuse.
--- @param arguments string[]
--- @return dtls.nc.Given
function options.parse(arguments)
  local given, words, index = { verbose = 0 }, {}, 1
  while index <= #arguments do
    local argument, following = arguments[index], arguments[index + 1]
    if argument == '--' then
      for rest = index + 1, #arguments do words[#words + 1] = arguments[rest] end
      break
    elseif argument:sub(1, 2) == '--' then
      index = index + enterLong(given, argument, following)
    elseif argument:sub(1, 1) == '-' and #argument > 1 then
      index = index + enterShort(given, argument, following)
    else
      words[#words + 1] = argument
      index = index + 1
    end
  end
  if not (given.help or given.version) then place(given, words) end
  given.linger = given.linger or 1000
  return given
end

return options
