--- Other programs, as children of a spec: started with pipes, waited for by what they print, and
--- ended one and all before the spec is.

local helper = require('spec.helper')
local uv = helper.uv

local program = {}

-- Those that have not been ended yet.
local running = {}

--- A child process.
--- @class spec.Program
--- @field pid integer
--- @field output string what it has printed so far, on either stream
--- @field status integer|nil its exit status, once it has ended; signals count as 128 and the number
local Program = {}
Program.__index = Program

--- Starts `file`, found on the path. The child does not outlive this process, however that ends.
--- @param arguments (string|number)[]
--- @param environment? table<string, string> beside this process's own
--- @return spec.Program
function program.start(file, arguments, environment)
  local stdin, stdout, stderr = uv.new_pipe(), uv.new_pipe(), uv.new_pipe()
  local self = setmetatable({
    name = file, output = '', stdin = stdin, pipes = { stdin, stdout, stderr }, reading = 2,
  }, Program)
  local args = { '--pdeathsig', 'KILL', '--', file }
  for _, argument in ipairs(arguments) do args[#args + 1] = tostring(argument) end
  local env
  if environment then
    env = {}
    for name, value in pairs(helper.merge(uv.os_environ(), environment)) do
      env[#env + 1] = name .. '=' .. value
    end
  end
  self.handle, self.pid = uv.spawn('setpriv', { args = args, stdio = self.pipes, env = env },
    function (code, signal) self.status = signal > 0 and 128 + signal or code end)
  assert(self.handle, self.pid)
  running[self] = true
  for _, pipe in ipairs({ stdout, stderr }) do
    pipe:read_start(function (_, data)
      if data then
        self.output = self.output .. data
      else
        self.reading = self.reading - 1
      end
    end)
  end
  return self
end

--- Starts `luajit` with a script of this directory.
function program.script(name, arguments, environment)
  local args = { 'spec/support/' .. name }
  for _, argument in ipairs(arguments or {}) do args[#args + 1] = argument end
  return program.start('luajit', args, helper.merge({
    LUA_PATH = package.path, LUA_CPATH = package.cpath,
  }, environment))
end

--- Writes to its standard input.
function Program:write(text)
  self.stdin:write(text)
end

--- Waits until it has printed something that matches `pattern`, and returns the captures.
function Program:waitFor(pattern, limit)
  local waited = pcall(helper.runUntil, function ()
    return self.output:find(pattern) or (self.status and self.reading == 0)
  end, limit)
  if not self.output:find(pattern) then
    error(('%s %s without printing %q; it printed:\n%s'):format(self.name,
      waited and 'ended with status ' .. self.status or 'waits', pattern, self.output), 2)
  end
  return self.output:match(pattern)
end

--- Waits until it has ended by itself and all it printed has been read; returns its exit status.
function Program:waitForEnd(limit)
  local waited = pcall(helper.runUntil, function () return self.status and self.reading == 0 end, limit)
  if not waited then error(('%s does not end; it printed:\n%s'):format(self.name, self.output), 2) end
  return self.status
end

--- Kills it with `signal`, SIGKILL by default. It is still to be ended.
function Program:kill(signal)
  if not self.status then self.handle:kill(signal or 'sigkill') end
end

--- Ends it, waits until it has ended, and gives its pipes back.
function Program:stop()
  if not running[self] then return end
  running[self] = nil
  self:kill()
  helper.runUntil(function () return self.status end)
  for _, pipe in ipairs(self.pipes) do
    if not pipe:is_closing() then pipe:close() end
  end
  self.handle:close()
end

--- Ends all that a spec has started.
function program.stopAll()
  for each in pairs(helper.merge(running)) do each:stop() end
end

--- Whether a program can be found on the path.
function program.exists(file)
  for directory in os.getenv('PATH'):gmatch('[^:]+') do
    if uv.fs_access(directory .. '/' .. file, 'X') then return true end
  end
  return false
end

--- Fails where one of these programs is missing.
function program.need(...)
  for _, file in ipairs({ ... }) do
    assert(program.exists(file), file .. ' is missing: see tools/deps.sh')
  end
end

--- A UDP port that is free just now, for programs that must be told one.
function program.freePort()
  local udp = uv.new_udp()
  assert(udp:bind('0.0.0.0', 0))
  local port = udp:getsockname().port
  udp:close()
  return port
end

return program
