-- Luvit's process: it hears of an error that nobody else listens to, and ends where it is told to.

local dtls = require('dtls')

local identity = dtls.generateCertificate()
local server = dtls.createServer({ cert = identity.cert, key = identity.key })
assert(server:listen(0, '127.0.0.1'))
local session = dtls.connect({ host = 'localhost', port = server:address().port, ca = identity.cert })
session:on('secureConnection', function ()
  -- It trusts nobody whom we know, and does not listen for errors.
  dtls.connect({ host = 'localhost', port = server:address().port, fingerprints = ('00'):rep(32) })
end)
process:on('error', function (err)
  print('unheard', err:match('^%u+'))
  -- With sessions open.
  process:exit(7)
end)
