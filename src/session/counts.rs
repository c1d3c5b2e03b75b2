//! What a session counts for whoever looks on: plain integers, so that a message pays for no more than adding
//! to them.

use crate::discard::Discard;
use std::cell::Cell;
use std::rc::Rc;

/// What has happened in one session so far. Nothing here ever becomes less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams from the peer's address, whatever became of them.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams made for the peer.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages of the peer's.
    pub messages_in: u64,
    /// Their bytes.
    pub message_bytes_in: u64,
    /// Messages sealed for the peer.
    pub messages_out: u64,
    /// Their bytes.
    pub message_bytes_out: u64,
    /// How often a flight of the handshake was sent again.
    pub retransmissions: u64,
    /// How long the peer took to answer a flight, at best: in milliseconds, once it has answered one that
    /// was sent once.
    pub round_trip_ms: Option<u64>,
    /// Why datagrams were dropped, and how many. Most sessions meet few causes, many none.
    pub drops: Vec<(Discard, u64)>,
}

/// The sums over all sessions of an endpoint, those that have ended included.
#[derive(Debug, Default)]
pub struct Totals {
    /// Datagrams that came by a [`Transport`](crate::transport::Transport) and that Lua has not seen.
    pub datagrams_in: Cell<u64>,
    /// Their bytes.
    pub bytes_in: Cell<u64>,
    /// Datagrams that were sent by it.
    pub datagrams_out: Cell<u64>,
    /// Their bytes.
    pub bytes_out: Cell<u64>,
    /// Cookies that were sent by it.
    pub challenges: Cell<u64>,
    /// How many of them were for a hello with another one.
    pub stale: Cell<u64>,
    /// See [`Counts::messages_in`].
    pub messages_in: Cell<u64>,
    /// See [`Counts::message_bytes_in`].
    pub message_bytes_in: Cell<u64>,
    /// See [`Counts::messages_out`].
    pub messages_out: Cell<u64>,
    /// See [`Counts::message_bytes_out`].
    pub message_bytes_out: Cell<u64>,
    /// See [`Counts::retransmissions`].
    pub retransmissions: Cell<u64>,
    /// How many established sessions know their round-trip time.
    pub round_trips: Cell<u64>,
    /// The sum of their round-trip times, in milliseconds.
    pub round_trip_sum_ms: Cell<u64>,
}

#[cfg(batches)]
impl Totals {
    /// A datagram has come that Lua will not see.
    pub(crate) fn received(&self, length: usize) {
        add(&self.datagrams_in, 1);
        add(&self.bytes_in, length as u64);
    }

    /// Datagrams were sent, and these bytes in all of them.
    pub(crate) fn sent(&self, datagrams: u64, bytes: u64) {
        add(&self.datagrams_out, datagrams);
        add(&self.bytes_out, bytes);
    }

    /// A stranger was sent a cookie.
    pub(crate) fn challenged(&self, stale: bool) {
        add(&self.challenges, 1);
        add(&self.stale, u64::from(stale));
    }
}

/// Counts, and measures how long the peer takes to answer.
///
/// An answer to a flight that was sent twice does not say which of the two it answers, so it measures nothing
/// (Karn's algorithm, RFC 6298 section 3). An answer that takes long may have been thought about: of several
/// the quickest counts. All this is believed of plaintext: it is good for looking at, and for nothing that
/// matters.
#[derive(Debug)]
pub(super) struct Counter {
    counts: Counts,
    totals: Rc<Totals>,
    /// When a flight was sent that has been neither answered nor repeated.
    asked_at: Option<u64>,
}

impl Counter {
    pub(super) fn new(totals: Rc<Totals>) -> Counter {
        Counter { counts: Counts::default(), totals, asked_at: None }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A datagram has come.
    pub(super) fn received(&mut self, datagram: &[u8]) {
        self.counts.datagrams_in += 1;
        self.counts.bytes_in += datagram.len() as u64;
    }

    /// It, or a part of it, went no further.
    pub(super) fn dropped(&mut self, cause: Discard) {
        match self.counts.drops.iter_mut().find(|(other, _)| *other == cause) {
            Some((_, count)) => *count += 1,
            None => self.counts.drops.push((cause, 1)),
        }
    }

    /// A message has come.
    pub(super) fn heard(&mut self, message: &[u8]) {
        let length = message.len() as u64;
        self.counts.messages_in += 1;
        self.counts.message_bytes_in += length;
        add(&self.totals.messages_in, 1);
        add(&self.totals.message_bytes_in, length);
    }

    /// A message goes out.
    pub(super) fn said(&mut self, message: &[u8], datagram: &[u8]) {
        let length = message.len() as u64;
        self.counts.messages_out += 1;
        self.counts.message_bytes_out += length;
        add(&self.totals.messages_out, 1);
        add(&self.totals.message_bytes_out, length);
        self.sent(datagram);
    }

    /// A datagram goes out.
    pub(super) fn sent(&mut self, datagram: &[u8]) {
        self.counts.datagrams_out += 1;
        self.counts.bytes_out += datagram.len() as u64;
    }

    /// What goes out asks for an answer.
    pub(super) fn asked(&mut self, now: u64) {
        self.asked_at = Some(now);
    }

    /// What went out has gone out before.
    pub(super) fn repeated(&mut self) {
        self.asked_at = None;
        self.counts.retransmissions += 1;
        add(&self.totals.retransmissions, 1);
    }

    /// The peer goes on with the handshake.
    pub(super) fn answered(&mut self, now: u64) {
        let Some(asked_at) = self.asked_at.take() else { return };
        let took = now.saturating_sub(asked_at);
        let best = self.counts.round_trip_ms.get_or_insert(took);
        *best = took.min(*best);
    }

    /// The handshake is complete.
    pub(super) fn established(&mut self) {
        if let Some(round_trip_ms) = self.counts.round_trip_ms {
            add(&self.totals.round_trips, 1);
            add(&self.totals.round_trip_sum_ms, round_trip_ms);
        }
    }
}

fn add(total: &Cell<u64>, more: u64) {
    total.set(total.get() + more);
}
