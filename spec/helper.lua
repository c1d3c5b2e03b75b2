--- What every spec uses: a loop that must run dry, certificates, an echo server, a relay that does
--- to datagrams what networks do.

local uv = require('luv')
local core = require('dtls_core')
local dtls = require('dtls')
local Peers = require('dtls/peers')

local helper = { uv = uv }

-- `SAVAGE_GC=1` collects garbage as often as it can, so that what is held only by luck is lost.
if os.getenv('SAVAGE_GC') then
  collectgarbage('setpause', 0)
  collectgarbage('setstepmul', 10000)
end

--- How much longer everything may take where something slows the process down.
helper.slowness = os.getenv('SAVAGE_GC') and 4 or 1

-- luv ends the process where a callback throws. Here the error comes out of `helper.run`, unless the
-- spec wants to see it and the loop to go on: then it is in the list that `helper.errors()` returned.
local caught, wanted

local function safely(callback)
  return function (...)
    local ok, err = pcall(callback, ...)
    if ok then return end
    if wanted then
      wanted[#wanted + 1] = err
    else
      caught = caught or { err }
      uv.stop()
    end
  end
end

local function makeSafe(handle, ...)
  local methods = getmetatable(handle).__index
  handle:close()
  for _, name in ipairs({ 'close', ... }) do
    local original = methods[name]
    methods[name] = function (...)
      local count, arguments = select('#', ...), { ... }
      for index = 1, count do
        if type(arguments[index]) == 'function' then arguments[index] = safely(arguments[index]) end
      end
      return original(unpack(arguments, 1, count))
    end
  end
end

makeSafe(uv.new_timer(), 'start')
makeSafe(uv.new_idle(), 'start')
makeSafe(uv.new_udp(), 'recv_start', 'send')
-- Of a descriptor that can be watched.
local bound = uv.new_udp()
bound:bind('127.0.0.1', 0)
makeSafe(uv.new_poll(bound:fileno()), 'start')
bound:close()
-- luv crashes in the end where a handle never gets the turn in which it is closed.
uv.run()
-- luv crashes where a handle is still closing when the process ends.
uv.run()

--- What callbacks throw from now on, until `helper.run` returns: a list.
function helper.errors()
  wanted = {}
  return wanted
end

-- Raises what a callback has thrown.
local function raiseCaught()
  local err = caught
  caught = nil
  if err then error(err[1], 0) end
end

-- Every table of peers there is: all must be empty in the end.
local tables = setmetatable({}, { __mode = 'k' })
local newTable = Peers.new
function Peers.new()
  local made = newTable()
  tables[made] = true
  return made
end

--- Runs the loop until nothing is left in it, nor in any endpoint. Fails where that takes longer than
--- `limit` milliseconds (5000 by default), naming what is still open.
function helper.run(limit)
  local late = false
  local watchdog = uv.new_timer()
  watchdog:start((limit or 5000) * helper.slowness, 0, function ()
    late = true
    uv.stop()
  end)
  watchdog:unref()
  uv.run()
  watchdog:close()
  local open = {}
  uv.walk(function (handle)
    if handle:is_closing() then return end
    open[#open + 1] = tostring(handle)
    handle:close()
  end)
  uv.run()
  wanted = nil
  raiseCaught()
  if late then error('the loop is still busy: ' .. table.concat(open, ', '), 2) end
  if open[1] then error('these handles were left open: ' .. table.concat(open, ', '), 2) end
  local made = tables
  tables = setmetatable({}, { __mode = 'k' })
  for each in pairs(made) do
    if each.count ~= 0 or next(each.hosts) then error(each.count .. ' sessions were left in a table', 2) end
  end
end

--- Runs the loop until `done()` is true, or fails after `limit` milliseconds.
function helper.runUntil(done, limit)
  local endsAt = uv.hrtime() / 1e6 + (limit or 5000) * helper.slowness
  -- `uv.run('once')` may wait for the next event after a timer has brought the one that counts.
  local ticker = uv.new_timer()
  ticker:start(5, 5, function () end)
  local happened, late = done(), false
  while not (happened or late or caught) do
    uv.run('once')
    happened, late = done(), uv.hrtime() / 1e6 > endsAt
  end
  ticker:close()
  if happened and not caught then return end
  uv.run('nowait')
  raiseCaught()
  error('what was waited for did not happen', 2)
end

--- The text of a file.
function helper.read(path)
  local file = assert(io.open(path))
  local text = file:read('*a')
  file:close()
  return text
end

--- What this process has in memory when there is no garbage, in KiB: Linux alone tells.
function helper.residentKiB()
  collectgarbage()
  collectgarbage()
  local file = assert(io.open('/proc/self/statm'))
  local _, pages = file:read('*n', '*n')
  file:close()
  return pages * 4
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

--- A server and a client that are connected. `via(port)` may put something between them and return
--- the port to connect to.
--- @return { server: dtls.Server, client: dtls.Session, peer: dtls.Session, port: integer }
function helper.pair(serverOptions, clientOptions, via)
  local pair = {}
  local identity = helper.localhost()
  pair.server = dtls.createServer(
    helper.merge({ cert = identity.cert, key = identity.key, retransmitTimeout = 100 }, serverOptions),
    function (session) pair.peer = session end)
  assert(pair.server:listen(0, '127.0.0.1'))
  pair.port = pair.server:address().port
  pair.client = helper.connect(via and via(pair.port) or pair.port, clientOptions)
  helper.runUntil(function () return pair.peer and pair.client:getProtocol() end)
  return pair
end

--- Closes what is given and runs the loop dry.
function helper.finish(...)
  for _, each in ipairs({ ... }) do each:close() end
  helper.run()
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
