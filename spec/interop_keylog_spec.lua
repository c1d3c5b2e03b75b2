local ends = require('spec.support.ends')
local helper = require('spec.helper')
local peers = require('spec.support.peers')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

local server, connect, echoed = ends.certified, ends.trusting, ends.echoed
local sClient, sServer = peers.sClient, peers.sServer

setup(function () program.need('setpriv', 'openssl') end)

teardown(pki.remove)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

describe('a key log', function ()
  local LINE = '^CLIENT_RANDOM %x+ %x+$'

  -- The line that another program has written to its file.
  local function lineOf(path)
    local line
    helper.runUntil(function ()
      local file = io.open(path)
      if not file then return false end
      line = file:read('*a'):match('(CLIENT_RANDOM %x+ %x+)\n')
      file:close()
      return line
    end)
    return line
  end

  it('of a server has the line of openssl s_client', function ()
    local lines, session = {}, nil
    local _, port = server({ keylog = function (...) lines[#lines + 1] = { ... } end },
      function (each) session = each end)
    local path = pki.path('s_client.keys')
    echoed(sClient(port, { '-keylogfile', path }))
    assert.equal(1, #lines)
    assert.match(LINE, lines[1][1])
    assert.equal(lineOf(path), lines[1][1])
    assert.equal(session, lines[1][2])
  end)

  it('of a client has the line of openssl s_server', function ()
    local lines, path = {}, pki.path('s_server.keys')
    local _, port = sServer({ '-keylogfile', path })
    local session = ends.opened(connect(port, { keylog = function (...) lines[#lines + 1] = { ... } end }))
    assert.equal(1, #lines)
    assert.equal(lineOf(path), lines[1][1])
    assert.equal(session, lines[1][2])
  end)

  it('may be a file', function ()
    local ours, theirs = pki.path('ours.keys'), pki.path('theirs.keys')
    local _, port = sServer({ '-keylogfile', theirs })
    ends.opened(connect(port, { keylog = ours }))
    assert.equal(lineOf(theirs), lineOf(ours))
  end)
end)
