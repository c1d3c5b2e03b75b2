//! A session's part in resumption: which earlier session it may resume, and who may resume it.

use super::checkpoint::{Decided, Decision};
use super::{Role, Session};
use crate::desk::{Desk, PskPair};
use crate::error::{Error, Name};
use crate::ffi;
use crate::output::Output;
use crate::question::Question;
use crate::resumption::{limit_to_certificate, mark_of_key, of_cached, to_cached, Kept};
use openssl::ssl::SslRef;

/// The longest session id (RFC 5246 section 7.4.1.2).
const LONGEST_ID: usize = 32;

/// What is decided about a session that is being resumed, before our Finished goes out.
pub(super) const JUDGEMENT: &[Decision] = &[Decision::Peer, Decision::KnownIdentity];

impl Session {
    /// Lays out what a server may need to resume an earlier session, before it reads the hello.
    ///
    /// Without the extended master secret nothing is resumed, neither now nor later (RFC 7627 sections
    /// 5.3 and 5.4).
    pub(super) fn prepare_resumption(&mut self, ssl: &SslRef) {
        let Role::Server { tickets, .. } = &self.role else { return };
        let wishes = &self.shown.wishes;
        let config = self.context.config();
        ffi::set_session_id_context(ssl, &self.context.session_id_context(wishes.server_name.as_deref()));
        if config.session_timeout_s == 0 || !wishes.extended_master_secret {
            ffi::forbid_resumption(ssl);
        }
        let desk = Desk::of(ssl);
        match tickets {
            Some(keys) if config.session_timeout_s > 0 => desk.papers().tickets = Some(keys.clone()),
            _ => ffi::ignore_tickets(ssl),
        }
        desk.papers().cached = self.shown.cached.take();
    }

    /// Asks for the session that the client names by its id, where the user keeps sessions. OpenSSL looks
    /// for none where it takes the ticket.
    pub(super) fn decide_cached(&self) -> Decided {
        let Role::Server { tickets, .. } = &self.role else { return Decided::Settled };
        let wishes = &self.shown.wishes;
        let by_ticket = wishes.ticket && tickets.is_some();
        let asks = self.context.config().keeps_sessions() && wishes.extended_master_secret;
        if !asks || !(1..=LONGEST_ID).contains(&wishes.session_id.len()) || by_ticket {
            return Decided::Settled;
        }
        Decided::Ask(Question::CachedSession(wishes.session_id.clone()))
    }

    /// Takes what the user has kept for that id. What is damaged, or belongs elsewhere, is none: there is
    /// a full handshake.
    pub(super) fn take_cached(&mut self, kept: Option<&[u8]>) {
        self.shown.cached = kept.and_then(|bytes| of_cached(bytes, &self.shown.wishes.session_id));
    }

    /// A resumed session tells no identity and proves no key: whether both are what they were is asked here.
    pub(super) fn decide_known_identity(&mut self) -> Decided {
        let identity = self.engine.as_ref().and_then(|engine| ffi::psk_identity(engine.ssl()));
        match (&self.role, identity) {
            (Role::Server { .. }, Some(identity)) => self.decide_psk_identity(&identity),
            _ => Decided::Settled,
        }
    }

    /// Notes in a new session which key it was made with; of one that is being resumed, sees that the key
    /// is still the same.
    pub(super) fn compare_key(&self, pair: &PskPair) -> Result<(), Error> {
        let session = self.engine.as_ref().and_then(|engine| engine.ssl().session());
        let Some(session) = session else { return Ok(()) };
        let mark = mark_of_key(pair);
        if !self.shown.resumption_judged {
            ffi::set_note(session, &mark);
        } else if ffi::note(session) != mark {
            let identity = pair.identity.escape_ascii();
            let sentence =
                format!("the PSK identity '{identity}' has another key since the session was made");
            return Err(Error::new(Name::UnknownIdentity, sentence));
        }
        Ok(())
    }

    /// Has a server's session live no longer than the client's certificate, before its ticket is sealed.
    pub(super) fn limit_lifetime(&self) {
        let Some(engine) = &self.engine else { return };
        if let Some(session) = engine.ssl().session() {
            limit_to_certificate(session, engine.ssl().peer_certificate());
        }
    }

    /// What a client's user may keep of a session that is complete. One whose server was let in in spite of
    /// its OCSP response would pass, when it is resumed without any, for one whose server is in order.
    pub(super) fn kept(&self) -> Option<Kept> {
        match (&self.role, &self.engine) {
            _ if self.shown.status_refused => None,
            (Role::Client { name, .. }, Some(engine)) => self.context.keep(name, engine.ssl()),
            _ => None,
        }
    }

    /// Tells a server's user of a new session that can be resumed by its id.
    pub(super) fn tell_of_session(&mut self) {
        let (Role::Server { .. }, Some(engine)) = (&self.role, &self.engine) else { return };
        if !self.context.config().keeps_sessions() || engine.ssl().session_reused() {
            return;
        }
        let Some(session) = engine.ssl().session().filter(|session| ffi::is_resumable(session)) else {
            return;
        };
        if let Some(kept) = to_cached(session) {
            self.outputs.push_back(Output::Session(session.id().to_vec(), kept));
        }
    }
}
