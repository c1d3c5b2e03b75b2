//! One association with one peer, whose address it does not know.

use crate::config::Mtu;
use crate::context::{Context, PeerName};
use crate::desk::Desk;
use crate::discard::Discard;
use crate::engine::{Engine, Reading};
use crate::error::{Error, Name};
use crate::established::Established;
use crate::ffi;
use crate::hello::{Hello, Wishes};
use crate::output::{Output, Reason};
use crate::reassembly::Expect;
use crate::record::{self, Record};
use crate::resumption::Earlier;
use crate::screen::{Admission, Phase, Screen};
use crate::ticket::TicketKeys;
use crate::trace::{Event, Tracer};
use bytes::Bytes;
use openssl::ssl::SslSession;
use std::collections::VecDeque;
use std::rc::Rc;

mod checkpoint;
mod clock;
mod counts;
mod export;
mod handshake;
mod last_flight;
mod resumption;
mod seen;

use checkpoint::Checkpoint;
use counts::Counter;
pub use counts::{Counts, Totals};
use last_flight::LastFlight;
use seen::Seen;

/// How long a session may take, in milliseconds on the caller's clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the handshake, from the session's creation.
    pub handshake_ms: u64,
    /// Between two authenticated records; 0 for ever.
    pub idle_ms: u64,
}

/// What is wanted of a session, whatever its context.
#[derive(Clone)]
pub struct Terms {
    /// How long it may take.
    pub deadlines: Deadlines,
    /// Whether a server asks the user which context serves the host that the client wants.
    pub ask_server_name: bool,
    /// Whether there are events of what goes over the wire.
    pub trace: bool,
    /// What a server's tickets are sealed with; `None` for no tickets.
    pub tickets: Option<TicketKeys>,
    /// The earlier session that a client offers to resume.
    pub earlier: Option<Earlier>,
    /// The sums that the session adds to.
    pub totals: Rc<Totals>,
}

impl From<Deadlines> for Terms {
    /// Nothing but deadlines.
    fn from(deadlines: Deadlines) -> Terms {
        Terms {
            deadlines,
            ask_server_name: false,
            trace: false,
            tickets: None,
            earlier: None,
            totals: Rc::default(),
        }
    }
}

/// One association. *handshaking → open → closing → closed*
///
/// It has four kinds of method, and no fifth:
/// - getters, [`export_keying_material`](Session::export_keying_material) and
///   [`srtp_keys`](Session::srtp_keys) among them;
/// - from the network: [`receive_untrusted`](Session::receive_untrusted), and from the clock:
///   [`expire`](Session::expire);
/// - from the user: [`send`](Session::send), [`answer`](Session::answer),
///   [`close`](Session::close), [`destroy`](Session::destroy), [`forget`](Session::forget);
/// - [`poll`](Session::poll), which says what to do now, and
///   [`take_trace`](Session::take_trace), which says what has been done.
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
    last_flight: LastFlight,
    /// Which of the peer's sealed records have been had.
    seen: Seen,
    /// Where the handshake waits for an answer of the user's.
    waiting: Option<Checkpoint>,
    /// How many questions have been asked.
    questions: u32,
    /// What the handshake has shown so far, beside what OpenSSL keeps.
    shown: Shown,
    /// The number of our next plaintext record.
    plaintext_sequence: u64,
    /// The fatal alert we have sent in plaintext.
    alert_sent: Option<u8>,
    /// Looks on, if somebody wants to know.
    tracer: Option<Box<Tracer>>,
    counter: Counter,
}

/// What a handshake has shown before it is complete.
#[derive(Default)]
struct Shown {
    /// What the client asked for in its hello.
    wishes: Wishes,
    /// The application protocol that this server has chosen.
    alpn_protocol: Option<Vec<u8>>,
    /// The OCSP responses to choose from for the client, in DER.
    ocsp_responses: Vec<Vec<u8>>,
    /// Whether a server has asked for a certificate.
    certificate_requested: bool,
    /// What the peer was found to be.
    verdict: Option<Result<(), Error>>,
    /// Whether the server's OCSP response, or that there is none, speaks against it, whoever welcomes it
    /// all the same.
    status_refused: bool,
    /// What is probably wrong, if the handshake comes to no end.
    suspicion: Option<Error>,
    /// The earlier session that the user has kept for the id in the hello.
    cached: Option<SslSession>,
    /// Whether it has been decided that an earlier session may be resumed.
    resumption_judged: bool,
}

enum Role {
    Client {
        name: PeerName,
        /// The earlier session that it offers to resume.
        earlier: Option<Earlier>,
        /// How often it has started afresh.
        restarts: u32,
    },
    Server {
        ask_server_name: bool,
        tickets: Option<TicketKeys>,
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
    pub fn client(context: &Rc<Context>, name: PeerName, terms: &Terms, now: u64) -> Result<Session, Error> {
        if !name.is_certifiable() {
            return Err(Error::new(Name::Handshake, "no certificate can be for that name"));
        }
        let earlier = terms.earlier.clone();
        let engine = Engine::new(context.client_ssl(&name, earlier.as_ref()), 0)?;
        let role = Role::Client { name, earlier, restarts: 0 };
        let mut session = Session::new(context, role, Screen::new(Expect::Server, 0), terms, now);
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
    pub fn server(context: &Rc<Context>, datagram: &[u8], terms: &Terms, now: u64) -> Result<Session, Error> {
        let hello = Hello::read_untrusted(datagram)
            .map_err(|_| Error::new(Name::Handshake, "the datagram does not begin with a ClientHello"))?;
        // OpenSSL will number ServerHello 1, as if the hello had been the second record.
        let plaintext_offset = hello.record_sequence.wrapping_sub(1);
        let tickets = terms.tickets.clone();
        let role = Role::Server { ask_server_name: terms.ask_server_name, tickets, plaintext_offset };
        let screen = Screen::new(context.expect_from_client(), hello.message_sequence);
        let mut session = Session::new(context, role, screen, terms, now);
        session.plaintext_sequence = hello.record_sequence;
        session.receive_untrusted(datagram, now);
        Ok(session)
    }

    fn new(context: &Rc<Context>, role: Role, screen: Screen, terms: &Terms, now: u64) -> Session {
        let deadlines = terms.deadlines;
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
            last_flight: LastFlight::new(context.config().retransmit_timeout_ms),
            seen: Seen::default(),
            waiting: None,
            questions: 0,
            shown: Shown::default(),
            plaintext_sequence: 0,
            alert_sent: None,
            tracer: terms.trace.then(Box::default),
            counter: Counter::new(terms.totals.clone()),
        }
    }

    /// Takes a datagram from the peer's address. Returns why the first part of it that was dropped
    /// was dropped.
    pub fn receive_untrusted(&mut self, datagram: &[u8], now: u64) -> Option<Discard> {
        self.counter.received(datagram);
        let first = match self.stage {
            Stage::Closed => Some(Discard::Closed),
            _ => self.receive_records_untrusted(datagram, now),
        };
        if let Some(cause) = first {
            self.counter.dropped(cause);
        }
        first
    }

    fn receive_records_untrusted(&mut self, datagram: &[u8], now: u64) -> Option<Discard> {
        self.now = now;
        let mut first = None;
        let mut rest = datagram;
        while self.stage != Stage::Closed {
            let Some((record, behind)) = Record::split_first_untrusted(rest) else {
                self.trace(|tracer| tracer.malformed(datagram.len(), rest.len()));
                first = first.or(Some(Discard::Malformed));
                break;
            };
            self.trace(|tracer| tracer.received_untrusted(datagram.len(), &record));
            let discard = self.receive_record_untrusted(&record);
            self.trace(|tracer| tracer.judged(discard));
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
            Admission::Now => match self.feed(record.whole) {
                Err(cause) => Some(cause),
                Ok(()) => {
                    self.feed_what_is_due();
                    None
                }
            },
            Admission::Kept => {
                self.feed_what_is_due();
                None
            }
            Admission::Discard(cause) => {
                self.doubt();
                // Of several messages in one record some may be news.
                self.feed_what_is_due();
                Some(cause)
            }
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
        match &sealed {
            Ok(datagram) => {
                self.counter.said(message, datagram);
                self.trace(|tracer| tracer.sent(datagram));
            }
            Err(error) => {
                self.collect();
                self.finish(Reason::Error, Some(error.clone()));
            }
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

    /// Gives back the memory of a session that nobody will hear of again, but for what its getters return.
    pub fn forget(&mut self) {
        self.stage = Stage::Closed;
        self.waiting = None;
        self.engine = None;
        self.screen = Screen::new(Expect::Server, 0);
        self.outputs = VecDeque::new();
        self.shown = Shown::default();
        self.tracer = None;
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

    /// Takes the next event of what went over the wire, in order. There are none unless the
    /// [`Terms`] want them; then they are kept until they are taken, after [`send`](Session::send)
    /// too.
    pub fn take_trace(&mut self) -> Option<Event> {
        self.tracer.as_mut()?.take()
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

    /// What has happened so far.
    pub fn counts(&self) -> &Counts {
        self.counter.counts()
    }

    /// Whether this client's handshake goes before that of the peer, whose hello to us has this random. Two
    /// ends that connect to each other at the same moment both find the same one, and the other waits.
    pub fn goes_before(&self, random: &[u8; 32]) -> bool {
        let mut own = [0; 32];
        let engine = self.engine.as_ref().filter(|_| self.stage == Stage::Handshaking);
        engine.is_some_and(|engine| {
            engine.ssl().client_random(&mut own);
            matches!(self.role, Role::Client { .. }) && own < *random
        })
    }

    /// What the handshake has shown; `None` until it is complete.
    pub fn established(&self) -> Option<&Established> {
        self.established.as_ref()
    }

    /// The largest number of a sealed record that the peer has sent, and nobody else: `None` before its
    /// Finished has verified.
    pub fn newest(&self) -> Option<u64> {
        self.seen.newest()
    }

    /// Hands one record to OpenSSL and takes what comes of it.
    ///
    /// # Errors
    ///
    /// Why nothing did: a sealed record that leads to nothing was had already, forged or empty.
    fn feed(&mut self, record: &[u8]) -> Result<(), Discard> {
        let sealed = record::sealed_number(record);
        if sealed.is_some_and(|number| self.seen.has(number)) {
            return Err(Discard::Replayed);
        }
        let repeated = self.stage == Stage::Open && LastFlight::concerns(record);
        if repeated {
            self.last_flight.admit_untrusted(self.now)?;
        }
        let engine = self.engine.as_mut().ok_or(Discard::Closed)?;
        engine.feed(record);
        let before = (self.outputs.len(), self.stage);
        self.drive();
        let heard = before != (self.outputs.len(), self.stage);
        if !heard && self.stage == Stage::Handshaking {
            self.suspect_key(record);
        }
        if heard && self.stage == Stage::Open {
            self.ends_at = self.idle_end();
            // Before, what came of a forged record may have been OpenSSL's timer: it retransmits when it is
            // asked to read. What makes a session open, and all that comes of a record later, is the peer's.
            if let Some(number) = sealed {
                self.seen.note(number);
            }
        }
        if heard && repeated {
            self.last_flight.repeat(self.now);
            self.counter.repeated();
        }
        heard.then_some(()).ok_or(Discard::Unauthenticated)
    }

    /// Lets OpenSSL work on what lies on the wire.
    fn drive(&mut self) {
        match self.stage {
            Stage::Handshaking => self.shake_hands(),
            Stage::Open | Stage::Closing => self.read(),
            Stage::Closed => {}
        }
    }

    fn read(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        // Once the user has closed the session nobody listens any more.
        let heard = self.stage == Stage::Open;
        let end = engine.read(|message| {
            if heard {
                self.counter.heard(message);
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

    /// Moves what OpenSSL wrote to the outputs: a secret before what it opens.
    fn collect(&mut self) {
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

    fn trace(&mut self, note: impl FnOnce(&mut Tracer)) {
        if let Some(tracer) = &mut self.tracer {
            note(tracer);
        }
    }

    /// Ends the session. What OpenSSL had to say must have been collected: its alert goes out
    /// before anybody hears of the end.
    fn finish(&mut self, reason: Reason, error: Option<Error>) {
        let error = error.map(|error| error.with_alert_sent(self.alert_sent));
        self.stage = Stage::Closed;
        self.waiting = None;
        self.engine = None;
        self.screen.finish();
        self.ends_at = None;
        self.retransmit_at = None;
        self.doubted_until = None;
        self.outputs.push_back(Output::Closed(reason, error));
    }

    fn phase(&self) -> Phase {
        match (self.stage, &self.engine) {
            (Stage::Handshaking, Some(engine)) if engine.awaits_finished() => Phase::Finished,
            (Stage::Handshaking, _) => Phase::Plaintext,
            _ => Phase::Open,
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
