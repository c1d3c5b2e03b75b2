//! Which cipher suites are offered, and what each needs.

use crate::config::{Config, Profile};
use crate::psk::Psk;

/// Whatever list is given: no suite that leaves the peer or the data unprotected. Nor RSA-PSK, which asks
/// for a key and a certificate both, is not forward-secret, and is spoken by nobody.
pub const NEVER: &str = ":!aNULL:!eNULL:!kRSAPSK";

/// Forward-secret key exchange with authenticated encryption: nothing else by default (RFC 9325).
/// AES-128 first: as safe for the life of a session, and cheaper.
const CERTIFICATES: &str = "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20";

/// Authenticated by a pre-shared key. Forward-secret ones first (RFC 7905, 5487); then those that
/// everybody has, whose recorded traffic the key opens (OpenSSL has no ECDHE-PSK with AES-GCM).
const PSK_FORWARD_SECRET: &str =
    "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256:DHE-PSK-AES256-GCM-SHA384";
const PSK_PLAIN: &str = "PSK-AES128-GCM-SHA256:PSK-AES256-GCM-SHA384:PSK-CHACHA20-POLY1305:PSK-AES128-CCM";

/// What RFC 7925 sections 4.2 and 4.4 have every device speak.
const IOT_CERTIFICATES: &str = "ECDHE-ECDSA-AES128-CCM8:ECDHE-ECDSA-AES128-CCM";
const IOT_PSK: &str = "PSK-AES128-CCM8";

/// The cipher list of a configuration that names none.
pub fn default_list(config: &Config) -> String {
    let psk = config.psk.is_some();
    // Who has a key alone gets no certificate suites: there would be nothing to verify with.
    let verifies = config.ca.is_some()
        || config.fingerprints.is_some()
        || config.raw_public_keys.is_some()
        || config.ask_peer;
    let certificates = !psk || !config.key.is_empty() || verifies;
    let iot = config.profile == Profile::Iot;
    // What RFC 7925 prescribes comes first where both ends are of its profile: a device may have
    // nothing else, and has it in hardware.
    let lists = [
        (certificates && iot, IOT_CERTIFICATES),
        (psk && iot, IOT_PSK),
        (psk, PSK_FORWARD_SECRET),
        (certificates, CERTIFICATES),
        (psk, PSK_PLAIN),
    ];
    let wanted: Vec<_> = lists.into_iter().filter_map(|(wanted, list)| wanted.then_some(list)).collect();
    wanted.join(":")
}

/// How the server of a suite proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// With a certificate that has an RSA key.
    Rsa,
    /// With one that has an ECDSA key.
    Ecdsa,
    /// With a pre-shared key, as does the client.
    Psk,
}

impl Authentication {
    /// Reads it off OpenSSL's name of a cipher suite.
    pub fn of_suite(name: &str) -> Authentication {
        if name.contains("ECDSA") {
            Authentication::Ecdsa
        } else if uses_psk(name) {
            Authentication::Psk
        } else {
            Authentication::Rsa
        }
    }
}

/// Whether a suite's key exchange takes a pre-shared key, and so nobody shows a certificate.
pub fn uses_psk(suite: &str) -> bool {
    suite.contains("PSK-")
}

/// Whether the suite can be used with these pre-shared keys and these kinds of certificates.
pub fn is_usable(suite: &str, psk: Option<&Psk>, certificates: &[Authentication]) -> bool {
    match Authentication::of_suite(suite) {
        Authentication::Psk => psk.is_some(),
        proof => certificates.contains(&proof),
    }
}
