//! What a session asks its user, who may answer at once or much later (the first law).
//!
//! Every question is about a plaintext message that has come whole and that OpenSSL has not seen
//! yet. The session holds the message and goes on where it stopped when the answer comes. Meanwhile
//! nothing is retransmitted, since the peer's flight is here; the handshake deadline runs on.
//!
//! (In DTLS 1.3 certificates and PSK identities are sealed or in the hello: there the questions would
//! have to be asked from OpenSSL's own callbacks, with SSL_set_retry_verify(3) and its like.)

use crate::context::Context;
use crate::desk::PskPair;
use crate::error::Error;
use openssl::x509::X509;
use std::rc::Rc;

/// A decision that is the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Which context serves the client that wants this host (RFC 6066 section 3)? None where it
    /// names none. Answered by [`Answer::Context`].
    ServerName(Option<String>),
    /// Which earlier session goes by this id? Answered by [`Answer::CachedSession`].
    CachedSession(Vec<u8>),
    /// Which key goes with the identity of this client? Answered by [`Answer::Key`].
    PskIdentity(Vec<u8>),
    /// As whom does this client present itself, to a server that gives this hint? Answered by
    /// [`Answer::Psk`].
    PskHint(Option<Vec<u8>>),
    /// What is to be stapled for a client that wants an OCSP response? Answered by
    /// [`Answer::OcspResponse`].
    OcspResponse(StatusRequest),
    /// Is this peer welcome? Answered by [`Answer::Peer`].
    Peer(Presented),
}

/// What a client wants the status of (RFC 6066 section 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRequest {
    /// The host that it wants, if it names one.
    pub server_name: Option<String>,
    /// The chains that may be presented to it, leaf first: one for each key of ours.
    pub chains: Vec<Vec<X509>>,
}

/// What a peer has presented of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Its certificates, its own first; empty where it has none.
    pub chain: Vec<X509>,
    /// Its public key in PEM, from its certificate or raw; `None` where it has none.
    pub public_key: Option<Vec<u8>>,
    /// The OCSP response that it has stapled, in DER.
    pub ocsp_response: Option<Vec<u8>>,
    /// What the verification of all that came to.
    pub verdict: Result<(), Error>,
    /// Whether it is the peer of an earlier session, which is being resumed.
    pub resumed: bool,
}

/// A question's answer.
pub enum Answer {
    /// This context; `None` for no such name here.
    Context(Option<Rc<Context>>),
    /// What was kept for it, by [`Output::Session`](crate::Output::Session); `None` for nothing.
    CachedSession(Option<Vec<u8>>),
    /// This key; `None` for no such identity.
    Key(Option<Vec<u8>>),
    /// This identity and key; `None` for no key for this server.
    Psk(Option<PskPair>),
    /// These responses, in DER, each about one of our certificates; empty where there is none.
    OcspResponse(Vec<Vec<u8>>),
    /// Welcome, or not, and why not if there is more to say than the verdict.
    Peer(Result<(), Option<String>>),
    /// Whoever was asked has failed, and how.
    Failed(String),
}
