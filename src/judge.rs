//! The last word on who a peer is, once it has shown all that it has: OpenSSL's verification of its
//! chain, or what was agreed on instead of a chain.

use crate::error::{Error, Name};
use crate::established::peer_chain;
use crate::fingerprint::Fingerprint;
use crate::question::Presented;
use crate::trust::Trust;
use openssl::ssl::SslRef;
use openssl::x509::{X509VerifyResult, X509};

/// What the peer has shown of itself, and what is to be thought of it.
pub(crate) fn judge(ssl: &SslRef, trust: &Trust) -> Presented {
    let chain = peer_chain(ssl);
    let verdict = match (chain.first(), trust.pins()) {
        (None, _) => Err(Error::new(Name::NoCertificate, "the peer presented no certificate")),
        (Some(leaf), Some(pins)) => judge_fingerprint(leaf, pins),
        (Some(_), None) => match ssl.verify_result() {
            X509VerifyResult::OK => Ok(()),
            fault => Err(Error::certificate(fault)),
        },
    };
    Presented { chain, verdict, resumed: ssl.session_reused() }
}

/// Whoever has the private key of a certificate that is known needs no CA, no name and no date.
fn judge_fingerprint(leaf: &X509, pins: &[Fingerprint]) -> Result<(), Error> {
    let Ok(shown) = Fingerprint::of(leaf) else {
        return Err(Error::new(Name::Certificate, "the peer's certificate has no fingerprint"));
    };
    if pins.contains(&shown) {
        return Ok(());
    }
    let sentence = format!("the peer's certificate has another fingerprint than is expected: {shown}");
    Err(Error::new(Name::Fingerprint, sentence))
}
