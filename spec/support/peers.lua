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

local function hex(bytes)
  return (bytes:gsub('.', function (byte) return ('%02x'):format(byte:byte()) end))
end

--- Options of `openssl s_client` for a pre-shared key. It takes any server's hint.
--- @param psk { identity: string, key: string }
function peers.sClientPsk(psk, ciphers)
  return { '-psk', hex(psk.key), '-psk_identity', psk.identity, '-cipher', ciphers }
end

--- Options of `openssl s_server` for a pre-shared key and no certificate. It goes on with whoever has
--- the key: of another identity it only warns.
function peers.sServerPsk(psk, ciphers, hint)
  return peers.list({ '-nocert' }, peers.sClientPsk(psk, ciphers), hint and { '-psk_hint', hint } or {})
end

--- The priority string of GnuTLS's programs for `suites`, '+PSK' or '+ECDHE-PSK' and more. What
--- gnutls-cli 3.7 prints of (EC)DHE-PSK is a segmentation fault: give it +PSK.
function peers.pskPriority(suites)
  return peers.PRIORITY .. ':-KX-ALL:' .. suites
end

--- Options of `gnutls-cli` for a pre-shared key.
function peers.gnutlsCliPsk(psk, suites)
  return {
    '--pskusername', psk.identity, '--pskkey', hex(psk.key), '--priority', peers.pskPriority(suites),
  }
end

--- Options of `gnutls-serv` for a pre-shared key. Of an unknown identity it says nothing: it makes up a
--- key, as RFC 4279 has it.
function peers.gnutlsServPsk(psk, suites, hint)
  return {
    '--pskpasswd', pki.write('passwd.psk', psk.identity .. ':' .. hex(psk.key) .. '\n'),
    '--pskhint', hint or '', '--priority', peers.pskPriority(suites),
  }
end

--- The priority string of GnuTLS's programs where both ends show raw public keys, and nothing else. In
--- a list of several types GnuTLS takes the first that the other has as well: X.509.
peers.RAW_PRIORITY = peers.PRIORITY .. ':-CTYPE-ALL:+CTYPE-CLI-RAWPK:+CTYPE-SRV-RAWPK'

--- Options of GnuTLS's programs for raw public keys (RFC 7250). None of them can verify one.
function peers.gnutlsRaw(identity)
  local _, path = pki.publicKey(identity)
  return { '--priority', peers.RAW_PRIORITY, '--rawpkfile', path, '--rawpkkeyfile', identity.keyPath }
end

--- What is written after `pattern` in hexadecimal digits, as bytes.
function peers.waitForHex(peer, pattern)
  local digits = peer:waitFor(pattern .. '(%x+)\n')
  return (digits:gsub('%x%x', function (pair) return string.char(tonumber(pair, 16)) end))
end

return peers
