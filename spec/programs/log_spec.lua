-- What DTLS_LOG shows, seen in processes of their own: the level is read when the module is loaded.

local helper = require('spec.helper')
local program = require('spec.support.program')

local hello = [[
local dtls = require('dtls')
local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key })
assert(server:listen(0, '127.0.0.1'))
local junk = dtls.uv.new_udp()
junk:try_send('junk', '127.0.0.1', server:address().port)
junk:close()
local session
session = dtls.connect({ port = server:address().port, rejectUnauthorized = false }, function ()
  session:close()
end)
session:on('close', function () server:close() end)
dtls.uv.run()
]]

local function logged(level)
  -- The two streams apart: the library owns no line of standard output.
  local child = program.start('sh', { '-c', 'luajit -e "$0" 2>&1 >/dev/null | sed s/^/log:/', hello }, {
    LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = level,
  })
  assert.equal(0, child:waitForEnd())
  return child.output
end

describe('the log', function ()
  after_each(function ()
    program.stopAll()
    helper.run()
  end)

  it('writes each line at once, so that those of several processes do not mix', function ()
    local child = program.start('luajit', { '-e', [[
      local writes = 0
      io.stderr = { write = function (_, ...) writes = writes + select('#', ...) end }
      require('dtls/log').info('%s and %d', 'one', 2)
      print(writes)
    ]] }, { LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = 'info' })
    child:waitForEnd()
    assert.equal('1\n', child.output)
  end)

  for _, level in ipairs({ '', 'none', 'error', 'warn' }) do
    it(('is silent at %q while nothing is wrong'):format(level), function ()
      assert.equal('', logged(level))
    end)
  end

  it('shows at info who comes and goes', function ()
    local output = logged('info')
    assert.matches('log:dtls info  connected 127%.0%.0%.1 port %d+: DTLSv1%.2 ECDHE%-', output)
    assert.matches('log:dtls info  closed 127%.0%.0%.1 port %d+: closed\n', output)
    assert.not_matches('debug', output)
  end)

  it('shows at debug who is admitted, and what is dropped why', function ()
    local output = logged('DEBUG')
    assert.matches('log:dtls debug admitted 127%.0%.0%.1 port %d+\n', output)
    assert.matches('log:dtls debug dropped a datagram of 127%.0%.0%.1 port %d+: malformed\n', output)
  end)

  it('draws at trace what goes over the wire, for every session', function ()
    local output = logged('trace')
    assert.truthy(output:find('log:dtls trace #1       ms  flight  client ', 1, true))
    assert.truthy(output:find('log:dtls trace #2       ms  flight  client ', 1, true))
    local finished = 0
    for _ in output:gmatch('══ Finished %(sealed%) ══') do finished = finished + 1 end
    -- Two of them, and each is sent and received.
    assert.equal(4, finished)
  end)

  it('leaves standard output alone', function ()
    local child = program.start('sh', { '-c', 'luajit -e "$0" 2>/dev/null', hello }, {
      LUA_PATH = package.path, LUA_CPATH = package.cpath, DTLS_LOG = 'trace',
    })
    assert.equal(0, child:waitForEnd())
    assert.equal('', child.output)
  end)
end)
