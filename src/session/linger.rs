//! What a peer sent before its close_notify is heard, even where it comes behind it.
//!
//! The last message and the close_notify leave the peer at the same moment, and the network may swap them.
//! OpenSSL reads nothing after a close_notify, as over TCP there is nothing. So where records are missing
//! that were sent before it, the session lingers: it is no longer the user's to send with, but hears what
//! is on its way still. (RFC 9147 section 5.10 says for DTLS 1.3 what is right for 1.2 as well: what comes
//! behind a closure alert is ignored if its number is larger, and may be heard if it is smaller.)
//!
//! The alert is read first, and what it makes of the session is taken back in OpenSSL
//! (SSL_set_shutdown(3)). The other way would be to hold it back until the gap has closed; but then nobody
//! has authenticated what is held. A stranger could send an alert that takes the genuine one's place, or
//! hundreds of them, or have one wait for records that never were. Here a forged alert is dropped like every
//! other forgery, before anything lingers, and the peer has its answer at once.
//!
//! How long it may be is counted from the moment at which the missing records were last overtaken, since a
//! record that is late by that much is lost. So a loss of long ago keeps no session, nor does a hole that is
//! none of the network's: an empty record, or one that was refused.
//!
//! Only the peer of the session can make it linger, once, and for no longer than the user allows.

use super::{Session, Stage};
use crate::discard::Discard;
use crate::output::{Output, Reason};
use crate::record::{self, APPLICATION_DATA};

impl Session {
    /// Takes leave of a peer that has sent its close_notify, in the record of this number: at once, or when
    /// what is missing has come or is late.
    pub(super) fn take_leave(&mut self, number: Option<u64>) {
        self.say_goodbye();
        if let Some(number) = number {
            self.seen.note(number, self.now);
        }
        let until = self.seen.missing_since().map_or(0, |since| since.saturating_add(self.linger_ms));
        match &mut self.engine {
            Some(engine) if self.stage == Stage::Open && until > self.now => {
                engine.read_on();
                self.stage = Stage::Closing;
                self.last_number = number;
                self.ends_at = Some(until);
            }
            _ => self.finish(Reason::Closed, None),
        }
    }

    /// Whether what comes now is still heard, though the peer has closed the session.
    pub(super) fn lingers(&self) -> bool {
        self.stage == Stage::Closing && self.last_number.is_some()
    }

    /// What is heard while the session lingers.
    ///
    /// # Errors
    ///
    /// [`Discard::Closed`] for everything but messages that were sent before the close_notify.
    pub(super) fn admit_straggler_untrusted(&self, record: &[u8]) -> Result<(), Discard> {
        let is_before = |(number, last)| number < last;
        let is_earlier = record::sealed_number(record).zip(self.last_number).is_some_and(is_before);
        let is_straggler = is_earlier && record[0] == APPLICATION_DATA;
        is_straggler.then_some(()).ok_or(Discard::Closed)
    }

    /// Has heard the record of this number, and ends the session if nothing is missing any more.
    pub(super) fn hear_straggler(&mut self, number: Option<u64>) {
        if !self.lingers() {
            return;
        }
        number.into_iter().for_each(|number| self.seen.note(number, self.now));
        if self.seen.missing_since().is_none() {
            self.finish(Reason::Closed, None);
        }
    }

    /// Ends a session that lingers: its user wants to hear no more.
    pub(super) fn stop_lingering(&mut self) {
        self.outputs.retain(|output| !matches!(output, Output::Message(_)));
        self.finish(Reason::Closed, None);
    }
}
