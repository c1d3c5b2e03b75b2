//! What a socket has handed over in one call, taken datagram by datagram.

use crate::ffi::batch::{Inbound, MOST};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::RawFd;

thread_local! {
    /// One batch of buffers serves all sockets of a thread, by turns: what is received is taken before the next
    /// socket has its turn, unless a handler runs the loop.
    static SPARE: RefCell<Option<Inbound>> = const { RefCell::new(None) };
}

/// How many datagrams are enough for a batch, and for a turn of the loop. Anybody can send 64 as one message, and
/// 2000 in one batch would keep others waiting for 20 ms.
const ENOUGH: usize = 4 * MOST;

/// A batch of messages on their way to whom they are for. *empty → filled → empty → …*
#[derive(Default)]
pub struct Inbox {
    /// `None` while it is empty.
    batch: Option<Inbound>,
    /// The messages that have not been begun.
    messages: Range<usize>,
    /// How many datagrams to expect in a message.
    expected: usize,
    /// What is left of the one that has: the kernel may hand over several datagrams of one sender as one.
    rest: Option<Rest>,
}

/// A datagram that was taken.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    message: usize,
    begin: usize,
    end: usize,
    /// Who sent it.
    pub from: SocketAddr,
}

struct Rest {
    message: usize,
    from: SocketAddr,
    bytes: Range<usize>,
    segment: usize,
}

impl Inbox {
    /// Whether all that was received has been taken.
    pub fn is_empty(&self) -> bool {
        self.batch.is_none()
    }

    /// Receives what waits in the socket, which must find the inbox empty. Says whether it is worth while to receive
    /// again at once: more may be there, and it was not much.
    ///
    /// # Errors
    ///
    /// What the socket reports, EAGAIN where there is nothing.
    pub fn fill(&mut self, socket: RawFd) -> io::Result<bool> {
        let mut batch = SPARE.take().unwrap_or_else(Inbound::new);
        let most = (ENOUGH / self.expected.max(1)).clamp(1, MOST);
        let received = batch.receive(socket, most);
        match received {
            Ok(count) => {
                let datagrams = (0..count).map(|message| batch.count(message)).sum::<usize>();
                // What comes by turns, one by one and many at once, is expected to come many at once.
                self.expected = datagrams.div_ceil(count.max(1)).max(self.expected / 2);
                self.messages = 0..count;
                self.batch = Some(batch);
                Ok(count == MOST && datagrams < ENOUGH)
            }
            Err(error) => {
                SPARE.set(Some(batch));
                Err(error)
            }
        }
    }

    /// Takes the next datagram. One that was cut short on the way in is a lost one: what is left of it is empty.
    pub fn take(&mut self) -> Option<Entry> {
        while self.rest.is_none() {
            let Some(message) = self.messages.next() else {
                self.clear();
                return None;
            };
            let received = self.batch.as_ref()?.get(message);
            let length = if received.truncated { 0 } else { received.bytes.len() };
            let segment = received.segment.max(1);
            // An IP socket hears nobody else.
            let Some(from) = received.from else { continue };
            self.rest = Some(Rest { message, from, bytes: 0..length, segment });
        }
        let rest = self.rest.as_mut()?;
        let (message, from, begin) = (rest.message, rest.from, rest.bytes.start);
        let end = rest.bytes.end.min(begin + rest.segment);
        rest.bytes.start = end;
        if rest.bytes.is_empty() {
            self.rest = None;
        }
        Some(Entry { message, begin, end, from })
    }

    /// What a datagram holds that was the last to be taken; empty for older ones.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        let message = self.batch.as_ref().map(|batch| batch.get(entry.message).bytes);
        message.and_then(|bytes| bytes.get(entry.begin..entry.end)).unwrap_or_default()
    }

    /// Forgets what has not been taken.
    pub fn clear(&mut self) {
        self.messages = 0..0;
        self.rest = None;
        if let Some(batch) = self.batch.take() {
            SPARE.set(Some(batch));
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::batch::{coalesce, send, Outgoing};
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn all(inbox: &mut Inbox) -> Vec<(Vec<u8>, SocketAddr)> {
        let mut taken = Vec::new();
        while let Some(entry) = inbox.take() {
            taken.push((inbox.bytes(&entry).to_vec(), entry.from));
        }
        taken
    }

    fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    #[test]
    fn an_empty_socket_fills_nothing() {
        let mut inbox = Inbox::default();
        assert_eq!(inbox.fill(socket().as_raw_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(inbox.is_empty() && inbox.take().is_none());
    }

    #[test]
    fn datagrams_are_taken_as_they_came_with_who_sent_them() {
        let (ours, one, two) = (socket(), socket(), socket());
        let to = ours.local_addr().unwrap();
        let (from_one, from_two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
        let longest = vec![7; 65_507];
        one.send_to(b"a", to).unwrap();
        two.send_to(b"", to).unwrap();
        two.send_to(&longest, to).unwrap();
        let mut inbox = Inbox::default();
        assert!(!inbox.fill(ours.as_raw_fd()).unwrap());
        let expected = [(b"a".to_vec(), from_one), (vec![], from_two), (longest, from_two)];
        assert_eq!(all(&mut inbox), expected);
        assert!(inbox.is_empty());
    }

    #[test]
    fn datagrams_that_came_as_one_message_are_taken_one_by_one() {
        let (ours, peer) = (socket(), socket());
        coalesce(ours.as_raw_fd(), true).unwrap();
        let bytes: Vec<u8> = (0..250).collect();
        let message = Outgoing { to: Some(ours.local_addr().unwrap()), bytes: &bytes, segment: Some(100) };
        send(peer.as_raw_fd(), std::iter::once(message)).unwrap();
        peer.send_to(b"single", ours.local_addr().unwrap()).unwrap();
        let mut inbox = Inbox::default();
        // The second time, too: headers are used again.
        for _ in 0..2 {
            inbox.fill(ours.as_raw_fd()).unwrap();
            let taken: Vec<_> = all(&mut inbox).into_iter().map(|(bytes, _)| bytes).collect();
            assert_eq!(taken, [&bytes[..100], &bytes[100..200], &bytes[200..], b"single"]);
            let message =
                Outgoing { to: Some(ours.local_addr().unwrap()), bytes: &bytes, segment: Some(100) };
            send(peer.as_raw_fd(), std::iter::once(message)).unwrap();
            peer.send_to(b"single", ours.local_addr().unwrap()).unwrap();
        }
    }

    #[test]
    fn a_full_batch_says_that_there_may_be_more() {
        let (ours, peer) = (socket(), socket());
        for _ in 0..=MOST {
            peer.send_to(b"x", ours.local_addr().unwrap()).unwrap();
        }
        let mut inbox = Inbox::default();
        assert!(inbox.fill(ours.as_raw_fd()).unwrap());
        assert_eq!(all(&mut inbox).len(), MOST);
        assert!(!inbox.fill(ours.as_raw_fd()).unwrap());
        assert_eq!(all(&mut inbox).len(), 1);
    }

    #[test]
    fn a_batch_of_many_datagrams_is_followed_by_none_at_once() {
        let (ours, peer) = (socket(), socket());
        coalesce(ours.as_raw_fd(), true).unwrap();
        let fill_with = |segment| {
            for _ in 0..=MOST {
                let message = Outgoing { to: Some(ours.local_addr().unwrap()), bytes: &[0; 40], segment };
                send(peer.as_raw_fd(), std::iter::once(message)).unwrap();
            }
        };
        fill_with(Some(1));
        let mut inbox = Inbox::default();
        assert!(!inbox.fill(ours.as_raw_fd()).unwrap());
        assert_eq!(all(&mut inbox).len(), 40 * MOST);
        fill_with(Some(1));
        // Nor is there as much of it again.
        for _ in 0..MOST / 3 {
            assert!(!inbox.fill(ours.as_raw_fd()).unwrap());
            assert_eq!(all(&mut inbox).len(), 120);
        }
        while inbox.fill(ours.as_raw_fd()).is_ok() {
            all(&mut inbox);
        }
        fill_with(None);
        let mut counts = Vec::new();
        while inbox.fill(ours.as_raw_fd()).is_ok() {
            counts.push(all(&mut inbox).len());
        }
        assert_eq!(counts, [3, 6, 12, 12]);
    }

    #[test]
    fn two_inboxes_may_be_filled_at_once() {
        let (one, two, peer) = (socket(), socket(), socket());
        peer.send_to(b"one", one.local_addr().unwrap()).unwrap();
        peer.send_to(b"two", two.local_addr().unwrap()).unwrap();
        let (mut first, mut second) = (Inbox::default(), Inbox::default());
        first.fill(one.as_raw_fd()).unwrap();
        second.fill(two.as_raw_fd()).unwrap();
        assert_eq!((&all(&mut first)[0].0[..], &all(&mut second)[0].0[..]), (&b"one"[..], &b"two"[..]));
    }
}
