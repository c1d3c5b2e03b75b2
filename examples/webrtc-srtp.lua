#!/usr/bin/env luajit
-- What two WebRTC peers do for their media: each makes a certificate and tells the other its fingerprint, in
-- SDP; the handshake proves that it is theirs, and both take the keys for SRTP from it (RFC 5763, RFC 5764).
-- Usage: luajit examples/webrtc-srtp.lua                     both ends, in this process
--        luajit examples/webrtc-srtp.lua PORT FINGERPRINT    one end, for another with this fingerprint

local dtls = require('dtls')

io.stdout:setvbuf('line')
local args = arg or { unpack(process.argv, 2) }
local profiles = { 'SRTP_AEAD_AES_128_GCM', 'SRTP_AES128_CM_SHA1_80' }

-- The certificate is as good as the way that SDP takes: nobody vouches for it but this line.
local alice, bob = dtls.generateCertificate(), not args[2] and dtls.generateCertificate() or nil
local theirs = bob and bob.fingerprint256 or args[2]
print('alice a=fingerprint:sha-256 ' .. alice.fingerprint256)
if bob then print('bob   a=fingerprint:sha-256 ' .. theirs) end

-- To be compared with the other end's. (A program that does not show how it works would not print them.)
local function show(name, session)
  local keys = session:getSrtpKeys()
  local material = keys.clientKey .. keys.serverKey .. keys.clientSalt .. keys.serverSalt
  material = material:gsub('.', function (byte) return ('%02X'):format(byte:byte()) end)
  print(('%-5s %s %s'):format(name, keys.profile, material))
  return material
end

local ofAlice, ofBob, server
server = dtls.createServer({
  cert = alice.cert, key = alice.key, requestCert = true, fingerprints = theirs, srtpProfiles = profiles,
}, function (session)
  ofAlice = show('alice', session)
  session:on('error', print)
  session:on('close', function () server:close() end)
end)
server:on('clientError', print)
assert(server:listen(tonumber(args[1] or 0), '127.0.0.1'))

if bob then
  local session = dtls.connect({
    port = server:address().port, cert = bob.cert, key = bob.key,
    fingerprints = alice.fingerprint256, srtpProfiles = profiles,
  }, function (session)
    ofBob = show('bob', session)
    print(ofAlice == ofBob and 'Both ends have the same keys.' or 'The keys are not the same.')
    session:close()
  end)
  session:on('error', print)
else
  print('listening on port ' .. server:address().port)
end

dtls.uv.run()
