--- `dtls-nc` as a child of a spec, run from the checkout by LuaJIT.

local helper = require('spec.helper')
local program = require('spec.support.program')

local nc = {}

--- What it needs to find its modules, and nothing that would change what it says.
nc.environment = { LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = '', NO_COLOR = '' }

--- Starts it.
--- @return spec.Program
function nc.start(...)
  return program.start('luajit', { 'bin/dtls-nc', ... }, nc.environment)
end

--- Starts it with standard input and output of a shell's making: `<in >out`. In a pipe it is the shell's
--- child, and not to outlive that.
--- @param redirection string
function nc.redirected(redirection, ...)
  local command = 'exec setpriv --pdeathsig KILL luajit bin/dtls-nc "$@" ' .. redirection
  return program.start('sh', { '-c', command, 'sh', ... }, nc.environment)
end

--- Waits until a server listens. Returns its port, and the fingerprint if it made its certificate.
function nc.ready(server)
  local port = server:waitFor('listening on %S+:(%d+)\n')
  return port, server.output:match('fingerprint ([%x:]+)')
end

--- Starts a server on a free port of 127.0.0.1.
--- @return spec.Program server, string port, string? fingerprint
function nc.server(...)
  local arguments = { ... }
  arguments[#arguments + 1] = '127.0.0.1'
  arguments[#arguments + 1] = 0
  local server = nc.start('-l', unpack(arguments))
  return server, nc.ready(server)
end

--- Starts a client that trusts the certificate with a fingerprint.
--- @return spec.Program
function nc.client(port, fingerprint, ...)
  local arguments = { ... }
  if fingerprint then
    arguments[#arguments + 1] = '--fingerprint'
    arguments[#arguments + 1] = fingerprint
  end
  arguments[#arguments + 1] = '127.0.0.1'
  arguments[#arguments + 1] = port
  return nc.start(unpack(arguments))
end

--- Writes what is left to say, and ends a program's input.
function nc.say(child, text)
  if text then child:write(text) end
  child.stdin:shutdown()
  return child
end

--- Ends a server by Control-C, and returns its status.
function nc.interrupt(server)
  server:kill('sigint')
  return server:waitForEnd()
end

--- Random lines, as many bytes of them: empty ones, short ones and long ones.
function nc.lines(bytes, seed)
  math.randomseed(seed)
  local parts, length = {}, 0
  while length < bytes do
    local line = {}
    for index = 1, math.random(0, 160) do line[index] = string.char(math.random(33, 126)) end
    line[#line + 1] = '\n'
    local text = table.concat(line)
    if length + #text > bytes then text = text:sub(length + #text - bytes + 1) end
    parts[#parts + 1] = text
    length = length + #text
  end
  return table.concat(parts)
end

--- Ends everything that a spec has started.
function nc.stopAll()
  program.stopAll()
  helper.run()
end

return nc
