//! What may reach OpenSSL: the record screen in front of every session.
//!
//! OpenSSL trusts plaintext more than it may: an unknown record type, a malformed alert, an early
//! application record end a handshake; five warnings do; a short sealed record ends an established
//! session; so does one inside a record whose header it skips; a hundred records of the next epoch pin half a
//! megabyte. The screen passes what a
//! genuine peer would send at this point and nothing else, keeps a little of what came too early,
//! and rebuilds epoch 0 altogether: handshake messages whole, in order, and numbered anew (a
//! forged record with a large number would move OpenSSL's replay window past the genuine ones).
//!
//! A plaintext alert proves nothing, nor does a second HelloVerifyRequest. They are remembered, and
//! make the session give up or start afresh sooner unless the handshake goes on.
//!
//! (RFC 9147 seals the handshake from ServerHello on: with DTLS 1.3, epoch 2 carries handshake
//! records and 3 the application's. Only [`Phase`] and `admit_untrusted` know epochs.)

use crate::discard::Discard;
use crate::reassembly::{Expect, Message, Reassembly};
use crate::record::{self, Record, ALERT, CHANGE_CIPHER_SPEC, DTLS_1_2, HANDSHAKE, MAX_PLAINTEXT};
use crate::shape::SealedShape;
use std::collections::VecDeque;

/// How many sealed records that came too early are kept, and how many bytes of them: the longest record, and
/// a little. What is kept here and in [`Reassembly`] is below 32 KiB in a server that asks for no certificates.
const HELD_RECORDS: usize = 16;
const HELD_BYTES: usize = 17 * 1024;

/// How far the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It writes in plaintext: no ChangeCipherSpec has been taken yet.
    Plaintext,
    /// Its ChangeCipherSpec has been taken, its Finished not.
    Finished,
    /// The handshake is complete.
    Open,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// OpenSSL may read it as it is.
    Now,
    /// It was taken in; [`Screen::take`] may have something now.
    Kept,
    /// It goes no further.
    Discard(Discard),
}

/// The screen of one session.
pub struct Screen {
    reassembly: Reassembly,
    /// Known from ServerHello on.
    shape: Option<SealedShape>,
    /// Sealed records waiting for the epoch to begin, or for the Finished in front of them.
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
    /// Whether a ChangeCipherSpec came that OpenSSL has not been offered since the last message.
    change_cipher_spec: bool,
    /// Whether one came at all. It says nothing but that it came, so once is enough.
    change_seen: bool,
    /// The description of a fatal plaintext alert since the last message.
    alert: Option<u8>,
    /// The number of the next rebuilt plaintext record.
    sequence: u64,
    /// The longest body of one.
    longest_plaintext: usize,
    /// Rebuilt records that are ready.
    ready: VecDeque<Vec<u8>>,
}

impl Screen {
    /// A screen for a handshake whose first message from the peer has this message_seq.
    pub fn new(expect: Expect, sequence: u16) -> Screen {
        Screen {
            reassembly: Reassembly::new(expect, sequence),
            shape: None,
            held: VecDeque::new(),
            held_bytes: 0,
            change_cipher_spec: false,
            change_seen: false,
            alert: None,
            sequence: 0,
            longest_plaintext: MAX_PLAINTEXT,
            ready: VecDeque::new(),
        }
    }

    /// Tells the screen what the cipher suite's sealed records look like, once that is known.
    pub fn expect_sealed(&mut self, shape: SealedShape) {
        self.shape = Some(shape);
        self.drop_misfits();
    }

    /// Rebuilds no longer records from now on: the peer has negotiated that its own are short (RFC
    /// 6066 section 4), and OpenSSL ends the handshake at a longer one.
    pub fn shorten_plaintext(&mut self, longest: usize) {
        self.longest_plaintext = longest;
        self.drop_misfits();
    }

    /// Judges a record.
    pub fn admit_untrusted(&mut self, record: &Record, phase: Phase) -> Admission {
        if !record.is_believable() {
            return Admission::Discard(Discard::Malformed);
        }
        if record.epoch == 1 && !self.reads_whole(record.whole) {
            return Admission::Discard(Discard::Malformed);
        }
        let fits = self.shape.is_none_or(|shape| shape.fits(record.body.len()));
        match (record.epoch, phase) {
            (0, Phase::Open) => Admission::Discard(Discard::Plaintext),
            (0, _) => self.admit_plaintext_untrusted(record),
            (1, _) if !fits => Admission::Discard(Discard::Short),
            (1, Phase::Open) => Admission::Now,
            (1, Phase::Finished) if record.kind == HANDSHAKE => Admission::Now,
            (1, _) => self.hold_untrusted(record),
            _ => Admission::Discard(Discard::Epoch),
        }
    }

    /// The shape of sealed records; `None` where it is still to be told.
    pub fn shape(&self) -> Option<SealedShape> {
        self.shape
    }

    /// Takes the next record that OpenSSL may read in this phase, rebuilt or held.
    pub fn take(&mut self, phase: Phase) -> Option<Vec<u8>> {
        match phase {
            Phase::Plaintext => self.take_plaintext(),
            Phase::Finished => {
                let index = self.held.iter().position(|record| record[0] == HANDSHAKE)?;
                self.release(index)
            }
            Phase::Open => self.release(0),
        }
    }

    /// Changes which messages are expected, now that the handshake has shown which way it takes.
    pub fn expect_messages(&mut self, expect: Expect) {
        self.reassembly.expect(expect);
    }

    /// Takes out the handshake message that is due, if it is whole.
    pub fn take_message(&mut self) -> Option<Message> {
        let message = self.reassembly.take()?;
        // A peer that goes on has not given up: whoever sent that alert, it was not the peer.
        self.alert = None;
        Some(message)
    }

    /// Rebuilds the records of a message that OpenSSL may see, so that [`Screen::take`] has them.
    pub fn queue(&mut self, message: &Message) {
        self.change_cipher_spec = self.change_seen;
        for body in message.to_record_bodies(self.longest_plaintext) {
            self.ready.push_back(record::plaintext(HANDSHAKE, DTLS_1_2, self.sequence, &body));
            self.sequence += 1;
        }
    }

    /// The fatal alert that was seen in plaintext, if the handshake has not gone on since.
    pub fn alert(&self) -> Option<u8> {
        self.alert
    }

    /// Whether the server seems to have refused our cookie, and the handshake has not gone on since.
    pub fn cookie_refused(&self) -> bool {
        self.reassembly.cookie_was_refused()
    }

    /// Gives back what only a handshake needs.
    pub fn finish(&mut self) {
        self.reassembly.clear();
        self.ready = VecDeque::new();
        self.alert = None;
    }

    /// Gives back everything: the session is over.
    pub fn clear(&mut self) {
        self.finish();
        self.held = VecDeque::new();
        self.held_bytes = 0;
    }

    fn admit_plaintext_untrusted(&mut self, record: &Record) -> Admission {
        match (record.kind, record.body) {
            (HANDSHAKE, body) => match self.reassembly.add_untrusted(body) {
                Ok(()) => Admission::Kept,
                Err(cause) => Admission::Discard(cause),
            },
            (CHANGE_CIPHER_SPEC, [1]) => {
                self.change_seen = true;
                self.change_cipher_spec = true;
                Admission::Kept
            }
            // Fatal, or a close_notify: the peer may be about to leave.
            (ALERT, &[2, description]) | (ALERT, &[1, description @ 0]) => {
                self.alert = Some(description);
                Admission::Discard(Discard::Alert)
            }
            (ALERT, [1, _]) => Admission::Discard(Discard::Alert),
            _ => Admission::Discard(Discard::Unexpected),
        }
    }

    /// Takes the next record of the messages that were rebuilt, and no ChangeCipherSpec behind them.
    pub fn take_ready(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    fn take_plaintext(&mut self) -> Option<Vec<u8>> {
        if let Some(record) = self.take_ready() {
            return Some(record);
        }
        // OpenSSL ignores a ChangeCipherSpec that comes too early; it is offered again then.
        if std::mem::take(&mut self.change_cipher_spec) {
            let record = record::plaintext(CHANGE_CIPHER_SPEC, DTLS_1_2, self.sequence, &[1]);
            self.sequence += 1;
            return Some(record);
        }
        None
    }

    /// Whether OpenSSL reads a sealed record to its end, if it reads it at all. It skips the header of one whose
    /// version or length it dislikes, and takes the body for the next record: one that a stranger has put there,
    /// and that nobody has judged.
    fn reads_whole(&self, record: &[u8]) -> bool {
        /// The most by which a sealed body may be longer than its plaintext (SSL3_RT_MAX_ENCRYPTED_OVERHEAD,
        /// without compression).
        const EXPANSION: usize = 320;
        record[1..3] == DTLS_1_2 && record.len() - record::HEADER <= self.longest_plaintext + EXPANSION
    }

    /// Drops what was kept and turns out to be none of the peer's, now that more is known.
    fn drop_misfits(&mut self) {
        let fits = |screen: &Screen, record: &[u8]| {
            let length = record.len() - record::HEADER;
            screen.reads_whole(record) && screen.shape.is_none_or(|shape| shape.fits(length))
        };
        while let Some(index) = self.held.iter().position(|record| !fits(self, record)) {
            self.release(index);
        }
    }

    /// Keeps a sealed record that came ahead of its time. A Finished has precedence over early
    /// application data, which is only lost where it stays away.
    fn hold_untrusted(&mut self, record: &Record) -> Admission {
        let full = |screen: &Screen| {
            screen.held.len() >= HELD_RECORDS || screen.held_bytes + record.whole.len() > HELD_BYTES
        };
        if record.kind == HANDSHAKE {
            while full(self) {
                let Some(index) = self.held.iter().rposition(|other| other[0] != HANDSHAKE) else { break };
                self.release(index);
            }
        }
        if full(self) {
            return Admission::Discard(Discard::Overflow);
        }
        self.held_bytes += record.whole.len();
        self.held.push_back(record.whole.to_vec());
        Admission::Kept
    }

    fn release(&mut self, index: usize) -> Option<Vec<u8>> {
        let record = self.held.remove(index)?;
        self.held_bytes -= record.len();
        Some(record)
    }
}

#[cfg(test)]
mod tests;
