-- doc/api.md, compared with the objects that it is about and with the annotations it is made of.

local coro = require('dtls/coro')
local dtls = require('dtls')
local helper = require('spec.helper')
local metrics = require('dtls/metrics')
local options = require('dtls/options')
local program = require('spec.support.program')

local page = helper.read('doc/api.md')

local classes = {
  ['dtls-emitter'] = require('dtls/emitter'),
  ['dtls-endpoint'] = require('dtls/endpoint'),
  ['dtls-server'] = require('dtls/server'),
  ['dtls-session'] = require('dtls/session'),
  ['dtls-coroserver'] = require('dtls/coro_server'),
  ['dtls-corosession'] = require('dtls/coro_session'),
}

-- What classes have for each other, beside what begins with an underline.
local INTERNAL = { new = true, extend = true, initialize = true }

-- The public functions of a table, by the name that their heading has in a link.
local function functionsOf(of, prefix)
  local list = {}
  for name, value in pairs(of) do
    if type(value) == 'function' and not name:find('^_') and not INTERNAL[name] then
      list[prefix .. '-' .. name:lower()] = true
    end
  end
  return list
end

describe('the page of the API', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('has every public function, and none that there is not', function ()
    local live = helper.merge(
      functionsOf(dtls, 'dtls'), functionsOf(coro, 'coro'), functionsOf(metrics, 'metrics'))
    for prefix, class in pairs(classes) do live = helper.merge(live, functionsOf(class, prefix)) end
    local documented = {}
    for id in page:gmatch('<a id="([%w-]+)"></a>\n\n### `[%w.:]+%(') do documented[id] = true end
    assert.same(live, documented)
  end)

  it('has every option, and none that there is not', function ()
    -- The rows of a table, and those of the tables it adds to.
    local function rows(name)
      local text = page:match('### dtls%.' .. name .. '\n(.-)\n<a id=')
      local found = {}
      for parent in (text:match('It has all of ([^\n]*)') or ''):gmatch('`dtls%.(%w+)`') do
        found = helper.merge(found, rows(parent))
      end
      for option in text:gmatch('\n| `(%w+)` |') do found[option] = true end
      return found
    end
    local function keys(of)
      local found = {}
      for name in pairs(of) do found[name] = true end
      return found
    end
    assert.same(keys(options.createEndpoint), rows('EndpointOptions'))
    assert.same(keys(options.connect), rows('ConnectOptions'))
    assert.same(keys(options.createContext), rows('ContextOptions'))
    assert.same(keys(options.endpointConnect), rows('PeerOptions'))
    assert.same(keys(helper.merge(options.connect, { recvQueueSize = true })), rows('CoroConnectOptions'))
  end)

  local function check(script)
    local child = program.start('sh', { '-c', script })
    return child:waitForEnd(), child
  end

  it('is what the annotations say', function ()
    local status, child = check('luajit tools/apidoc.lua --check')
    assert.equal(0, status, child.output)
  end)

  it('is not when a word has been changed, and the check says which and what to do', function ()
    local status, child = check([[
      there=$(mktemp -d) && trap 'rm -r "$there"' EXIT
      cp -r tools lua doc "$there" && cd "$there"
      sed -i 's/^Ends the session at once, /Ends it, /' doc/api.md
      luajit tools/apidoc.lua --check
    ]])
    assert.equal(1, status)
    assert.matches('^doc/api%.md:%d+ is not what the annotations say: run `make api`%.\n'
      .. '%- Ends it, [^\n]*\n%+ Ends the session at once, [^\n]*\n$', child.output)
  end)

  it('cannot be made where a public function has no comment', function ()
    local status, child = check([[
      there=$(mktemp -d) && trap 'rm -r "$there"' EXIT
      cp -r tools lua doc "$there" && cd "$there"
      printf '\nfunction Session:wave() end\n' >>lua/dtls/payload.lua
      luajit tools/apidoc.lua
    ]])
    assert.equal(1, status)
    assert.equal('dtls.Session:wave has no comment\n', child.output)
  end)
end)
