--- A command that talks to a peer: it reads the peer's messages and its output is sent. `--exec`.

local Input = require('dtls/nc/input')
local interpreted = require('dtls/interpreted')
local uv = require('dtls/loop').uv

-- How long a command may take to notice that its input has ended, and then that it has been told to end.
local PATIENCE_MS, LAST_PATIENCE_MS = 500, 2000

-- How much of a peer's may wait for a command that does not read. What comes then is lost.
local MOST_BYTES = 16 * 1024 * 1024

--- @class (private) dtls.nc.Exec
--- @field source dtls.nc.Input its output
--- @field private stdin userdata
--- @field private process userdata? nil once it has ended
local Exec = {}
Exec.__index = Exec

-- How many commands have not ended, and what is to be called when none is left.
local running, onNone = 0, nil

-- The environment of the command: this one, and who the peer is. Nothing in it is a secret.
local function environment(session)
  local peer = session:remoteAddress()
  local certificate = session:getPeerCertificate()
  local variables = uv.os_environ()
  variables.DTLS_PEER_IP, variables.DTLS_PEER_PORT = peer.ip, tostring(peer.port)
  variables.DTLS_PEER_FINGERPRINT = certificate and certificate.fingerprint256
  variables.DTLS_PSK_IDENTITY = session:getPskIdentity()
  variables.DTLS_CIPHER, variables.DTLS_ALPN = session:getCipher().name, session.alpnProtocol
  local list = {}
  for name, value in pairs(variables) do list[#list + 1] = name .. '=' .. value end
  return list
end
interpreted(environment)

-- The command has ended, or cannot be waited for. What it has left behind may still have its input.
local function giveBack(self)
  if not self.stdin:is_closing() then self.stdin:close() end
  self.timer:close()
end

--- Starts `sh -c command` for a session.
---
--- In a process group of its own, so that what it has started can be ended with it.
--- @param onExit fun(status: integer)
--- @return dtls.nc.Exec|nil, string?
function Exec.start(command, session, onExit)
  local stdin, stdout = uv.new_pipe(false), uv.new_pipe(false)
  local self = setmetatable({ stdin = stdin, source = Input.wrap(stdout), timer = uv.new_timer() }, Exec)
  self.process, self.pid = uv.spawn('sh', {
    args = { '-c', command }, stdio = { stdin, stdout, 2 }, env = environment(session), detached = true,
  }, function (code, signal)
    self.process:close()
    self.process, running = nil, running - 1
    if self.stopped then giveBack(self) end
    onExit(signal > 0 and 128 + signal or code)
    if running == 0 and onNone then onNone() end
  end)
  if self.process then
    running = running + 1
    return self
  end
  local err = self.pid
  stdin:close()
  stdout:close()
  self.timer:close()
  return nil, err
end

--- Calls back when no command is left, which may be here and now. Each has been told to stop.
--- @param callback fun()
function Exec.afterAll(callback)
  if running == 0 then callback() else onNone = callback end
end

--- Gives the command a message to read. Says whether there was room for it.
--- @return boolean
function Exec:write(message)
  if self.stopped or self.stdin:is_closing() then return true end
  if self.stdin:get_write_queue_size() + #message > MOST_BYTES then return false end
  -- That it does not read any more is no fault.
  self.stdin:write(message, function () end)
  return true
end

-- Its process group may be gone.
local function signal(self, name, patience, following)
  if not self.process then return end
  uv.kill(-self.pid, name)
  if following then self.timer:start(patience, 0, following) end
end

--- Ends the command: by the end of its input, then as by `kill`, and then as by `kill -9`.
function Exec:stop()
  if self.stopped then return end
  self.stopped = true
  self.source:close()
  if not self.process then return giveBack(self) end
  local stdin = self.stdin
  stdin:shutdown(function () if not stdin:is_closing() then stdin:close() end end)
  self.timer:start(PATIENCE_MS, 0, function ()
    if not stdin:is_closing() then stdin:close() end
    signal(self, 'sigterm', LAST_PATIENCE_MS, function () signal(self, 'sigkill') end)
  end)
end

return Exec
