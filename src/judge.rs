//! The last word on who a peer is, once it has shown all that it has: OpenSSL's verification of its
//! chain, or what was agreed on instead of a chain.

use crate::context::Context;
use crate::error::{Error, Name};
use crate::established::{peer_chain, peer_public_key};
use crate::ffi;
use crate::fingerprint::Fingerprint;
use crate::ocsp;
use crate::question::Presented;
use crate::resumption::is_in_time;
use openssl::pkey::{PKey, Public};
use openssl::ssl::SslRef;
use openssl::x509::{X509VerifyResult, X509};

/// X509_V_ERR_CERT_HAS_EXPIRED.
const EXPIRED: std::ffi::c_int = 10;

/// What the peer has shown of itself, and what is to be thought of it.
pub(crate) fn judge(ssl: &SslRef, context: &Context) -> Presented {
    let chain = peer_chain(ssl);
    let raw_key = ffi::raw_key::peer_key(ssl);
    let ocsp_response = ocsp::stapled(ssl);
    let trust = context.trust();
    let verdict = match (chain.first(), trust.pins()) {
        (None, _) if raw_key.is_some() => judge_raw_key(raw_key.as_ref(), trust.raw_keys()),
        (Some(_), _) if !trust.takes_certificates() => Err(Error::new(
            Name::PublicKey,
            "the peer presented a certificate, where raw public keys are known",
        )),
        (None, _) => Err(Error::new(Name::NoCertificate, "the peer presented no certificate")),
        (Some(leaf), Some(pins)) => judge_fingerprint(leaf, pins),
        // A resumed session has kept the verdict of its first handshake, which time may have overtaken.
        (Some(leaf), None) if ssl.session_reused() && !is_in_time(leaf) => {
            Err(Error::certificate(ffi::verify_result(EXPIRED)))
        }
        (Some(_), None) => match ssl.verify_result() {
            X509VerifyResult::OK => judge_status(ssl, context, ocsp_response.as_deref()),
            fault => Err(Error::certificate(fault)),
        },
    };
    Presented {
        public_key: peer_public_key(ssl),
        chain,
        ocsp_response,
        verdict,
        resumed: ssl.session_reused(),
    }
}

/// A raw key says nothing of its owner: it is known, or it is not.
fn judge_raw_key(shown: Option<&PKey<Public>>, known: Option<&[PKey<Public>]>) -> Result<(), Error> {
    let is_shown = |key: &PKey<Public>| shown.is_some_and(|shown| key.public_eq(shown));
    let accepted = known.unwrap_or_default().iter().any(is_shown);
    ffi::clear_errors();
    accepted.then_some(()).ok_or_else(|| {
        Error::new(Name::PublicKey, "the peer's raw public key is none of those that are known")
    })
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

/// What the server's CA says of its certificate today. A session that is resumed brings no response: the
/// one that it goes back to had it, or else was not kept.
fn judge_status(ssl: &SslRef, context: &Context, response: Option<&[u8]>) -> Result<(), Error> {
    match response {
        _ if ssl.is_server() || ssl.session_reused() => Ok(()),
        Some(response) => {
            let store = context.trust().store().ok();
            let (Some(chain), Some(store)) = (ssl.verified_chain(), store) else {
                return Err(Error::new(
                    Name::OcspResponse,
                    "there is no chain to verify the OCSP response with",
                ));
            };
            ocsp::judge(response, chain, store)
        }
        None if context.config().require_ocsp => Err(Error::new(
            Name::OcspResponse,
            "the server has stapled no OCSP response, and one is required",
        )),
        None => Ok(()),
    }
}
