//! The desk between a session and OpenSSL's callbacks: the session lays out what they may need, and
//! they lay down what they learned. No callback decides anything, and none reaches further.

use crate::ticket::TicketKeys;
use once_cell::sync::Lazy;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslRef, SslSession};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// A pre-shared key and the identity it goes by (RFC 4279).
#[derive(Clone, PartialEq, Eq)]
pub struct PskPair {
    /// What the client calls itself; the server's own name for it is the same.
    pub identity: Vec<u8>,
    /// The secret.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PskPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PskPair({:?}, …)", self.identity.escape_ascii().to_string())
    }
}

/// What lies on a desk.
#[derive(Default)]
pub struct Papers {
    /// The key to go on with, once it is known.
    pub psk: Option<PskPair>,
    /// The application protocol that a server has chosen.
    pub alpn_protocol: Option<Vec<u8>>,
    /// Lines for a key log, as they came up.
    pub key_log: Vec<String>,
    /// The OCSP responses to choose from, in DER.
    pub ocsp_responses: Vec<Vec<u8>>,
    /// What a server seals and opens tickets with.
    pub tickets: Option<TicketKeys>,
    /// The earlier session that goes by the id in the client's hello, where the user has kept it.
    pub cached: Option<SslSession>,
}

/// One session's desk, shared with the callbacks of its OpenSSL session.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Papers>>);

static DESK: Lazy<Index<Ssl, Desk>> = Lazy::new(|| {
    // Fails only where memory is exhausted, long before any peer is involved.
    Ssl::new_ex_index().unwrap_or_else(|error| panic!("no index for session data: {error}"))
});

impl Desk {
    /// Gives an OpenSSL session a desk of its own.
    pub fn set_up(ssl: &mut SslRef) {
        ssl.set_ex_data(*DESK, Desk::default());
    }

    /// The desk of an OpenSSL session.
    pub fn of(ssl: &SslRef) -> Desk {
        ssl.ex_data(*DESK).cloned().unwrap_or_default()
    }

    /// The identity of the pre-shared key that lies there.
    pub fn psk_identity(&self) -> Option<Vec<u8>> {
        self.papers().psk.as_ref().map(|pair| pair.identity.clone())
    }

    /// What lies on it. Nobody holds two at once, nor across a call into OpenSSL.
    pub fn papers(&self) -> MutexGuard<'_, Papers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
