//! What OpenSSL is handed, one record at a time, and what comes of it.

use super::{LastFlight, Session, Stage};
use crate::desk::Desk;
use crate::discard::Discard;
use crate::engine::Reading;
use crate::output::{Output, Reason};
use crate::record::{self, Record};
use bytes::Bytes;

impl Session {
    /// Hands one record to OpenSSL and takes what comes of it.
    ///
    /// # Errors
    ///
    /// Why nothing did: a sealed record that leads to nothing was had already, forged or empty.
    pub(super) fn feed(&mut self, record: &[u8]) -> Result<(), Discard> {
        let sealed = record::sealed_number(record);
        if sealed.is_some_and(|number| self.seen.has(number)) {
            return Err(Discard::Replayed);
        }
        if self.lingers() {
            self.admit_straggler_untrusted(record)?;
        }
        let repeated = self.stage == Stage::Open && LastFlight::concerns(record);
        if repeated {
            self.last_flight.admit_untrusted(self.now)?;
        }
        let engine = self.engine.as_mut().ok_or(Discard::Closed)?;
        engine.feed(record);
        let before = (self.outputs.len(), self.stage);
        self.drive(sealed);
        let heard = before != (self.outputs.len(), self.stage);
        match self.stage {
            Stage::Handshaking if !heard => self.suspect_key(record),
            _ if !heard => {}
            // What came of a forged record before may have been OpenSSL's timer: it retransmits when it is
            // asked to read. What makes a session open, and all that comes of a record later, is the peer's.
            Stage::Open => {
                self.heard_at = self.now;
                self.ends_at = self.idle_end();
                if let Some(number) = sealed {
                    self.seen.note(number, self.now);
                    self.follow(record);
                }
                if repeated {
                    self.last_flight.repeat(self.now);
                    self.counter.repeated();
                }
            }
            Stage::Closing => self.hear_straggler(sealed),
            _ => {}
        }
        heard.then_some(()).ok_or(Discard::Unauthenticated)
    }

    /// Lets OpenSSL work on what lies on the wire: a sealed record of this number, or anything else.
    pub(super) fn drive(&mut self, sealed: Option<u64>) {
        match self.stage {
            Stage::Handshaking => self.shake_hands(),
            Stage::Open | Stage::Closing => self.read(sealed),
            Stage::Closed => {}
        }
    }

    fn read(&mut self, sealed: Option<u64>) {
        // Once the user has closed the session nobody listens any more.
        let heard = self.stage == Stage::Open || self.lingers();
        let Some(engine) = &mut self.engine else { return };
        let end = engine.read(|message| {
            if heard {
                self.counter.heard(message);
                self.outputs.push_back(Output::Message(Bytes::copy_from_slice(message)));
            }
        });
        self.collect();
        match end {
            Reading::Waits => {}
            Reading::Goodbye => self.take_leave(sealed),
            // We have said goodbye, and the peer does not: OpenSSL fails at a repeated Finished, for
            // one, since it repeats nothing behind a close_notify.
            Reading::Failed(_) if self.stage == Stage::Closing => self.finish(Reason::Closed, None),
            Reading::Failed(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.say_goodbye();
        }
        self.collect();
    }

    /// Moves what OpenSSL wrote to the outputs: a secret before what it opens.
    pub(super) fn collect(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        if self.context.config().key_log {
            let lines = std::mem::take(&mut Desk::of(engine.ssl()).papers().key_log);
            self.outputs.extend(lines.into_iter().map(Output::KeyLog));
        }
        while let Some(datagram) = engine.take_datagram() {
            if self.stage == Stage::Handshaking {
                note_plaintext(&datagram, &mut self.plaintext_sequence, &mut self.alert_sent);
                self.counter.asked(self.now);
            }
            self.counter.sent(&datagram);
            if let Some(tracer) = &mut self.tracer {
                tracer.sent(&datagram);
            }
            self.outputs.push_back(Output::Transmit(datagram));
        }
    }
}

/// Notes what our own datagram shows: the number after that of its last plaintext record, and its
/// fatal alert, if it has one.
fn note_plaintext(datagram: &[u8], next: &mut u64, alert: &mut Option<u8>) {
    let mut rest = datagram;
    while let Some((record, behind)) = Record::split_first_untrusted(rest) {
        if record.epoch == 0 {
            *next = (*next).max(record.sequence + 1);
            if let (record::ALERT, &[2, number]) = (record.kind, record.body) {
                *alert = Some(number);
            }
        }
        rest = behind;
    }
}
