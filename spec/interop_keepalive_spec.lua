-- `keepAlive` with a message that a peer of the world answers: CoAP's ping, to which libcoap's server says
-- reset (RFC 7252 section 4.3).

local coap = require('spec.support.coap')
local ends = require('spec.support.ends')
local helper = require('spec.helper')
local program = require('spec.support.program')

-- libcoap answers four pings a second, and no more.
local MS = 300 * helper.slowness
local EMPTY, CONFIRMABLE, RESET = '0.00', 0, 3

setup(function ()
  for _, library in ipairs(coap.LIBRARIES) do program.need('coap-server-' .. library) end
end)

after_each(function ()
  program.stopAll()
  ends.closeAll()
end)

for _, library in ipairs(coap.LIBRARIES) do
  describe("keepAlive with CoAP's ping, to coap-server over " .. library .. ',', function ()
    it('keeps a quiet server, and notices when it does not run any more', function ()
      local peer, port = coap.server(library, { '-k', 'secret key' })
      local id = 0
      local session = ends.opened(ends.connect(port, {
        psk = { identity = 'dev-1', key = 'secret key' },
        keepAlive = {
          message = function ()
            id = id + 1
            return coap.encode({ kind = CONFIRMABLE, code = EMPTY, id = id })
          end,
          interval = MS, probes = 2,
        },
      }))
      helper.runUntil(function () return #session.seen == 4 end)
      for index = 2, 4 do
        local answer = coap.decode(session.seen[index][2])
        assert.same({ RESET, EMPTY, index - 1 }, { answer.kind, answer.code, answer.id })
      end
      -- It is there, and hears nothing.
      peer:kill('sigstop')
      local before = #session.seen
      helper.runUntil(function () return session.seen[before + 2] end)
      peer:kill('sigcont')
      assert.equal('ETIMEDOUT', session.seen[before + 1][3])
      assert.same({ 'close', 'timeout' }, session.seen[before + 2])
    end)
  end)
end
