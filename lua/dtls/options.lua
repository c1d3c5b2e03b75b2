--- Checks camelCase options, raises at the caller's line, returns the core's snake_case table.

local address = require('dtls/address')
local core = require('dtls_core')
local interpreted = require('dtls/interpreted')
local uv = require('dtls/loop').uv

local options = {}

local function isInteger(value, least, most)
  return type(value) == 'number' and value == math.floor(value) and value >= least and value <= most
end

local function isListOfStrings(value)
  if type(value) ~= 'table' then return false end
  local count = 0
  for _, item in pairs(value) do
    if type(item) ~= 'string' then return false end
    count = count + 1
  end
  -- No holes, and no other keys.
  return count == #value
end
interpreted(isListOfStrings)

local function isTableOfStrings(value)
  if type(value) ~= 'table' then return false end
  for key, item in pairs(value) do
    if type(key) ~= 'string' or type(item) ~= 'string' then return false end
  end
  return true
end
interpreted(isTableOfStrings)

-- Half a pair would pass for a table with the identity `identity`, whose key is no secret.
local function isPsk(value)
  if type(value) == 'function' then return true end
  if not isTableOfStrings(value) or (value.identity == nil) ~= (value.key == nil) then return false end
  local names = 0
  for _ in pairs(value) do names = names + 1 end
  return value.key == nil or names == 2
end
interpreted(isPsk)

-- luv's own handle, or what holds one as Luvit's dgram sockets do.
local function isSocket(value)
  local handle = value
  if type(value) == 'table' then handle = value._handle end
  if type(handle) ~= 'userdata' then return false end
  local isHandle, kind = pcall(uv.handle_get_type, handle)
  return isHandle and kind == 'udp'
end
local keepAliveKinds = { message = 'message', interval = 'deadline', probes = 'count' }
local kinds

local function isKeepAlive(value)
  if value == false then return true end
  if type(value) ~= 'table' or value.message == nil then return false end
  for name, item in pairs(value) do
    local kind = keepAliveKinds[name]
    if not kind or not kinds[kind][1](item) then return false end
  end
  return true
end
interpreted(isKeepAlive)

-- What an option can be: a test, and the words that follow "must be".
local MOST_MS = 2 ^ 31 - 1
kinds = {
  boolean = { function (v) return type(v) == 'boolean' end, 'a boolean' },
  -- C reads a text no further than its first NUL.
  string = {
    function (v) return type(v) == 'string' and v ~= '' and not v:find('\0', 1, true) end,
    'a string that is not empty and holds no NUL',
  },
  nonEmpty = { function (v) return type(v) == 'string' and v ~= '' end, 'a string that is not empty' },
  strings = {
    function (v) return (type(v) == 'string' and v ~= '') or isListOfStrings(v) end,
    'a string or a list of strings',
  },
  ip = {
    function (v) return type(v) == 'string' and address.parse(v) ~= nil end,
    'an IP address',
  },
  port = { function (v) return isInteger(v, 0, 65535) end, 'an integer from 0 to 65535' },
  peerPort = { function (v) return isInteger(v, 1, 65535) end, 'an integer from 1 to 65535' },
  length = { function (v) return isInteger(v, 1, 65535) end, 'an integer from 1 to 65535' },
  bytes = { function (v) return isInteger(v, 0, 65535) end, 'an integer, a number of bytes' },
  count = { function (v) return isInteger(v, 1, 2 ^ 31) end, 'an integer, 1 or more' },
  days = { function (v) return isInteger(v, 1, 36500) end, 'an integer from 1 to 36500' },
  rate = {
    function (v) return isInteger(v, 0, 2 ^ 31) end,
    'an integer, a number in a second, or 0 for no limit',
  },
  deadline = {
    function (v) return isInteger(v, 1, MOST_MS) end,
    'a whole number of milliseconds, 1 or more',
  },
  duration = {
    function (v) return isInteger(v, 0, MOST_MS) end,
    'a whole number of milliseconds, or 0 for none',
  },
  patience = {
    function (v) return isInteger(v, 0, MOST_MS) end,
    'a whole number of milliseconds, or 0 for not waiting at all',
  },
  psk = {
    isPsk,
    'a table of strings, identity to key; or { identity = …, key = … } and nothing else; or a function',
  },
  ocspResponse = {
    function (v) return type(v) == 'function' or kinds.strings[1](v) end,
    'a string, a list of strings or a function',
  },
  sni = {
    function (v) return type(v) == 'function' or type(v) == 'table' end,
    'a table of contexts by host name, or a function',
  },
  keylog = {
    function (v) return type(v) == 'function' or type(v) == 'boolean' or kinds.string[1](v) end,
    'a function, the path of a file, or true for the one that SSLKEYLOGFILE names',
  },
  -- A week is the longest that TLS 1.3 has sessions live (RFC 8446 section 4.6.1).
  lifetime = {
    function (v) return isInteger(v, 0, 7 * 24 * 60 * 60) end,
    'a whole number of seconds up to a week, or 0 for none',
  },
  ticketKeys = {
    function (v) return v == false or kinds.strings[1](v) end,
    'a string, a list of strings, or false for no tickets',
  },
  sessionCache = {
    function (v)
      return type(v) == 'table' and type(v.get) == 'function' and type(v.set) == 'function'
    end,
    'a table of two functions, { get = …, set = … }',
  },
  session = {
    function (v) return type(v) == 'string' and core.is_session(v) end,
    'a session, as session:getSession returns',
  },
  pathMtu = { function (v) return isInteger(v, 256, 65507) end, 'an integer from 256 to 65507' },
  oversize = { function (v) return v == 'send' or v == 'error' end, "'send' or 'error'" },
  message = {
    function (v) return type(v) == 'function' or (type(v) == 'string' and v ~= '') end,
    'a string that is not empty, or a function',
  },
  keepAlive = {
    isKeepAlive,
    'a table { message = …, interval = …, probes = … } with a message, a string or function; or false',
  },
  hook = { function (v) return type(v) == 'function' end, 'a function' },
  bufferSize = { function (v) return isInteger(v, 1, 2 ^ 30) end, 'an integer, a number of bytes' },
  ttl = { function (v) return isInteger(v, 1, 255) end, 'an integer from 1 to 255' },
  -- As many as libuv takes at once.
  batch = { function (v) return isInteger(v, 1, 20) end, 'an integer from 1 to 20' },
  socket = { isSocket, "a UDP handle of luv, or a dgram socket of Luvit" },
  text = { function (v) return type(v) == 'string' end, 'a string' },
  context = {
    function (v) return type(v) == 'table' and type(v.core) == 'userdata' end,
    'a context, as dtls.createContext makes',
  },
}

-- What a context is made of: the options that `context = …` stands for.
local contextOptions = {
  cert = 'strings',
  key = 'strings',
  passphrase = 'nonEmpty',
  ca = 'strings',
  crl = 'strings',
  fingerprints = 'strings',
  rawPublicKeys = 'strings',
  ocspResponse = 'ocspResponse',
  requestOCSP = 'boolean',
  requireOCSP = 'boolean',
  requestCert = 'boolean',
  rejectUnauthorized = 'boolean',
  verify = 'hook',
  psk = 'psk',
  pskIdentityHint = 'nonEmpty',
  hideUnknownIdentity = 'boolean',
  profile = 'string',
  minVersion = 'string',
  maxVersion = 'string',
  ciphers = 'string',
  groups = 'string',
  sigalgs = 'string',
  ALPNProtocols = 'strings',
  srtpProfiles = 'strings',
  exportWithoutEMS = 'boolean',
  mtu = 'bytes',
  maxFragmentLength = 'bytes',
  retransmitTimeout = 'deadline',
  keylog = 'keylog',
  sessionTimeout = 'lifetime',
  sessionCache = 'sessionCache',
}

-- Which of them may be one string for a list of one.
local lists = { strings = true, ocspResponse = true }

local function with(base, more)
  local all = {}
  for name, kind in pairs(base) do all[name] = kind end
  for name, kind in pairs(more) do all[name] = kind end
  return all
end

local sessionOptions = {
  context = 'context', handshakeTimeout = 'deadline', idleTimeout = 'duration', trace = 'hook',
  linger = 'duration', oversize = 'oversize', keepAlive = 'keepAlive',
}

-- What the socket under an endpoint, or under a client alone, is to be.
local socketOptions = {
  socket = 'socket', recvBufferSize = 'bufferSize', sendBufferSize = 'bufferSize', ttl = 'ttl',
  recvBatch = 'batch', sendQueueSize = 'bufferSize',
}

-- What a server can be told at any time.
local limitOptions = {
  maxSessions = 'count', maxSessionsPerHost = 'count', maxHandshakes = 'count', maxHandshakeRate = 'rate',
}

--- The options of each function: name to kind.
options.setLimits = limitOptions
options.createContext = contextOptions
options.createEndpoint = with(with(contextOptions, with(sessionOptions, with(socketOptions, limitOptions))), {
  reusePort = 'boolean',
  perPeerSocket = 'boolean',
  ipv6Only = 'boolean',
  accept = 'hook',
  cookieSecret = 'strings',
  generateCookie = 'hook',
  verifyCookie = 'hook',
  roaming = 'boolean',
  ticketKeys = 'ticketKeys',
  sni = 'sni',
})
local peerOptions = { host = 'string', port = 'peerPort', servername = 'string', session = 'session' }
options.connect = with(with(contextOptions, with(sessionOptions, socketOptions)), with(peerOptions, {
  localAddress = 'ip',
  localPort = 'port',
}))
options.endpointConnect = with(sessionOptions, peerOptions)
options.generateCertificate = { names = 'strings', days = 'days' }

-- The core's spelling of an option: `ALPNProtocols` is `alpn_protocols`.
local function snake(name)
  return name:gsub('(%l)(%u)', '%1_%2'):gsub('(%u)(%u%l)', '%1_%2'):lower()
end

-- And back.
local spelling = {}
for _, kindsOf in pairs(options) do
  for name in pairs(kindsOf) do spelling[snake(name)] = name end
end

--- A list of one string for that string; anything else as it is.
function options.asList(value)
  return type(value) == 'string' and { value } or value
end

--- Whether it is a list of nothing but strings.
options.isListOfStrings = isListOfStrings

local home = debug.getinfo(1, 'S').source:match('^.*[/\\]') or ''

-- Whether a frame is this library's own. Plain Lua has frames for the calls that a tail call replaced.
local function isOurs(frame)
  return frame.what == 'tail' or (home ~= '' and frame.source:sub(1, #home) == home)
end

--- Raises misuse where the user's own code called into this library.
function options.raise(format, ...)
  local level = 2
  local frame = debug.getinfo(level, 'S')
  while frame and isOurs(frame) do
    level = level + 1
    frame = debug.getinfo(level, 'S')
  end
  error(format:format(...), level)
end

-- Never a string's text: it may be a key.
local function describe(value)
  if value == '' then return 'an empty string' end
  return type(value) == 'number' and tostring(value) or type(value)
end

--- Checks a value against a kind.
function options.checkValue(caller, name, kind, value)
  local test, words = kinds[kind][1], kinds[kind][2]
  if not test(value) then
    options.raise('%s: %s must be %s, got %s', caller, name, words, describe(value))
  end
end

-- The option that differs from `name` in its capitals alone.
local function otherwiseSpelt(kindsOf, name)
  local plain = tostring(name):lower()
  for known in pairs(kindsOf) do
    if known:lower() == plain then return known end
  end
end
interpreted(otherwiseSpelt)

--- Checks `given` against a table of kinds and raises in the name of `caller`.
function options.check(caller, kindsOf, given)
  if type(given) ~= 'table' then
    options.raise('%s: options must be a table, got %s', caller, type(given))
  end
  for name, value in pairs(given) do
    local kind = kindsOf[name]
    if not kind then
      local meant = otherwiseSpelt(kindsOf, name)
      local hint = meant and (': it is spelt "%s"'):format(meant) or ''
      options.raise('%s: unknown option %q%s', caller, tostring(name), hint)
    end
    options.checkValue(caller, 'options.' .. name, kind, value)
    if given.context and contextOptions[name] then
      options.raise('%s: options.%s belongs to the context: give it to dtls.createContext', caller, name)
    end
  end
end
interpreted(options.check)

--- Checks an optional callback.
function options.checkCallback(caller, callback)
  if callback ~= nil and type(callback) ~= 'function' then
    options.raise('%s: the callback must be a function, got %s', caller, type(callback))
  end
end

--- The core's table of what `given` says about a context, and the functions among it, which stay
--- here: the core hears only that there is something to ask.
--- @return dtls_core.Config, table<string, function>
function options.forCore(given)
  local out, hooks = {}, {}
  for name, kind in pairs(contextOptions) do
    local value = given[name]
    if lists[kind] then value = options.asList(value) end
    local asks = type(value) == 'function' or (value and kind == 'sessionCache')
    if asks then hooks[name], value = value, true end
    out[snake(name)] = value
  end
  return out, hooks
end
interpreted(options.forCore)

--- An option's name as users write it, from the core's.
function options.publicName(option)
  return spelling[option] or option
end

--- Raises what the core refused: `option` in its own spelling, and a sentence.
function options.refuse(caller, option, sentence)
  options.raise('%s: options.%s %s', caller, options.publicName(option), sentence)
end

return options
