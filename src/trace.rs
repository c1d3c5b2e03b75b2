//! What goes over the wire, as events: which flight was lost, and which datagram was dropped why.
//!
//! The tracer looks on beside a session, decides nothing and keeps no bytes. It reads what anybody
//! on the way could read: the headers of records, those of plaintext handshake messages, plaintext
//! alerts. What a sealed record holds shows in its type alone.
//!
//! A *flight* is what one end sends before it waits for the other (RFC 6347 section 4.2.4). Each has
//! the number of figure 1 there, and all that is lost and sent again keeps its number:
//!
//! ```text
//!  1  ClientHello ──▶    2  ◀── HelloVerifyRequest            3  ClientHello (cookie) ──▶
//!  4  ◀── ServerHello to ServerHelloDone    5  ClientKeyExchange to Finished ──▶    6  ◀── Finished
//! ```
//!
//! A server's session begins with flight 3, as the gate keeps nothing of the two before it.
//!
//! (RFC 9147 seals the handshake from ServerHello on: with DTLS 1.3 the first sealed handshake
//! record would not be a Finished. Only `Tracer::place` says so.)

use crate::discard::Discard;
use crate::record::Record;
use std::collections::VecDeque;
use std::ops::Range;

mod event;

pub use event::{Alert, Direction, Event, Header, Kind, Message, Part};
use event::{FINISHED, SEALED};

/// How many messages of one end are remembered: twice what a handshake can have.
const MOST_MESSAGES: usize = 32;
/// How many separate parts of one message are remembered. In order, they are one.
const MOST_SPANS: usize = 32;

/// Makes events of what one session sends and receives. Take them until there are none after each
/// call that changes the session: they are kept till then.
#[derive(Default)]
pub struct Tracer {
    events: VecDeque<Event>,
    /// The received record that the session works on.
    pending: Option<Event>,
    /// The latest flight, and its direction.
    latest: Option<(Direction, u32)>,
    sent: Memory,
    received: Memory,
}

impl Tracer {
    /// A tracer for a handshake that has not begun.
    pub fn new() -> Tracer {
        Tracer::default()
    }

    /// Notes a datagram of our own, as it goes out.
    ///
    /// Whatever is sent while a received record is pending is an answer: that record was taken, and
    /// its event comes first.
    pub fn sent(&mut self, datagram: &[u8]) {
        self.judged(None);
        let mut rest = datagram;
        while !rest.is_empty() {
            let Some((record, behind)) = Record::split_first_untrusted(rest) else {
                self.events.push_back(Event::malformed(Direction::Sent, datagram.len(), rest.len()));
                break;
            };
            let mut event = Event::of_untrusted(Direction::Sent, datagram.len(), &record);
            self.place(&mut event);
            self.events.push_back(event);
            rest = behind;
        }
    }

    /// Notes a record that has come in a datagram of this length, before the session works on it.
    /// It is pending until [`Tracer::judged`].
    pub fn received_untrusted(&mut self, datagram: usize, record: &Record) {
        self.judged(None);
        self.pending = Some(Event::of_untrusted(Direction::Received, datagram, record));
    }

    /// Tells what became of the pending record.
    pub fn judged(&mut self, cause: Option<Discard>) {
        let Some(mut event) = self.pending.take() else { return };
        event.dropped = cause;
        self.place(&mut event);
        self.events.push_back(event);
    }

    /// Forgets the pending record: it was somebody else's.
    pub fn forget(&mut self) {
        self.pending = None;
    }

    /// Notes that the last `rest` bytes of a datagram of this length were no record, and dropped.
    pub fn malformed(&mut self, datagram: usize, rest: usize) {
        self.judged(None);
        let dropped = Some(Discard::Malformed);
        self.events.push_back(Event { dropped, ..Event::malformed(Direction::Received, datagram, rest) });
    }

    /// Forgets the handshake: the session starts afresh, with flight 1.
    pub fn restart(&mut self) {
        self.judged(None);
        *self = Tracer { events: std::mem::take(&mut self.events), ..Tracer::new() };
    }

    /// Takes the oldest event. One that is pending is not there yet.
    pub fn take(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Finds out which flight an event belongs to and what in it was there before.
    ///
    /// What was dropped begins no flight and is not remembered: it may be anybody's. A duplicate is
    /// an exception, since one repeated message may share its record with new ones.
    fn place(&mut self, event: &mut Event) {
        let counts = matches!(event.dropped, None | Some(Discard::Duplicate));
        let next = match self.latest {
            Some((direction, number)) if direction == event.direction => number,
            Some((_, number)) => number.saturating_add(1),
            None => event.first_flight(),
        };
        let memory = match event.direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        event.flight = match (event.record.kind, event.record.epoch) {
            (Kind::ChangeCipherSpec, Some(0)) => recall(&mut memory.change_cipher_spec, next, counts),
            (Kind::Handshake, Some(0)) => {
                let notes = event.messages.iter_mut().map(|message| memory.note(message, next, counts));
                notes.max().flatten()
            }
            (Kind::Handshake, _) => {
                let is_first = counts && memory.finished.is_none();
                event.messages = vec![Message { kind: if is_first { FINISHED } else { SEALED }, part: None }];
                recall(&mut memory.finished, next, counts)
            }
            _ => None,
        };
        if event.flight > self.latest.map(|(_, number)| number) {
            self.latest = event.flight.map(|number| (event.direction, number));
        }
    }
}

/// What one end has said so far, and in which flight.
#[derive(Default)]
struct Memory {
    messages: VecDeque<Seen>,
    change_cipher_spec: Option<u32>,
    finished: Option<u32>,
}

/// A message, or one version of it where strangers have planted others.
struct Seen {
    kind: &'static str,
    sequence: u16,
    length: usize,
    flight: u32,
    spans: Vec<Range<usize>>,
}

impl Memory {
    /// Compares a message with what is remembered, and remembers it if it `counts`. Returns its
    /// flight, which is `next` if the message is new.
    fn note(&mut self, message: &mut Message, next: u32, counts: bool) -> Option<u32> {
        let kind = message.kind;
        let part = message.part.as_mut()?;
        let known =
            |seen: &Seen| (seen.kind, seen.sequence, seen.length) == (kind, part.sequence, part.length);
        let index = match self.messages.iter().position(known) {
            Some(index) => index,
            None if counts => self.add(Seen {
                kind,
                sequence: part.sequence,
                length: part.length,
                flight: next,
                spans: Vec::new(),
            }),
            None => return None,
        };
        let seen = &mut self.messages[index];
        // An empty message has a beginning too.
        let span = part.fragment_offset..part.fragment_offset + part.fragment_length.max(1);
        part.retransmission = seen.spans.iter().any(|other| other.contains(&span.start));
        if counts {
            seen.extend(span);
        }
        Some(seen.flight)
    }

    /// The oldest yields where there are too many: a genuine flight outlives what was planted
    /// before it.
    fn add(&mut self, seen: Seen) -> usize {
        if self.messages.len() == MOST_MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back(seen);
        self.messages.len() - 1
    }
}

impl Seen {
    fn extend(&mut self, span: Range<usize>) {
        let reaches = |other: &&mut Range<usize>| other.start <= span.start && span.start <= other.end;
        if let Some(other) = self.spans.iter_mut().find(reaches) {
            other.end = other.end.max(span.end);
        } else if self.spans.len() < MOST_SPANS {
            self.spans.push(span);
        }
    }
}

/// The flight of what has no number of its own: the one in which it was first seen.
fn recall(seen: &mut Option<u32>, next: u32, counts: bool) -> Option<u32> {
    if counts {
        Some(*seen.get_or_insert(next))
    } else {
        *seen
    }
}

#[cfg(test)]
mod tests;
