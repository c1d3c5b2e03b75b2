//! Stapled OCSP responses (RFC 6066 section 8): what a CA says of a certificate today (RFC 6960), brought
//! along by the server that presents it.

use crate::config::{Config, Refusal};
use crate::desk::Desk;
use crate::error::{Error, Name};
use crate::ffi;
use crate::identity::Identity;
use openssl::error::ErrorStack;
use openssl::hash::{hash, MessageDigest};
use openssl::ocsp::{
    OcspBasicResponse, OcspCertId, OcspCertStatus, OcspFlag, OcspResponse, OcspResponseStatus,
};
use openssl::ssl::{SslContextBuilder, SslRef};
use openssl::stack::StackRef;
use openssl::x509::store::X509StoreRef;
use openssl::x509::{X509Ref, X509};
use std::cmp::Ordering;

/// Where a server has its responses from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Staple {
    /// These, in DER, each about one of its certificates.
    Given(Vec<Vec<u8>>),
    /// The user is asked each time a client wants one.
    Ask,
}

/// A CertificateStatus that OpenSSL takes is a record's length at most; its type and the response's
/// length are four bytes of that.
const LONGEST: usize = 16_384 - 4;

/// What is wrong with a response that is to be stapled to one of these certificates.
pub fn fault<'a>(der: &[u8], certificates: impl IntoIterator<Item = &'a X509>) -> Option<&'static str> {
    let response = OcspResponse::from_der(der).ok();
    let whole = |response: &OcspResponse| response.to_der().is_ok_and(|again| again == der);
    let fault = if der.len() > LONGEST {
        Some("is longer than 16380 bytes, more than clients take")
    } else if let Some(response) = response.filter(whole) {
        match response.basic() {
            Err(_) => Some("is an OCSP response without an answer"),
            Ok(basic) if certificates.into_iter().any(|each| is_about(&basic, each)) => None,
            Ok(_) => Some("is about none of the certificates in cert"),
        }
    } else {
        Some("is not an OCSP response in DER")
    };
    ffi::clear_errors();
    fault
}

/// Whether OpenSSL will find the response to be about the certificate. It must not be given any other:
/// it would count a CertificateStatus that it does not send, and the client would wait for that
/// message_seq for ever (`ossl_get_ocsp_response`, `tls_construct_cert_status`).
fn is_about(basic: &OcspBasicResponse, certificate: &X509Ref) -> bool {
    let ids = ffi::certificate_ids(basic);
    // OpenSSL hashes as the first entry says.
    let digest = ids.first().and_then(|id| MessageDigest::from_nid(id.digest));
    let issuer_name = certificate.issuer_name().to_der().ok();
    let hashed = digest.zip(issuer_name).and_then(|(digest, name)| hash(digest, &name).ok());
    let (Some(hashed), Ok(serial)) = (hashed, certificate.serial_number().to_bn()) else { return false };
    // To OpenSSL there is no response about a self-signed certificate.
    let issued = certificate.subject_name().try_cmp(certificate.issuer_name()).is_ok_and(Ordering::is_ne);
    issued && ids.iter().any(|id| id.serial == serial && id.issuer_name == *hashed)
}

/// Checks what a configuration says of OCSP, for the certificates that it has.
///
/// # Errors
///
/// A [`Refusal`] of `ocsp_response` or `require_ocsp`.
pub fn check(config: &Config, identities: &[Identity]) -> Result<(), Refusal> {
    let refuse = |sentence: &str| Err(Refusal::new("ocsp_response", sentence));
    let leaves = || identities.iter().filter_map(|identity| identity.leaf.as_ref());
    match &config.ocsp_response {
        Some(_) if leaves().next().is_none() => {
            return refuse("needs a certificate to be about: options.cert is missing");
        }
        Some(Staple::Given(responses)) if responses.is_empty() => return refuse("is an empty list"),
        Some(Staple::Given(responses)) => {
            if let Some(fault) = responses.iter().find_map(|der| fault(der, leaves())) {
                return refuse(fault);
            }
        }
        Some(Staple::Ask) | None => {}
    }
    if config.require_ocsp && config.fingerprints.is_some() {
        let sentence = "says nothing beside fingerprints: whoever has one of those is accepted by it alone";
        return Err(Refusal::new("require_ocsp", sentence));
    }
    Ok(())
}

/// Has the servers of a context staple what lies on their desk about the certificate that they present.
///
/// # Errors
///
/// OpenSSL's, where memory is exhausted.
pub fn install(builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    builder.set_status_callback(|ssl| {
        if !ssl.is_server() {
            // What a client thinks of its server's it says later.
            return Ok(true);
        }
        let desk = Desk::of(ssl);
        let responses = std::mem::take(&mut desk.papers().ocsp_responses);
        let fits = |der: &Vec<u8>| {
            ssl.certificate().is_some_and(|leaf| {
                let response = OcspResponse::from_der(der).and_then(|response| response.basic());
                response.is_ok_and(|basic| is_about(&basic, leaf))
            })
        };
        let chosen = responses.into_iter().find(fits);
        chosen.map_or(Ok(false), |der| ssl.set_ocsp_status(&der).map(|()| true))
    })
}

/// The response that this client's server has stapled, in DER.
pub(crate) fn stapled(ssl: &SslRef) -> Option<Vec<u8>> {
    let response = if ssl.is_server() { None } else { ssl.ocsp_status() };
    response.map(<[u8]>::to_vec)
}

/// Judges what a server has stapled, whose chain OpenSSL has verified against `store`.
///
/// # Errors
///
/// [`Name::CertificateRevoked`] where it says so, [`Name::OcspResponse`] where it cannot be believed.
pub(crate) fn judge(response: &[u8], chain: &StackRef<X509>, store: &X509StoreRef) -> Result<(), Error> {
    let outcome = judge_untrusted(response, chain, store);
    ffi::clear_errors();
    outcome
}

fn judge_untrusted(response: &[u8], chain: &StackRef<X509>, store: &X509StoreRef) -> Result<(), Error> {
    let because = |what: &str, stack: &ErrorStack| {
        let reason = stack.errors().last().and_then(|error| error.reason()).unwrap_or("no reason given");
        refuse(&format!("{what} ({reason})"))
    };
    let response = OcspResponse::from_der(response).map_err(|_| refuse("is malformed"))?;
    if response.status() != OcspResponseStatus::SUCCESSFUL {
        return Err(refuse("holds no answer: the responder had none"));
    }
    let basic = response.basic().map_err(|_| refuse("is malformed"))?;
    basic
        .verify(chain, store, OcspFlag::empty())
        .map_err(|stack| because("is not signed by the certificate's CA, or for it", &stack))?;
    let (Some(leaf), Some(issuer)) = (chain.get(0), chain.get(1).or(chain.get(0))) else {
        return Err(refuse("is about no certificate"));
    };
    let Some(status) = status_of(&basic, leaf, issuer) else {
        return Err(refuse("is about another certificate"));
    };
    status
}

fn refuse(why: &str) -> Error {
    Error::new(Name::OcspResponse, format!("the stapled OCSP response {why}"))
}

/// What the response says of a certificate, if it says anything.
fn status_of(basic: &OcspBasicResponse, leaf: &X509Ref, issuer: &X509Ref) -> Option<Result<(), Error>> {
    /// How far the responder's clock may be off, in seconds.
    const SKEW: u32 = 300;
    /// How old a response may be that does not say how long it is valid, in seconds: a day.
    const LONGEST_AGE: u32 = 24 * 60 * 60;
    // The responder chooses the hash by which it names certificates. Most choose SHA-1.
    let digests =
        [MessageDigest::sha1(), MessageDigest::sha256(), MessageDigest::sha384(), MessageDigest::sha512()];
    let ids = digests.into_iter().filter_map(|digest| OcspCertId::from_cert(digest, leaf, issuer).ok());
    let ids: Vec<_> = ids.collect();
    let found = ids.iter().find_map(|id| basic.find_status(id))?;
    let oldest = if found.next_update().is_some() { None } else { Some(LONGEST_AGE) };
    if found.check_validity(SKEW, oldest).is_err() {
        return Some(Err(refuse("is not valid at this time")));
    }
    Some(match found.status {
        OcspCertStatus::GOOD => Ok(()),
        OcspCertStatus::REVOKED => {
            let sentence = "the peer's certificate has been revoked, says the stapled OCSP response";
            Err(Error::new(Name::CertificateRevoked, sentence))
        }
        _ => Err(refuse("says that the CA does not know the certificate")),
    })
}
