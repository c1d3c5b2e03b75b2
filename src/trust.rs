//! What is trusted, and how a peer's certificate is verified against it.

use crate::config::{Config, Refusal};
use crate::context::unexpected;
use crate::crl;
use crate::ffi;
use crate::fingerprint::Fingerprint;
use crate::identity::read_certificates;
use crate::raw_key;
use crate::resumption::Fold;
use once_cell::unsync::OnceCell;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};
use openssl::ssl::{SslRef, SslVerifyMode};
use openssl::x509::store::{X509Lookup, X509Store, X509StoreBuilder};
use openssl::x509::{X509Crl, X509VerifyResult, X509};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// What a context takes for proof of who its peers are.
pub struct Trust {
    /// The CAs that were given; `None` for the system's trust store.
    roots: Option<Vec<X509>>,
    /// What those CAs have revoked.
    crls: Vec<X509Crl>,
    /// The certificates that are accepted as they are, and alone, if there are any.
    pins: Option<Vec<Fingerprint>>,
    /// The keys that are accepted without a certificate, if there are any.
    raw_keys: Option<Vec<PKey<Public>>>,
    /// Made when the first session has to verify its peer: the system's holds some 140
    /// certificates, and most servers verify nobody.
    store: OnceCell<X509Store>,
}

impl Trust {
    /// Reads what a configuration trusts.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `ca`, `crl`, `fingerprints` or `raw_public_keys`.
    pub fn read(config: &Config) -> Result<Trust, Refusal> {
        Ok(Trust {
            roots: read_roots(config)?,
            crls: crl::read_all(config)?,
            pins: Fingerprint::read_all(config)?,
            raw_keys: raw_key::read_all(config)?,
            store: OnceCell::new(),
        })
    }

    /// The CAs that were given.
    pub fn roots(&self) -> &[X509] {
        self.roots.as_deref().unwrap_or_default()
    }

    /// A digest of all that is trusted, in no order: the same for the same configuration.
    pub fn digest(&self) -> [u8; 32] {
        let sorted = |mut list: Vec<Vec<u8>>| {
            list.sort_unstable();
            list.iter().fold(Fold::new("list"), |fold, each| fold.add(each)).end()
        };
        let present = [self.roots.is_some(), self.pins.is_some(), self.raw_keys.is_some()].map(u8::from);
        let roots = self.roots().iter().map(|root| root.to_der().unwrap_or_default()).collect();
        let crls = self.crls.iter().map(|list| list.to_der().unwrap_or_default()).collect();
        let pins = self.pins.iter().flatten().map(|pin| pin.to_string().into_bytes()).collect();
        let raw_keys = self.raw_keys.iter().flatten().map(|key| key.public_key_to_der().unwrap_or_default());
        let fold = Fold::new("trust").add(&present).add(&sorted(roots)).add(&sorted(crls));
        fold.add(&sorted(pins)).add(&sorted(raw_keys.collect())).end()
    }

    /// The fingerprints, where peers are known by them alone.
    pub fn pins(&self) -> Option<&[Fingerprint]> {
        self.pins.as_deref()
    }

    /// The keys that are accepted without a certificate; `None` where no such peers are known.
    pub fn raw_keys(&self) -> Option<&[PKey<Public>]> {
        self.raw_keys.as_deref()
    }

    /// Whether a certificate could be accepted at all: where raw keys alone were given, none is.
    pub fn takes_certificates(&self) -> bool {
        self.raw_keys.is_none() || self.roots.is_some() || self.pins.is_some()
    }

    /// Whether it is for us to refuse a peer. Of a CRL that is missing or out of date OpenSSL would say
    /// that the CA is unknown or the certificate has expired.
    pub fn judges_itself(&self) -> bool {
        self.pins.is_some() || self.raw_keys.is_some() || !self.crls.is_empty()
    }

    /// The certificates that chains have to lead to: the system's, where none were given and chains are
    /// what counts.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `ca`, where the system has none.
    pub fn store(&self) -> Result<&X509Store, Refusal> {
        self.store.get_or_try_init(|| {
            let mut builder = match &self.roots {
                Some(roots) => store_of(roots).map_err(|e| unexpected(&e))?,
                None if self.pins.is_some() || self.raw_keys.is_some() => {
                    store_of(&[]).map_err(|e| unexpected(&e))?
                }
                None => system_store()?,
            };
            if !self.crls.is_empty() {
                crl::install(&mut builder, &self.crls).map_err(|e| unexpected(&e))?;
            }
            Ok(builder.build())
        })
    }
}

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

/// Reads the CAs of a configuration; `None` for the system's trust store.
fn read_roots(config: &Config) -> Result<Option<Vec<X509>>, Refusal> {
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
fn store_of(certificates: &[X509]) -> Result<X509StoreBuilder, ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    for certificate in certificates {
        builder.add_cert(certificate.clone())?;
    }
    Ok(builder)
}

/// The system's trust store. A vendored OpenSSL does not know where that is.
fn system_store() -> Result<X509StoreBuilder, Refusal> {
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
        return store_of(&certificates).map_err(|e| unexpected(&e));
    }
    let directory =
        found.cert_dir.into_iter().find(|dir| dir.read_dir().is_ok_and(|mut files| files.next().is_some()));
    let directory = directory.as_deref().and_then(|dir| dir.to_str()).ok_or_else(missing)?;
    let mut builder = X509StoreBuilder::new().map_err(|e| unexpected(&e))?;
    let lookup = builder.add_lookup(X509Lookup::hash_dir()).map_err(|e| unexpected(&e))?;
    lookup.add_dir(directory, openssl::ssl::SslFiletype::PEM).map_err(|_| missing())?;
    Ok(builder)
}
