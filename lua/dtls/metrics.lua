--- Writes the counters of endpoints as Prometheus reads them: its text format, version 0.0.4.
---
--- ```lua
--- local metrics = require('dtls/metrics')
--- metrics.exposition(server:stats())
--- metrics.exposition({ lamps = one:stats(), doors = other:stats() }, 'endpoint')   -- endpoint="doors", …
--- ```

local interpreted = require('dtls/interpreted')
local options = require('dtls/options')

local metrics = {
  --- The Content-Type of what `exposition` returns.
  --- @type string
  contentType = 'text/plain; version=0.0.4',
}

-- Name, type, help, the counter of `stats()`, and what its parts are told apart by where it has any: then the
-- sum of the parts is all there is to know.
local FAMILIES = {
  { 'dtls_sessions', 'gauge', 'Sessions now, handshakes under way included.', 'sessions' },
  { 'dtls_received_datagrams_total', 'counter', 'Datagrams received.', 'datagramsIn' },
  { 'dtls_received_bytes_total', 'counter', 'Bytes of datagrams received.', 'bytesIn' },
  { 'dtls_sent_datagrams_total', 'counter', 'Datagrams sent.', 'datagramsOut' },
  { 'dtls_sent_bytes_total', 'counter', 'Bytes of datagrams sent.', 'bytesOut' },
  { 'dtls_send_errors_total', 'counter', 'Datagrams that the socket refused to send.', 'sendErrors' },
  { 'dtls_send_drops_total', 'counter', 'Datagrams dropped, too many waiting.', 'sendDrops' },
  { 'dtls_peer_socket_errors_total', 'counter', 'Peers without a socket of their own.', 'peerSocketErrors' },
  { 'dtls_dropped_datagrams_total', 'counter', 'Datagrams dropped, by cause.', 'drops', 'cause' },
  { 'dtls_received_messages_total', 'counter', 'Messages received.', 'messagesIn' },
  { 'dtls_received_message_bytes_total', 'counter', 'Bytes of messages received.', 'messageBytesIn' },
  { 'dtls_sent_messages_total', 'counter', 'Messages sent.', 'messagesOut' },
  { 'dtls_sent_message_bytes_total', 'counter', 'Bytes of messages sent.', 'messageBytesOut' },
  { 'dtls_cookies_sent_total', 'counter', 'Cookies sent.', 'challenges' },
  { 'dtls_cookies_stale_total', 'counter', 'Cookies that came back and were not accepted.', 'stale' },
  { 'dtls_admitted_total', 'counter', 'Peers admitted with a cookie.', 'admitted' },
  { 'dtls_refused_total', 'counter', 'Peers refused with a cookie, by cause.', 'refusals', 'cause' },
  { 'dtls_handshakes_started_total', 'counter', 'Handshakes begun by this end.', 'started' },
  { 'dtls_handshakes_completed_total', 'counter', 'Handshakes completed.', 'connected' },
  { 'dtls_handshakes_failed_total', 'counter', 'Handshakes that failed, by error.', 'failures', 'error' },
  { 'dtls_handshakes_superseded_total', 'counter', 'Handshakes given up for newer ones.', 'superseded' },
  { 'dtls_handshakes_abandoned_total', 'counter', 'Handshakes given up by this end.', 'abandoned' },
  { 'dtls_handshakes_yielded_total', 'counter', 'Handshakes given up to make room.', 'yielded' },
  { 'dtls_sessions_replaced_total', 'counter', 'Sessions ended by newer ones of the same peer.', 'replaced' },
  { 'dtls_moves_total', 'counter', 'Times that a peer has come to another address.', 'moves' },
  { 'dtls_roam_trials_total', 'counter', 'Tries of a datagram from elsewhere.', 'roamTrials' },
  { 'dtls_retransmissions_total', 'counter', 'Flights of handshakes sent again.', 'retransmissions' },
}

local ESCAPES = { ['\\'] = '\\\\', ['"'] = '\\"', ['\n'] = '\\n' }

local function pair(label, value)
  return ('%s="%s"'):format(label, (value:gsub('[\\"\n]', ESCAPES)))
end

local function sortedKeys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end
interpreted(sortedKeys)

-- Adds a line: a sample with its value and the labels that it has.
local function add(lines, name, format, value, ...)
  local labels = table.concat({ ... }, ',')
  if labels ~= '' then labels = '{' .. labels .. '}' end
  lines[#lines + 1] = name .. labels .. ' ' .. format:format(value)
end

local function begin(lines, name, kind, help)
  lines[#lines + 1] = ('# HELP %s %s'):format(name, help)
  lines[#lines + 1] = ('# TYPE %s %s'):format(name, kind)
end

-- What is to be told: a list of counters and the label, where they have one, that tells them apart.
local function sourcesOf(stats, label)
  if label == nil then return { { stats = stats } } end
  local sources = {}
  for index, name in ipairs(sortedKeys(stats)) do
    sources[index] = { stats = stats[name], label = pair(label, name) }
  end
  return sources
end

local function check(stats, label)
  local caller = 'metrics.exposition'
  if label ~= nil and not (type(label) == 'string' and label:find('^[%a_][%w_]*$')) then
    options.raise('%s: label must be letters, digits and underscores', caller)
  end
  if label == 'cause' or label == 'error' then options.raise('%s: the label %s is taken', caller, label) end
  if type(stats) ~= 'table' then options.raise('%s: stats must be a table, got %s', caller, type(stats)) end
  for name, each in pairs(label and stats or { stats }) do
    if type(each) ~= 'table' or type(each.datagramsIn) ~= 'number' or type(each.refusals) ~= 'table' then
      options.raise('%s: stats must be what endpoint:stats() returns', caller)
    end
    if label and type(name) ~= 'string' then options.raise('%s: the names must be strings', caller) end
  end
end
interpreted(check)

--- Writes counters as text for Prometheus, and whoever else reads its format.
---
--- @param stats dtls.EndpointStats|table<string, dtls.EndpointStats> what `endpoint:stats()` returns; of
---   several endpoints a table of these, by what `label` shall say of each
--- @param label? string the name of a label, any but `cause` and `error`
--- @return string
function metrics.exposition(stats, label)
  check(stats, label)
  local sources, lines = sourcesOf(stats, label), {}
  for _, family in ipairs(FAMILIES) do
    local name, kind, help, counter, part = unpack(family)
    begin(lines, name, kind, help)
    for _, source in ipairs(sources) do
      local value = source.stats[counter]
      if part then
        for _, key in ipairs(sortedKeys(value)) do
          add(lines, name, '%.0f', value[key], pair(part, key), source.label)
        end
      else
        add(lines, name, '%.0f', value, source.label)
      end
    end
  end
  local name = 'dtls_handshake_round_trip_seconds'
  begin(lines, name, 'summary', 'Round trips within handshakes.')
  for _, source in ipairs(sources) do
    add(lines, name .. '_sum', '%.3f', source.stats.roundTripSum / 1000, source.label)
    add(lines, name .. '_count', '%.0f', source.stats.roundTrips, source.label)
  end
  return table.concat(lines, '\n') .. '\n'
end

return metrics
