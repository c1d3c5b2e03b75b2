//! Raw public keys (RFC 7250): a peer that has nothing but its key, and is known by it.
//!
//! They need no option of their own to be presented. A `key` without a `cert` is presented as it is; one
//! with a `cert` too, to a client that takes nothing else, and to a server of such a client's kind where
//! we are one ourselves. Accepted are those that were given, and no others.

use crate::config::{Config, Refusal};
use crate::ffi;
use crate::ffi::raw_key::CertificateType::{self, RawPublicKey, X509};
use openssl::pkey::{PKey, Public};

/// Reads the keys of the peers that a configuration accepts; `None` where it knows of none.
///
/// # Errors
///
/// A [`Refusal`] of `raw_public_keys`.
pub fn read_all(config: &Config) -> Result<Option<Vec<PKey<Public>>>, Refusal> {
    let Some(texts) = &config.raw_public_keys else { return Ok(None) };
    let refuse = |sentence| Err(Refusal::new("raw_public_keys", sentence));
    if !ffi::raw_key::AVAILABLE {
        return refuse("cannot be used: OpenSSL has raw public keys since 3.2");
    }
    // With a hook the list may be empty: who is welcome is the hook's to know.
    if texts.is_empty() && !config.ask_peer {
        return refuse("is an empty list, so nobody could be accepted");
    }
    let keys: Result<Vec<_>, _> = texts.iter().map(|pem| PKey::public_key_from_pem(pem)).collect();
    ffi::clear_errors();
    match keys {
        Ok(keys) => Ok(Some(keys)),
        Err(_) => refuse(
            "holds what is not a public key in PEM (\"-----BEGIN PUBLIC KEY-----\"): \
             pass the text itself, not a file's name",
        ),
    }
}

/// What we may present ourselves with and what a peer may, the best first; empty where that is an X.509
/// certificate and nothing is to be said.
pub struct Types {
    /// Ours.
    pub own: &'static [CertificateType],
    /// The peer's.
    pub peer: &'static [CertificateType],
}

impl Types {
    /// The types of a server with these certificates and keys.
    pub fn of_server(config: &Config) -> Types {
        let own: &[_] = match (config.cert.is_empty(), config.key.is_empty()) {
            (_, true) => &[],
            (true, false) => &[RawPublicKey],
            (false, false) => &[X509, RawPublicKey],
        };
        Types { own, peer: Types::accepted(config) }
    }

    /// The types of a client with these certificates and keys.
    pub fn of_client(config: &Config) -> Types {
        let own: &[_] = match (config.cert.is_empty(), config.key.is_empty()) {
            (_, true) => &[],
            (true, false) => &[RawPublicKey],
            (false, false) if config.raw_public_keys.is_some() => &[X509, RawPublicKey],
            (false, false) => &[],
        };
        Types { own, peer: Types::accepted(config) }
    }

    /// Beside raw keys certificates are accepted where it was said which.
    fn accepted(config: &Config) -> &'static [CertificateType] {
        match (&config.raw_public_keys, config.ca.is_some() || config.fingerprints.is_some()) {
            (None, _) => &[],
            (Some(_), false) => &[RawPublicKey],
            (Some(_), true) => &[RawPublicKey, X509],
        }
    }
}
