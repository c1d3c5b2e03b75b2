#!/usr/bin/env luajit
-- An echo server whose counters Prometheus can read: http://127.0.0.1:9684/metrics, in its text format 0.0.4.
-- Usage: luajit examples/metrics.lua [host] [port] [metrics-port]
--   ports of 0 pick free ones; the addresses are printed. Control-C ends it.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')

local args = arg or { unpack(process.argv, 2) }
local host, port, metricsPort = args[1] or '127.0.0.1', tonumber(args[2] or 5684), tonumber(args[3] or 9684)

-- Name, type, help, the counter of server:stats(), and what tells its parts from each other where it has any.
local METRICS = {
  { 'dtls_sessions', 'gauge', 'Sessions now, handshakes under way included.', 'sessions' },
  { 'dtls_received_datagrams_total', 'counter', 'Datagrams received.', 'datagramsIn' },
  { 'dtls_received_bytes_total', 'counter', 'Bytes of datagrams received.', 'bytesIn' },
  { 'dtls_sent_datagrams_total', 'counter', 'Datagrams sent.', 'datagramsOut' },
  { 'dtls_sent_bytes_total', 'counter', 'Bytes of datagrams sent.', 'bytesOut' },
  { 'dtls_send_errors_total', 'counter', 'Datagrams that the socket refused to send.', 'sendErrors' },
  { 'dtls_dropped_datagrams_total', 'counter', 'Datagrams dropped, by cause.', 'drops', 'cause' },
  { 'dtls_received_messages_total', 'counter', 'Messages received.', 'messagesIn' },
  { 'dtls_sent_messages_total', 'counter', 'Messages sent.', 'messagesOut' },
  { 'dtls_cookies_sent_total', 'counter', 'Cookies sent.', 'challenges' },
  { 'dtls_cookies_stale_total', 'counter', 'Cookies that came back and were not accepted.', 'stale' },
  { 'dtls_admitted_total', 'counter', 'Peers admitted with a cookie.', 'admitted' },
  { 'dtls_refused_total', 'counter', 'Peers refused with a cookie, by cause.', 'refusals', 'cause' },
  { 'dtls_handshakes_completed_total', 'counter', 'Handshakes completed.', 'connected' },
  { 'dtls_handshakes_failed_total', 'counter', 'Handshakes that failed, by error.', 'failures', 'error' },
  { 'dtls_handshakes_abandoned_total', 'counter', 'Handshakes given up by this end.', 'abandoned' },
  { 'dtls_retransmissions_total', 'counter', 'Flights of handshakes sent again.', 'retransmissions' },
}

local ESCAPES = { ['\\'] = '\\\\', ['"'] = '\\"', ['\n'] = '\\n' }

-- One line for each part of a counter, in order.
local function addParts(lines, name, label, parts)
  local keys = {}
  for key in pairs(parts) do keys[#keys + 1] = key end
  table.sort(keys)
  for _, key in ipairs(keys) do
    lines[#lines + 1] = ('%s{%s="%s"} %.0f'):format(name, label, key:gsub('[\\"\n]', ESCAPES), parts[key])
  end
end
-- Debian 12's LuaJIT may crash in a loop over `pairs` that it has compiled.
if jit then jit.off(addParts, true) end

local function exposition(stats)
  local lines = {}
  for _, metric in ipairs(METRICS) do
    local name, kind, help, counter, label = unpack(metric)
    lines[#lines + 1] = ('# HELP %s %s'):format(name, (help:gsub('[\\\n]', ESCAPES)))
    lines[#lines + 1] = ('# TYPE %s %s'):format(name, kind)
    if label then
      addParts(lines, name, label, stats[counter])
    else
      lines[#lines + 1] = ('%s %.0f'):format(name, stats[counter])
    end
  end
  local name = 'dtls_handshake_round_trip_seconds'
  lines[#lines + 1] = ('# HELP %s Round trips within handshakes.'):format(name)
  lines[#lines + 1] = ('# TYPE %s summary'):format(name)
  lines[#lines + 1] = ('%s_sum %.3f'):format(name, stats.roundTripSum / 1000)
  lines[#lines + 1] = ('%s_count %.0f'):format(name, stats.roundTrips)
  return table.concat(lines, '\n') .. '\n'
end

local identity = dtls.generateCertificate({ names = { 'localhost', host } })
local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('error', function () end)
end)
assert(server:listen(port, host))
print(('listening on %s port %d'):format(host, server:address().port))

-- The rest is as much HTTP as a scrape takes.

local function respond(request)
  local status, kind, body = '404 Not Found', 'text/plain', 'See /metrics.\n'
  local path = request:match('^GET (%S+) HTTP/1%.[01]\r\n')
  if path and path:gsub('%?.*', '') == '/metrics' then
    status, kind, body = '200 OK', 'text/plain; version=0.0.4', exposition(server:stats())
  end
  return ('HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s'):format(
    status, kind, #body, body)
end

-- Nobody gets more of this than a scrape needs.
local MOST_BYTES, PATIENCE_MS = 8192, 2000

local http = uv.new_tcp()
local clients = {}
assert(http:bind('127.0.0.1', metricsPort))
assert(http:listen(16, function ()
  local client, timer, request = uv.new_tcp(), uv.new_timer(), ''
  local function close()
    if not clients[client] then return end
    clients[client] = nil
    timer:close()
    client:close()
  end
  clients[client] = close
  http:accept(client)
  timer:start(PATIENCE_MS, 0, close)
  client:read_start(function (_, data)
    request = request .. (data or '')
    if not data or #request > MOST_BYTES then return close() end
    if not request:find('\r\n\r\n', 1, true) then return end
    client:read_stop()
    client:write(respond(request), function (err)
      if err then close() else client:shutdown(close) end
    end)
  end)
end))
print(('metrics on http://127.0.0.1:%d/metrics'):format(http:getsockname().port))

local interrupt = uv.new_signal()
interrupt:start('sigint', function ()
  interrupt:close()
  http:close()
  for _, close in pairs(clients) do close() end
  server:close()
end)

uv.run()
