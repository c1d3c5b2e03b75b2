-- Clients of bench/sessions.lua: PORT COUNT. Connects COUNT sessions. Each line that it is told then is
-- MESSAGES WINDOW RATE: that many messages are echoed, by sessions drawn at random, so many of them under way
-- at once, and no more than so many in a millisecond. It answers how many echoes did not come.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')

local PORT, COUNT = tonumber(arg[1]), tonumber(arg[2])
-- Handshakes under way at once.
local AT_ONCE = 32
-- How long an echo may take, in milliseconds.
local PATIENCE = 500

math.randomseed(COUNT)

local context = dtls.createContext({ psk = { identity = 'bench', key = 'a key of 16 byte' } })
local sessions, begun = {}, 0
local left, waiting, lost, heard = 0, 0, 0, 0
local window, rate, due = 0, 0, 0

local function say()
  if left == 0 then return end
  left = left - 1
  waiting = waiting + 1
  sessions[math.random(#sessions)]:send('a message of thirty-two bytes, ok')
end

local function settle()
  if left == 0 and waiting == 0 then print(lost) end
end

local function connect()
  if begun == COUNT then return end
  begun = begun + 1
  dtls.connect({ context = context, port = PORT, handshakeTimeout = 60000 }, function (session)
    session:on('message', function ()
      heard = heard + 1
      if waiting == 0 then return end
      waiting = waiting - 1
      if rate == math.huge then say() end
      settle()
    end)
    sessions[#sessions + 1] = session
    if #sessions == COUNT then print('connected') else connect() end
  end):on('error', function (err) error(err) end)
end
for _ = 1, AT_ONCE do connect() end

-- What has been lost is given up, so that as many as ever are under way.
local timer, before = uv.new_timer(), 0
timer:start(PATIENCE, PATIENCE, function ()
  if heard == before and waiting > 0 then
    local gone = waiting
    lost, waiting = lost + gone, 0
    if rate == math.huge then
      for _ = 1, gone do say() end
    end
    settle()
  end
  before = heard
end)

-- What is to be sent at a rate.
local pace, last = uv.new_timer(), 0
pace:start(1, 1, function ()
  local now = uv.hrtime() / 1e6
  due, last = math.min(due + (now - last) * rate, window - waiting), now
  while rate < math.huge and due >= 1 do
    due = due - 1
    say()
  end
end)

local stdin = uv.new_pipe()
stdin:open(0)
stdin:read_start(function (_, data)
  if not data then
    stdin:close()
    timer:close()
    pace:close()
    for _, session in ipairs(sessions) do session:destroy() end
    return
  end
  local numbers = {}
  for number in data:gmatch('%S+') do numbers[#numbers + 1] = tonumber(number) end
  left, window, rate = unpack(numbers)
  lost, due, last = 0, 0, uv.hrtime() / 1e6
  if rate == math.huge then
    for _ = 1, window do say() end
  end
end)

uv.run()
