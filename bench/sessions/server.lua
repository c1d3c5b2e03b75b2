-- The server of bench/sessions.lua: echoes, and answers each line that it is told with one of its own.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')

local messages = 0
-- All clients are of one host here.
local server = dtls.createServer({
  psk = { bench = 'a key of 16 byte' }, idleTimeout = 3600 * 1000, maxSessionsPerHost = 1000 * 1000,
}, function (session)
  session:on('message', function (data)
    messages = messages + 1
    session:send(data)
  end)
end)
assert(server:listen(0, '127.0.0.1'))
print(server:address().port)

local stdin, atEnd = uv.new_pipe(), nil

-- { user, system, messages, rss, lua }: microseconds and KiB.
local function look()
  local used = uv.getrusage()
  local function us(time) return time.sec * 1000000 + time.usec end
  print(('%d %d %d %d %d'):format(us(used.utime), us(used.stime), messages, uv.resident_set_memory() / 1024,
    collectgarbage('count')))
end

local asked = {
  look = look,
  collect = function ()
    collectgarbage()
    collectgarbage()
    look()
  end,
  timers = function ()
    local count = 0
    uv.walk(function (handle)
      if tostring(handle):find('^uv_timer') then count = count + 1 end
    end)
    print(count)
  end,
  close = function ()
    local begin, before = uv.hrtime(), server:stats()
    server:close()
    stdin:close()
    -- Called where the loop has run dry.
    atEnd = function ()
      local after = server:stats()
      print(('%d sessions in %.2f s, %d datagrams sent, %d refused by the socket, %d sessions left'):format(
        before.sessions, (uv.hrtime() - begin) / 1e9, after.datagramsOut - before.datagramsOut,
        after.sendErrors - before.sendErrors, after.sessions))
    end
  end,
}

stdin:open(0)
stdin:read_start(function (_, data)
  if not data then return stdin:close() end
  for line in data:gmatch('(.-)\n') do asked[line]() end
end)

uv.run()
if atEnd then atEnd() end
