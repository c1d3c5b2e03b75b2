--- What the program itself has to say, all of it on standard error.

local dtls = require('dtls')
local interpreted = require('dtls/interpreted')
local uv = dtls.uv

--- @class (private) dtls.nc.Report
--- @field private level integer how many `-v` there are
--- @field private file file*
--- @field private said table<string, boolean> what is not said twice
local Report = {}
Report.__index = Report

--- @param level integer
function Report.new(level)
  local self = setmetatable({ level = level, said = {}, file = io.stderr }, Report)
  local colourless = os.getenv('NO_COLOR')
  self.colours = uv.guess_handle(2) == 'tty' and (colourless or '') == '' and os.getenv('TERM') ~= 'dumb'
  return self
end

-- A character as UTF-8 has them, or what has been put in the place of one.
local function shown(character)
  local first, length = character:byte(), #character
  if first < 0x80 then return length > 1 and character:sub(1, 1) .. '?' or nil end
  local isWhole = length == (first < 0xe0 and 2 or first < 0xf0 and 3 or 4)
  return (not isWhole or first < 0xc2 or first > 0xf4 or character:find('^\194[\128-\159]')) and '?' or nil
end

-- What a terminal only shows: no controls, of which UTF-8 has further ones; nor what is no UTF-8, where
-- terminals of other kinds have those.
local function printable(text)
  text = text:gsub('%c', '?')
  if not text:find('[\128-\255]') then return text end
  return (text:gsub('^[\128-\191]+', '?'):gsub('[^\128-\191][\128-\191]*', shown))
end

--- Says a sentence. What is the peer's among it must not play with the terminal.
function Report:say(format, ...)
  local line = select('#', ...) > 0 and format:format(...) or format
  -- In one go: standard output may be the same terminal.
  self.file:write('dtls-nc: ' .. printable(line) .. '\n')
end

--- Says a sentence if there is a `-v`.
function Report:tell(format, ...)
  if self.level >= 1 then self:say(format, ...) end
end

--- Says a sentence the first time.
function Report:once(format, ...)
  if self.said[format] then return end
  self.said[format] = true
  self:say(format, ...)
end

--- Says what the library has warned of, the first of each name.
function Report:warn(err, name)
  if self.said[name] then return end
  self.said[name] = true
  self:say('%s', err)
end

--- `127.0.0.1:5684`, `[::1]:5684`.
--- @param peer { ip: string, port: integer, family: string }
function Report.place(peer)
  return (peer.family == 'inet6' and '[%s]:%d' or '%s:%d'):format(peer.ip, peer.port)
end

--- What to say after "closed", where that is not all there is to say.
function Report.reason(reason)
  return reason == 'closed' and '' or ': ' .. reason
end

-- Who a certificate is of.
local function nameOf(certificate)
  return certificate.subjectAltName[1] or certificate.subject.CN or 'nobody in particular'
end

-- What the peer has shown, and what came of it.
local function trustOf(session)
  local identity, certificate = session:getPskIdentity(), session:getPeerCertificate()
  if identity then return 'pre-shared key of ' .. identity end
  if not certificate then return 'no certificate' end
  if session.authorized then return 'verified ' .. nameOf(certificate) end
  return 'NOT verified: ' .. certificate.fingerprint256
end

-- What the handshake has shown.
local function describe(session)
  local parts = { session:getProtocol(), session:getCipher().name, trustOf(session) }
  if session.servername and session._isServer then parts[#parts + 1] = 'for ' .. session.servername end
  if session.alpnProtocol then parts[#parts + 1] = 'ALPN ' .. session.alpnProtocol end
  if session:isSessionReused() then parts[#parts + 1] = 'resumed' end
  return table.concat(parts, ', ')
end

--- Tells of a session whose handshake is complete; and with `-vv` what that took.
function Report:connected(who, session)
  if self.level < 1 then return end
  self:say('%s: %s', who, describe(session))
  if self.level < 2 then return end
  local counts = session:stats()
  self:say('handshake: sent %d datagrams, %d bytes; received %d, %d bytes; %d retransmissions; round trip %s',
    counts.datagramsOut, counts.bytesOut, counts.datagramsIn, counts.bytesIn, counts.retransmissions,
    counts.roundTrip and ('%g ms'):format(counts.roundTrip) or 'unknown')
end

-- ANSI's.
local PLAIN, RED, YELLOW, CYAN, GREEN = '\27[0m', '\27[31m', '\27[33m', '\27[36m', '\27[32m'

local function isRepeated(event)
  for _, message in ipairs(event.messages) do
    if message.retransmission then return true end
  end
  return false
end

local function colourOf(event)
  if event.dropped or event.alert then return RED end
  if isRepeated(event) then return YELLOW end
  return event.direction == 'sent' and CYAN or GREEN
end

--- The hook that draws handshakes, where they are wanted: `-vv`; with `-vvv` every record, and its number.
--- @return dtls.TraceHook?
function Report:trace()
  if self.level < 2 then return nil end
  local all, colour = self.level >= 3, nil
  local draw = dtls.trace(function (line)
    if not all then line = line:gsub(', epoch %d+ record %d+', '') end
    -- The heading comes with the first event, and is nobody's.
    local painted = colour and line:find('│', 1, true)
    self.file:write((painted and colour .. line .. PLAIN or line) .. '\n')
  end)
  return function (event, session)
    if not all and event.record.type == 'application_data' then return end
    colour = self.colours and colourOf(event) or nil
    draw(event, session)
  end
end

-- Adds `name value` lines for a table of counters.
local function list(lines, prefix, counters)
  for name, value in pairs(counters) do
    if type(value) == 'table' then
      list(lines, name .. '.', value)
    else
      lines[#lines + 1] = ('%-24s %s'):format(prefix .. name, tostring(value))
    end
  end
end
interpreted(list)

--- Prints counters, one a line.
--- @param counters dtls.SessionStats|dtls.EndpointStats
function Report:stats(counters)
  local lines = {}
  list(lines, '', counters)
  table.sort(lines)
  self.file:write(table.concat(lines, '\n') .. '\n')
end

return Report
