--- Certificates as users see them.

local certificate = {}

--- What a certificate says.
--- @class dtls.Certificate
--- @field subject table<string, string> attributes by short name: `CN`, `O`, …
--- @field issuer table<string, string> the same of who has signed it
--- @field subjectAltName string[] `DNS:example.org`, `IP:192.0.2.1`, …
--- @field serialNumber string upper-case hexadecimal
--- @field validFrom string when its time begins: `Nov 20 12:00:00 2026 GMT`
--- @field validTo string when it ends
--- @field fingerprint256 string SHA-256 of the DER form, upper-case hexadecimal with colons
--- @field pem string all of it in PEM
--- @field der string all of it in DER
--- @field chain? dtls.Certificate[] as presented, beginning with the peer's own; only there

local function public(from)
  return {
    subject = from.subject,
    issuer = from.issuer,
    subjectAltName = from.subject_alt_name,
    serialNumber = from.serial_number,
    validFrom = from.valid_from,
    validTo = from.valid_to,
    fingerprint256 = from.fingerprint256,
    pem = from.pem,
    der = from.der,
  }
end

--- The first certificate of the core's chain, with the chain; nil where the chain is empty.
--- @return dtls.Certificate?
function certificate.ofChain(from)
  local chain = {}
  for index, each in ipairs(from) do chain[index] = public(each) end
  local own = chain[1]
  if own then own.chain = chain end
  return own
end

--- What an `ocspResponse` hook is asked about.
--- @class dtls.StatusRequest
--- @field servername string? the host that the client wants (SNI), where it names one
--- @field certificates dtls.Certificate[] those that may be presented to it, each with its chain: one for
---   each key

--- What an `ocspResponse` hook is asked about.
--- @return dtls.StatusRequest
function certificate.statusRequest(from)
  local certificates = {}
  for index, chain in ipairs(from.chains) do certificates[index] = certificate.ofChain(chain) end
  return { servername = from.server_name, certificates = certificates }
end

--- What a `verify` hook sees of a peer.
--- @class dtls.Presented
--- @field certificate dtls.Certificate? the peer's own, with its chain
--- @field authorized boolean whether OpenSSL would have it
--- @field authorizationError string? why not, as `NAME: sentence`
--- @field name string? the name alone
--- @field publicKey string? its public key in PEM, from the certificate or raw (RFC 7250)
--- @field ocspResponse string? the OCSP response that a server has stapled, in DER
--- @field resumed boolean whether an earlier session with this peer is being resumed

--- What a `verify` hook sees of a peer.
--- @return dtls.Presented
function certificate.presented(from)
  return {
    certificate = certificate.ofChain(from.chain),
    authorized = from.authorized,
    authorizationError = from.authorization_error,
    name = from.name,
    publicKey = from.public_key,
    ocspResponse = from.ocsp_response,
    resumed = from.resumed,
  }
end

return certificate
