--- Certificate authorities and what they issue, made by the openssl command. Everything is made
--- once a process, in a directory that `pki.remove()` takes away.

local program = require('spec.support.program')
local helper = require('spec.helper')
local uv = helper.uv

local pki = {}

local directory
local made = {}

--- The path of a file in the directory.
function pki.path(name)
  directory = directory or assert(uv.fs_mkdtemp(uv.os_tmpdir() .. '/dtls-spec-XXXXXX'))
  return directory .. '/' .. name
end

local function openssl(...)
  local child = program.start('openssl', { ... })
  local status = child:waitForEnd(20000)
  local output = child.output
  child:stop()
  if status ~= 0 then error(output, 2) end
  return output
end

--- Writes a file into the directory and returns its path.
function pki.write(name, text)
  local path = pki.path(name)
  local file = assert(io.open(path, 'w'))
  file:write(text)
  file:close()
  return path
end

local keyOptions = {
  ecdsa = { '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256' },
  rsa = { '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048' },
  -- Four primes are found in a tenth of the time that two take. Nobody can tell from outside.
  rsa4096 = {
    '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096', '-pkeyopt', 'rsa_keygen_primes:4',
  },
}

-- An RSA key takes long to find: one serves all who want one of that size.
local function key(id, kind)
  local path = pki.path((kind == 'ecdsa' and id or kind) .. '.key')
  if not uv.fs_stat(path) then openssl('genpkey', '-out', path, unpack(keyOptions[kind])) end
  return path
end

local function certificate(id, keyPath, issuer, ...)
  local path = pki.path(id .. '.pem')
  local args = {
    'req', '-x509', '-new', '-sha256', '-days', '2', '-key', keyPath, '-subj', '/CN=' .. id, '-out', path,
  }
  if issuer then
    args[#args + 1] = '-CA'
    args[#args + 1] = issuer.certPath
    args[#args + 1] = '-CAkey'
    args[#args + 1] = issuer.keyPath
  end
  for _, extension in ipairs({ ... }) do
    args[#args + 1] = '-addext'
    args[#args + 1] = extension
  end
  openssl(unpack(args))
  return { certPath = path, keyPath = keyPath, cert = helper.read(path), key = helper.read(keyPath) }
end

-- They sign handshakes as well, where a spec wants nothing but a certificate.
local CA = 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature'

--- A certificate authority: `{ cert, key, certPath, keyPath }`, texts in PEM and their files.
--- @param kind? 'ecdsa'|'rsa'
function pki.ca(id, kind)
  made[id] = made[id] or certificate(id, key(id, kind or 'ecdsa'), nil, CA)
  return made[id]
end

--- What a certificate authority has issued to `localhost` and 127.0.0.1, or to `names`, written as
--- openssl has them: 'DNS:a.test,DNS:*.b.test'.
--- @param kind? 'ecdsa'|'rsa'
--- @param names? string
function pki.identity(id, kind, names)
  local issuer = pki.ca('authority')
  made[id] = made[id] or certificate(id, key(id, kind or 'ecdsa'), issuer,
    'basicConstraints=CA:FALSE', 'subjectAltName=' .. (names or 'DNS:localhost,IP:127.0.0.1'))
  return made[id]
end

--- A self-signed identity with a subject, written as openssl has it ('/CN=lamp'), and further extensions.
--- @param extensions string[]
function pki.selfSigned(id, subject, extensions)
  if made[id] then return made[id] end
  local keyPath, path = key(id, 'ecdsa'), pki.path(id .. '.pem')
  local args = {
    'req', '-x509', '-new', '-sha256', '-days', '2', '-key', keyPath, '-subj', subject, '-out', path,
  }
  for _, extension in ipairs(extensions) do
    args[#args + 1] = '-addext'
    args[#args + 1] = extension
  end
  openssl(unpack(args))
  made[id] = { certPath = path, keyPath = keyPath, cert = helper.read(path), key = helper.read(keyPath) }
  return made[id]
end

-- For `openssl ca`, the one command that takes dates.
local DATING = [[
[ca]
default_ca = dated
[dated]
database = %s
new_certs_dir = %s
rand_serial = yes
default_md = sha256
unique_subject = no
policy = anything
x509_extensions = names
[anything]
commonName = supplied
[names]
subjectAltName = DNS:localhost,IP:127.0.0.1
]]

--- A self-signed identity of `localhost` and 127.0.0.1 that is valid from a year's beginning to another's.
--- @param from integer
--- @param to integer
function pki.dated(id, from, to)
  if made[id] then return made[id] end
  local keyPath, path = key(id, 'ecdsa'), pki.path(id .. '.pem')
  local request, database = pki.path(id .. '.csr'), pki.write(id .. '.txt', '')
  local config = pki.write(id .. '.cnf', DATING:format(database, pki.path('.')))
  openssl('req', '-new', '-key', keyPath, '-subj', '/CN=' .. id, '-out', request)
  openssl('ca', '-batch', '-selfsign', '-notext', '-config', config, '-keyfile', keyPath, '-in', request,
    '-startdate', from .. '0101000000Z', '-enddate', to .. '0101000000Z', '-out', path)
  made[id] = { certPath = path, keyPath = keyPath, cert = helper.read(path), key = helper.read(keyPath) }
  return made[id]
end

--- The SHA-256 fingerprint of an identity's certificate, as openssl writes it: 'AB:CD:…'.
function pki.fingerprint(identity)
  local output = openssl('x509', '-in', identity.certPath, '-noout', '-fingerprint', '-sha256')
  return output:match('Fingerprint=([%x:]+)')
end

--- The public key of an identity, in PEM, and its file.
function pki.publicKey(identity)
  local path = identity.keyPath .. '.pub'
  openssl('pkey', '-in', identity.keyPath, '-pubout', '-out', path)
  return helper.read(path), path
end

-- What the authority keeps of an identity's certificate: a line of the file that `openssl ca` and
-- `openssl ocsp` call their index.
local function entry(identity, revoked)
  local output = openssl('x509', '-in', identity.certPath, '-noout', '-serial')
  return table.concat({
    revoked and 'R' or 'V', '491231235959Z', revoked and '200101000000Z,keyCompromise' or '',
    output:match('serial=(%x+)'), 'unknown', '/CN=unimportant',
  }, '\t') .. '\n'
end

--- An OCSP response of the authority about one of its certificates, in DER, and its file.
--- @param revoked? boolean
function pki.ocspResponse(identity, revoked)
  local issuer = pki.ca('authority')
  local path = identity.certPath .. (revoked and '.revoked.der' or '.good.der')
  if uv.fs_stat(path) then return helper.read(path), path end
  openssl('ocsp', '-index', pki.write('ocsp.index', entry(identity, revoked)), '-CA', issuer.certPath,
    '-rsigner', issuer.certPath, '-rkey', issuer.keyPath, '-issuer', issuer.certPath,
    '-cert', identity.certPath, '-no_nonce', '-ndays', '2', '-respout', path)
  return helper.read(path), path
end

--- A list of the authority's that has these identities' certificates revoked, in PEM, and its file.
function pki.crl(...)
  local issuer, entries = pki.ca('authority'), {}
  for index, identity in ipairs({ ... }) do entries[index] = entry(identity, true) end
  local index = pki.write('crl.index', table.concat(entries))
  pki.write('crl.index.attr', '')
  local config = pki.write('crl.cnf', table.concat({
    '[ca]', 'default_ca = authority', '[authority]', 'database = ' .. index, 'default_md = sha256',
    'default_crl_days = 2', '',
  }, '\n'))
  local path = pki.path('revoked-' .. #entries .. '.crl')
  openssl('ca', '-config', config, '-gencrl', '-keyfile', issuer.keyPath, '-cert', issuer.certPath,
    '-out', path)
  return helper.read(path), path
end

--- An identity of three certificates with RSA-4096 keys, about 4 KiB, under a root of its own:
--- `{ cert, key, ca, caPath }`.
function pki.longChain()
  if made.chain then return made.chain end
  local keyPath = key('chain', 'rsa4096')
  local root = certificate('chain-root', keyPath, nil, CA)
  local upper = certificate('chain-upper', keyPath, root, CA)
  local lower = certificate('chain-lower', keyPath, upper, CA)
  local leaf = certificate('chain-leaf', keyPath, lower,
    'basicConstraints=CA:FALSE', 'subjectAltName=DNS:localhost,IP:127.0.0.1')
  made.chain = {
    cert = leaf.cert .. lower.cert .. upper.cert, key = leaf.key, ca = root.cert, caPath = root.certPath,
  }
  return made.chain
end

--- Removes the directory.
function pki.remove()
  if not directory then return end
  for name in uv.fs_scandir_next, assert(uv.fs_scandir(directory)) do
    uv.fs_unlink(directory .. '/' .. name)
  end
  uv.fs_rmdir(directory)
  directory, made = nil, {}
end

return pki
