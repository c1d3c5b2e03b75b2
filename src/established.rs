//! What a completed handshake has shown. There is no such value before, so nothing can be mistaken
//! for verified by default.

use crate::desk::Desk;
use crate::error::Error;
use crate::ffi;
use crate::ocsp;
use crate::record::MAX_PLAINTEXT;
use crate::resumption::Kept;
use crate::shape::SealedShape;
use crate::srtp::Profile;
use openssl::ssl::SslRef;
use openssl::x509::X509;

/// What is known of the peer and of the session since the handshake.
pub struct Established {
    /// What the verification of the peer's certificate came to: `Ok` where it presented one and that
    /// leads to a trusted CA and is for the right name; `None` where nobody asked for one.
    pub verification: Option<Result<(), Error>>,
    /// The peer's certificates, its own first; empty where it presented none.
    pub chain: Vec<X509>,
    /// The peer's public key in PEM, from its certificate or raw (RFC 7250); `None` where it has none.
    pub public_key: Option<Vec<u8>>,
    /// The OCSP response that the server has stapled, in DER.
    pub ocsp_response: Option<Vec<u8>>,
    /// The host that the client wanted (RFC 6066 section 3).
    pub server_name: Option<String>,
    /// The identity by which a pre-shared key was chosen.
    pub psk_identity: Option<Vec<u8>>,
    /// The application protocol that the server has chosen of those that the client offered (RFC 7301).
    pub alpn_protocol: Option<Vec<u8>>,
    /// The protection profile of the SRTP that the two ends will speak beside (RFC 5764).
    pub srtp_profile: Option<&'static Profile>,
    /// Whether the master secret is bound to the whole handshake (RFC 7627). (In DTLS 1.3 it always
    /// is, and the extension is not there: RFC 8446 appendix D.)
    pub extended_master_secret: bool,
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
    /// The longest message whose datagram is no larger than the path's MTU, in bytes.
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
    /// Whether the peer is known to be who it should be: by a certificate that verifies, or because
    /// it has the pre-shared key.
    pub fn is_authorized(&self) -> bool {
        matches!(self.verification, Some(Ok(()))) || self.psk_identity.is_some()
    }

    /// Reads it off an OpenSSL session whose handshake is complete, and whose peer has been judged.
    pub(crate) fn of(ssl: &SslRef, verification: Option<Result<(), Error>>) -> Established {
        let record = ffi::max_fragment_length(ssl).unwrap_or(MAX_PLAINTEXT);
        let cipher = ssl.current_cipher();
        Established {
            verification,
            chain: peer_chain(ssl),
            public_key: peer_public_key(ssl),
            ocsp_response: ocsp::stapled(ssl),
            server_name: None,
            psk_identity: Desk::of(ssl).psk_identity().or_else(|| ffi::psk_identity(ssl)),
            alpn_protocol: ssl.selected_alpn_protocol().map(<[u8]>::to_vec),
            srtp_profile: Profile::of(ssl),
            extended_master_secret: ssl.extms_support() == Some(true),
            resumed: ssl.session_reused(),
            kept: None,
            protocol: ssl.version_str(),
            cipher: Cipher {
                name: cipher.map_or("unknown", |cipher| cipher.name()),
                standard_name: cipher.and_then(|cipher| cipher.standard_name()).unwrap_or("unknown"),
            },
            max_message: record,
            max_payload: 0,
        }
    }

    /// Takes what the path's MTU is: a UDP payload, in bytes.
    pub(crate) fn fit(&mut self, mtu: u32) {
        let shape = SealedShape::of_suite(self.cipher.name);
        self.max_payload = shape.longest_plaintext(mtu as usize).min(self.max_message);
    }
}

/// The peer's certificates, its own first. (To a server OpenSSL shows the others without it.)
pub(crate) fn peer_chain(ssl: &SslRef) -> Vec<X509> {
    let Some(leaf) = ssl.peer_certificate() else { return Vec::new() };
    let others = ssl.peer_cert_chain().into_iter().flatten().map(ToOwned::to_owned);
    let others: Vec<_> = others.filter(|other| *other != leaf).collect();
    std::iter::once(leaf).chain(others).collect()
}

/// The peer's public key in PEM, raw or from its certificate.
pub(crate) fn peer_public_key(ssl: &SslRef) -> Option<Vec<u8>> {
    let of_certificate = || ssl.peer_certificate().and_then(|leaf| leaf.public_key().ok());
    let pem = ffi::raw_key::peer_key(ssl).or_else(of_certificate)?.public_key_to_pem().ok();
    ffi::clear_errors();
    pem
}
