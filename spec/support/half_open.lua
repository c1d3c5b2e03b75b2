--- Peers that go no further than their cookie, by the thousand, in a process of their own: `half_open.lua
--- PORT COUNT HOSTS` has COUNT of them from so many addresses of 127.0.0.0/8 say hello, return their cookies,
--- and say no more. It prints `begun` and how many of them the server has answered, and stays until it is
--- ended.

local hello = require('spec.support.hello')
local uv = require('luv')

local PORT, COUNT, HOSTS = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
-- How many are on their way at a time, and how long one waits before it says again what may have been lost.
local AT_A_TIME, PATIENCE_MS, TRIES = 64, 250, 40

math.randomseed(20261121)

local begun, answered, over = 0, 0, 0
-- Those that are on their way.
local waiting = {}

local beginNext

local function say(peer)
  local cookie = peer.cookie
  peer.udp:try_send(hello.datagram({ random = peer.random, cookie = cookie, sequence = cookie and 1 or 0 }),
    '127.0.0.1', PORT)
end

local function finish(peer)
  waiting[peer] = nil
  over = over + 1
  -- What the server sends from now on is not read, and not waited for.
  peer.udp:recv_stop()
  if over == COUNT then
    print(('begun %d'):format(answered))
    io.stdout:flush()
  end
  beginNext()
end

function beginNext()
  if begun == COUNT then return end
  local host = begun % HOSTS
  begun = begun + 1
  local peer = { udp = uv.new_udp(), random = hello.randomBytes(32), tries = 0, at = uv.now() }
  waiting[peer] = true
  assert(peer.udp:bind(('127.%d.%d.%d'):format(1 + math.floor(host / 62500), math.floor(host / 250) % 250,
    1 + host % 250), 0))
  peer.udp:recv_start(function (_, data, from)
    if not (from and waiting[peer]) then return end
    local cookie = hello.answer(data)
    if cookie and not peer.cookie then
      peer.cookie = cookie
      say(peer)
    elseif not cookie then
      answered = answered + 1
      finish(peer)
    end
  end)
  say(peer)
end

local ticker = uv.new_timer()
ticker:start(PATIENCE_MS, PATIENCE_MS, function ()
  local late = {}
  for peer in pairs(waiting) do
    if uv.now() - peer.at >= PATIENCE_MS then late[#late + 1] = peer end
  end
  for _, peer in ipairs(late) do
    peer.tries, peer.at = peer.tries + 1, uv.now()
    if peer.tries > TRIES then finish(peer) else say(peer) end
  end
end)

for _ = 1, AT_A_TIME do beginNext() end
uv.run()
