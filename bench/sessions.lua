#!/usr/bin/env luajit
-- What a session costs where there are many: processor time per message with few sessions and with many on
-- one endpoint, by turns, echoing at random; memory per session; how long it takes to close them all.
-- Usage: luajit bench/sessions.lua [count] [messages] [rounds]
--   count     how many sessions are many (2000)
--   messages  how many echoes a round takes (4000)
--   rounds    how often each is measured (7); the best counts, as others use the machine too
-- Two loads: *steady*, 4000 messages a second, which leaves the server time to sleep; and *flat out*, as many
-- as it can take, 128 of them under way at once. The latter has the few sessions in the processor's nearest
-- cache all the time, which no server with more to do ever sees. The system's part holds the delivery to the
-- clients' sockets too, as many as there are sessions: on loopback it is the sender who pays for that.
-- Clients live in processes of their own, 4000 to each, as every one of them takes an open file.

local dtls = require('dtls')
local uv = dtls.uv

local COUNT, MESSAGES, ROUNDS = tonumber(arg[1] or 2000), tonumber(arg[2] or 4000), tonumber(arg[3] or 7)
local FEW = 100
-- The window, for all clients together: no more than a socket's buffer holds; and messages a millisecond.
local LOADS = {
  { name = 'steady', window = 128, rate = 4 },
  { name = 'flat out', window = 128, rate = math.huge },
}
local HERE = arg[0]:match('^(.*)%.lua$')

io.stdout:setvbuf('line')

local main
local children = {}

-- A process that answers each line that it is told with a line of its own.
local function start(script, ...)
  local stdin, stdout = uv.new_pipe(), uv.new_pipe()
  local child = { stdin = stdin, stdout = stdout, heard = '' }
  child.handle = assert(uv.spawn('luajit', {
    args = { HERE .. '/' .. script, ... }, stdio = { stdin, stdout, 2 },
  }, function (code)
    child.handle:close()
    if code ~= 0 then error(('%s ended with status %d'):format(script, code)) end
  end))
  stdout:read_start(function (_, data)
    if not data then return stdout:close() end
    child.heard = child.heard .. data
    local line, rest = child.heard:match('^(.-)\n(.*)$')
    if not line then return end
    child.heard = rest
    child.line = line
    if child.waited then
      child.waited = false
      assert(coroutine.resume(main))
    end
  end)
  children[#children + 1] = child
  return child
end

local function tell(child, line) child.stdin:write(line .. '\n') end

-- The next line of a child.
local function hear(child)
  while not child.line do
    child.waited = true
    coroutine.yield()
  end
  local line = child.line
  child.line = nil
  return line
end

local function ask(child, line)
  tell(child, line)
  return hear(child)
end

-- What a server says of itself: { user, system, messages, rss, lua } in microseconds and KiB.
local function look(server, how)
  local user, system, messages, rss, lua = ask(server, how):match('(%d+) (%d+) (%d+) (%d+) (%d+)')
  return { cpu = user + system, system = system, messages = messages, rss = rss, lua = lua }
end

-- A server and `count` clients of it, from as many processes as if there were more.
local function setUp(count)
  local server = start('server.lua')
  local port = hear(server)
  local side = { server = server, count = count, clients = {}, lost = 0, empty = look(server, 'collect') }
  local processes = math.max(math.ceil(COUNT / 4000), 2)
  for index = 1, processes do
    local share = math.floor(count * index / processes) - math.floor(count * (index - 1) / processes)
    side.clients[index] = start('clients.lua', port, tostring(share))
  end
  local begin = uv.hrtime()
  for _, client in ipairs(side.clients) do assert(hear(client) == 'connected') end
  side.handshakes = (uv.hrtime() - begin) / 1e9
  side.full = look(server, 'collect')
  return side
end

-- Processor time per message, in microseconds, in all and within the system.
local function measure(side, load, count)
  local before = look(side.server, 'look')
  local processes = #side.clients
  for _, client in ipairs(side.clients) do
    tell(client, ('%d %d %s'):format(count / processes, load.window / processes, load.rate / processes))
  end
  for _, client in ipairs(side.clients) do side.lost = side.lost + tonumber(hear(client)) end
  local after = look(side.server, 'look')
  local messages = after.messages - before.messages
  return (after.cpu - before.cpu) / messages, (after.system - before.system) / messages
end

local function best(list) return math.min(unpack(list)) end

main = coroutine.create(function ()
  local few, many = setUp(FEW), setUp(COUNT)
  local sides = { few, many }
  for _, side in ipairs(sides) do
    -- What a first message brings with it: nearly every session has one.
    measure(side, LOADS[2], math.max(3 * side.count, MESSAGES))
    print(('%d sessions after %.1f s'):format(side.count, side.handshakes))
  end
  print(('%-10s %10s %14s %14s %8s'):format('load', 'sessions', 'CPU/message', 'of it system', 'lost'))
  for _, load in ipairs(LOADS) do
    for _, side in ipairs(sides) do side.all, side.system, side.lost = {}, {}, 0 end
    for round = 1, ROUNDS do
      for _, side in ipairs(sides) do side.all[round], side.system[round] = measure(side, load, MESSAGES) end
    end
    for _, side in ipairs(sides) do
      print(('%-10s %10d %11.2f us %11.2f us %8d'):format(load.name, side.count, best(side.all),
        best(side.system), side.lost))
    end
    print(('%-10s %10s %11.2f'):format(load.name, 'ratio', best(many.all) / best(few.all)))
  end
  local busy = look(many.server, 'collect')
  print(('memory     %.1f KiB a session when idle, %.1f after its messages, of it Lua %.1f'):format(
    (many.full.rss - many.empty.rss) / COUNT, (busy.rss - many.empty.rss) / COUNT,
    (busy.lua - many.empty.lua) / COUNT))
  print('timers     ' .. ask(many.server, 'timers'))
  print('closing    ' .. ask(many.server, 'close'))
  ask(few.server, 'close')
  for _, child in ipairs(children) do child.stdin:close() end
end)

assert(coroutine.resume(main))
uv.run()
