//! A gate, a server and a client on an invented clock, over a wire whose weather is a function.
//!
//! The pair obeys the draining law for both ends and checks after each step what must always hold:
//! a session that has closed says nothing more, does nothing more and is sent nothing more. The
//! number of steps is bounded, so a livelock is a failed test.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod certificates;
pub mod clock;
pub mod dice;
mod first;
pub mod forge;
pub mod raw;
pub mod revocation;
pub mod seal;

use dtls_core::config::Mtu;
use dtls_core::context::PeerName;
use dtls_core::desk::PskPair;
use dtls_core::error::Alert;
use dtls_core::psk::Psk;
use dtls_core::trace::Event;
use dtls_core::{
    Answer, Config, Context, Deadlines, Discard, Error, Gate, Name, Output, Question, Reason, Session, Terms,
    TicketKeys, Verdict,
};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

/// Where the client's datagrams come from.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const PORT: u16 = 40_000;

/// More steps than anything here needs.
const MOST_STEPS: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

pub const BOTH: [Side; 2] = [Side::Client, Side::Server];

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// A datagram as it enters the wire.
pub struct Sent<'a> {
    pub to: Side,
    /// The how-manieth in this direction, from 0.
    pub number: usize,
    pub bytes: &'a [u8],
}

impl Sent<'_> {
    pub fn arrives(&self, after: u64) -> Delivery {
        Delivery { to: self.to, after, bytes: self.bytes.to_vec() }
    }
}

/// A datagram as it leaves the wire, so many milliseconds later.
pub struct Delivery {
    pub to: Side,
    pub after: u64,
    pub bytes: Vec<u8>,
}

/// Decides what becomes of a datagram: lost, delivered, delivered twice, with others around it.
pub type Weather = Box<dyn FnMut(&Sent) -> Vec<Delivery>>;

/// Every datagram arrives, a millisecond later.
pub fn fair() -> Weather {
    Box::new(|sent| vec![sent.arrives(1)])
}

/// What a pair is made of.
#[derive(Clone)]
pub struct Setup {
    pub server: Config,
    pub client: Config,
    pub name: &'static str,
    pub deadlines: Deadlines,
    /// How long both ends linger.
    pub linger_ms: u64,
    /// What the client is told of the path's MTU from the start.
    pub mtu: Option<u32>,
    /// Whether both ends refuse messages that make datagrams larger than the MTU.
    pub refuse_oversize: bool,
    /// Whether the server asks which context serves a host.
    pub ask_server_name: bool,
    /// Whether both ends keep events of what goes over the wire.
    pub trace: bool,
    /// Whether both ends tell which trail their peer leaves.
    pub roams: bool,
    /// What the server seals its tickets with.
    pub tickets: Option<TicketKeys>,
    /// What the client kept of an earlier session, to resume it.
    pub kept: Option<Vec<u8>>,
    /// The server's context, where several pairs have the same.
    pub context: Option<Rc<Context>>,
}

impl Default for Setup {
    /// Both ends as users would have them: the client trusts the CA, the server has its certificate.
    fn default() -> Setup {
        let identity = certificates::server();
        Setup {
            server: Config {
                cert: vec![identity.cert_pem()],
                key: vec![identity.key_pem()],
                ca: Some(vec![certificates::authority().cert_pem()]),
                ..Config::default()
            },
            client: Config { ca: Some(vec![certificates::authority().cert_pem()]), ..Config::default() },
            name: "server.test",
            deadlines: Deadlines { handshake_ms: 600_000, idle_ms: 0 },
            linger_ms: Terms::LINGER_MS,
            mtu: None,
            refuse_oversize: false,
            ask_server_name: false,
            trace: false,
            roams: false,
            tickets: Some(TicketKeys::random(7200)),
            kept: None,
            context: None,
        }
    }
}

impl Setup {
    /// All pairs of this setup have one server.
    pub fn of_one_server(mut self) -> Setup {
        self.context = Some(Rc::new(Context::new(self.server.clone()).unwrap()));
        self
    }

    /// The server asks for a certificate, and the client has one.
    pub fn mutual() -> Setup {
        let mut setup = Setup::default();
        setup.server.request_cert = true;
        setup.client.cert = vec![certificates::client().cert_pem()];
        setup.client.key = vec![certificates::client().key_pem()];
        setup
    }

    /// Both ends have this pre-shared key, and no certificates.
    pub fn psk() -> Setup {
        let pair = PskPair { identity: b"device 1".to_vec(), key: b"sixteen bytes 16".to_vec().into() };
        let config = Config { psk: Some(Psk::Pair(pair)), ..Config::default() };
        Setup { server: config.clone(), client: config, ..Setup::default() }
    }

    /// Both ends have these cipher suites alone, whatever the security level thinks of them.
    pub fn with_suite(suite: &str) -> Setup {
        let mut setup = Setup::default();
        if !suite.contains("ECDSA") {
            setup.server.cert = vec![certificates::rsa_server().cert_pem()];
            setup.server.key = vec![certificates::rsa_server().key_pem()];
        }
        let list = format!("{suite}:@SECLEVEL=0");
        setup.server.ciphers = Some(list.clone());
        setup.client.ciphers = Some(list);
        setup
    }

    pub fn with_mtu(mut self, mtu: u32) -> Setup {
        self.server.mtu = Mtu::new(mtu).unwrap();
        self.client.mtu = Mtu::new(mtu).unwrap();
        self
    }

    pub fn pair(self) -> Pair {
        Pair::new(&self, fair())
    }

    pub fn pair_in(self, weather: Weather) -> Pair {
        Pair::new(&self, weather)
    }
}

/// One end, and what it has said so far.
#[derive(Default)]
pub struct End {
    pub session: Option<Session>,
    /// Connected, messages, and the end, in order; of the latest session at this end.
    pub said: Vec<Output>,
    /// Every datagram it sent, the gate's included.
    pub sent: Vec<Vec<u8>>,
    /// Its events of what went over the wire, if there are to be any.
    pub events: Vec<Event>,
    /// Why datagrams it received went no further.
    pub discards: Vec<Discard>,
    /// Answers its questions at once; without it they are left open.
    pub hook: Option<Hook>,
    due: Option<u64>,
}

pub type Hook = Box<dyn FnMut(&Question) -> Answer>;

impl End {
    pub fn connected(&self) -> usize {
        self.said.iter().filter(|output| **output == Output::Connected).count()
    }

    pub fn messages(&self) -> Vec<&[u8]> {
        fn message(output: &Output) -> Option<&[u8]> {
            match output {
                Output::Message(bytes) => Some(bytes),
                _ => None,
            }
        }
        self.said.iter().filter_map(message).collect()
    }

    /// How it ended, if it did; a second end fails the test at once.
    pub fn end(&self) -> Option<(Reason, Option<Error>)> {
        let mut ends = self.said.iter().filter_map(|output| match output {
            Output::Closed(reason, error) => Some((*reason, error.clone())),
            _ => None,
        });
        let first = ends.next();
        assert_eq!(ends.next(), None, "a session closed twice");
        first
    }

    /// Why it ended, if it ended for a failure.
    pub fn failure(&self) -> Option<Name> {
        self.end().and_then(|(_, error)| error).map(|error| error.name)
    }

    /// The questions it has asked, with their numbers.
    pub fn questions(&self) -> Vec<(u32, Question)> {
        let question = |output: &Output| match output {
            Output::Question(number, question) => Some((*number, (**question).clone())),
            _ => None,
        };
        self.said.iter().filter_map(question).collect()
    }

    pub fn is_open(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.state() == "open")
    }

    /// Its session, if there is one, whose events have been taken.
    fn watched(&mut self) -> Option<&mut Session> {
        let session = self.session.as_mut()?;
        self.events.extend(std::iter::from_fn(|| session.take_trace()));
        Some(session)
    }

    pub fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("there is no session")
    }
}

struct InFlight {
    at: u64,
    to: Side,
    bytes: Vec<u8>,
}

pub struct Pair {
    pub now: u64,
    /// How far the wall clock is off, in milliseconds.
    pub skew: i64,
    pub client: End,
    pub server: End,
    pub gate: Gate,
    pub weather: Weather,
    /// Sessions that the gate's word has made.
    pub admitted: usize,
    context: Rc<Context>,
    terms: Terms,
    wire: Vec<InFlight>,
    steps: usize,
}

impl Pair {
    /// Makes both ends; the client's first hello is on the wire.
    pub fn new(setup: &Setup, weather: Weather) -> Pair {
        clock::set(0);
        let fresh = || Rc::new(Context::new(setup.server.clone()).unwrap());
        let context = setup.context.clone().unwrap_or_else(fresh);
        context.check_server().unwrap();
        let client = Rc::new(Context::new(setup.client.clone()).unwrap());
        let name = PeerName::parse(setup.name);
        let terms = Terms {
            linger_ms: setup.linger_ms,
            mtu: setup.mtu,
            refuse_oversize: setup.refuse_oversize,
            ask_server_name: setup.ask_server_name,
            trace: setup.trace,
            roams: setup.roams,
            tickets: setup.tickets.clone(),
            earlier: setup.kept.as_ref().map(|kept| client.earlier(&name, kept).unwrap()),
            ..setup.deadlines.into()
        };
        let session = Session::client(&client, name, &terms, 0).unwrap();
        let mut pair = Pair {
            now: 0,
            skew: 0,
            client: End { session: Some(session), ..End::default() },
            server: End::default(),
            gate: Gate::random(clock::seconds()),
            weather,
            admitted: 0,
            context,
            terms,
            wire: Vec::new(),
            steps: 0,
        };
        pair.drain(Side::Client);
        pair
    }

    pub fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Lets the clock go on to whatever happens next, and has it happen. False where nothing will.
    pub fn step(&mut self) -> bool {
        self.step_before(u64::MAX)
    }

    fn step_before(&mut self, limit: u64) -> bool {
        let arrival = self.wire.iter().map(|packet| packet.at).min();
        let due = [self.client.due, self.server.due].into_iter().flatten().min();
        let Some(next) = [arrival, due].into_iter().flatten().min().filter(|&at| at < limit) else {
            return false;
        };
        self.steps += 1;
        assert!(self.steps < MOST_STEPS, "the pair never comes to rest");
        self.set_time(self.now.max(next));
        if arrival == Some(next) {
            // The first of those that arrive now: equal delays keep the order.
            let index = self.wire.iter().position(|packet| packet.at == next).unwrap();
            let packet = self.wire.remove(index);
            self.deliver(packet.to, &packet.bytes);
        } else {
            for side in BOTH {
                if self.end(side).due.is_some_and(|at| at <= next) {
                    self.expire(side);
                }
            }
        }
        true
    }

    /// Runs for so many milliseconds.
    pub fn run(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.step_before(until) {}
        self.set_time(until);
    }

    /// Runs until the condition holds. Says whether it came to that.
    pub fn run_until(&mut self, condition: impl Fn(&Pair) -> bool) -> bool {
        while !condition(self) {
            if !self.step() {
                return false;
            }
        }
        true
    }

    /// Runs until both ends are open; fails where that never comes to be.
    #[track_caller]
    pub fn connect(&mut self) {
        let both = |pair: &Pair| pair.client.is_open() && pair.server.is_open();
        assert!(self.run_until(both), "no handshake: {}", self.story());
    }

    /// Sends a message each way and sees it arrive, whole and once. The weather must be fair.
    #[track_caller]
    pub fn converse(&mut self) {
        for from in BOTH {
            let text = format!("from the {from:?} at {}", self.now);
            self.end(from).said.retain(|output| !matches!(output, Output::Message(_)));
            let to = from.other();
            self.end(to).said.retain(|output| !matches!(output, Output::Message(_)));
            self.send(from, text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {}", self.story()));
            self.run(20);
            let heard = self.end(to).messages() == [text.as_bytes()];
            assert!(heard, "a message did not arrive: {}", self.story());
        }
    }

    /// Both ends are open, connected once, and never closed, in the first of their sessions.
    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert_eq!(self.admitted, 1, "several sessions for one peer: {}", self.story());
        for end in [&self.client, &self.server] {
            assert!(end.is_open() && end.connected() == 1 && end.end().is_none(), "{}", self.story());
        }
    }

    /// One end refused the other, none connected, and both name the same alert.
    #[track_caller]
    pub fn assert_both_know(&self, refuser: Side) {
        assert_eq!((self.client.connected(), self.server.connected()), (0, 0), "{}", self.story());
        let alert = |end: &End| end.end().and_then(|(_, error)| error).and_then(|error| error.alert);
        let (ours, theirs) = match refuser {
            Side::Client => (alert(&self.client), alert(&self.server)),
            Side::Server => (alert(&self.server), alert(&self.client)),
        };
        let (Some(Alert::Sent(sent)), Some(Alert::Received(received))) = (ours, theirs) else {
            panic!("{ours:?} and {theirs:?}: {}", self.story())
        };
        assert_eq!(sent, received);
    }

    /// What both ends said, for a test that fails.
    pub fn story(&self) -> String {
        format!(
            "at {} ms the client said {:?}, the server {:?}",
            self.now, self.client.said, self.server.said
        )
    }

    pub fn send(&mut self, from: Side, message: &[u8]) -> Result<usize, Error> {
        let datagram = self.end(from).session().send(message)?;
        self.end(from).watched();
        self.dispatch(from, &datagram);
        Ok(datagram.len())
    }

    pub fn close(&mut self, side: Side) {
        let now = self.now;
        self.end(side).session().close(now);
        self.drain(side);
    }

    pub fn destroy(&mut self, side: Side) {
        self.end(side).session().destroy();
        self.drain(side);
    }

    /// Hands a datagram to one end, as if its peer's address had sent it.
    pub fn deliver(&mut self, to: Side, bytes: &[u8]) {
        let now = self.now;
        match (to, &mut self.end(to).session) {
            (_, Some(session)) => {
                let discard = session.receive_untrusted(bytes, now);
                self.end(to).discards.extend(discard);
            }
            (Side::Client, None) => return,
            (Side::Server, None) => self.examine(bytes),
        }
        self.drain(to);
    }

    fn examine(&mut self, bytes: &[u8]) {
        match self.gate.examine_untrusted(bytes, ADDRESS, PORT, clock::seconds()) {
            Verdict::Challenge { reply, .. } => {
                assert!(reply.len() <= bytes.len(), "the gate amplifies");
                self.dispatch(Side::Server, &reply);
            }
            Verdict::Admit(_) => {
                self.admitted += 1;
                let session = Session::server(&self.context, bytes, &self.terms, self.now).unwrap();
                self.server.session = Some(session);
                self.server.said.clear();
            }
            Verdict::Discard(cause) => self.server.discards.push(cause),
        }
    }

    fn expire(&mut self, side: Side) {
        let now = self.now;
        self.end(side).session().expire(now);
        self.drain(side);
    }

    pub fn drain(&mut self, side: Side) {
        while let Some(session) = self.end(side).watched() {
            match session.poll() {
                Output::Transmit(datagram) => self.dispatch(side, &datagram),
                Output::Timeout(at) => {
                    self.end(side).due = at;
                    return;
                }
                end @ Output::Closed(..) => {
                    self.end(side).said.push(end);
                    self.bury(side);
                }
                Output::Question(number, question) => {
                    self.end(side).said.push(Output::Question(number, question.clone()));
                    if let Some(hook) = &mut self.end(side).hook {
                        let answer = hook(&question);
                        let now = self.now;
                        assert!(self.end(side).session().answer(number, answer, now), "not taken");
                    }
                }
                other => self.end(side).said.push(other),
            }
        }
    }

    /// Answers a question; says whether the answer was taken.
    pub fn answer(&mut self, side: Side, number: u32, answer: Answer) -> bool {
        let now = self.now;
        let Some(session) = &mut self.end(side).session else { return false };
        let taken = session.answer(number, answer, now);
        self.drain(side);
        taken
    }

    /// Sees that a session which has closed is as good as gone, and forgets it as an endpoint does.
    fn bury(&mut self, side: Side) {
        let now = self.now;
        let end = self.end(side);
        let mut session = end.session.take().expect("there is no session");
        end.due = None;
        assert_eq!(session.poll(), Output::Timeout(None), "it spoke after its end");
        assert_eq!(session.state(), "closed");
        assert_eq!(session.send(b"late").unwrap_err().name, Name::NotConnected);
        assert_eq!(session.export_keying_material(1, b"x", None).unwrap_err().name, Name::NotConnected);
        assert_eq!(session.receive_untrusted(b"late", now), Some(Discard::Closed));
        session.close(now);
        session.expire(now + 1_000_000);
        session.destroy();
        assert_eq!(session.lower_mtu(1200), None);
        assert!(!session.answer(1, Answer::Key(None), now));
        assert_eq!(session.poll(), Output::Timeout(None), "it came back from its end");
        assert_eq!(session.take_trace(), None, "there is an event of what came after its end");
    }

    fn dispatch(&mut self, from: Side, bytes: &[u8]) {
        let to = from.other();
        let number = self.end(from).sent.len();
        self.end(from).sent.push(bytes.to_vec());
        let now = self.now;
        let deliveries = (self.weather)(&Sent { to, number, bytes });
        self.wire.extend(deliveries.into_iter().map(|delivery| InFlight {
            at: now + delivery.after,
            to: delivery.to,
            bytes: delivery.bytes,
        }));
    }

    fn set_time(&mut self, now: u64) {
        self.now = now;
        clock::set(now as i64 + self.skew);
    }
}
