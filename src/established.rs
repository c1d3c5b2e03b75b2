//! What a completed handshake has shown. There is no such value before, so nothing can be mistaken
//! for verified by default.

use crate::desk::Desk;
use crate::error::{Error, Name};
use crate::ffi;
use crate::record::MAX_PLAINTEXT;
use crate::resumption::{is_in_time, Kept};
use openssl::ssl::SslRef;
use openssl::x509::{X509VerifyResult, X509};

/// What is known of the peer and of the session since the handshake.
pub struct Established {
    /// What the verification of the peer's certificate came to: `Ok` where it presented one and that
    /// leads to a trusted CA and is for the right name; `None` where nobody asked for one.
    pub verification: Option<Result<(), Error>>,
    /// The peer's certificates, its own first; empty where it presented none.
    pub chain: Vec<X509>,
    /// The host that the client wanted (RFC 6066 section 3).
    pub server_name: Option<String>,
    /// The identity by which a pre-shared key was chosen.
    pub psk_identity: Option<Vec<u8>>,
    /// Whether it resumes an earlier session.
    pub resumed: bool,
    /// What a client's user may keep to resume it later; `None` where that cannot be, and on servers.
    pub kept: Option<Kept>,
    /// The protocol version in OpenSSL's words: `DTLSv1.2`.
    pub protocol: &'static str,
    /// The cipher suite.
    pub cipher: Cipher,
    /// The longest message that fits a record, in bytes.
    pub max_message: usize,
    /// The longest message whose datagram is no larger than the MTU, in bytes
    /// (DTLS_get_data_mtu(3)).
    pub max_payload: usize,
}

/// A cipher suite by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cipher {
    /// OpenSSL's: `ECDHE-ECDSA-AES128-GCM-SHA256`.
    pub name: &'static str,
    /// The registry's: `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
    pub standard_name: &'static str,
}

impl Established {
    /// Reads it off an OpenSSL session whose handshake is complete. `asked` says whether the peer
    /// was asked for a certificate.
    pub(crate) fn of(ssl: &SslRef, asked: bool) -> Established {
        let chain = peer_chain(ssl);
        let verdict = verdict(ssl, &chain);
        let record = ffi::max_fragment_length(ssl).unwrap_or(MAX_PLAINTEXT);
        let cipher = ssl.current_cipher();
        Established {
            verification: asked.then_some(verdict),
            chain,
            server_name: None,
            psk_identity: Desk::of(ssl).psk_identity().or_else(|| ffi::psk_identity(ssl)),
            resumed: ssl.session_reused(),
            kept: None,
            protocol: ssl.version_str(),
            cipher: Cipher {
                name: cipher.map_or("unknown", |cipher| cipher.name()),
                standard_name: cipher.and_then(|cipher| cipher.standard_name()).unwrap_or("unknown"),
            },
            max_message: record,
            max_payload: ffi::data_mtu(ssl).min(record),
        }
    }
}

/// What OpenSSL thinks of the peer's certificates. A resumed session has kept its verdict, which time may
/// have overtaken since.
pub(crate) fn verdict(ssl: &SslRef, chain: &[X509]) -> Result<(), Error> {
    const EXPIRED: std::ffi::c_int = 10;
    match (chain.first(), ssl.verify_result()) {
        (None, _) => Err(Error::new(Name::NoCertificate, "the peer presented no certificate")),
        (Some(own), X509VerifyResult::OK) if ssl.session_reused() && !is_in_time(own) => {
            Err(Error::certificate(ffi::verify_result(EXPIRED)))
        }
        (Some(_), X509VerifyResult::OK) => Ok(()),
        (Some(_), fault) => Err(Error::certificate(fault)),
    }
}

/// The peer's certificates, its own first. (To a server OpenSSL shows the others without it.)
pub(crate) fn peer_chain(ssl: &SslRef) -> Vec<X509> {
    let Some(leaf) = ssl.peer_certificate() else { return Vec::new() };
    let others = ssl.peer_cert_chain().into_iter().flatten().map(ToOwned::to_owned);
    let others: Vec<_> = others.filter(|other| *other != leaf).collect();
    std::iter::once(leaf).chain(others).collect()
}
