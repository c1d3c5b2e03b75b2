--- Many clients that arrive at once and talk, in a process of their own: `crowd.lua PORT COUNT ROUNDS`
--- connects COUNT sessions to a server of 127.0.0.1, has each of them say something ROUNDS times and hear it
--- echoed, and prints how that went when all have. What is lost is not said again: then nothing is printed.
--- They leave when a line is written to them.

local dtls = require('dtls')

local PORT, COUNT, ROUNDS = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])

local context = dtls.createContext({ rejectUnauthorized = false, retransmitTimeout = 200 })

local sessions = {}
local done, wrong = 0, 0

for index = 1, COUNT do
  local session = dtls.connect({ context = context, port = PORT, handshakeTimeout = 20000 })
  local round = 0
  local function say()
    round = round + 1
    assert(session:send(('%d says %d'):format(index, round)))
  end
  session:on('secureConnection', say)
  session:on('message', function (data)
    if data ~= ('Echo: %d says %d'):format(index, round) then wrong = wrong + 1 end
    if round < ROUNDS then return say() end
    done = done + 1
    if done == COUNT then print(('done %d wrong %d'):format(done, wrong)) end
    io.stdout:flush()
  end)
  session:on('error', print)
  sessions[index] = session
end

local stdin = dtls.uv.new_pipe()
stdin:open(0)
stdin:read_start(function ()
  stdin:close()
  for _, session in ipairs(sessions) do session:close() end
end)

dtls.uv.run()
