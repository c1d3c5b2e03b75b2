//! A session's way from the first record to its Finished.

use super::checkpoint::{Checkpoint, Decision};
use super::resumption::JUDGEMENT;
use super::{Role, Session, Shown, Stage};
use crate::crl;
use crate::desk::Desk;
use crate::engine::Engine;
use crate::error::{Error, Name, Progress};
use crate::established::Established;
use crate::ffi;
use crate::hello::Wishes;
use crate::output::{Output, Reason};
use crate::reassembly::{kind, Expect, Message};
use crate::screen::{Phase, Screen};
use crate::shape::SealedShape;
use crate::suites;
use crate::trace::Tracer;
use std::time::Duration;

/// How often a client starts afresh because its cookie was refused.
const MOST_RESTARTS: u32 = 4;

impl Session {
    /// Feeds OpenSSL what the screen has for it, which changes with every record it reads, until
    /// there is no more or a question has to be answered first.
    pub(super) fn feed_what_is_due(&mut self) {
        while self.stage != Stage::Closed && self.waiting.is_none() {
            let phase = self.phase();
            if let Some(record) = self.screen.take(phase) {
                // What comes of it shows in what is due next.
                let _ = self.feed(&record);
            } else if phase != Phase::Plaintext {
                break;
            } else if let Some(message) = self.screen.take_message() {
                self.doubted_until = None;
                self.counter.answered(self.now);
                self.arrive(message);
            } else {
                break;
            }
        }
    }

    /// Looks at a message that has come whole, and stops where something is to be decided about it
    /// before OpenSSL sees it.
    fn arrive(&mut self, message: Message) {
        if message.kind == kind::CLIENT_KEY_EXCHANGE {
            self.limit_lifetime();
        }
        if message.kind == kind::CERTIFICATE && crl::has_relative_points_untrusted(&message.body) {
            let sentence =
                "the peer's certificate names the lists of its CA by relative names, which may take \
                            any amount of memory (CVE-2026-35189)";
            return self.refuse(Error::new(Name::Certificate, sentence));
        }
        let decisions: &[Decision] = match (&self.role, message.kind) {
            (Role::Server { .. }, kind::CLIENT_HELLO) => {
                self.shown.wishes = Wishes::read_untrusted(&message.body);
                &[
                    Decision::ServerName,
                    Decision::ApplicationProtocol,
                    Decision::OcspResponse,
                    Decision::CachedSession,
                ]
            }
            (Role::Server { .. }, kind::CLIENT_KEY_EXCHANGE) if self.has_peer_certificate() => {
                // Whether the peer has its key as well shows in the CertificateVerify behind it.
                &[]
            }
            (Role::Server { .. }, kind::CLIENT_KEY_EXCHANGE) => &[Decision::Peer, Decision::PskIdentity],
            (Role::Server { .. }, kind::CERTIFICATE_VERIFY) => return self.arrive_at_proof(&message),
            (Role::Client { .. }, kind::CERTIFICATE_REQUEST) => {
                self.shown.certificate_requested = true;
                &[]
            }
            (Role::Client { .. }, kind::SERVER_HELLO_DONE) => &[Decision::Peer, Decision::PskHint],
            _ => &[],
        };
        self.pass(Checkpoint::before(message, decisions));
    }

    /// Lets OpenSSL see the proof that a client has the key of its certificate, and then decides about
    /// the client: nobody is asked about a certificate that somebody else presents.
    fn arrive_at_proof(&mut self, message: &Message) {
        self.screen.queue(message);
        while let Some(record) = self.screen.take_ready() {
            // What comes of it shows in what is due next.
            let _ = self.feed(&record);
        }
        if self.stage == Stage::Handshaking {
            self.pass(Checkpoint::behind(&[Decision::Peer]));
        }
    }

    fn has_peer_certificate(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| {
            let ssl = engine.ssl();
            ssl.peer_certificate().is_some() || ffi::raw_key::peer_key(ssl).is_some()
        })
    }

    /// Goes on behind a checkpoint.
    pub(super) fn leave(&mut self, message: Option<Message>) {
        match message {
            Some(message) => {
                self.screen.queue(&message);
                if self.engine.is_none() {
                    self.begin_accepting();
                }
            }
            // OpenSSL has seen it already, and what it wrote to that was held back.
            None => self.collect(),
        }
    }

    /// Gives OpenSSL the ClientHello, now that it is whole.
    fn begin_accepting(&mut self) {
        let Role::Server { plaintext_offset, .. } = self.role else { return };
        if self.would_crash() {
            let sentence =
                "the client says which signatures certificates may bear (signature_algorithms_cert), \
                            which this OpenSSL does not survive where there is a key without a certificate";
            return self.refuse(Error::new(Name::NoCipher, sentence));
        }
        let Some(hello) = self.screen.take(Phase::Plaintext) else { return };
        let begun = Engine::new(self.context.server_ssl(), plaintext_offset).and_then(|mut engine| {
            {
                let desk = Desk::of(engine.ssl());
                let mut papers = desk.papers();
                papers.alpn_protocol = self.shown.alpn_protocol.take();
                papers.ocsp_responses = std::mem::take(&mut self.shown.ocsp_responses);
            }
            self.prepare_resumption(engine.ssl());
            engine.feed(&hello);
            engine.listen()?;
            Ok(engine)
        });
        self.go_on_with(begun);
    }

    /// Whether OpenSSL would look at the certificate of a key that has none.
    fn would_crash(&self) -> bool {
        let wishes = &self.shown.wishes;
        let is_asked = wishes.raw_public_key && wishes.certificate_signatures;
        is_asked && self.context.has_bare_key() && ffi::raw_key::crashes_at_certificate_signatures()
    }

    /// Starts afresh, with a new hello: the server refuses the cookie that was returned to it,
    /// because it is stale or because it was not the server who sent it. OpenSSL would wait for
    /// ever, since a second HelloVerifyRequest has a message_seq that it has left behind.
    ///
    /// Never at once: that HelloVerifyRequest may be forged while the server goes on with the
    /// old hello, and of several that are on their way the new hello would take one for its own.
    pub(super) fn restart(&mut self) {
        let Role::Client { name, earlier, restarts } = &mut self.role else { return };
        *restarts += 1;
        let fresh = Engine::new(self.context.client_ssl(name, earlier.as_ref()), 0);
        self.screen = Screen::new(Expect::Server, 0);
        self.shown = Shown::default();
        self.trace(Tracer::restart);
        self.go_on_with(fresh);
    }

    pub(super) fn go_on_with(&mut self, engine: Result<Engine, Error>) {
        match engine {
            Ok(engine) => {
                self.engine = Some(engine);
                self.tell_mtu();
                self.drive(None);
            }
            Err(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    pub(super) fn must_restart(&self) -> bool {
        let may = matches!(self.role, Role::Client { restarts, .. } if restarts < MOST_RESTARTS);
        may && self.screen.cookie_refused()
    }

    pub(super) fn shake_hands(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        // OpenSSL retransmits before it reads, where it is time to.
        let retransmits = engine.retransmits_in() == Some(Duration::ZERO);
        let outcome = engine.shake_hands();
        let resumes = engine.ssl().session_reused();
        if self.screen.shape().is_none() {
            if let Some(suite) = ffi::pending_suite(engine.ssl()) {
                self.screen.expect_sealed(SealedShape::of_suite(suite));
                if let Some(longest) = ffi::max_fragment_length(engine.ssl()) {
                    self.screen.shorten_plaintext(longest);
                }
                match self.role {
                    _ if resumes => self.screen.expect_messages(Expect::Resumption),
                    Role::Server { .. } if suites::uses_psk(suite) => {
                        self.screen.expect_messages(Expect::Client { certificate: false });
                    }
                    _ => {}
                }
            }
        }
        if resumes && !self.shown.resumption_judged && matches!(outcome, Ok(false)) {
            self.shown.resumption_judged = true;
            return self.pass(Checkpoint::behind(JUDGEMENT));
        }
        if matches!(outcome, Ok(true)) {
            self.counter.answered(self.now);
        }
        self.collect();
        if retransmits {
            self.counter.repeated();
        }
        match outcome {
            Ok(true) => self.establish(),
            Ok(false) => {}
            Err(error) if error.name == Name::TimedOut => {
                let error = self.suspected().unwrap_or(error);
                self.finish(Reason::Timeout, Some(error));
            }
            Err(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    fn establish(&mut self) {
        let Some(engine) = &self.engine else { return };
        let verification = self.shown.verdict.take();
        if verification.is_none() && self.asks_for_certificate() {
            // No way leads here. Should one be opened by mistake, it leads no further.
            let error = Error::new(Name::Certificate, "the peer has not been judged");
            return self.finish(Reason::Error, Some(error));
        }
        let mut established = Established::of(engine.ssl(), verification);
        // OpenSSL has derived what it needs from the key.
        Desk::of(engine.ssl()).papers().psk = None;
        established.server_name = self.server_name();
        // With an earlier session resumed it is the client who has the last word.
        self.last_flight.finish(matches!(self.role, Role::Server { .. }) != engine.ssl().session_reused());
        self.context.retired().add(engine.leavings());
        established.kept = self.kept();
        established.fit(self.mtu);
        self.tell_of_session();
        self.established = Some(established);
        self.screen.finish();
        self.stage = Stage::Open;
        self.heard_at = self.now;
        self.ends_at = self.idle_end();
        self.doubted_until = None;
        self.counter.established();
        self.outputs.push_back(Output::Connected);
    }

    /// The host that the client wants of this server, or that this client wants.
    fn server_name(&self) -> Option<String> {
        match &self.role {
            Role::Client { name, .. } => name.host().map(str::to_owned),
            Role::Server { .. } => self.shown.wishes.server_name.clone(),
        }
    }

    /// Whether the peer has to show a certificate, in the cipher suite that has been agreed on.
    pub(super) fn asks_for_certificate(&self) -> bool {
        let suite = self.engine.as_ref().and_then(|engine| ffi::suite(engine.ssl()));
        match self.role {
            _ if suite.is_some_and(suites::uses_psk) => false,
            Role::Client { .. } => true,
            Role::Server { .. } => self.context.config().request_cert,
        }
    }

    /// What is known about why a peer may have refused to go on.
    pub(super) fn progress(&self) -> Progress {
        let is_client = matches!(self.role, Role::Client { .. });
        let ssl = self.engine.as_ref().map(|engine| engine.ssl());
        let agreed = ssl.is_some_and(|ssl| ffi::pending_suite(ssl).is_some());
        let presentable = ssl.is_some_and(|ssl| self.context.can_present_itself(ssl));
        Progress {
            only_hello: is_client && !agreed,
            lacks_certificate: self.shown.certificate_requested && !presentable,
        }
    }

    /// OpenSSL has dropped a sealed record of the peer's that should have been its Finished. Somebody
    /// may have forged it; if no other comes, it was the peer's, under another key than ours.
    pub(super) fn suspect_key(&mut self, record: &[u8]) {
        let sealed = record[3..5] != [0, 0];
        let identity = self.engine.as_ref().and_then(|engine| Desk::of(engine.ssl()).psk_identity());
        if let (true, None, Some(identity)) = (sealed, &self.shown.suspicion, identity) {
            let sentence = format!(
                "the peer's Finished does not verify: its key for the PSK identity '{}' is probably another",
                identity.escape_ascii()
            );
            self.shown.suspicion = Some(Error::new(Name::WrongKey, sentence));
        }
    }

    /// What there is to say of a handshake whose deadline has passed.
    pub(super) fn late(&self) -> Error {
        let mut sentence =
            format!("the handshake was not complete within {} ms", self.deadlines.handshake_ms);
        if let Some(excuse) = self.waiting.as_ref().and_then(Checkpoint::excuse) {
            sentence.push_str(": ");
            sentence.push_str(&excuse);
        }
        Error::new(Name::TimedOut, sentence)
    }

    /// Why a handshake that came to no end probably did not.
    pub(super) fn suspected(&self) -> Option<Error> {
        self.shown.suspicion.clone()
    }
}
