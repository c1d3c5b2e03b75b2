//! What waits to be sent together: what goes to one peer in a row leaves as one message, which the kernel or the
//! network card cuts into its datagrams (UDP_SEGMENT in udp(7)), and many messages in one call.

use crate::ffi::batch::{self, Outgoing, MOST};
use crate::ffi::socket;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeBounds;
use std::os::fd::RawFd;

/// How many datagrams the kernel cuts a message into at the most (UDP_MAX_SEGMENTS), and how long it may be.
const MOST_SEGMENTS: usize = 64;
const MOST_BYTES: usize = 64_000;

/// The longest datagram that is put together with others: what fits an Ethernet frame. The kernel refuses to cut
/// a message into datagrams that do not fit the link.
const LONGEST_SEGMENT: usize = 1452;

/// How much memory a message's buffer keeps for the next one.
const KEPT: usize = 4096;

/// Datagrams for one peer, all of one length but the last, which may be shorter.
struct Flight {
    to: SocketAddr,
    bytes: Vec<u8>,
    segment: usize,
    count: usize,
    /// Whether it can take no more.
    full: bool,
    /// Whether it is for nobody we know.
    strange: bool,
}

impl Flight {
    fn new(to: SocketAddr) -> Flight {
        Flight { to, bytes: Vec::new(), segment: 0, count: 0, full: false, strange: false }
    }

    fn begin(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.to = to;
        self.bytes.extend_from_slice(datagram);
        self.segment = datagram.len();
        self.count = 1;
        self.strange = false;
        self.full = datagram.len() > LONGEST_SEGMENT || datagram.is_empty();
    }

    fn end(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }

    fn takes(&self, datagram: &[u8]) -> bool {
        let (length, total) = (datagram.len(), self.bytes.len() + datagram.len());
        !self.full && (1..=self.segment).contains(&length) && total <= MOST_BYTES
    }

    fn add(&mut self, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.count += 1;
        self.full = datagram.len() < self.segment || self.count == MOST_SEGMENTS;
    }

    fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.segment.max(1))
    }

    fn outgoing(&self, connected: bool) -> Outgoing<'_> {
        let segment = (self.count > 1).then_some(self.segment as u16);
        Outgoing { to: (!connected).then_some(self.to), bytes: &self.bytes, segment }
    }
}

/// Where the last datagram for a peer was put, as far as nothing else has been sent since that must not be
/// overtaken.
#[derive(Clone, Copy, Default)]
pub struct Mark {
    generation: u64,
    flight: usize,
}

/// A datagram that the socket did not take.
pub struct Refused {
    /// Whom it was for.
    pub to: SocketAddr,
    /// The datagram.
    pub datagram: Vec<u8>,
    /// Why.
    pub error: io::Error,
    /// Whether it was an answer to a stranger.
    pub strange: bool,
}

/// What waits to be sent.
pub struct Outbox {
    socket: RawFd,
    /// Whether the socket has one peer, and must not be told whom to send to.
    pub connected: bool,
    /// Whether older datagrams wait elsewhere, and all are refused until those have been sent.
    pub paused: bool,
    flights: Vec<Flight>,
    /// How many of them there are: the others are kept for their memory.
    used: usize,
    /// Changes when marks of before mean nothing any more.
    generation: u64,
    /// Whether the system cuts messages.
    segments: bool,
    refused: VecDeque<Refused>,
    /// How many datagrams have been sent, and their bytes.
    sent: (u64, u64),
}

impl Outbox {
    /// Sends by a socket, whose descriptor stays whose it is.
    pub fn new(socket: RawFd) -> Outbox {
        Outbox {
            socket,
            connected: false,
            paused: false,
            flights: Vec::new(),
            used: 0,
            generation: 1,
            segments: true,
            refused: VecDeque::new(),
            sent: (0, 0),
        }
    }

    /// Whether somebody has to take datagrams back.
    pub fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Whether older datagrams have to be sent elsewhere before anything is sent here.
    pub fn is_blocked(&self) -> bool {
        self.paused || self.refused.back().is_some_and(|last| is_full(&last.error))
    }

    /// Adds a datagram for a session's peer, to what goes to the same peer already.
    pub fn add(&mut self, to: SocketAddr, datagram: &[u8], mark: &Cell<Mark>) {
        let Mark { generation, flight } = mark.get();
        if self.segments && generation == self.generation && self.flights[flight].takes(datagram) {
            return self.flights[flight].add(datagram);
        }
        let flight = self.begin(to, datagram);
        mark.set(Mark { generation: self.generation, flight });
    }

    /// Adds a datagram that nothing added later may overtake.
    pub fn add_alone(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.begin(to, datagram);
        self.generation += 1;
    }

    /// Adds an answer to a stranger.
    pub fn add_answer(&mut self, to: SocketAddr, datagram: &[u8]) {
        let flight = self.begin(to, datagram);
        self.flights[flight].strange = true;
    }

    fn begin(&mut self, to: SocketAddr, datagram: &[u8]) -> usize {
        if self.used == MOST {
            self.flush();
        }
        if self.flights.len() == self.used {
            self.flights.push(Flight::new(to));
        }
        self.flights[self.used].begin(to, datagram);
        self.used += 1;
        self.used - 1
    }

    /// Sends all that waits. What the socket does not take is [refused](Outbox::take_refused), and where its buffer
    /// is full, so is all that comes behind.
    pub fn flush(&mut self) {
        let (mut next, mut tried) = (0, 0);
        while next < self.used {
            if self.is_blocked() {
                let error = io::Error::from_raw_os_error(libc::EAGAIN);
                self.flights[next..self.used]
                    .iter()
                    .for_each(|flight| refuse(&mut self.refused, flight, .., &error));
                break;
            }
            let waiting = &self.flights[next..self.used];
            match batch::send(self.socket, waiting.iter().map(|flight| flight.outgoing(self.connected))) {
                Ok(count) => {
                    for flight in &waiting[..count] {
                        self.sent.0 += flight.count as u64;
                        self.sent.1 += flight.bytes.len() as u64;
                    }
                    next += count.max(1);
                    tried = 0;
                }
                // That is about an earlier datagram: these have not been tried.
                Err(error) if error.raw_os_error() == Some(libc::ECONNREFUSED) && tried < 2 => tried += 1,
                Err(error) if waiting[0].count > 1 && !is_full(&error) => {
                    // EIO: there is nothing that could cut it. Others may be about this peer's link alone.
                    self.segments &= error.raw_os_error() != Some(libc::EIO);
                    self.send_one_by_one(next);
                    next += 1;
                }
                Err(error) => {
                    refuse(&mut self.refused, &self.flights[next], .., &error);
                    next += 1;
                    tried = 0;
                }
            }
        }
        self.flights[..self.used].iter_mut().for_each(Flight::end);
        self.used = 0;
        self.generation += 1;
    }

    fn send_one_by_one(&mut self, flight: usize) {
        let flight = &self.flights[flight];
        for (number, datagram) in flight.datagrams().enumerate() {
            let to = (!self.connected).then_some(flight.to);
            match socket::send(self.socket, to.as_ref(), datagram) {
                Ok(()) => {
                    self.sent.0 += 1;
                    self.sent.1 += datagram.len() as u64;
                }
                Err(error) if is_full(&error) => return refuse(&mut self.refused, flight, number.., &error),
                Err(error) => refuse(&mut self.refused, flight, number..=number, &error),
            }
        }
    }

    /// Takes back a datagram that the socket did not take.
    pub fn take_refused(&mut self) -> Option<Refused> {
        self.refused.pop_front()
    }

    /// How many datagrams have been sent since this was asked last, and their bytes.
    pub fn take_sent(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.sent)
    }
}

/// Whether the socket's buffer, or a queue below it, takes nothing for now.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS))
}

fn refuse(
    refused: &mut VecDeque<Refused>,
    flight: &Flight,
    which: impl RangeBounds<usize>,
    error: &io::Error,
) {
    let numbered = flight.datagrams().enumerate().filter(|(number, _)| which.contains(number));
    refused.extend(numbered.map(|(_, datagram)| Refused {
        to: flight.to,
        datagram: datagram.to_vec(),
        error: io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO)),
        strange: flight.strange,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    }

    fn heard(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; 65_536];
        let mut next = || socket.recv(&mut buffer).map(|length| buffer[..length].to_vec()).unwrap();
        (0..count).map(|_| next()).collect()
    }

    fn datagram(byte: u8, length: usize) -> Vec<u8> {
        vec![byte; length]
    }

    #[test]
    fn what_goes_to_one_peer_is_cut_where_it_was_put_together() {
        let (ours, peer) = (socket(), socket());
        let to = peer.local_addr().unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        let mark = Cell::default();
        // Longer, shorter, equal, empty, and more than fits a frame.
        let lengths = [40, 40, 40, 7, 40, 1200, 1200, 3, 0, 1, 2000, 2000, 1452, 1452];
        let sent: Vec<_> = (0u8..).zip(lengths).map(|(byte, length)| datagram(byte, length)).collect();
        sent.iter().for_each(|datagram| outbox.add(to, datagram, &mark));
        outbox.flush();
        assert_eq!(heard(&peer, sent.len()), sent);
        assert_eq!(outbox.take_sent(), (sent.len() as u64, lengths.iter().sum::<usize>() as u64));
        assert!(!outbox.has_refused() && outbox.take_refused().is_none());
    }

    #[test]
    fn each_peer_hears_its_own_in_order_however_they_are_mixed() {
        let ours = socket();
        let peers: Vec<_> = (0..40).map(|_| (socket(), Cell::default())).collect();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        for round in 0..5u8 {
            for (peer, mark) in &peers {
                outbox.add(peer.local_addr().unwrap(), &datagram(round, 60), mark);
            }
        }
        outbox.flush();
        for (peer, _) in &peers {
            assert_eq!(heard(peer, 5), (0..5).map(|round| datagram(round, 60)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_burst_is_longer_than_one_message_may_be() {
        let (ours, peer) = (socket(), socket());
        let mut outbox = Outbox::new(ours.as_raw_fd());
        let mark = Cell::default();
        for byte in 0..150 {
            outbox.add(peer.local_addr().unwrap(), &datagram(byte, 100), &mark);
        }
        assert_eq!(outbox.used, 3);
        outbox.flush();
        assert_eq!(heard(&peer, 150), (0..150).map(|byte| datagram(byte, 100)).collect::<Vec<_>>());
        // The memory that it took is not kept.
        assert!(outbox.flights.iter().all(|flight| flight.bytes.capacity() <= KEPT));
    }

    #[test]
    fn nothing_overtakes_what_was_added_alone() {
        let (ours, peer) = (socket(), socket());
        let to = peer.local_addr().unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        let mark = Cell::default();
        outbox.add(to, b"first", &mark);
        outbox.add_alone(to, b"alert");
        outbox.add(to, b"third", &mark);
        outbox.flush();
        outbox.add(to, b"later", &mark);
        outbox.flush();
        assert_eq!(heard(&peer, 4), [b"first", b"alert", b"third", b"later"]);
    }

    #[test]
    fn a_socket_of_one_peer_is_not_told_whom_to_send_to() {
        let (ours, peer) = (socket(), socket());
        ours.connect(peer.local_addr().unwrap()).unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        outbox.connected = true;
        // As it is connected, another address would be sent to as well.
        outbox.add(socket().local_addr().unwrap(), b"hello", &Cell::default());
        outbox.flush();
        assert_eq!(heard(&peer, 1), [b"hello"]);
    }

    #[test]
    fn what_the_socket_refuses_comes_back_datagram_by_datagram_and_takes_nothing_along() {
        let (ours, peer) = (socket(), socket());
        let to = peer.local_addr().unwrap();
        // Only root may send to everybody, and only where that was permitted.
        let everybody = "255.255.255.255:9".parse().unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        let (mark, other) = (Cell::default(), Cell::default());
        outbox.add(to, b"before", &mark);
        for byte in 0..3 {
            outbox.add(everybody, &datagram(byte, 30), &other);
        }
        outbox.add_alone(to, b"behind");
        outbox.flush();
        assert_eq!(heard(&peer, 2), [b"before", b"behind"]);
        assert!(outbox.has_refused());
        for byte in 0..3 {
            let refused = outbox.take_refused().unwrap();
            assert_eq!((refused.to, refused.datagram), (everybody, datagram(byte, 30)));
            assert_eq!(refused.error.raw_os_error(), Some(libc::EACCES));
        }
        assert!(outbox.take_refused().is_none() && !outbox.has_refused());
    }

    #[test]
    fn nothing_is_sent_while_older_datagrams_wait_elsewhere() {
        let (ours, peer) = (socket(), socket());
        let to = peer.local_addr().unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        outbox.add(to, b"first", &Cell::default());
        outbox.add_answer(to, b"second");
        outbox.paused = true;
        outbox.flush();
        outbox.add_answer(to, b"third");
        outbox.flush();
        outbox.paused = false;
        assert!(outbox.is_blocked());
        outbox.add(to, b"fourth", &Cell::default());
        outbox.flush();
        for (datagram, strange) in [("first", false), ("second", true), ("third", true), ("fourth", false)] {
            let refused = outbox.take_refused().unwrap();
            assert!(refused.datagram == datagram.as_bytes() && is_full(&refused.error));
            assert_eq!(refused.strange, strange);
        }
        assert!(!outbox.is_blocked() && !outbox.has_refused());
        assert_eq!(outbox.take_sent(), (0, 0));
        outbox.add(to, b"fifth", &Cell::default());
        outbox.flush();
        assert_eq!(heard(&peer, 1), [b"fifth"]);
    }

    #[test]
    fn an_error_of_an_earlier_datagram_costs_no_later_one() {
        let ours = socket();
        let gone = socket().local_addr().unwrap();
        ours.connect(gone).unwrap();
        ours.send(b"nobody hears").unwrap();
        let peer = UdpSocket::bind(gone).unwrap();
        let mut outbox = Outbox::new(ours.as_raw_fd());
        outbox.connected = true;
        outbox.add_alone(gone, b"hello");
        outbox.flush();
        assert_eq!(heard(&peer, 1), [b"hello"]);
    }
}
