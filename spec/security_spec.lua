-- doc/security.md, compared with the code whose defaults it argues and the tests that it names.

local cited = require('spec.support.cited')
local helper = require('spec.helper')

local page = helper.read('doc/security.md')

local function tells(value)
  assert.truthy(page:find(value, 1, true), value .. ' is missing')
end

describe('the page of security', function ()
  it('names tests that are there', function ()
    assert.is_true(cited.check(page) > 15)
  end)

  it('tells the cipher suites as they are', function ()
    local source, count = helper.read('src/suites.rs'), 0
    for list in source:gmatch('const %u[%u_]*: &str =%s*"([^"]+)"') do
      tells(list)
      count = count + 1
    end
    assert.equal(6, count)
    tells(source:match('NEVER: &str = "([^"]+)"'))
  end)

  it('tells the groups, and every option and mode that all contexts have', function ()
    local source = helper.read('src/context.rs')
    tells(source:match('DEFAULT_GROUPS: &str = "([^"]+)"'))
    local mandatory = source:match('\nfn mandatory.-\n}')
    local count = 0
    for kind, name in mandatory:gmatch('Ssl(%u%l+)s?::([%u_]+)') do
      tells(name)
      count = count + 1
      assert.truthy(kind == 'Options' or kind == 'Mode')
    end
    assert.equal(7, count)
    tells('NO_ENCRYPT_THEN_MAC')
  end)

  it('tells sizes and times as they are', function ()
    local config = helper.read('src/config.rs')
    tells('`mtu` ' .. config:match('\n        Mtu%((%d+)%)\n'))
    tells(config:match('session_timeout_s: (%d+)') .. ' s')
    assert.equal('1000', config:match('retransmit_timeout_ms: (%d+)'))
    assert.truthy(helper.read('lua/dtls/init.lua'):find('general = 30 * 1000', 1, true))
    local screen, reassembly = helper.read('src/screen.rs'), helper.read('src/reassembly.rs')
    tells(screen:match('HELD_RECORDS: usize = (%d+)') .. ' sealed records, '
      .. screen:match('HELD_BYTES: usize = (%d+) %* 1024') .. ' KiB')
    local size = '.-(%d+) %* 1024'
    local server, client, other = reassembly:match('fn longest_message' .. size:rep(3))
    tells(server .. ' KiB from a server, ' .. client .. ' KiB from a client')
    tells('messages of ' .. other .. ' KiB')
  end)

  it('tells the limits as they are', function ()
    local source = helper.read('lua/dtls/places.lua')
    for _, name in ipairs({ 'maxSessions', 'maxSessionsPerHost', 'maxHandshakes' }) do
      local number, thousands = source:match('\n  ' .. name .. ' = (%d+)( ?%*? ?%d*)')
      if thousands ~= '' then number = number .. '000' end
      tells(('`%s` %s'):format(name, (number:gsub('000$', ' 000'))))
    end
  end)
end)
