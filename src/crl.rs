//! Certificate revocation lists (RFC 5280 section 5): what a CA says it no longer vouches for.
//!
//! Where any is given, each CA of a peer's chain has to have one that is valid now: a list that is
//! missing or out of date refuses the peer, since nobody knows what it would say.

use crate::config::{Config, Refusal};
use crate::ffi;
use crate::hello::take_u24_list;
use openssl::error::ErrorStack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{DistPointRef, X509Crl, X509};

/// Reads the lists of a configuration.
///
/// # Errors
///
/// A [`Refusal`] of `crl`.
pub fn read_all(config: &Config) -> Result<Vec<X509Crl>, Refusal> {
    let Some(texts) = &config.crl else { return Ok(Vec::new()) };
    if config.fingerprints.is_some() {
        let sentence = "says nothing beside fingerprints: whoever has one of those is accepted by it alone";
        return Err(Refusal::new("crl", sentence));
    }
    if texts.is_empty() {
        let sentence = "is an empty list, so everybody would be refused: leave it out to check no revocation";
        return Err(Refusal::new("crl", sentence));
    }
    let lists: Result<Vec<_>, _> = texts.iter().map(|pem| read(pem)).collect();
    Ok(lists?.into_iter().flatten().collect())
}

/// Reads every list of a PEM text.
fn read(pem: &[u8]) -> Result<Vec<X509Crl>, Refusal> {
    const END: &str = "-----END X509 CRL-----";
    let refusal = || {
        Refusal::new(
            "crl",
            "is not a CRL in PEM (\"-----BEGIN X509 CRL-----\"): pass the text itself, not a file's name",
        )
    };
    let text = std::str::from_utf8(pem).map_err(|_| refusal())?;
    // OpenSSL's function reads one.
    let lists: Result<Vec<_>, _> = text
        .split_inclusive(END)
        .filter(|one| one.contains(END))
        .map(|one| X509Crl::from_pem(one.as_bytes()))
        .collect();
    ffi::clear_errors();
    lists.ok().filter(|lists| !lists.is_empty()).ok_or_else(refusal)
}

/// Whether a certificate of a Certificate message says where its CA's lists are by names relative to the CA's
/// (nameRelativeToCRLIssuer, RFC 5280 section 4.2.1.13: nobody should, and nobody does).
///
/// OpenSSL before 3.6.5 makes a copy of the CA's name for each when it first looks at the certificate, whoever
/// has signed that: 16 KiB of them take 17 MiB for as long as the session lives (CVE-2026-35189).
pub fn has_relative_points_untrusted(message: &[u8]) -> bool {
    let mut rest = message.get(3..).unwrap_or_default();
    let found = std::iter::from_fn(|| take_u24_list(&mut rest))
        .any(|der| X509::from_der(der).is_ok_and(|certificate| has_relative_points(&certificate)));
    ffi::clear_errors();
    found
}

/// Reads the extension as it stands there: nothing is worked out for it, or kept.
fn has_relative_points(certificate: &X509) -> bool {
    let points = certificate.crl_distribution_points();
    let is_relative = |point: &DistPointRef| point.distpoint().is_some_and(|name| name.fullname().is_none());
    points.is_some_and(|points| points.iter().any(is_relative))
}

/// Has a store look at these lists, for every certificate of a chain.
///
/// # Errors
///
/// OpenSSL's, where memory is exhausted.
pub fn install(builder: &mut X509StoreBuilder, lists: &[X509Crl]) -> Result<(), ErrorStack> {
    for list in lists {
        ffi::add_crl(builder, list)?;
    }
    builder.set_flags(X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL)
}
