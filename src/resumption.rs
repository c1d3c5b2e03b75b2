//! Earlier sessions as bytes, and what they belong to (RFC 5246 section 7.3, RFC 5077).
//!
//! A resumed session shows no certificate and asks for no key: it rests on what was verified when it
//! was made. So it is resumed only under the very rules it was made under. Of those there are two
//! digests. A server's *session id context* lies in every session it makes, inside its tickets too, and
//! OpenSSL passes over a session of another. A client's *binding* lies in what its user keeps, with the
//! name of the server and whatever else its identity was judged by.
//!
//! ```text
//! what a client's user keeps    "dtls session" ‖ 1 ‖ binding (32 bytes, over what follows too) ‖ SSL_SESSION in DER
//! what a server's user keeps    "dtls cached" ‖ 1 ‖ SSL_SESSION in DER
//! ```
//!
//! Both hold the master secret, and are to be kept as a key is.

use crate::config::Config;
use crate::context::{Context, PeerName};
use crate::desk::PskPair;
use crate::error::{Error, Name};
use crate::ffi;
use crate::identity::Identity;
use crate::psk::Psk;
use crate::trust::Trust;
use openssl::asn1::Asn1Time;
use openssl::ssl::{SslRef, SslSession, SslSessionRef};
use openssl::x509::{X509Ref, X509};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The least and the longest a session may be resumed, in seconds; 0 is not at all. A week is what TLS
/// 1.3 allows (RFC 8446 section 4.6.1).
pub const LONGEST_LIFETIME_S: u32 = 7 * 24 * 60 * 60;

/// What a client's kept session begins with, whatever its version.
const KEPT: &[u8] = b"dtls session";
const KEPT_VERSION: u8 = 1;
const CACHED: &[u8] = b"dtls cached\x01";
const DIGEST: usize = 32;

type Digest32 = [u8; DIGEST];

/// A session that a client may offer to resume, judged beforehand.
#[derive(Clone)]
pub struct Earlier(SslSession);

/// A session for its user to keep, and to give back when it is to be resumed. It holds the master secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept(Zeroizing<Vec<u8>>);

impl Kept {
    /// The bytes, for the user to store.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({} bytes)", self.0.len())
    }
}

impl Earlier {
    /// Lets a client that is about to begin offer it.
    pub(crate) fn offer(&self, ssl: &mut SslRef) {
        // Where OpenSSL cannot take it, there is a full handshake.
        let _ = ffi::offer(ssl, &self.0);
    }
}

/// Whether bytes are what a client's user may have kept, of this version of the library or another.
pub fn is_kept(bytes: &[u8]) -> bool {
    bytes.len() > KEPT.len() && bytes.starts_with(KEPT)
}

impl Context {
    /// Reads an earlier session with the server that is called `name`.
    ///
    /// # Errors
    ///
    /// [`Name::Session`] where it cannot be offered: it has been damaged, was made with another server
    /// or under other rules, or its life is over. There is a full handshake then.
    pub fn earlier(&self, name: &PeerName, kept: &[u8]) -> Result<Earlier, Error> {
        let refuse = |sentence| Err(Error::new(Name::Session, sentence));
        let rest = kept.strip_prefix(KEPT).and_then(|rest| rest.split_first());
        let Some((&KEPT_VERSION, rest)) = rest else {
            return refuse("the session is none of this version's: there is a full handshake");
        };
        let (binding, der) = rest.split_at(rest.len().min(DIGEST));
        if binding != self.binding(name, der) {
            let sentence = "the session was made with another server, or under other rules: \
                            there is a full handshake";
            return refuse(sentence);
        }
        match ffi::read_session(der) {
            Some(session) if is_alive(&session) => Ok(Earlier(session)),
            Some(_) => refuse("the session's life is over: there is a full handshake"),
            None => refuse("the session is damaged: there is a full handshake"),
        }
    }

    /// What a client's user may keep of an established session with the server that is called `name`;
    /// `None` where it could not be resumed.
    pub(crate) fn keep(&self, name: &PeerName, ssl: &SslRef) -> Option<Kept> {
        let session = ssl.session()?;
        // Without the extended master secret one session could be spliced to another (RFC 7627
        // section 5.3 allows no resumption then).
        let resumable = ffi::is_resumable(session) && ssl.extms_support() == Some(true);
        if !resumable || self.config().session_timeout_s == 0 {
            return None;
        }
        limit_to_certificate(session, ssl.peer_certificate());
        let der = Zeroizing::new(session.to_der().ok()?);
        let binding = self.binding(name, &der);
        Some(Kept(Zeroizing::new([KEPT, &[KEPT_VERSION], &binding, &der].concat())))
    }

    fn binding(&self, name: &PeerName, der: &[u8]) -> Digest32 {
        let name = match name {
            PeerName::Dns(host) => format!("host {}", host.to_lowercase()),
            PeerName::Address(address) => format!("address {address}"),
        };
        let identity = match &self.config().psk {
            Some(Psk::Pair(pair)) => Some(&pair.identity[..]),
            _ => None,
        };
        // RFC 6066 section 4 has a session keep its fragment length.
        let agreed = (self.config().min_version, self.config().max_fragment_length);
        Fold::new("client")
            .add(self.policy())
            .add(name.as_bytes())
            .add_optional(identity)
            .add(format!("{agreed:?}").as_bytes())
            .add(der)
            .end()
    }

    /// What a server's session with a client that wants this host belongs to. The host is in it because
    /// RFC 6066 section 3 has no session resumed for another.
    pub(crate) fn session_id_context(&self, server_name: Option<&str>) -> Digest32 {
        Fold::new("server").add(self.policy()).add_optional(server_name.map(str::as_bytes)).end()
    }
}

/// What a server's user may keep of a session that goes by an id.
pub(crate) fn to_cached(session: &SslSessionRef) -> Option<Kept> {
    let der = Zeroizing::new(session.to_der().ok()?);
    Some(Kept(Zeroizing::new([CACHED, &der].concat())))
}

/// Reads what a server's user has kept for an id. What does not belong to it is none.
pub(crate) fn of_cached(bytes: &[u8], id: &[u8]) -> Option<SslSession> {
    let session = ffi::read_session(bytes.strip_prefix(CACHED)?)?;
    (session.id() == id).then_some(session)
}

/// What tells one key of a PSK identity from another. Two bytes: enough to see that it is another, too
/// few to find a weak one by.
pub(crate) fn mark_of_key(pair: &PskPair) -> [u8; 2] {
    let digest = Fold::new("psk").add(&pair.identity).add(&pair.key).end();
    [digest[0], digest[1]]
}

/// Has a session live no longer than the certificate it rests on.
pub(crate) fn limit_to_certificate(session: &SslSessionRef, certificate: Option<X509>) {
    const DAY_S: i64 = 24 * 60 * 60;
    let left = certificate.and_then(|certificate| {
        let left = Asn1Time::days_from_now(0).ok()?.diff(certificate.not_after()).ok()?;
        Some(i64::from(left.days) * DAY_S + i64::from(left.secs))
    });
    // One that has expired was accepted in spite of that.
    if let Some(left) = left.filter(|&left| left > 0) {
        ffi::shorten_lifetime(session, left);
    }
}

/// Whether a certificate is valid by today's date.
pub(crate) fn is_in_time(certificate: &X509Ref) -> bool {
    let Ok(now) = Asn1Time::days_from_now(0) else { return false };
    certificate.not_before() <= now && certificate.not_after() > now
}

/// A session from the future is one whose clock was put back: nobody knows its age.
fn is_alive(session: &SslSessionRef) -> bool {
    let age = i64::try_from(ffi::wall_seconds()).unwrap_or(i64::MAX) - session.time();
    (0..ffi::lifetime(session)).contains(&age)
}

/// A digest of what sessions of a context rest on: who we are, whom we trust, how we judge, and what may
/// protect a session at all. The same after a restart with the same configuration.
pub(crate) fn policy(
    config: &Config,
    identities: &[Identity],
    trust: &Trust,
    suites: &[ffi::Suite],
) -> Digest32 {
    let mut fold = Fold::new("policy");
    for identity in identities {
        fold = match &identity.leaf {
            Some(leaf) => fold.add(&leaf.to_der().unwrap_or_default()),
            None => fold.add(&identity.key.public_key_to_der().unwrap_or_default()),
        };
    }
    let suites: Vec<_> = suites.iter().map(|suite| suite.name.as_str()).collect();
    fold.add(&trust.digest())
        .add(&[
            u8::from(config.request_cert),
            u8::from(config.reject_unauthorized),
            u8::from(config.ask_peer),
            u8::from(config.require_ocsp),
            u8::from(config.psk.is_some()),
        ])
        .add(suites.join(":").as_bytes())
        .end()
}

/// SHA-256 over parts, none of which can be taken for a piece of another.
pub(crate) struct Fold(Sha256);

impl Fold {
    pub(crate) fn new(label: &str) -> Fold {
        Fold(Sha256::new()).add(b"dtls resumption").add(label.as_bytes())
    }

    pub(crate) fn add(mut self, part: &[u8]) -> Fold {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }

    fn add_optional(self, part: Option<&[u8]>) -> Fold {
        match part {
            Some(part) => self.add(&[1]).add(part),
            None => self.add(&[0]),
        }
    }

    pub(crate) fn end(self) -> Digest32 {
        self.0.finalize().into()
    }
}
