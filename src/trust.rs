//! What is trusted, and how a peer's certificate is verified against it.

use crate::config::{Config, Refusal};
use crate::context::unexpected;
use crate::ffi;
use crate::identity::read_certificates;
use openssl::error::ErrorStack;
use openssl::ssl::{SslRef, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::{X509VerifyResult, X509};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Lets the handshake go on whatever OpenSSL finds. The verdict is kept all the same: the first
/// fault, as a refusal would have it. (OpenSSL itself keeps the last.)
pub fn verify_and_go_on(ssl: &mut SslRef, mode: SslVerifyMode) {
    let first = AtomicI32::new(X509VerifyResult::OK.as_raw());
    ssl.set_verify_callback(mode, move |passed, chain| {
        let ok = X509VerifyResult::OK.as_raw();
        if !passed {
            let _ = first.compare_exchange(ok, chain.error().as_raw(), Relaxed, Relaxed);
        }
        chain.set_error(ffi::verify_result(first.load(Relaxed)));
        true
    });
}

/// Reads what a configuration trusts; `None` for the system's trust store.
///
/// # Errors
///
/// A [`Refusal`] of `ca`.
pub fn read_roots(config: &Config) -> Result<Option<Vec<X509>>, Refusal> {
    let Some(texts) = &config.ca else { return Ok(None) };
    if texts.is_empty() {
        return Err(Refusal::new(
            "ca",
            "is an empty list, so nobody could be trusted: leave it out for the system's trust store",
        ));
    }
    let lists: Result<Vec<_>, _> = texts.iter().map(|pem| read_certificates("ca", pem)).collect();
    Ok(Some(lists?.into_iter().flatten().collect()))
}

/// A store that trusts these certificates.
///
/// # Errors
///
/// OpenSSL's, where memory is exhausted.
pub fn store_of(certificates: Vec<X509>) -> Result<X509Store, ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    for certificate in certificates {
        builder.add_cert(certificate)?;
    }
    Ok(builder.build())
}

/// The system's trust store. A vendored OpenSSL does not know where that is.
///
/// # Errors
///
/// A [`Refusal`] of `ca`, where the system has none.
pub fn system_store() -> Result<X509Store, Refusal> {
    let missing = || {
        Refusal::new(
            "ca",
            "is missing, and this system has no trust store (on Debian the package ca-certificates): \
             pass the CA's certificate in PEM",
        )
    };
    let found = openssl_probe::probe();
    let from_file = found.cert_file.and_then(|file| std::fs::read(file).ok());
    if let Some(certificates) = from_file.and_then(|pem| read_certificates("ca", &pem).ok()) {
        return store_of(certificates).map_err(|e| unexpected(&e));
    }
    let directory =
        found.cert_dir.into_iter().find(|dir| dir.read_dir().is_ok_and(|mut files| files.next().is_some()));
    let directory = directory.as_deref().and_then(|dir| dir.to_str()).ok_or_else(missing)?;
    let mut builder = X509StoreBuilder::new().map_err(|e| unexpected(&e))?;
    let lookup = builder.add_lookup(X509Lookup::hash_dir()).map_err(|e| unexpected(&e))?;
    lookup.add_dir(directory, openssl::ssl::SslFiletype::PEM).map_err(|_| missing())?;
    Ok(builder.build())
}
