//! What the sealed records of one session have in common, and those of other sessions have not.
//!
//! In the AES suites a record begins with eight bytes of its nonce in plaintext (RFC 5288 section 3, RFC 6655
//! section 3), of which is asked no more than that none is used twice. OpenSSL draws the first of a session's
//! AES-GCM nonces at random and counts up from it, one a record, as the sequence number in the header
//! counts. So the distance of the two is the same in every record that one end of a session sends, whatever
//! is lost or overtaken, and is one of 2^64 that any other session would have drawn. Two facts in the open
//! make a third: which session a record claims to belong to.
//!
//! It is a claim and no proof, since everybody on the way can see and copy it. Nor does every peer leave one:
//!
//! - With AES-CCM, and with AES-GCM in GnuTLS, Mbed TLS and others, the nonce *is* epoch and number. The
//!   distance is the same in all their sessions.
//! - Some draw each nonce anew.
//! - ChaCha20-Poly1305 has no nonce in the record (RFC 7905), nor has DTLS 1.3 (RFC 9147 section 4).

use crate::record::{Record, ALERT, APPLICATION_DATA};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// Bytes of nonce in front of what is sealed.
const NONCE: usize = 8;

/// The distance between explicit nonce and number, where it can tell sessions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail(u64);

impl Trail {
    /// Reads it off a record, as if that had an explicit nonce. `None` where it tells nothing.
    ///
    /// A nonce that is epoch and number, or counts from nought in some other way, is at a distance of less
    /// than two epochs: so is one of 32 000 that are drawn at random, and does without.
    pub fn of_untrusted(record: &Record) -> Option<Trail> {
        const COUNTED_BITS: u32 = 49;
        let nonce = record.body.get(..NONCE)?.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
        let distance = nonce.wrapping_sub(record.sequence);
        (distance >> COUNTED_BITS != 0).then_some(Trail(distance))
    }

    /// A number to look it up by, below 2^53: Lua's numbers hold it exactly. Different trails have different
    /// ones but for accidents, which nobody can arrange: it is a hash with a key of this process.
    pub fn key(self) -> u64 {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        KEY.hash_one(self.0) >> 11
    }
}

/// The first record of a datagram, if it may be what a peer sends that has a session and has moved: sealed,
/// and application data or an alert, such as a close_notify.
pub fn claim_untrusted(datagram: &[u8]) -> Option<Record<'_>> {
    let (record, _) = Record::split_first_untrusted(datagram)?;
    let fits = record.epoch == 1 && matches!(record.kind, APPLICATION_DATA | ALERT);
    (fits && record.is_believable()).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, CHANGE_CIPHER_SPEC, DTLS_1_2, HANDSHAKE};

    /// A sealed record, as far as it shows.
    fn sealed(kind: u8, number: u64, nonce: u64) -> Vec<u8> {
        let body = [&nonce.to_be_bytes()[..], &[7; 20]].concat();
        let mut datagram = record::plaintext(kind, DTLS_1_2, number, &body);
        datagram[4] = 1;
        datagram
    }

    fn trail(number: u64, nonce: u64) -> Option<Trail> {
        Trail::of_untrusted(&claim_untrusted(&sealed(APPLICATION_DATA, number, nonce)).unwrap())
    }

    #[test]
    fn a_nonce_that_counts_with_the_number_leaves_one_trail() {
        for start in [1 << 49, 0x0123_4567_89ab_cdef, u64::MAX, u64::MAX - 3] {
            let first = trail(0, start).unwrap();
            for number in [1, 2, 500, (1 << 48) - 1] {
                let later = trail(number, start.wrapping_add(number)).unwrap();
                assert_eq!((later, later.key()), (first, first.key()), "{start:x} {number}");
            }
            assert_ne!(trail(1, start), Some(first));
            assert_ne!(first.key(), trail(0, start.wrapping_add(1 << 50)).unwrap().key());
        }
    }

    #[test]
    fn a_nonce_that_is_epoch_and_number_leaves_none() {
        for number in [0, 1, 77, (1 << 48) - 1] {
            assert_eq!(trail(number, 1 << 48 | number), None, "epoch and number");
            assert_eq!(trail(number, number), None, "the number");
            assert_eq!(trail(number, number + 1), None, "counted from one");
        }
    }

    #[test]
    fn a_key_is_a_number_that_lua_has() {
        for start in 1..1000_u64 {
            assert!(trail(0, start << 49).unwrap().key() < 1 << 53);
        }
    }

    #[test]
    fn a_record_too_short_for_a_nonce_leaves_none() {
        let mut short = record::plaintext(ALERT, DTLS_1_2, 3, &[0xff; 7]);
        short[4] = 1;
        assert_eq!(Trail::of_untrusted(&claim_untrusted(&short).unwrap()), None);
    }

    #[test]
    fn what_no_peer_with_a_session_would_send_claims_nothing() {
        let good = sealed(APPLICATION_DATA, 5, u64::MAX);
        assert!(claim_untrusted(&good).is_some() && claim_untrusted(&sealed(ALERT, 5, 0)).is_some());
        for kind in [0, CHANGE_CIPHER_SPEC, HANDSHAKE, 24, 25] {
            assert_eq!(claim_untrusted(&sealed(kind, 5, 0)), None, "type {kind}");
        }
        for epoch in [0, 2, 255] {
            let mut other = good.clone();
            other[4] = epoch;
            assert_eq!(claim_untrusted(&other), None, "epoch {epoch}");
        }
        for cut in 0..good.len() {
            assert_eq!(claim_untrusted(&good[..cut]), None, "cut at {cut}");
        }
        let mut empty = record::plaintext(APPLICATION_DATA, DTLS_1_2, 5, &[]);
        empty[4] = 1;
        assert_eq!(claim_untrusted(&empty), None, "empty");
    }
}
