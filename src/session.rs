//! One association with one peer, whose address it does not know.

use crate::context::{Context, PeerName};
use crate::discard::Discard;
use crate::engine::Engine;
use crate::error::{Error, Name};
use crate::established::Established;
use crate::hello::{Hello, Wishes};
use crate::output::{Output, Reason};
use crate::reassembly::Expect;
use crate::record::Record;
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
mod feed;
mod handshake;
mod last_flight;
mod linger;
mod payload;
mod resumption;
mod seen;
mod stray;
mod terms;

use checkpoint::Checkpoint;
use counts::Counter;
pub use counts::{Counts, Totals};
use last_flight::LastFlight;
use seen::Seen;
pub use stray::Stray;
use stray::Tracks;
pub use terms::{Deadlines, Terms};

/// One association. *handshaking → open → closing → closed*
///
/// It has four kinds of method, and no fifth:
/// - getters, [`export_keying_material`](Session::export_keying_material) and
///   [`srtp_keys`](Session::srtp_keys) among them;
/// - from the network: [`receive_untrusted`](Session::receive_untrusted), and from the clock:
///   [`expire`](Session::expire);
/// - from the user: [`send`](Session::send), [`answer`](Session::answer),
///   [`set_mtu`](Session::set_mtu), [`give_up`](Session::give_up), [`close`](Session::close),
///   [`destroy`](Session::destroy), [`forget`](Session::forget);
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
    /// The path's MTU: what datagrams should fill at most.
    mtu: u32,
    /// Whether larger messages are refused.
    refuse_oversize: bool,
    /// When the present stage ends by itself; `None` for never.
    ends_at: Option<u64>,
    /// When the peer was last heard, or else when the session was made.
    heard_at: u64,
    /// When OpenSSL wants to retransmit.
    retransmit_at: Option<u64>,
    /// When a peer that may have left with a plaintext alert is given up.
    doubted_until: Option<u64>,
    established: Option<Established>,
    last_flight: LastFlight,
    /// Which of the peer's sealed records have been had.
    seen: Seen,
    /// Whether [`Output::Trail`] is wanted, and what it would say.
    roams: bool,
    tracks: Tracks,
    /// How long it may linger, in milliseconds.
    linger_ms: u64,
    /// The number of the peer's close_notify, while the session lingers.
    last_number: Option<u64>,
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
    /// Our close_notify is sent, and the peer's is awaited, or else what has fallen behind it.
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
        session.go_on_with(Ok(engine));
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
            mtu: terms.mtu.unwrap_or(context.config().mtu.bytes()),
            refuse_oversize: terms.refuse_oversize,
            ends_at: Some(now.saturating_add(deadlines.handshake_ms.saturating_sub(terms.spent_ms))),
            heard_at: now,
            retransmit_at: None,
            doubted_until: None,
            established: None,
            last_flight: LastFlight::new(context.config().retransmit_timeout_ms),
            seen: Seen::default(),
            roams: terms.roams,
            tracks: Tracks::default(),
            linger_ms: terms.linger_ms,
            last_number: None,
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
            _ => {
                self.now = now;
                self.receive_records_untrusted(datagram.len(), datagram)
            }
        };
        if let Some(cause) = first {
            self.counter.dropped(cause);
        }
        first
    }

    /// Takes what is left of a datagram of this length.
    fn receive_records_untrusted(&mut self, datagram: usize, mut rest: &[u8]) -> Option<Discard> {
        let mut first = None;
        while self.stage != Stage::Closed {
            let Some((record, behind)) = Record::split_first_untrusted(rest) else {
                self.trace(|tracer| tracer.malformed(datagram, rest.len()));
                first = first.or(Some(Discard::Malformed));
                break;
            };
            self.trace(|tracer| tracer.received_untrusted(datagram, &record));
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

    /// Ends the session in good order: an established one with a close_notify, whose answer is
    /// awaited for a second; a handshake with an alert, where it waits for an answer to a question.
    /// Messages that nobody has polled yet are dropped. Does nothing the second time.
    pub fn close(&mut self, now: u64) {
        const ANSWER_MS: u64 = 1000;
        // RFC 5246 section 7.2.2 has it as a warning, which would be of no consequence.
        const USER_CANCELED: u8 = 90;
        self.now = now;
        match self.stage {
            Stage::Handshaking => {
                if self.waiting.is_some() {
                    self.send_alert(USER_CANCELED);
                }
                self.finish(Reason::Closed, None);
            }
            Stage::Open => {
                self.outputs.retain(|output| !matches!(output, Output::Message(_)));
                self.say_goodbye();
                self.stage = Stage::Closing;
                self.ends_at = Some(now.saturating_add(ANSWER_MS));
            }
            Stage::Closing if self.lingers() => self.stop_lingering(),
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

    /// Takes the next output; [`Output::Timeout`] when there is nothing more to do.
    pub fn poll(&mut self) -> Output {
        self.outputs.pop_front().unwrap_or_else(|| {
            let times = [self.ends_at, self.doubted_until, self.retransmit_at];
            Output::Timeout(times.into_iter().flatten().min())
        })
    }

    /// Takes the next output if it is a message.
    pub fn take_message(&mut self) -> Option<Bytes> {
        match self.outputs.pop_front()? {
            Output::Message(message) => Some(message),
            other => {
                self.outputs.push_front(other);
                None
            }
        }
    }

    /// Whether there is more to do than to wait.
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
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
        self.screen.clear();
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
