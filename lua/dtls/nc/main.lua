--- The program: from the command line to the exit status.

local help = require('dtls/nc/help')
local misuse = require('dtls/nc/misuse')
local options = require('dtls/nc/options')

-- What fills gaps, so that it is not collected.
local fillings = {}

-- errno(3) of a descriptor that is closed.
local EBADF = 9

-- Opens the standard descriptors that whoever started this has closed (`<&-`): else the loop's own would get
-- their numbers, and libuv gives up when it finds one of its own among them.
local function fillGaps()
  for _, file in ipairs({ io.stdin, io.stdout, io.stderr }) do
    local _, _, number = file:seek('cur')
    -- A new one gets the lowest number that is free.
    if number == EBADF then fillings[#fillings + 1] = io.open('/dev/null', 'r+') end
  end
end

-- Ends it with a sentence.
local function refuse(sentence)
  io.stderr:write('dtls-nc: ', (sentence:gsub('%c', '?')), '\n')
  os.exit(misuse.WRONG)
end

local function version()
  local dtls = require('dtls')
  io.stdout:write(('dtls-nc %s, %s\n'):format(dtls._VERSION, dtls.opensslVersion))
end

--- Runs dtls-nc, and ends the process with its status.
--- @param arguments string[]
--- @param loopRuns boolean whether the event loop runs anyway, as inside Luvit
return function (arguments, loopRuns)
  fillGaps()
  local given, sentence = misuse.call(options.parse, arguments)
  if not given then return refuse(sentence) end
  if given.help then
    io.stdout:write(help)
    return os.exit(misuse.SUCCESS)
  end
  if given.version then
    version()
    return os.exit(misuse.SUCCESS)
  end
  local loop = require('dtls/loop')
  local Exec = require('dtls/nc/exec')
  local Report = require('dtls/nc/report')
  require('dtls/nc/signals').survivePipes()
  local run = require(given.listen and 'dtls/nc/server' or 'dtls/nc/client')
  local status = misuse.REFUSED
  local function onDone(with)
    status = with
    -- Elsewhere the loop ends when everything has.
    if loopRuns then Exec.afterAll(function () loop.defer(os.exit, status) end) end
  end
  local started
  started, sentence = misuse.call(function ()
    run(given, Report.new(given.verbose), onDone)
    return true
  end)
  if not started then return refuse(sentence) end
  if loopRuns then return end
  loop.uv.run()
  os.exit(status)
end
