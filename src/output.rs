//! Everything the core can say, and the draining law.

use crate::error::Error;
use crate::question::Question;
use crate::resumption::Kept;
use crate::trail::Trail;
use bytes::Bytes;

/// What a [`Session`](crate::Session) wants done, in order.
///
/// Drain until [`Output::Timeout`]: after each call that changes a session, call
/// [`poll`](crate::Session::poll) and act on what it returns until it returns the timeout, which
/// is always the last and can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to the peer as one datagram.
    Transmit(Bytes),
    /// The handshake is complete and the peer is as much verified as was asked for.
    Connected,
    /// The peer sent this message: one datagram of its own, authenticated.
    Message(Bytes),
    /// Decide this, now or later, and call [`answer`](crate::Session::answer) with the number. The
    /// handshake waits, and its deadline does not.
    Question(u32, Box<Question>),
    /// Add this line, which has no end yet, to the key log: whoever has it and a capture of the
    /// session can read everything in it (the format of NSS, SSL_CTX_set_keylog_callback(3)). Only
    /// where the [`Config`](crate::Config) wants it.
    KeyLog(String),
    /// This server's session can be resumed by this id: keep it, for the [`Question::CachedSession`] of a
    /// later one. Comes right before [`Output::Connected`].
    Session(Vec<u8>, Kept),
    /// The peer's records can be known by this trail, or by none: look for the session by it where a datagram
    /// comes from an unknown address. Only where the [`Terms`](crate::Terms) want it: once when the session is
    /// open, and once more where the next record shows that there is none after all.
    Trail(Option<Trail>),
    /// The session is over. Comes once, after everything else it had to say.
    Closed(Reason, Option<Error>),
    /// Call [`expire`](crate::Session::expire) at this time, in milliseconds on the caller's
    /// monotonic clock; `None` where nothing is due.
    Timeout(Option<u64>),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A close_notify was sent or received.
    Closed,
    /// A deadline passed: the handshake's, with its error; the idle timeout, without; or the user's own.
    Timeout,
    /// A fatal error, which comes with it.
    Error,
    /// The user destroyed it: nothing was said to the peer.
    Destroyed,
}

impl Reason {
    /// The word users see in `close(reason)`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Closed => "closed",
            Reason::Timeout => "timeout",
            Reason::Error => "error",
            Reason::Destroyed => "destroyed",
        }
    }
}
