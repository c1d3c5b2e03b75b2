//! Datagrams from elsewhere: what a peer sends whose address has changed.
//!
//! The endpoint finds the sessions that one may be of (`lua/dtls/roam.lua`) and has each try it. Here is what
//! makes a try safe. It costs one failed decryption, and a datagram that is not the peer's changes nothing
//! that anybody can see: no counter of the session's, no event, no deadline, no answer. And it helps to find
//! the session, by telling once what its peer's records have in common.

use super::{Session, Stage};
use crate::discard::Discard;
use crate::output::Output;
use crate::record::Record;
use crate::trail::{self, Trail};

/// What a datagram from elsewhere that is the peer's has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Whether its first record is newer than all that the peer has sent before: then the peer is where it
    /// came from, or was a moment ago. An older one has been overtaken, and says nothing about that.
    pub newer: bool,
    /// Why the first part of it that was dropped was dropped.
    pub dropped: Option<Discard>,
}

/// Which trail the peer's records leave, as far as they have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tracks {
    trail: Option<Trail>,
    /// How many records have been looked at. A second one shows whether the first was typical.
    looked_at: u8,
}

impl Tracks {
    /// Looks at an authentic record. Says whether the trail is news.
    fn note(&mut self, trail: Option<Trail>) -> bool {
        let first = self.looked_at == 0;
        let kept = if first { trail } else { self.trail.filter(|&known| Some(known) == trail) };
        let news = first || kept != self.trail;
        self.looked_at += 1;
        self.trail = kept;
        news
    }

    fn is_complete(&self) -> bool {
        self.looked_at == 2
    }
}

impl Session {
    /// Tries a datagram from another address than the peer's. `None` where it is not the peer's, or cannot
    /// be told to be, or was had before: then it has left no trace.
    ///
    /// Its first record decides, which must be application data or an alert. What is behind it goes the way
    /// of all datagrams.
    ///
    /// Only a session that is open tries, or one that lingers; and only with an AEAD suite: with others OpenSSL
    /// ends a session at a forged record in some combinations, which is bearable from the one address where
    /// the peer is at best.
    pub fn receive_stray_untrusted(&mut self, datagram: &[u8], now: u64) -> Option<Stray> {
        let record = trail::claim_untrusted(datagram)?;
        let newest = self.newest()?;
        let open = self.stage == Stage::Open;
        if !(open || self.lingers()) || !self.screen.shape()?.is_aead() {
            return None;
        }
        self.now = now;
        self.trace(|tracer| tracer.received_untrusted(datagram.len(), &record));
        if self.receive_record_untrusted(&record).is_some() {
            self.trace(|tracer| tracer.forget());
            return None;
        }
        self.trace(|tracer| tracer.judged(None));
        self.counter.received(datagram);
        let rest = &datagram[record.whole.len()..];
        let dropped = match rest {
            [] => None,
            _ => self.receive_records_untrusted(datagram.len(), rest),
        };
        if let Some(cause) = dropped {
            self.counter.dropped(cause);
        }
        self.settle();
        Some(Stray { newer: open && record.sequence > newest, dropped })
    }

    /// Learns from an authentic sealed record which trail the peer leaves, and tells of it.
    pub(super) fn follow(&mut self, record: &[u8]) {
        if !self.roams || self.tracks.is_complete() {
            return;
        }
        let nonce = self.screen.shape().is_some_and(|shape| shape.has_nonce());
        let record = Record::split_first_untrusted(record).map(|(record, _)| record).filter(|_| nonce);
        let trail = record.and_then(|record| Trail::of_untrusted(&record));
        if self.tracks.note(trail) {
            self.outputs.push_back(Output::Trail(self.tracks.trail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, APPLICATION_DATA, DTLS_1_2};

    fn trail(number: u64, nonce: u64) -> Option<Trail> {
        let body = [&nonce.to_be_bytes()[..], &[0; 16]].concat();
        let datagram = record::plaintext(APPLICATION_DATA, DTLS_1_2, number, &body);
        Trail::of_untrusted(&Record::split_first_untrusted(&datagram).unwrap().0)
    }

    /// What is told of these records, nonce by nonce.
    fn told(nonces: &[u64]) -> (Vec<Option<Trail>>, Option<Trail>) {
        let mut tracks = Tracks::default();
        let mut told = Vec::new();
        for (number, &nonce) in nonces.iter().enumerate() {
            if !tracks.is_complete() && tracks.note(trail(number as u64, nonce)) {
                told.push(tracks.trail);
            }
        }
        (told, tracks.trail)
    }

    #[test]
    fn a_trail_is_told_once() {
        let start = 0x8000_0000_0000_0000;
        let expected = trail(0, start);
        assert_eq!(told(&[start]), (vec![expected], expected));
        assert_eq!(told(&[start, start + 1, start + 2]), (vec![expected], expected));
    }

    #[test]
    fn that_there_is_none_is_told_once() {
        assert_eq!(told(&[1 << 48, 1 << 48 | 1, 1 << 48 | 2]), (vec![None], None));
        assert_eq!(told(&[5, u64::MAX]), (vec![None], None));
    }

    #[test]
    fn nonces_that_do_not_count_are_found_out_by_the_second() {
        let first = trail(0, u64::MAX);
        assert_eq!(told(&[u64::MAX, 1 << 60, 1 << 61]), (vec![first, None], None));
    }
}
