--- Peers of other makers: OpenSSL's own programs and GnuTLS's, over DTLS 1.2 on 127.0.0.1. Those
--- that verify trust `pki.ca('authority')`, and those that are servers are `pki.identity('server')`.

local pki = require('spec.support.pki')
local program = require('spec.support.program')

local peers = {}

--- Adds what other lists hold to `first`. Of options given twice the later one counts.
function peers.list(first, ...)
  for _, more in ipairs({ ... }) do
    for _, each in ipairs(more) do first[#first + 1] = each end
  end
  return first
end

--- `openssl s_client`: sends what it reads, line by line, and prints what it receives.
function peers.sClient(port, more)
  return program.start('openssl', peers.list({
    's_client', '-dtls1_2', '-connect', '127.0.0.1:' .. port, '-CAfile', pki.ca('authority').certPath,
  }, more or {}))
end

--- `openssl s_server`, ready, and its port. `manner` is `{ '-dtls1_2', '-listen' }` by default, the
--- second of which has it ask for cookies.
function peers.sServer(more, identity, manner)
  identity = identity or pki.identity('server')
  local peer = program.start('openssl', peers.list({
    's_server', '-accept', '127.0.0.1:0', '-CAfile', pki.ca('authority').certPath,
    '-cert', identity.certPath, '-key', identity.keyPath,
  }, manner or { '-dtls1_2', '-listen' }, more or {}))
  return peer, tonumber(peer:waitFor('ACCEPT 127%.0%.0%.1:(%d+)'))
end

--- The priority string that leaves DTLS 1.2.
peers.PRIORITY = 'NORMAL:-VERS-ALL:+VERS-DTLS1.2'

--- `gnutls-cli`: sends what it reads, once its handshake is completed, and prints what it receives.
function peers.gnutlsCli(port, more)
  return program.start('gnutls-cli', peers.list({
    '--udp', '--port', port, '--priority', peers.PRIORITY,
    '--x509cafile', pki.ca('authority').certPath, '127.0.0.1',
  }, more or {}))
end

--- `gnutls-serv`, ready, and its port. It echoes.
function peers.gnutlsServ(more)
  local port, identity = program.freePort(), pki.identity('server')
  local peer = program.start('gnutls-serv', peers.list({
    '--udp', '--echo', '--quiet', '--port', port, '--priority', peers.PRIORITY,
    '--x509cafile', pki.ca('authority').certPath,
    '--x509certfile', identity.certPath, '--x509keyfile', identity.keyPath,
  }, more or {}))
  peer:waitFor('IPv4 0%.0%.0%.0 port %d+%.%.%.done')
  return peer, port
end

return peers
