--- What the command line means to the library: files are read, keys turned into bytes, contradictions found.

local dtls = require('dtls')
local address = require('dtls/address')
local misuse = require('dtls/nc/misuse')
local session = require('dtls/nc/resume')

local settings = {}

-- As much as the system allows: what arrives while this program is not looking waits there.
local BUFFER_BYTES = 4 * 1024 * 1024

-- Options that only one of the two ends has.
local OF_CLIENTS = {
  { 'resume', '--resume' }, { 'servername', '--servername' }, { 'sourcePort', '--source-port' },
}
local OF_SERVERS = { { 'echo', '--echo' } }

local function read(name, path)
  local file, err = io.open(path, 'rb')
  if not file then misuse.raise('%s cannot be read: %s', name, err) end
  local text, why = file:read('*a')
  file:close()
  -- A directory can be opened.
  if not text then misuse.raise('%s cannot be read: %s: %s', name, path, why or 'it is no file') end
  return text
end

local function bytesOf(name, hex)
  local digits = hex:gsub('%s', '')
  if digits == '' or #digits % 2 == 1 or digits:find('%X') then
    misuse.raise('the key of %s must be an even number of hexadecimal digits', name)
  end
  return (digits:gsub('%x%x', function (pair) return string.char(tonumber(pair, 16)) end))
end

-- `ID:HEX`, `ID:@FILE`; the identity may hold colons.
local function pskOf(text)
  local identity, hex = text:match('^(.+):(@.+)$')
  if not identity then identity, hex = text:match('^(.+):([^:]*)$') end
  -- Not the text itself, which may be the key.
  if not identity then misuse.raise('--psk must be ID:HEX, an identity and a key') end
  local path = hex:match('^@(.+)$')
  return identity, bytesOf('--psk', path and read('--psk', path) or hex)
end

local function pskTable(given)
  local keys = {}
  for _, text in ipairs(given.psk) do
    local identity, key = pskOf(text)
    keys[identity] = key
  end
  return keys
end

local function checkEnd(given, foreign, whose)
  for _, each in ipairs(foreign) do
    local field, name = unpack(each)
    if given[field] then misuse.raise('%s is for %s alone', name, whose) end
  end
end

local function checkPair(given, one, oneName, other, otherName)
  if given[one] and given[other] then misuse.raise('%s and %s contradict each other', oneName, otherName) end
end

local function checkFamily(given)
  checkPair(given, 'ipv4', '-4', 'ipv6', '-6')
  local ip = given.host and address.parse(given.host)
  if not ip then return end
  local family = address.family(ip)
  if given.ipv4 and family == 'inet6' then misuse.raise('-4 excludes %s, an IPv6 address', ip) end
  if given.ipv6 and family == 'inet' then misuse.raise('-6 excludes %s, an IPv4 address', ip) end
end

-- What both ends may have.
local function common(given)
  checkFamily(given)
  checkPair(given, 'insecure', '--insecure', 'fingerprint', '--fingerprint')
  if given.key and not given.cert then misuse.raise('-k needs its certificate: -c FILE') end
  local made = { recvBufferSize = BUFFER_BYTES, sendBufferSize = BUFFER_BYTES, ciphers = given.ciphers,
    mtu = given.mtu, keylog = given.keylog, fingerprints = given.fingerprint }
  if given.cert then
    made.cert = read('-c', given.cert)
    made.key = given.key and read('-k', given.key) or made.cert
    if not given.key and not made.cert:find('PRIVATE KEY', 1, true) then
      misuse.raise('-c %s holds no private key: give -k FILE as well', given.cert)
    end
  end
  if given.ca then
    made.ca = {}
    for index, path in ipairs(given.ca) do made.ca[index] = read('-C', path) end
  end
  if given.alpn then
    made.ALPNProtocols = {}
    for protocol in (given.alpn .. ','):gmatch('([^,]*),') do
      if protocol == '' then misuse.raise('--alpn must be names with commas between them') end
      made.ALPNProtocols[#made.ALPNProtocols + 1] = protocol
    end
  end
  return made
end

--- The options of `dtls.connect`, but for the address.
--- @param given dtls.nc.Given
--- @return dtls.ConnectOptions
function settings.client(given)
  checkEnd(given, OF_SERVERS, 'servers (-l)')
  checkPair(given, 'insecure', '--insecure', 'ca', '-C')
  local made = common(given)
  if given.psk then
    if given.psk[2] then misuse.raise('a client has one --psk') end
    local identity, key = pskOf(given.psk[1])
    made.psk = { identity = identity, key = key }
  end
  made.rejectUnauthorized = not given.insecure
  made.port, made.localPort = given.port, given.sourcePort
  made.servername = given.servername or given.host
  made.handshakeTimeout = given.timeout
  made.session = given.resume and session.read(given.resume)
  return made
end

--- The options of `dtls.createServer`, and the fingerprint of the certificate, if one was made for it.
--- @param given dtls.nc.Given
--- @return dtls.EndpointOptions, string?
function settings.server(given)
  checkEnd(given, OF_CLIENTS, 'clients')
  checkPair(given, 'echo', '--echo', 'exec', '--exec')
  local asks = given.ca or given.fingerprint
  if given.insecure and not asks then
    misuse.raise('--insecure means nothing to a server that asks for no certificates: see -C')
  end
  local made = common(given)
  made.psk = given.psk and pskTable(given)
  made.requestCert = asks ~= nil
  made.rejectUnauthorized = not given.insecure
  made.ipv6Only = given.ipv6 or nil
  -- A peer that listens says nothing: who is too quiet is for -w to say.
  made.idleTimeout = 0
  if given.cert or given.psk then return made end
  -- Not every text that stands for an address is a name: `fe80::1%eth0`.
  local names = { 'localhost', given.host and not given.host:find('[^%w.:-]') and given.host or nil }
  local identity = dtls.generateCertificate({ names = names })
  made.cert, made.key = identity.cert, identity.key
  return made, identity.fingerprint256
end

return settings
