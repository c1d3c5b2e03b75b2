//! One association with one peer, whose address it does not know.

use crate::config::Mtu;
use crate::context::{Context, PeerName};
use crate::discard::Discard;
use crate::engine::{Engine, Reading};
use crate::error::{Error, Name};
use crate::established::Established;
use crate::ffi;
use crate::hello::Hello;
use crate::output::{Output, Reason};
use crate::reassembly::Expect;
use crate::record::Record;
use crate::screen::{Admission, Phase, Screen};
use bytes::Bytes;
use std::collections::VecDeque;
use std::rc::Rc;

/// How often a client starts afresh because its cookie was refused.
const MOST_RESTARTS: u32 = 4;

/// How long a session may take, in milliseconds on the caller's clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the handshake, from the session's creation.
    pub handshake_ms: u64,
    /// Between two authenticated records; 0 for ever.
    pub idle_ms: u64,
}

/// One association. *handshaking → open → closing → closed*
///
/// It has four kinds of method, and no fifth:
/// - getters;
/// - from the network: [`receive_untrusted`](Session::receive_untrusted), and from the clock:
///   [`expire`](Session::expire);
/// - from the user: [`send`](Session::send), [`close`](Session::close),
///   [`destroy`](Session::destroy);
/// - [`poll`](Session::poll), which says what to do now.
///
/// Time is the caller's: any monotonic clock in milliseconds.
pub struct Session {
    context: Rc<Context>,
    role: Role,
    stage: Stage,
    /// `None` until a server has the whole ClientHello, and once the session is closed.
    engine: Option<Engine>,
    screen: Screen,
    outputs: VecDeque<Output>,
    deadlines: Deadlines,
    /// The time of the call that is being worked on.
    now: u64,
    /// What handshake datagrams may fill.
    mtu: u32,
    /// When the present stage ends by itself; `None` for never.
    ends_at: Option<u64>,
    /// When OpenSSL wants to retransmit.
    retransmit_at: Option<u64>,
    /// When a peer that may have left with a plaintext alert is given up.
    doubted_until: Option<u64>,
    established: Option<Established>,
}

enum Role {
    Client {
        name: PeerName,
        /// How often it has started afresh.
        restarts: u32,
    },
    Server {
        /// What is added to the numbers of our plaintext records: RFC 6347 section 4.2.1 has
        /// ServerHello continue from the ClientHello, OpenSSL starts at 1 (openssl#32063).
        plaintext_offset: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Open,
    /// Our close_notify is sent, the peer's is awaited.
    Closing,
    Closed,
}

impl Session {
    /// Starts a client session with the server that is called `name`.
    ///
    /// # Errors
    ///
    /// [`Name::Handshake`] where no certificate can have that name, or OpenSSL cannot make a session.
    pub fn client(
        context: &Rc<Context>,
        name: PeerName,
        deadlines: Deadlines,
        now: u64,
    ) -> Result<Session, Error> {
        if !name.is_certifiable() {
            return Err(Error::new(Name::Handshake, "no certificate can be for that name"));
        }
        let engine = Engine::new(context.client_ssl(&name), 0)?;
        let role = Role::Client { name, restarts: 0 };
        let mut session = Session::new(context, role, Screen::new(Expect::Server, 0), deadlines, now);
        session.engine = Some(engine);
        session.drive();
        session.settle();
        Ok(session)
    }

    /// Starts a server session with the peer whose datagram the gate has just admitted.
    ///
    /// # Errors
    ///
    /// [`Name::Handshake`] where the datagram holds no hello after all.
    pub fn server(
        context: &Rc<Context>,
        datagram: &[u8],
        deadlines: Deadlines,
        now: u64,
    ) -> Result<Session, Error> {
        let hello = Hello::read_untrusted(datagram)
            .map_err(|_| Error::new(Name::Handshake, "the datagram does not begin with a ClientHello"))?;
        // OpenSSL will number ServerHello 1, as if the hello had been the second record.
        let role = Role::Server { plaintext_offset: hello.record_sequence.wrapping_sub(1) };
        let screen = Screen::new(context.expect_from_client(), hello.message_sequence);
        let mut session = Session::new(context, role, screen, deadlines, now);
        session.receive_untrusted(datagram, now);
        Ok(session)
    }

    fn new(context: &Rc<Context>, role: Role, screen: Screen, deadlines: Deadlines, now: u64) -> Session {
        Session {
            context: context.clone(),
            role,
            stage: Stage::Handshaking,
            engine: None,
            screen,
            outputs: VecDeque::new(),
            deadlines,
            now,
            mtu: context.config().mtu.bytes(),
            ends_at: Some(now.saturating_add(deadlines.handshake_ms)),
            retransmit_at: None,
            doubted_until: None,
            established: None,
        }
    }

    /// Takes a datagram from the peer's address. Returns why the first part of it that was dropped
    /// was dropped.
    pub fn receive_untrusted(&mut self, datagram: &[u8], now: u64) -> Option<Discard> {
        if self.stage == Stage::Closed {
            return Some(Discard::Closed);
        }
        self.now = now;
        let mut first = None;
        let mut rest = datagram;
        while self.stage != Stage::Closed {
            let Some((record, behind)) = Record::split_first_untrusted(rest) else {
                first = first.or(Some(Discard::Malformed));
                break;
            };
            let discard = self.receive_record_untrusted(&record);
            first = first.or(discard);
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        self.settle();
        first
    }

    fn receive_record_untrusted(&mut self, record: &Record) -> Option<Discard> {
        match self.screen.admit_untrusted(record, self.phase()) {
            Admission::Now if !self.feed(record.whole) => Some(Discard::Unauthenticated),
            Admission::Now | Admission::Kept => {
                self.feed_what_is_due();
                None
            }
            Admission::Discard(cause) => {
                self.doubt();
                Some(cause)
            }
        }
    }

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

    fn end_by_clock(&mut self) {
        match self.stage {
            Stage::Handshaking => {
                let error = match self.screen.alert() {
                    Some(description) => Error::alert(description),
                    None => Error::new(
                        Name::TimedOut,
                        format!("the handshake was not complete within {} ms", self.deadlines.handshake_ms),
                    ),
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
            Some(description) => self.finish(Reason::Error, Some(Error::alert(description))),
            None => {}
        }
    }

    fn retransmit(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let outcome = engine.retransmit();
        self.collect();
        if let Err(error) = outcome {
            self.finish(Reason::Timeout, Some(error));
        }
    }

    /// Seals a message and returns the one datagram that carries it.
    ///
    /// # Errors
    ///
    /// [`Name::NotConnected`] before the handshake is complete and after the end,
    /// [`Name::Invalid`] for an empty message, [`Name::MessageTooBig`] for one that fits no
    /// record: none of these harms the session. Anything else has ended it.
    pub fn send(&mut self, message: &[u8]) -> Result<Bytes, Error> {
        let (Stage::Open, Some(engine), Some(established)) =
            (self.stage, &mut self.engine, &self.established)
        else {
            return Err(Error::not_connected(self.state()));
        };
        if message.is_empty() {
            return Err(Error::new(Name::Invalid, "a DTLS message cannot be empty"));
        }
        if message.len() > established.max_message {
            let sentence = format!(
                "a message of {} bytes does not fit a DTLS record of at most {}",
                message.len(),
                established.max_message
            );
            return Err(Error::new(Name::MessageTooBig, sentence));
        }
        let sealed = engine.seal(message);
        if let Err(error) = &sealed {
            self.collect();
            self.finish(Reason::Error, Some(error.clone()));
        }
        sealed
    }

    /// Ends the session in good order: an established one with a close_notify, whose answer is
    /// awaited for a second. Messages that nobody has polled yet are dropped. Does nothing the
    /// second time.
    pub fn close(&mut self, now: u64) {
        const ANSWER_MS: u64 = 1000;
        self.now = now;
        match self.stage {
            Stage::Handshaking => self.finish(Reason::Closed, None),
            Stage::Open => {
                self.outputs.retain(|output| !matches!(output, Output::Message(_)));
                self.say_goodbye();
                self.stage = Stage::Closing;
                self.ends_at = Some(now.saturating_add(ANSWER_MS));
            }
            Stage::Closing | Stage::Closed => {}
        }
        self.settle();
    }

    /// Ends the session at once, without a word to the peer or anything more to the user.
    pub fn destroy(&mut self) {
        if self.stage != Stage::Closed {
            self.outputs.clear();
            self.finish(Reason::Destroyed, None);
        }
    }

    /// Makes handshake datagrams smaller, because the network refused one of `refused` bytes: the
    /// retransmission will fit. Returns the new size, or `None` where there is no smaller one.
    ///
    /// A flight may be refused datagram by datagram; that lowers the size once.
    pub fn lower_mtu(&mut self, refused: usize) -> Option<u32> {
        // IPv6's least MTU less its headers, IPv4's least reassembly size less its, OpenSSL's least.
        const STEPS: [u32; 3] = [1232, 548, Mtu::LEAST];
        let engine = self.engine.as_ref().filter(|_| self.stage == Stage::Handshaking)?;
        if refused > self.mtu as usize {
            return Some(self.mtu);
        }
        self.mtu = STEPS.into_iter().find(|&step| (step as usize) < refused)?;
        ffi::set_mtu(engine.ssl(), self.mtu);
        Some(self.mtu)
    }

    /// Takes the next output; [`Output::Timeout`] when there is nothing more to do.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| {
            let times = [self.ends_at, self.doubted_until, self.retransmit_at];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    /// *handshaking*, *open*, *closing* or *closed*.
    pub fn state(&self) -> &'static str {
        match self.stage {
            Stage::Handshaking => "handshaking",
            Stage::Open => "open",
            Stage::Closing => "closing",
            Stage::Closed => "closed",
        }
    }

    /// What the handshake has shown; `None` until it is complete.
    pub fn established(&self) -> Option<&Established> {
        self.established.as_ref()
    }

    /// Feeds OpenSSL what the screen has for it, which changes with every record it reads.
    fn feed_what_is_due(&mut self) {
        while self.stage != Stage::Closed {
            let phase = self.phase();
            if let Some(record) = self.screen.take(phase) {
                self.feed(&record);
            } else if phase != Phase::Plaintext || !self.screen.queue_message() {
                break;
            } else {
                self.doubted_until = None;
                if self.engine.is_none() {
                    self.begin_accepting();
                }
            }
        }
    }

    /// Gives OpenSSL the ClientHello, now that it is whole.
    fn begin_accepting(&mut self) {
        let Role::Server { plaintext_offset } = self.role else { return };
        let Some(hello) = self.screen.take(Phase::Plaintext) else { return };
        let begun = Engine::new(self.context.server_ssl(), plaintext_offset).and_then(|mut engine| {
            engine.feed(&hello);
            engine.listen()?;
            Ok(engine)
        });
        self.go_on_with(begun);
    }

    /// Starts afresh, with a new hello: the server refuses the cookie that was returned to it,
    /// because it is stale or because it was not the server who sent it. OpenSSL would wait for
    /// ever, since a second HelloVerifyRequest has a message_seq that it has left behind.
    ///
    /// Never at once: that HelloVerifyRequest may be forged while the server goes on with the
    /// old hello, and of several that are on their way the new hello would take one for its own.
    fn restart(&mut self) {
        let Role::Client { name, restarts } = &mut self.role else { return };
        *restarts += 1;
        let fresh = Engine::new(self.context.client_ssl(name), 0);
        if let Ok(engine) = &fresh {
            ffi::set_mtu(engine.ssl(), self.mtu);
        }
        self.screen = Screen::new(Expect::Server, 0);
        self.go_on_with(fresh);
    }

    fn go_on_with(&mut self, engine: Result<Engine, Error>) {
        match engine {
            Ok(engine) => {
                self.engine = Some(engine);
                self.drive();
            }
            Err(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    fn must_restart(&self) -> bool {
        let may = matches!(self.role, Role::Client { restarts, .. } if restarts < MOST_RESTARTS);
        may && self.screen.cookie_refused()
    }

    /// Hands one record to OpenSSL and takes what comes of it. Says whether anything did: a sealed
    /// record that leads to nothing was forged, replayed or empty.
    fn feed(&mut self, record: &[u8]) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        engine.feed(record);
        let before = (self.outputs.len(), self.stage);
        self.drive();
        let heard = before != (self.outputs.len(), self.stage);
        if heard && self.stage == Stage::Open {
            self.ends_at = self.idle_end();
        }
        heard
    }

    /// Lets OpenSSL work on what lies on the wire.
    fn drive(&mut self) {
        match self.stage {
            Stage::Handshaking => self.shake_hands(),
            Stage::Open | Stage::Closing => self.read(),
            Stage::Closed => {}
        }
    }

    fn shake_hands(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        let outcome = engine.shake_hands();
        if self.screen.lacks_shape() {
            if let Some(shape) = ffi::sealed_shape(engine.ssl()) {
                self.screen.expect_sealed(shape);
                if let Some(longest) = ffi::max_fragment_length(engine.ssl()) {
                    self.screen.shorten_plaintext(longest);
                }
            }
        }
        self.collect();
        match outcome {
            Ok(true) => self.establish(),
            Ok(false) => {}
            Err(error) if error.name == Name::TimedOut => self.finish(Reason::Timeout, Some(error)),
            Err(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    fn establish(&mut self) {
        let Some(engine) = &self.engine else { return };
        let asked = match self.role {
            Role::Client { .. } => true,
            Role::Server { .. } => self.context.config().request_cert,
        };
        self.established = Some(Established::of(engine.ssl(), asked));
        self.screen.finish();
        self.stage = Stage::Open;
        self.ends_at = self.idle_end();
        self.doubted_until = None;
        self.outputs.push_back(Output::Connected);
    }

    fn read(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        // Once the user has closed the session nobody listens any more.
        let heard = self.stage == Stage::Open;
        let end = engine.read(|message| {
            if heard {
                self.outputs.push_back(Output::Message(Bytes::copy_from_slice(message)));
            }
        });
        self.collect();
        match end {
            Reading::Waits => {}
            Reading::Goodbye => {
                self.say_goodbye();
                self.finish(Reason::Closed, None);
            }
            // We have said goodbye, and the peer does not: OpenSSL fails at a repeated Finished, for
            // one, since it repeats nothing behind a close_notify.
            Reading::Failed(_) if self.stage == Stage::Closing => self.finish(Reason::Closed, None),
            Reading::Failed(error) => self.finish(Reason::Error, Some(error)),
        }
    }

    fn say_goodbye(&mut self) {
        if let Some(engine) = &mut self.engine {
            engine.say_goodbye();
        }
        self.collect();
    }

    /// Moves what OpenSSL wrote to the outputs.
    fn collect(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        while let Some(datagram) = engine.take_datagram() {
            self.outputs.push_back(Output::Transmit(datagram));
        }
    }

    /// Ends the session. What OpenSSL had to say must have been collected: its alert goes out
    /// before anybody hears of the end.
    fn finish(&mut self, reason: Reason, error: Option<Error>) {
        self.stage = Stage::Closed;
        self.engine = None;
        self.screen.finish();
        self.ends_at = None;
        self.retransmit_at = None;
        self.doubted_until = None;
        self.outputs.push_back(Output::Closed(reason, error));
    }

    /// Gives the peer time to show that a plaintext alert or a refused cookie was not its own word,
    /// since whoever can reach us can send either: after an alert until a retransmission can have
    /// been answered; after a refusal until we would retransmit a hello that is refused anyway.
    fn doubt(&mut self) {
        if self.doubted_until.is_some() {
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
    fn settle(&mut self) {
        const LONGEST_MS: u64 = 60_000;
        let handshaking = self.engine.as_ref().filter(|_| self.stage == Stage::Handshaking);
        self.retransmit_at = handshaking.and_then(Engine::retransmits_in).map(|left| {
            let left_ms = left.as_micros().div_ceil(1000) as u64;
            self.now.saturating_add(left_ms.clamp(1, LONGEST_MS))
        });
    }

    fn phase(&self) -> Phase {
        match (self.stage, &self.engine) {
            (Stage::Handshaking, Some(engine)) if engine.awaits_finished() => Phase::Finished,
            (Stage::Handshaking, _) => Phase::Plaintext,
            _ => Phase::Open,
        }
    }

    fn idle_end(&self) -> Option<u64> {
        (self.deadlines.idle_ms > 0).then(|| self.now.saturating_add(self.deadlines.idle_ms))
    }
}
