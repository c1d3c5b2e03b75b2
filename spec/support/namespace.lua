--- Networks of a spec's own, in Linux's network namespaces: nothing in them reaches anything else.

local assert = require('luassert')
local program = require('spec.support.program')

local namespace = {}

-- It takes rights that not everybody has.
local possible = os.execute('unshare -n true 2>/dev/null') == 0

--- A claim that needs one; pending where none can be made.
function namespace.it(claim, fn)
  -- busted's words are at hand in specs alone.
  local spec = getfenv(2)
  spec.it(claim, function ()
    if not possible then spec.pending('this needs the right to make a network namespace') return end
    fn()
  end)
end

local function run(shell, ...)
  local child = program.start('unshare', { '-n', 'sh', '-c', shell, ... }, {
    LUA_PATH = package.path, LUA_CPATH = package.cpath,
  })
  assert.equal(0, child:waitForEnd(20000), child.output)
  return child.output
end

-- What both scripts find there.
local BEFORE = [[
  io.stdout:setvbuf('line')
  local dtls = require('dtls')
  local uv = dtls.uv
  local function shell(command) assert(os.execute(command) == 0, command) end
]]

--- Runs a script where there is a loopback interface and nothing else. `dtls`, `uv` and `shell(command)` are
--- at hand. Returns what it has printed.
function namespace.run(script)
  return run('ip link set lo up && exec luajit -e "$0"', BEFORE .. script .. ' uv.run()')
end

--- Runs two scripts at two ends of a cable: the first at the interface `left`, fe80::1, the other at `right`,
--- fe80::2. Returns what they have printed.
function namespace.cable(left, right)
  return run([[
    set -e
    ip link set lo up
    unshare -n sleep 60 & there=$!
    until [ "$(readlink /proc/$there/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
    ip link add left type veth peer name right netns $there
    ip link set left addrgenmode none
    ip address add fe80::1/64 dev left nodad
    ip link set left up
    nsenter -t $there -n sh -c '
      ip link set lo up
      ip link set right addrgenmode none
      ip address add fe80::2/64 dev right nodad
      ip link set right up'
    nsenter -t $there -n luajit -e "$1" & peer=$!
    luajit -e "$0"
    wait $peer
    kill $there
  ]], BEFORE .. left .. ' uv.run()', BEFORE .. right .. ' uv.run()')
end

return namespace
