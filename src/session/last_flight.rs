//! How often the last flight of a handshake is repeated for a peer that has not heard it.
//!
//! Such a peer repeats its Finished, and OpenSSL answers each with the last flight, but ends the session
//! at the thirteenth, long after it has become established. So OpenSSL sees no more of them than it
//! bears, and no more than a peer can need.
//!
//! A forged record looks the same. Only what OpenSSL has answered was genuine, and only that is
//! counted (the fourth law).
//!
//! (With DTLS 1.3 sealed handshake records go on after the handshake: tickets, key updates,
//! acknowledgements.)

use crate::discard::Discard;
use crate::record::HANDSHAKE;

/// How often it is repeated. A peer that has missed it so often is gone; and OpenSSL bears twelve.
const MOST: u32 = 10;

/// What one end does about sealed handshake records after the handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastFlight {
    /// Whether it was ours.
    ours: bool,
    /// The least time between two repetitions, in milliseconds.
    pause_ms: u64,
    repeated: u32,
    /// When it may be repeated again.
    not_before: u64,
}

impl LastFlight {
    /// As a handshake begins. A peer waits for as long as its own retransmission timeout between two
    /// repetitions: where that is not much shorter than ours, none is missed.
    pub(super) fn new(retransmit_timeout_ms: u32) -> LastFlight {
        let pause_ms = u64::from(retransmit_timeout_ms) / 2;
        LastFlight { ours: false, pause_ms, repeated: 0, not_before: 0 }
    }

    /// Tells whose it was, now that the handshake is complete.
    pub(super) fn finish(&mut self, ours: bool) {
        self.ours = ours;
    }

    /// Whether this is a record that may be a repeated Finished.
    pub(super) fn concerns(record: &[u8]) -> bool {
        record.first() == Some(&HANDSHAKE)
    }

    /// Whether OpenSSL may see such a record.
    ///
    /// # Errors
    ///
    /// Why it may not.
    pub(super) fn admit_untrusted(&self, now: u64) -> Result<(), Discard> {
        match self {
            // Nobody waits for an answer, but OpenSSL would count it all the same.
            LastFlight { ours: false, .. } => Err(Discard::Unexpected),
            LastFlight { repeated: MOST.., .. } => Err(Discard::Duplicate),
            LastFlight { not_before, .. } if now < *not_before => Err(Discard::Duplicate),
            _ => Ok(()),
        }
    }

    /// Notes that OpenSSL has answered one.
    pub(super) fn repeat(&mut self, now: u64) {
        self.repeated += 1;
        self.not_before = now.saturating_add(self.pause_ms);
    }
}
