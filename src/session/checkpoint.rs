//! Where a handshake stops until something is decided: the questions of a session, and their answers.

use super::Session;
use crate::alpn;
use crate::config::Config;
use crate::desk::{Desk, PskPair};
use crate::error::{Error, Name};
use crate::ffi;
use crate::judge::judge;
use crate::ocsp::{self, Staple};
use crate::output::{Output, Reason};
use crate::psk::{self, Psk};
use crate::question::{Answer, Question, StatusRequest};
use crate::reassembly::Message;
use crate::record::{self, ALERT, DTLS_1_2};
use crate::session::Role;
use crate::suites;

/// A place in the handshake behind which it goes on when all is decided.
pub(super) struct Checkpoint {
    /// The message that OpenSSL has not seen yet. Without one it is OpenSSL's own answer that waits
    /// to be sent.
    message: Option<Message>,
    /// What is still to be decided, in order.
    left: &'static [Decision],
}

/// Something to be decided, by the configuration or else by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Which context serves this client.
    ServerName,
    /// Which of the application protocols that it offers we speak.
    ApplicationProtocol,
    /// What is stapled to our certificate.
    OcspResponse,
    /// Which earlier session goes by the id that the client names.
    CachedSession,
    /// Whether the peer is who it should be.
    Peer,
    /// Which key this client has.
    PskIdentity,
    /// Which key to present ourselves with.
    PskHint,
    /// Whether the identity of an earlier session, which is being resumed, is still known.
    KnownIdentity,
}

/// How something was decided.
pub(super) enum Decided {
    /// The handshake can go on.
    Settled,
    /// The user has to say.
    Ask(Question),
    /// The handshake ends.
    Refused(Error),
}

impl Checkpoint {
    /// In front of a message that OpenSSL has not seen.
    pub(super) fn before(message: Message, left: &'static [Decision]) -> Checkpoint {
        Checkpoint { message: Some(message), left }
    }

    /// Behind a message that it has seen, and answered.
    pub(super) fn behind(left: &'static [Decision]) -> Checkpoint {
        Checkpoint { message: None, left }
    }

    /// Why the handshake goes no further.
    pub(super) fn excuse(&self) -> Option<String> {
        self.left.first().map(|decision| format!("the {} hook has not answered", decision.option()))
    }
}

impl Decision {
    /// The option that the user decides by.
    fn option(self) -> &'static str {
        match self {
            Decision::ServerName => "sni",
            // Decided by the lists alone.
            Decision::ApplicationProtocol => "ALPNProtocols",
            Decision::OcspResponse => "ocspResponse",
            Decision::CachedSession => "sessionCache.get",
            Decision::Peer => "verify",
            Decision::KnownIdentity | Decision::PskIdentity | Decision::PskHint => "psk",
        }
    }

    /// Whether that is an answer to it. One to another question must never pass for a decision.
    fn takes(self, answer: &Answer) -> bool {
        matches!(
            (self, answer),
            (_, Answer::Failed(_))
                | (Decision::ServerName, Answer::Context(_))
                | (Decision::OcspResponse, Answer::OcspResponse(_))
                | (Decision::Peer, Answer::Peer(_))
                | (Decision::CachedSession, Answer::CachedSession(_))
                | (Decision::PskIdentity | Decision::KnownIdentity, Answer::Key(_))
                | (Decision::PskHint, Answer::Psk(_))
        )
    }
}

impl Session {
    /// Answers the question of that number. One that is not asked any more changes nothing: it was
    /// answered before, or the handshake is over. Says whether the answer was taken.
    pub fn answer(&mut self, number: u32, answer: Answer, now: u64) -> bool {
        if number != self.questions {
            return false;
        }
        let Some(mut checkpoint) = self.waiting.take() else { return false };
        let Some((decision, rest)) = checkpoint.left.split_first() else { return false };
        self.now = now;
        let applied = if decision.takes(&answer) {
            self.apply(answer)
        } else {
            Err(Error::new(Name::Hook, "the answer is one to another question"))
        };
        match applied {
            Ok(()) => {
                checkpoint.left = rest;
                self.pass(checkpoint);
                self.feed_what_is_due();
            }
            Err(error) => self.refuse(error),
        }
        self.settle();
        // From now on the peer can show again that it is still there.
        self.doubt();
        true
    }

    /// Decides what is to be decided, as far as that goes without the user.
    pub(super) fn pass(&mut self, mut checkpoint: Checkpoint) {
        while let Some((&decision, rest)) = checkpoint.left.split_first() {
            match self.decide(decision, checkpoint.message.as_ref()) {
                Decided::Settled => checkpoint.left = rest,
                Decided::Ask(question) => {
                    self.questions += 1;
                    self.outputs.push_back(Output::Question(self.questions, Box::new(question)));
                    self.waiting = Some(checkpoint);
                    return;
                }
                Decided::Refused(error) => return self.refuse(error),
            }
        }
        self.leave(checkpoint.message);
    }

    fn decide(&mut self, decision: Decision, message: Option<&Message>) -> Decided {
        match (decision, message) {
            (Decision::ServerName, _) => self.decide_server_name(),
            (Decision::ApplicationProtocol, _) => self.decide_application_protocol(),
            (Decision::OcspResponse, _) => self.decide_ocsp_response(),
            (Decision::CachedSession, _) => self.decide_cached(),
            (Decision::Peer, _) => self.decide_peer(),
            (Decision::KnownIdentity, _) => self.decide_known_identity(),
            (Decision::PskIdentity, Some(message)) if self.uses_psk() => {
                // One that holds no identity is for OpenSSL to refuse.
                let identity = psk::identity_untrusted(&message.body);
                identity.map_or(Decided::Settled, |identity| self.decide_psk_identity(identity))
            }
            (Decision::PskHint, _) if self.uses_psk() => self.decide_psk_hint(),
            (Decision::PskIdentity | Decision::PskHint, _) => Decided::Settled,
        }
    }

    fn decide_server_name(&mut self) -> Decided {
        match self.role {
            Role::Server { ask_server_name: true, .. } => {
                Decided::Ask(Question::ServerName(self.shown.wishes.server_name.clone()))
            }
            _ => Decided::Settled,
        }
    }

    fn decide_application_protocol(&mut self) -> Decided {
        let offered = &self.shown.wishes.alpn_protocols;
        match alpn::choose(&self.context.config().alpn_protocols, offered) {
            Ok(chosen) => {
                self.shown.alpn_protocol = chosen;
                Decided::Settled
            }
            Err(error) => Decided::Refused(error),
        }
    }

    fn decide_ocsp_response(&mut self) -> Decided {
        match self.config().ocsp_response.clone() {
            Some(staple) if self.shown.wishes.status_request => match staple {
                Staple::Ask => Decided::Ask(Question::OcspResponse(StatusRequest {
                    server_name: self.shown.wishes.server_name.clone(),
                    chains: self.context.chains(),
                })),
                Staple::Given(responses) => {
                    self.shown.ocsp_responses = responses;
                    Decided::Settled
                }
            },
            _ => Decided::Settled,
        }
    }

    /// OpenSSL has verified the peer's certificate, and has refused one that it must. What is left is
    /// what only we know how to judge, and a resumed session, which it takes as it is.
    fn decide_peer(&mut self) -> Decided {
        if !self.asks_for_certificate() {
            return Decided::Settled;
        }
        let Some(engine) = &self.engine else { return Decided::Settled };
        let presented = judge(engine.ssl(), &self.context);
        let status = [Name::CertificateRevoked, Name::OcspResponse];
        self.shown.status_refused =
            presented.verdict.as_ref().is_err_and(|error| status.contains(&error.name));
        self.shown.verdict = Some(presented.verdict.clone());
        if self.config().ask_peer {
            return Decided::Ask(Question::Peer(presented));
        }
        match presented.verdict {
            Err(error) if self.config().reject_unauthorized => Decided::Refused(error),
            _ => Decided::Settled,
        }
    }

    pub(super) fn decide_psk_identity(&mut self, identity: &[u8]) -> Decided {
        self.lay_out(PskPair { identity: identity.to_vec(), key: psk::key_of_nobody() });
        let known = match self.config().psk.as_ref() {
            _ if psk::identity_fault(identity).is_some() => None,
            Some(Psk::Ask) => return Decided::Ask(Question::PskIdentity(identity.to_vec())),
            known => known.and_then(|psk| psk.key(identity)).map(<[u8]>::to_vec),
        };
        self.take_key(known).map_or_else(Decided::Refused, |()| Decided::Settled)
    }

    fn decide_psk_hint(&mut self) -> Decided {
        match self.config().psk.clone() {
            Some(Psk::Pair(pair)) => {
                self.take_pair(Some(pair)).map_or_else(Decided::Refused, |()| Decided::Settled)
            }
            Some(Psk::Ask) => {
                let hint = self.engine.as_ref().and_then(|engine| ffi::psk_identity_hint(engine.ssl()));
                Decided::Ask(Question::PskHint(hint))
            }
            Some(Psk::Table(_)) | None => Decided::Settled,
        }
    }

    fn apply(&mut self, answer: Answer) -> Result<(), Error> {
        match answer {
            Answer::Context(Some(context)) => {
                self.screen.expect_messages(context.expect_from_client());
                // Unless the user has told it.
                if self.mtu == self.context.config().mtu.bytes() {
                    self.mtu = context.config().mtu.bytes();
                }
                self.context = context;
                Ok(())
            }
            Answer::Context(None) => {
                let sentence = match &self.shown.wishes.server_name {
                    Some(name) => {
                        format!("the client wants the host '{}', which is not here", name.escape_debug())
                    }
                    None => "the client names no host, and there is none for that".to_owned(),
                };
                Err(Error::new(Name::ServerName, sentence))
            }
            Answer::OcspResponse(responses) => self.take_ocsp_responses(responses),
            Answer::CachedSession(kept) => {
                self.take_cached(kept.as_deref());
                Ok(())
            }
            Answer::Key(key) => self.take_key(key),
            Answer::Psk(pair) => self.take_pair(pair),
            Answer::Peer(Ok(())) => {
                self.shown.verdict = Some(Ok(()));
                Ok(())
            }
            Answer::Peer(Err(reason)) => Err(match (reason, self.shown.verdict.take()) {
                (None, Some(Err(error))) => error,
                (None, _) => Error::new(Name::Denied, "the peer was refused by the verify hook"),
                (Some(reason), _) => Error::new(Name::Denied, reason),
            }),
            Answer::Failed(sentence) => Err(Error::new(Name::Hook, sentence)),
        }
    }

    /// Goes on with these responses to choose from.
    fn take_ocsp_responses(&mut self, responses: Vec<Vec<u8>>) -> Result<(), Error> {
        let chains = self.context.chains();
        let fault =
            responses.iter().find_map(|der| ocsp::fault(der, chains.iter().flat_map(|it| it.first())));
        if let Some(fault) = fault {
            return Err(Error::new(Name::Hook, format!("the answer of the ocspResponse hook {fault}")));
        }
        self.shown.ocsp_responses = responses;
        Ok(())
    }

    /// Goes on with the key of the client whose identity lies on the desk, or with none.
    fn take_key(&mut self, key: Option<Vec<u8>>) -> Result<(), Error> {
        let desk = self.desk();
        let Some(mut pair) = desk.papers().psk.clone() else { return Ok(()) };
        match key {
            Some(key) => {
                if let Some(fault) = psk::key_fault(&key) {
                    return Err(Error::new(Name::Hook, format!("the key for a PSK identity {fault}")));
                }
                pair.key = key.into();
                self.compare_key(&pair)?;
                desk.papers().psk = Some(pair);
                Ok(())
            }
            None => {
                let sentence =
                    format!("nobody here knows the PSK identity '{}'", pair.identity.escape_ascii());
                let error = Error::new(Name::UnknownIdentity, sentence);
                // Who resumes a session was known once: there is nothing to hide, and no key to be wrong.
                if !self.config().hide_unknown_identity || self.shown.resumption_judged {
                    return Err(error);
                }
                // Goes on with a key of nobody's, which fails as a wrong one does: in silence.
                self.shown.suspicion = Some(error);
                Ok(())
            }
        }
    }

    /// Goes on as this identity, or not at all.
    fn take_pair(&mut self, pair: Option<PskPair>) -> Result<(), Error> {
        let Some(pair) = pair else {
            return Err(Error::new(Name::UnknownIdentity, "there is no PSK identity for this server"));
        };
        let fault =
            psk::identity_fault(&pair.identity).map(|fault| format!("the PSK identity {fault}")).or_else(
                || psk::key_fault(&pair.key).map(|fault| format!("the key of the PSK identity {fault}")),
            );
        if let Some(fault) = fault {
            return Err(Error::new(Name::Hook, fault));
        }
        // The server says nothing to a Finished that its key does not open.
        let sentence = format!(
            "the server did not answer our Finished: its key for the PSK identity '{}' is probably another",
            pair.identity.escape_ascii()
        );
        self.shown.suspicion = Some(Error::new(Name::WrongKey, sentence));
        self.lay_out(pair);
        Ok(())
    }

    /// Ends the handshake with an alert of our own making.
    pub(super) fn refuse(&mut self, error: Error) {
        self.send_alert(error.alert_to_send());
        self.finish(Reason::Error, Some(error));
    }

    /// Sends a fatal alert at a checkpoint. We are asked before our first sealed record in either role, so
    /// it goes out in plaintext.
    pub(super) fn send_alert(&mut self, number: u8) {
        let record = record::plaintext(ALERT, DTLS_1_2, self.plaintext_sequence, &[2, number]);
        self.alert_sent = Some(number);
        self.counter.sent(&record);
        self.trace(|tracer| tracer.sent(&record));
        self.outputs.push_back(Output::Transmit(record.into()));
    }

    fn uses_psk(&self) -> bool {
        let suite = self.engine.as_ref().and_then(|engine| ffi::pending_suite(engine.ssl()));
        suite.is_some_and(suites::uses_psk)
    }

    fn lay_out(&mut self, pair: PskPair) {
        self.desk().papers().psk = Some(pair);
    }

    fn desk(&self) -> Desk {
        self.engine.as_ref().map(|engine| Desk::of(engine.ssl())).unwrap_or_default()
    }

    fn config(&self) -> &Config {
        self.context.config()
    }
}
