--- What every spec uses: a loop that must run dry, certificates, an echo server, a relay that does
--- to datagrams what networks do.

local uv = require('luv')
local core = require('dtls_core')
local dtls = require('dtls')

local helper = { uv = uv }

-- `SAVAGE_GC=1` collects garbage as often as it can, so that what is held only by luck is lost.
if os.getenv('SAVAGE_GC') then
  collectgarbage('setpause', 0)
  collectgarbage('setstepmul', 10000)
end

--- How much longer everything may take where something slows the process down.
helper.slowness = os.getenv('SAVAGE_GC') and 4 or 1

--- Runs the loop until nothing is left in it. Fails where that takes longer than `limit`
--- milliseconds (5000 by default), naming what is still open.
function helper.run(limit)
  local late = false
  local watchdog = uv.new_timer()
  watchdog:start((limit or 5000) * helper.slowness, 0, function ()
    late = true
    uv.stop()
  end)
  watchdog:unref()
  local ok, err = xpcall(uv.run, debug.traceback)
  watchdog:close()
  local open = {}
  uv.walk(function (handle)
    if handle:is_closing() then return end
    open[#open + 1] = tostring(handle)
    handle:close()
  end)
  uv.run()
  if not ok then error(err, 2) end
  if late then error('the loop is still busy: ' .. table.concat(open, ', '), 2) end
  if open[1] then error('these handles were left open: ' .. table.concat(open, ', '), 2) end
end

--- Runs the loop until `done()` is true, or fails after `limit` milliseconds.
function helper.runUntil(done, limit)
  local late = false
  local watchdog = uv.new_timer()
  watchdog:start((limit or 5000) * helper.slowness, 0, function () late = true end)
  while not done() and not late do uv.run('once') end
  watchdog:close()
  if late then error('what was waited for did not happen', 2) end
end

--- Calls `fn` from the loop after `ms`.
function helper.after(ms, fn)
  local timer = uv.new_timer()
  timer:start(ms, 0, function ()
    timer:close()
    fn()
  end)
end

local identities = {}

--- A self-signed identity for some names, made once: `{ cert, key, fingerprint }`.
function helper.identity(...)
  local names = { ... }
  local id = table.concat(names, ' ')
  if not identities[id] then
    local cert, key, fingerprint = core.generate_certificate(names, 1)
    identities[id] = { cert = cert, key = key, fingerprint = fingerprint }
  end
  return identities[id]
end

--- The identity that specs use where no other is wanted.
function helper.localhost()
  return helper.identity('localhost', '127.0.0.1', '::1')
end

--- Copies tables into one; later ones win.
function helper.merge(...)
  local all = {}
  for index = 1, select('#', ...) do
    for name, value in pairs((select(index, ...)) or {}) do all[name] = value end
  end
  return all
end

--- Starts a server that answers `Echo: ` and what it heard. Closing it is the spec's to do.
--- @return dtls.Server server, integer port
function helper.echoServer(options, onConnection)
  local identity = helper.localhost()
  local server = dtls.createServer(
    helper.merge({ cert = identity.cert, key = identity.key, retransmitTimeout = 100 }, options),
    function (session)
      session:on('message', function (data) session:send('Echo: ' .. data) end)
      if onConnection then onConnection(session) end
    end)
  assert(server:listen(0, '127.0.0.1'))
  return server, server:address().port
end

--- Connects to a server of this process, trusting `helper.localhost()`.
function helper.connect(port, options, callback)
  return dtls.connect(helper.merge({
    host = '127.0.0.1', port = port, ca = helper.localhost().cert, retransmitTimeout = 100,
  }, options), callback)
end

--- A list of what an emitter emitted: `{ { name, ... }, … }`, in order.
function helper.record(emitter, ...)
  local seen = {}
  for _, name in ipairs({ ... }) do
    emitter:on(name, function (...) seen[#seen + 1] = { name, ... } end)
  end
  return seen
end

--- A UDP relay in front of `port`. Every datagram that passes is given to
--- `onDatagram(data, fromClient, number, send)`, numbered from 1 in each direction; it passes on
--- what it likes by `send(data)`, when it likes. Several clients get a socket each, as a NAT has it.
--- @return { port: integer, close: fun(), inject: fun(data: string, toServer: boolean) }
function helper.relay(port, onDatagram)
  local front, links = uv.new_udp(), {}
  local counts = { [true] = 0, [false] = 0 }
  local last
  assert(front:bind('127.0.0.1', 0))
  local relay = { port = front:getsockname().port }
  local function pass(data, fromClient, send)
    counts[fromClient] = counts[fromClient] + 1
    onDatagram(data, fromClient, counts[fromClient], send)
  end
  local function link(ip, clientPort)
    local id = ip .. ' ' .. clientPort
    if links[id] then return links[id] end
    local back = uv.new_udp()
    assert(back:bind('127.0.0.1', 0))
    local made = {
      back = back,
      up = function (data) if not back:is_closing() then back:try_send(data, '127.0.0.1', port) end end,
      down = function (data) if not front:is_closing() then front:try_send(data, ip, clientPort) end end,
    }
    back:recv_start(function (_, data, from)
      if from then pass(data, false, made.down) end
    end)
    links[id] = made
    return made
  end
  front:recv_start(function (_, data, from)
    if not from then return end
    last = link(from.ip, from.port)
    pass(data, true, last.up)
  end)
  --- Sends `data` as if it came from the other side of the client that was heard last.
  function relay.inject(data, toServer)
    if toServer then last.up(data) else last.down(data) end
  end
  function relay.close()
    front:close()
    for _, each in pairs(links) do each.back:close() end
  end
  return relay
end

return helper
