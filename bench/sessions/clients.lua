-- Clients of bench/sessions.lua: PORT COUNT WINDOW. Connects COUNT sessions, then has as many messages echoed
-- as each line that it is told says, by sessions drawn at random, WINDOW of them at once; answers how many
-- echoes did not come.

local dtls = require('dtls')
local uv = dtls.uv

io.stdout:setvbuf('line')

local PORT, COUNT, WINDOW = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
-- Handshakes under way at once.
local AT_ONCE = 32
-- How long an echo may take, in milliseconds.
local PATIENCE = 500

math.randomseed(COUNT)

local context = dtls.createContext({ psk = { identity = 'bench', key = 'a key of 16 byte' } })
local sessions, begun = {}, 0
local left, waiting, lost, heard = 0, 0, 0, 0

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
      say()
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
    for _ = 1, gone do say() end
    settle()
  end
  before = heard
end)

local stdin = uv.new_pipe()
stdin:open(0)
stdin:read_start(function (_, data)
  if not data then
    stdin:close()
    timer:close()
    for _, session in ipairs(sessions) do session:destroy() end
    return
  end
  left, lost = tonumber(data), 0
  for _ = 1, WINDOW do say() end
end)

uv.run()
