--- Draws what goes over the wire as a ladder, a line for every record:
---
--- ```text
--- #1       ms  flight  client                                            server 127.0.0.1 port 5684
--- #1      0.0       1  │── ClientHello ────────────────────────────────▶│  157 bytes, epoch 0 record 0
--- #1      0.9       2  │◀───────────────────────── HelloVerifyRequest ──│  60 bytes, epoch 0 record 0
--- ```
---
--- The client is on the left. Whoever has an address is the peer; the other end is this one. A double
--- line is a sealed record, a line that ends in ✗ was dropped on arrival.

local loop = require('dtls/loop')
local options = require('dtls/options')
local uv = loop.uv

--- A record on its way, or what lay in the place of one. `src/trace.rs` makes them.
---
--- @class dtls.TraceEvent
--- @field direction 'sent'|'received' whose it is: ours, or what came from the peer's address
--- @field flight? integer which of the handshake's, as RFC 6347 section 4.2.4 numbers them; nil for alerts,
---   application data and whatever is not of this handshake
--- @field datagram integer the length of the datagram it lay in
--- @field record dtls.TraceRecord its header
--- @field messages dtls.TraceMessage[] what lies in a handshake record; else empty
--- @field alert? dtls.TraceAlert what a plaintext alert says
--- @field dropped? string why it went no further; the names are those of `stats().drops`

--- What a record's header says, which nobody has authenticated.
--- @class dtls.TraceRecord
--- @field type 'change_cipher_spec'|'alert'|'handshake'|'application_data'|'unknown'|'malformed' what it
---   says it holds
--- @field epoch? integer 0 for plaintext; nil where the type is `malformed`
--- @field sequence? integer its number in the epoch; nil where the type is `malformed`
--- @field length integer header included

--- A handshake message or a part of one. What is sealed has a type only: `Finished (sealed)` for the
--- first of each end, `sealed handshake` for others; and so has what is no message: `malformed`.
---
--- @class dtls.TraceMessage
--- @field type string in the RFCs' words: `ClientHello`
--- @field sequence? integer its message_seq
--- @field length? integer of the whole message
--- @field fragmentOffset? integer where in it this part begins
--- @field fragmentLength? integer of this part
--- @field retransmission? boolean whether it went the same way before

--- What an alert says (RFC 5246 section 7.2).
--- @class dtls.TraceAlert
--- @field level 'warning'|'fatal'|'unknown' how bad it is
--- @field description integer its number
--- @field name string what that means

-- Between the two ends.
local WIDTH = 48

local labels = {
  change_cipher_spec = 'ChangeCipherSpec',
  alert = 'Alert',
  application_data = 'application data',
  unknown = 'unknown record',
  malformed = 'no record',
}

local function nameOf(message)
  local whole = message.length
  if not whole or message.fragmentLength == whole then return message.type end
  local first = message.fragmentOffset
  return ('%s (%d-%d of %d)'):format(message.type, first, first + message.fragmentLength - 1, whole)
end

local function labelOf(event)
  local record, alert = event.record, event.alert
  if event.messages[1] then
    local names = {}
    for index, message in ipairs(event.messages) do names[index] = nameOf(message) end
    return table.concat(names, ', ')
  end
  if alert then return ('Alert: %s %s (%d)'):format(alert.level, alert.name, alert.description) end
  local label = labels[record.type] or record.type
  return (record.epoch or 0) > 0 and label .. ' (sealed)' or label
end

-- The label lies where the sender is, and the head of the arrow at the other end.
local function arrow(event, toRight)
  local label = ' ' .. labelOf(event) .. ' '
  local line = (event.record.epoch or 0) > 0 and '═' or '─'
  local tail, rest = line:rep(2), line:rep(math.max(WIDTH - 3 - #label, 1))
  if toRight then return tail .. label .. rest .. (event.dropped and '✗' or '▶') end
  return (event.dropped and '✗' or '◀') .. rest .. label .. tail
end

local function retransmissionIn(messages)
  local again = 0
  for _, message in ipairs(messages) do
    if message.retransmission then again = again + 1 end
  end
  if again == 0 then return '' end
  return again == #messages and ', retransmission' or ', retransmission in part'
end

local function remarks(event)
  local record = event.record
  local size = record.length == event.datagram and '' or (' of %d'):format(event.datagram)
  local place = record.epoch and (', epoch %d record %d'):format(record.epoch, record.sequence) or ''
  local drop = event.dropped and ', dropped: ' .. event.dropped or ''
  return ('%d%s bytes%s%s%s'):format(record.length, size, place, retransmissionIn(event.messages), drop)
end

local function heading(number, session)
  local peer = session and session:remoteAddress()
  local where = peer and (' %s port %d'):format(peer.ip, peer.port) or ''
  local left, right = 'client', 'server' .. where
  if session and session._isServer then left, right = 'client' .. where, 'server' end
  return ('#%-3d     ms  flight  %-' .. WIDTH + 2 .. 's%s'):format(number, left, right)
end

--- Makes a hook that draws what it is told. Each session has a number, which begins its lines, and a
--- time that begins with its first record.
---
--- @param write? fun(line: string) takes a line without its end; standard error by default
--- @return fun(event: dtls.TraceEvent, session: dtls.Session?)
return function (write)
  if write == nil then
    write = function (line) io.stderr:write(line, '\n') end
  elseif type(write) ~= 'function' then
    -- An event, where dtls.trace itself was given as the hook.
    local hint = type(write) == 'table' and ': the option is what it returns, trace = dtls.trace()' or ''
    options.raise('dtls.trace: write must be a function, got %s%s', type(write), hint)
  end
  local nobody, count = {}, 0
  -- What is known of each session, as long as that lives.
  local known = setmetatable({}, { __mode = 'k' })

  return function (event, session)
    local mine = known[session or nobody]
    if not mine then
      count = count + 1
      mine = { number = count, began = uv.hrtime() }
      known[session or nobody] = mine
      write(heading(count, session))
    end
    local isServer = session and session._isServer or false
    local toRight = (event.direction == 'sent') ~= isServer
    write(('#%-3d %6.1f  %6s  │%s│  %s'):format(mine.number, (uv.hrtime() - mine.began) / 1e6,
      event.flight or '', arrow(event, toRight), remarks(event)))
  end
end
