//! What time does to a session: its deadlines, its retransmissions, and how long it doubts what a stranger
//! may have said.

use super::{Session, Stage};
use crate::engine::Engine;
use crate::error::{Error, Name};
use crate::output::Reason;

impl Session {
    /// Lets the clock act: deadlines, and OpenSSL's retransmission timer.
    pub fn expire(&mut self, now: u64) {
        self.now = now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if due(self.ends_at) {
            self.end_by_clock();
        } else if due(self.doubted_until) {
            self.end_by_doubt();
        } else if due(self.retransmit_at) {
            self.retransmit();
        }
        self.settle();
    }

    /// When the peer was last heard: when its last authenticated record came that had an effect.
    pub fn heard_at(&self) -> u64 {
        self.heard_at
    }

    /// Ends an open session whose peer the user takes for gone, `sentence` saying why. Says goodbye all the
    /// same: the peer may only be out of reach. Does nothing where the session is not open.
    pub fn give_up(&mut self, sentence: &str, now: u64) {
        self.now = now;
        if self.stage == Stage::Open {
            self.say_goodbye();
            self.finish(Reason::Timeout, Some(Error::new(Name::TimedOut, sentence)));
        }
        self.settle();
    }

    fn end_by_clock(&mut self) {
        match self.stage {
            Stage::Handshaking => {
                let error = match self.screen.alert() {
                    Some(description) if self.waiting.is_none() => Error::alert(description, self.progress()),
                    _ => self.suspected().unwrap_or_else(|| self.late()),
                };
                self.finish(Reason::Timeout, Some(error));
            }
            Stage::Open => {
                self.say_goodbye();
                self.finish(Reason::Timeout, None);
            }
            Stage::Closing | Stage::Closed => self.finish(Reason::Closed, None),
        }
    }

    /// Believes what a stranger may have said: nothing has come since that speaks against it.
    fn end_by_doubt(&mut self) {
        self.doubted_until = None;
        match self.screen.alert() {
            _ if self.must_restart() => self.restart(),
            Some(description) => {
                self.finish(Reason::Error, Some(Error::alert(description, self.progress())));
            }
            None => {}
        }
    }

    fn retransmit(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let outcome = engine.retransmit();
        let before = self.counter.counts().datagrams_out;
        self.collect();
        if self.counter.counts().datagrams_out > before {
            self.counter.repeated();
        }
        if let Err(error) = outcome {
            let error = self.suspected().unwrap_or(error);
            self.finish(Reason::Timeout, Some(error));
        }
    }

    /// Gives the peer time to show that a plaintext alert or a refused cookie was not its own word,
    /// since whoever can reach us can send either: after an alert until a retransmission can have
    /// been answered; after a refusal until we would retransmit a hello that is refused anyway.
    ///
    /// While a question waits for its answer the peer cannot show anything: it is we who keep it.
    pub(super) fn doubt(&mut self) {
        let wait = self.stage != Stage::Handshaking || self.waiting.is_some();
        if wait || self.doubted_until.is_some() {
            return;
        }
        let timeout = u64::from(self.context.config().retransmit_timeout_ms);
        let within_a_timeout = self.now.saturating_add(timeout);
        if self.must_restart() {
            self.doubted_until = self.retransmit_at.or(Some(within_a_timeout));
        } else if self.screen.alert().is_some() {
            let retransmission = self.retransmit_at.unwrap_or(0).max(within_a_timeout);
            self.doubted_until = Some(retransmission.saturating_add(timeout));
        }
    }

    /// Asks OpenSSL when it wants to retransmit. Its timer runs on the wall clock, so what it
    /// says is not believed beyond its own longest timeout; and once a handshake is complete
    /// nothing is retransmitted by the clock.
    pub(super) fn settle(&mut self) {
        const LONGEST_MS: u64 = 60_000;
        let retransmits = self.stage == Stage::Handshaking && self.waiting.is_none();
        let handshaking = self.engine.as_ref().filter(|_| retransmits);
        self.retransmit_at = handshaking.and_then(Engine::retransmits_in).map(|left| {
            let left_ms = left.as_micros().div_ceil(1000) as u64;
            self.now.saturating_add(left_ms.clamp(1, LONGEST_MS))
        });
    }

    pub(super) fn idle_end(&self) -> Option<u64> {
        (self.deadlines.idle_ms > 0).then(|| self.now.saturating_add(self.deadlines.idle_ms))
    }
}
