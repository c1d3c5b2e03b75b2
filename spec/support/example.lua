--- The examples as children, run from the directory of `pki`, where cert.pem, key.pem and keys.psk lie.

local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local uv = helper.uv

local example = {}

local root = uv.cwd()
example.environment = {
  LUA_PATH = ('%s/lua/?.lua;%s/lua/?/init.lua;'):format(root, root) .. package.path,
  LUA_CPATH = ('%s/build/?.so;'):format(root) .. package.cpath,
  DTLS_LOG = '', COAP_KEY = 'a key of 16 bytes',
}

--- The PSK identity in keys.psk and its key, which is in hexadecimal digits there.
example.psk = { identity = 'lamp-7', key = 'sixteen bytes or' }

local function prepare()
  if uv.fs_stat(pki.path('keys.psk')) then return end
  local identity = helper.localhost()
  pki.write('cert.pem', identity.cert)
  pki.write('key.pem', identity.key)
  local hex = example.psk.key:gsub('.', function (byte) return ('%02x'):format(byte:byte()) end)
  pki.write('keys.psk', ('%s:%s\n'):format(example.psk.identity, hex))
end

local function start(...)
  prepare()
  return program.start('env', { '-C', pki.path(''), ... }, example.environment)
end

--- Starts an example as a person does.
--- @return spec.Program
function example.start(name, ...)
  return start('luajit', root .. '/examples/' .. name, ...)
end

--- Starts an example as Luvit starts every program: in a coroutine, and without a global `arg`.
--- @return spec.Program
function example.startInCoroutine(name, ...)
  return start('luajit', root .. '/spec/support/coroutine.lua', root .. '/examples/' .. name, ...)
end

--- Starts another program beside them.
--- @return spec.Program
function example.run(...)
  return start(...)
end

--- Interrupts it as Control-C does, and waits until it has ended; returns its exit status.
function example.interrupt(child)
  child:kill('sigint')
  return child:waitForEnd()
end

--- The port that a server has printed.
function example.portOf(child)
  return tonumber((child:waitFor('listen%a* on .-port (%d+)\n')))
end

return example
