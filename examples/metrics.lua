#!/usr/bin/env luajit
-- An echo server whose counters Prometheus can read, at http://127.0.0.1:9684/metrics.
-- Usage: luajit examples/metrics.lua [host] [port] [metrics-port]
--   ports of 0 pick free ones; the addresses are printed. Control-C ends it.

local dtls, metrics = require('dtls'), require('dtls/metrics')
local uv = dtls.uv

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local host, port, metricsPort = args[1] or '127.0.0.1', tonumber(args[2] or 5684), tonumber(args[3] or 9684)

local identity = dtls.generateCertificate({ names = { 'localhost', host } })
local server = dtls.createServer({ cert = identity.cert, key = identity.key }, function (session)
  session:on('message', function (data) session:send('Echo: ' .. data) end)
  session:on('error', function () end)
end)
assert(server:listen(port, host))
print(('listening on %s port %d'):format(host, server:address().port))

-- The rest is as much HTTP as a scrape takes.
local function respond(request)
  local found = request:find('^GET /metrics%f[ ?]%S* HTTP/1%.[01]\r\n')
  local body = found and metrics.exposition(server:stats()) or 'See /metrics.\n'
  return ('HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s'):format(
    found and '200 OK' or '404 Not Found', found and metrics.contentType or 'text/plain', #body, body)
end

local http, clients = uv.new_tcp(), {}
assert(http:bind('127.0.0.1', metricsPort))
assert(http:listen(16, function ()
  local client, timer, request = uv.new_tcp(), uv.new_timer(), ''
  local function close()
    if client:is_closing() then return end
    clients[client] = nil
    timer:close()
    client:close()
  end
  clients[client] = close
  http:accept(client)
  timer:start(2000, 0, close)
  client:read_start(function (_, data)
    request = request .. (data or '')
    if not data or #request > 8192 then return close() end
    if not request:find('\r\n\r\n', 1, true) then return end
    client:read_stop()
    client:write(respond(request))
    client:shutdown(close)
  end)
end))
print(('metrics on http://127.0.0.1:%d/metrics'):format(http:getsockname().port))
-- A scraper that has gone is no reason to end, as it is for a program that does not listen for this signal.
local interrupt, pipe = uv.new_signal(), uv.new_signal()
pipe:start('sigpipe', function () end)
interrupt:start('sigint', function ()
  for _, each in ipairs({ interrupt, pipe, http, server }) do each:close() end
  for _, close in pairs(clients) do close() end
end)
uv.run()
