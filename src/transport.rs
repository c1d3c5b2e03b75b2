//! A socket's datagrams in batches: received, told apart and sent many at a time (Linux).
//!
//! libuv reads and sends one datagram a call, and luv makes a table and strings of each. Here a batch is read
//! into memory of our own, and each datagram goes the shortest way that the laws permit:
//!
//! - *a sealed application record from an address with one open session* goes straight to that session, and Lua
//!   is handed the message;
//! - *a stranger's hello without a cookie* is answered by the gate, and Lua never hears of it;
//! - *everything else* is handed to Lua as it is, with its sender, as libuv would have done it.
//!
//! What sessions send while a batch is looked at is gathered, and leaves when all of it has been: what goes to
//! one peer in one message, all messages in one call. At other times a datagram leaves at once.
//!
//! The handle stays Lua's, with all that is set on it: here is its descriptor, which is read and written
//! between [`Transport::new`] and [`Transport::close`]. When the socket's buffer is full, what did not fit goes
//! back to Lua, whose queue it is.

use crate::discard::Discard;
use crate::ffi;
use crate::gate::{Gate, Pass, Verdict};
use crate::hello::CLIENT_HELLO;
use crate::link::{Link, Route};
use crate::record::{APPLICATION_DATA, HANDSHAKE, HEADER};
use crate::session::Totals;
use bytes::Bytes;
use outbox::Outbox;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::rc::Rc;

mod inbox;
mod outbox;

pub use inbox::Entry;
use inbox::Inbox;
pub use outbox::{Mark, Refused};

/// What a datagram has come to.
pub enum Taken {
    /// The session that goes by this number has a message, and more to say where that is set.
    Message(u32, Bytes, bool),
    /// The session has something to say that is no message: drain it.
    Stirred(u32),
    /// The session, the only one at its address, has no use for some of it or for all.
    Dropped(u32, Discard, Entry),
    /// The gate would let its sender in.
    Admitted(Pass, Entry),
    /// It is for Lua to say whose it is.
    Other(Entry),
}

/// Who is at an address.
enum Place {
    /// Sessions among which Lua chooses, or one that is not open.
    Shared,
    /// One open session, by the number that Lua has given it.
    Direct(Rc<Link>, u32),
}

/// An address without its family, scope and flow.
type Key = (Ipv6Addr, u16);

fn key(address: &SocketAddr) -> Key {
    let ip = match address {
        SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped(),
        SocketAddr::V6(v6) => *v6.ip(),
    };
    (ip, address.port())
}

/// One socket's datagrams. *reading and writing ⇄ paused → closed*
pub struct Transport {
    /// `None` once it is closed.
    socket: Option<RawFd>,
    inbox: Inbox,
    outbox: Outbox,
    /// Whether what is sent is gathered until it is flushed.
    gathers: bool,
    /// Peers choose their addresses: the hash has a key.
    places: HashMap<Key, Place>,
    gate: Option<Rc<RefCell<Gate>>>,
    totals: Rc<Totals>,
}

impl Transport {
    /// Reads and writes a bound socket from now on, whose descriptor stays whose it is.
    ///
    /// # Errors
    ///
    /// EBADF where it is none.
    pub fn new(socket: RawFd, totals: Rc<Totals>) -> io::Result<Transport> {
        ffi::batch::tell_of_errors(socket)?;
        coalesce(socket, true);
        Ok(Transport {
            socket: Some(socket),
            inbox: Inbox::default(),
            outbox: Outbox::new(socket),
            gathers: false,
            places: HashMap::new(),
            gate: None,
            totals,
        })
    }

    /// Notes that the socket has been connected to its one peer.
    pub fn connected(&mut self) {
        self.outbox.connected = true;
    }

    /// Lets a gate answer strangers, or nobody.
    pub fn set_gate(&mut self, gate: Option<Rc<RefCell<Gate>>>) {
        self.gate = gate;
    }

    /// Notes who is at an address: one open session that goes by a number, and is answered at `to`; or others.
    /// Returns the number that is nobody's any more.
    pub fn place(
        this: &Rc<RefCell<Transport>>,
        at: SocketAddr,
        direct: Option<(Rc<Link>, u32, SocketAddr)>,
    ) -> Option<u32> {
        let mut transport = this.borrow_mut();
        let before = transport.vacate(at);
        let place = direct.map_or(Place::Shared, |(link, number, to)| {
            link.set_route(Some(Route::new(this, to)));
            Place::Direct(link, number)
        });
        transport.places.insert(key(&at), place);
        before
    }

    /// Notes that nobody is at an address any more. Returns the number that is nobody's any more.
    pub fn vacate(&mut self, at: SocketAddr) -> Option<u32> {
        self.places.remove(&key(&at)).and_then(Place::leave)
    }

    /// Receives a batch, if the last one has been taken. From now on what is sent is gathered. Says whether to
    /// receive another one at once.
    ///
    /// # Errors
    ///
    /// What the socket reports.
    pub fn receive(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket else { return Ok(false) };
        self.gathers = true;
        if !self.inbox.is_empty() {
            return Ok(true);
        }
        match self.inbox.fill(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            other => other,
        }
    }

    /// Takes the next datagram of the batch. `now` is the sessions' time and `wall_seconds` the gate's. Whether
    /// sessions may have theirs before Lua is said by `direct`, and whether strangers are answered by `welcomes`.
    pub fn take_untrusted(
        &mut self,
        now: u64,
        wall_seconds: u64,
        direct: bool,
        welcomes: bool,
    ) -> Option<Taken> {
        self.socket?;
        loop {
            let entry = self.inbox.take()?;
            let datagram = self.inbox.bytes(&entry);
            match self.places.get(&key(&entry.from)) {
                Some(Place::Direct(link, number)) if direct && is_sealed_data(datagram) => {
                    self.totals.received(datagram.len());
                    let mut session = link.session.borrow_mut();
                    if let Some(cause) = session.receive_untrusted(datagram, now) {
                        return Some(Taken::Dropped(*number, cause, entry));
                    }
                    return Some(match session.take_message() {
                        Some(message) => Taken::Message(*number, message, session.has_output()),
                        None => Taken::Stirred(*number),
                    });
                }
                None if welcomes && is_hello(datagram) => {
                    let Some(gate) = &self.gate else { return Some(Taken::Other(entry)) };
                    let (ip, port) = (entry.from.ip(), entry.from.port());
                    match gate.borrow_mut().examine_untrusted(datagram, ip, port, wall_seconds) {
                        Verdict::Challenge { reply, stale } => {
                            self.totals.received(datagram.len());
                            self.totals.challenged(stale);
                            self.outbox.add_answer(entry.from, &reply);
                        }
                        Verdict::Admit(pass) => return Some(Taken::Admitted(pass, entry)),
                        // It is counted where all drops are.
                        Verdict::Discard(_) => return Some(Taken::Other(entry)),
                    }
                }
                _ => return Some(Taken::Other(entry)),
            }
        }
    }

    /// The bytes of the datagram that was the last to be taken.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        self.inbox.bytes(entry)
    }

    /// Sends a datagram that is no session's message, behind all that was sent before; or gathers it.
    ///
    /// # Errors
    ///
    /// What the socket reports; EAGAIN where it takes nothing for now, or older datagrams wait.
    pub fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        match self.ready()? {
            (_, true) => self.outbox.add_alone(to, datagram),
            (socket, false) => self.send_now(socket, to, datagram)?,
        }
        Ok(())
    }

    /// Sends a datagram of a session's, or gathers it with those that go the same way. `mark` remembers where.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Transport::send).
    pub fn send_along(&mut self, to: SocketAddr, mark: &Cell<Mark>, datagram: &[u8]) -> io::Result<()> {
        match self.ready()? {
            (_, true) => self.outbox.add(to, datagram, mark),
            (socket, false) => self.send_now(socket, to, datagram)?,
        }
        Ok(())
    }

    /// Sends a datagram behind all that was gathered.
    ///
    /// # Errors
    ///
    /// As those of [`send`](Transport::send).
    pub fn send_at_once(&mut self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let gathers = self.gathers;
        self.flush();
        self.gathers = gathers;
        let (socket, _) = self.ready()?;
        self.send_now(socket, to, datagram)
    }

    /// The socket, and whether what is sent is gathered.
    fn ready(&self) -> io::Result<(RawFd, bool)> {
        match self.socket {
            None => Err(io::Error::from_raw_os_error(libc::ENOTCONN)),
            Some(_) if self.outbox.is_blocked() => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            Some(socket) => Ok((socket, self.gathers)),
        }
    }

    fn send_now(&self, socket: RawFd, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let to = (!self.outbox.connected).then_some(to);
        ffi::socket::send(socket, to.as_ref(), datagram)?;
        self.totals.sent(1, datagram.len() as u64);
        Ok(())
    }

    /// Sends what was gathered; from now on what is sent leaves at once. Says whether the socket took it all: if
    /// not, [`take_refused`](Transport::take_refused) has the rest.
    pub fn flush(&mut self) -> bool {
        self.gathers = false;
        if self.socket.is_some() {
            self.outbox.flush();
        }
        let (datagrams, bytes) = self.outbox.take_sent();
        self.totals.sent(datagrams, bytes);
        !self.outbox.has_refused()
    }

    /// Takes back the next datagram that the socket did not take.
    pub fn take_refused(&mut self) -> Option<Refused> {
        self.outbox.take_refused()
    }

    /// Sends nothing until it is told to go on, while older datagrams wait elsewhere and the socket is read
    /// elsewhere, one datagram a message. What was gathered is [refused](Transport::take_refused).
    pub fn pause(&mut self, paused: bool) {
        self.outbox.paused = paused;
        if paused {
            self.outbox.flush();
        }
        if let Some(socket) = self.socket {
            coalesce(socket, !paused);
        }
    }

    /// Leaves the socket alone from now on.
    pub fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            coalesce(socket, false);
        }
        self.gate = None;
        self.inbox.clear();
        for place in std::mem::take(&mut self.places).into_values() {
            place.leave();
        }
    }
}

/// Linux before 5.0 hands over one datagram a message whatever it is told, which is as well.
fn coalesce(socket: RawFd, on: bool) {
    let _ = ffi::batch::coalesce(socket, on);
}

impl Place {
    /// Lets the session that was there take no way of its own any more.
    fn leave(self) -> Option<u32> {
        let Place::Direct(link, number) = self else { return None };
        link.set_route(None);
        Some(number)
    }
}

/// Whether a datagram begins with a sealed record of application data (RFC 6347 section 4.1).
fn is_sealed_data(datagram: &[u8]) -> bool {
    datagram.first() == Some(&APPLICATION_DATA) && datagram.get(3..5) == Some(&[0, 1])
}

/// Whether a datagram begins with a plaintext ClientHello.
fn is_hello(datagram: &[u8]) -> bool {
    let kind = datagram.get(HEADER);
    datagram.first() == Some(&HANDSHAKE) && datagram.get(3..5) == Some(&[0, 0]) && kind == Some(&CLIENT_HELLO)
}
