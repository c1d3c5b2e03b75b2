--- Floods a server of 127.0.0.1 with what costs it nothing: `flood.lua PORT COUNT` sends so many
--- hellos without a cookie and as many datagrams of junk, from many ports, and prints what came back.

local hello = require('spec.support.hello')
local uv = require('luv')

local PORT, COUNT = tonumber(arg[1]), tonumber(arg[2])
local SOCKETS, BURST = 200, 24
-- How long a burst's answers are waited for; those that the kernel lost do not come.
local PATIENCE_MS = 10

math.randomseed(20261120)

local sockets = {}
-- The lengths of hellos that are not answered yet, or never, by the number of their record.
local asked = {}
local expected, sent, answers, unasked, longer = 0, 0, 0, 0, 0
local bytesOut, bytesIn = 0, 0

local nextBurst

local function onAnswer(_, data, from)
  if not from then return end
  local cookie, sequence = hello.answer(data)
  bytesIn = bytesIn + #data
  answers = answers + 1
  if not cookie or not asked[sequence] then
    unasked = unasked + 1
  elseif #data > asked[sequence] then
    longer = longer + 1
  end
  if sequence then asked[sequence] = nil end
  expected = expected - 1
  if expected == 0 then nextBurst() end
end

for index = 1, SOCKETS do
  sockets[index] = uv.new_udp()
  assert(sockets[index]:bind('127.0.0.1', 0))
  sockets[index]:recv_start(onAnswer)
end

local function send(data)
  sockets[math.random(SOCKETS)]:try_send(data, '127.0.0.1', PORT)
  bytesOut = bytesOut + #data
end

-- Nothing that deserves an answer, most of it not even by its first byte.
local junk = {
  function () return hello.randomBytes(math.random(0, 100)) end,
  function () return ('\22'):rep(math.random(1, 1400)) end,
  -- A sealed record, of a session that nobody has.
  function () return '\23\254\253\0\1\0\0\0\0\0\1\0\32' .. hello.randomBytes(32) end,
  -- A fatal alert, a ChangeCipherSpec.
  function () return '\21\254\253\0\0\0\0\0\0\0\1\0\2\2\40' end,
  function () return '\20\254\253\0\0\0\0\0\0\0\1\0\1\1' end,
  -- A hello that is cut short.
  function () return hello.datagram({ random = ('r'):rep(32), size = 100 }):sub(1, math.random(13, 99)) end,
}

local timer = uv.new_timer()

local function finish()
  timer:close()
  for _, socket in ipairs(sockets) do socket:close() end
  print(('sent %d answers %d unasked %d longer %d out %d in %d')
    :format(2 * sent, answers, unasked, longer, bytesOut, bytesIn))
end

function nextBurst()
  timer:stop()
  if sent >= COUNT then return finish() end
  for _ = 1, BURST do
    sent = sent + 1
    local data = hello.datagram({
      random = hello.randomBytes(32), sequence = sent, size = math.random(61, 2000),
    })
    asked[sent] = #data
    send(data)
    send(junk[math.random(#junk)]())
  end
  expected = BURST
  timer:start(PATIENCE_MS, 0, nextBurst)
end

print('flooding')
io.stdout:flush()
nextBurst()
uv.run()
