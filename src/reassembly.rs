//! Plaintext handshake messages, whole and in order, whatever strangers throw in between.
//!
//! Nothing authenticates a handshake before its Finished, and OpenSSL ends it at the first
//! fragment that contradicts another, runs out of its message or comes too early. So OpenSSL sees
//! no fragment: messages are put together here and handed over whole (RFC 6347 section 4.2.3).
//!
//! Fragments that disagree about their message's type or length do not spoil each other: each
//! version of a message is a *draft* of its own, and the first that is complete and may follow
//! what came before is the message. Bounded memory holds all drafts; where it is full, the draft
//! that was touched longest ago yields, so that a genuine flight, which comes in a burst, outlives
//! what was planted before it. What no rule can tell apart, a complete forged message of
//! plausible type, gets through and fails that handshake: DTLS 1.2 has no defence against it.

use crate::discard::Discard;
use crate::hello::{read_u24, MESSAGE_HEADER};

/// How far ahead of the next message a fragment may be: no flight is longer.
const WINDOW: u16 = 10;
/// What a draft and a piece of one count for beside their bytes.
const OVERHEAD: usize = 64;
/// How many drafts there may be, and pieces of one: what a fragment costs grows with both, and a datagram
/// holds five thousand. A chain of 32 KiB in datagrams of 256 bytes has 160 pieces.
const MOST_DRAFTS: usize = 48;
const MOST_PIECES: usize = 256;

/// Handshake message types (RFC 5246 section 7.4, RFC 6347, RFC 6066, RFC 5077).
#[allow(missing_docs)]
pub mod kind {
    pub const CLIENT_HELLO: u8 = 1;
    pub const SERVER_HELLO: u8 = 2;
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    pub const NEW_SESSION_TICKET: u8 = 4;
    pub const CERTIFICATE: u8 = 11;
    pub const SERVER_KEY_EXCHANGE: u8 = 12;
    pub const CERTIFICATE_REQUEST: u8 = 13;
    pub const SERVER_HELLO_DONE: u8 = 14;
    pub const CERTIFICATE_VERIFY: u8 = 15;
    pub const CLIENT_KEY_EXCHANGE: u8 = 16;
    pub const CERTIFICATE_STATUS: u8 = 22;
}

/// Which messages are expected, and how much of them is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A client expects a server's messages, certificate chain included.
    Server,
    /// A server expects a client's messages; a certificate only if it asked for one.
    Client {
        /// Whether a certificate was asked for.
        certificate: bool,
    },
    /// An earlier session is resumed: after the hellos at most a ticket comes in plaintext.
    Resumption,
}

impl Expect {
    /// The longest message kept. A certificate chain may be long, everything else is short.
    pub fn longest_message(self) -> usize {
        match self {
            Expect::Server => 32 * 1024,
            Expect::Client { certificate: true } => 16 * 1024,
            Expect::Client { certificate: false } | Expect::Resumption => 6 * 1024,
        }
    }

    /// What all drafts together may occupy: one longest message, its pieces, and some room for
    /// what does not belong.
    fn budget(self) -> usize {
        self.longest_message() * 3 / 2
    }

    /// Whether a message of type `next` may come after one of type `last` (RFC 5246 figure 1).
    fn follows(self, last: Option<u8>, next: u8) -> bool {
        use kind::*;
        match (self, last) {
            (Expect::Server, None) => matches!(next, HELLO_VERIFY_REQUEST | SERVER_HELLO),
            (Expect::Server, Some(HELLO_VERIFY_REQUEST)) => next == SERVER_HELLO,
            (Expect::Server, Some(SERVER_HELLO)) => {
                matches!(next, CERTIFICATE | SERVER_KEY_EXCHANGE | SERVER_HELLO_DONE)
            }
            (Expect::Server, Some(CERTIFICATE)) => {
                matches!(
                    next,
                    CERTIFICATE_STATUS | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST | SERVER_HELLO_DONE
                )
            }
            (Expect::Server, Some(CERTIFICATE_STATUS)) => {
                matches!(next, SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST | SERVER_HELLO_DONE)
            }
            (Expect::Server, Some(SERVER_KEY_EXCHANGE)) => {
                matches!(next, CERTIFICATE_REQUEST | SERVER_HELLO_DONE)
            }
            (Expect::Server, Some(CERTIFICATE_REQUEST)) => next == SERVER_HELLO_DONE,
            (Expect::Server, Some(SERVER_HELLO_DONE)) => next == NEW_SESSION_TICKET,
            (Expect::Client { .. }, None) => next == CLIENT_HELLO,
            // A client that was asked and has none sends an empty Certificate.
            (Expect::Client { certificate }, Some(CLIENT_HELLO)) => {
                next == if certificate { CERTIFICATE } else { CLIENT_KEY_EXCHANGE }
            }
            (Expect::Client { .. }, Some(CERTIFICATE)) => next == CLIENT_KEY_EXCHANGE,
            (Expect::Client { certificate }, Some(CLIENT_KEY_EXCHANGE)) => {
                certificate && next == CERTIFICATE_VERIFY
            }
            (Expect::Resumption, last) => last == Some(SERVER_HELLO) && next == NEW_SESSION_TICKET,
            _ => false,
        }
    }

    /// Whether such a message may come at all.
    fn admits(self, kind: u8) -> bool {
        use kind::*;
        match self {
            Expect::Server => matches!(
                kind,
                SERVER_HELLO | HELLO_VERIFY_REQUEST | NEW_SESSION_TICKET | CERTIFICATE
                    ..=SERVER_HELLO_DONE | CERTIFICATE_STATUS
            ),
            Expect::Client { certificate: true } => {
                matches!(kind, CLIENT_HELLO | CERTIFICATE | CERTIFICATE_VERIFY | CLIENT_KEY_EXCHANGE)
            }
            Expect::Client { certificate: false } => matches!(kind, CLIENT_HELLO | CLIENT_KEY_EXCHANGE),
            Expect::Resumption => kind == NEW_SESSION_TICKET,
        }
    }
}

/// A handshake message, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: u8,
    /// Its message_seq.
    pub sequence: u16,
    /// Its body, without any header.
    pub body: Vec<u8>,
}

impl Message {
    /// Cuts the message into the bodies of as few records of at most `longest` bytes as can hold it:
    /// one, but for a long certificate chain.
    pub fn to_record_bodies(&self, longest: usize) -> Vec<Vec<u8>> {
        let length = self.body.len();
        let fragment = |at: usize| {
            let part = &self.body[at..length.min(at + longest - MESSAGE_HEADER)];
            let mut out = Vec::with_capacity(MESSAGE_HEADER + part.len());
            out.push(self.kind);
            out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
            out.extend_from_slice(&self.sequence.to_be_bytes());
            out.extend_from_slice(&(at as u32).to_be_bytes()[1..]);
            out.extend_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
            out.extend_from_slice(part);
            out
        };
        // At least one: an empty message, such as ServerHelloDone, is a header alone.
        (0..length.max(1)).step_by(longest - MESSAGE_HEADER).map(fragment).collect()
    }
}

/// Puts messages together. *nothing → drafts → the next message → …*
pub struct Reassembly {
    expect: Expect,
    /// The message_seq of the message that is due.
    next: u16,
    /// The type of the message before it.
    last: Option<u8>,
    drafts: Vec<Draft>,
    /// What they cost together.
    cost: usize,
    /// The HelloVerifyRequest that was taken.
    verify_request: Vec<u8>,
    /// Whether another has come since.
    cookie_refused: bool,
    /// Counts fragments, to know which draft was touched last.
    clock: u32,
}

/// One version of one message: fragments that agree on what they are part of.
struct Draft {
    sequence: u16,
    kind: u8,
    length: usize,
    /// Sorted by start, and without overlap.
    pieces: Vec<Piece>,
    /// How many bytes they hold.
    held: usize,
    touched: u32,
}

struct Piece {
    start: usize,
    bytes: Vec<u8>,
}

impl Reassembly {
    /// Starts where `sequence` is the first message_seq that is due.
    pub fn new(expect: Expect, sequence: u16) -> Reassembly {
        Reassembly {
            expect,
            next: sequence,
            last: None,
            drafts: Vec::new(),
            cost: 0,
            verify_request: Vec::new(),
            cookie_refused: false,
            clock: 0,
        }
    }

    /// Takes the body of a plaintext handshake record: one fragment or several.
    ///
    /// # Errors
    ///
    /// Says why the first fragment that was dropped was dropped; the others are kept.
    pub fn add_untrusted(&mut self, mut body: &[u8]) -> Result<(), Discard> {
        let mut outcome = Ok(());
        while !body.is_empty() {
            let Some((fragment, rest)) = Fragment::split_first_untrusted(body) else {
                return outcome.and(Err(Discard::Handshake));
            };
            outcome = outcome.and(self.add_fragment_untrusted(&fragment));
            body = rest;
        }
        outcome
    }

    /// Changes what is expected, now that the handshake has shown which way it takes.
    pub fn expect(&mut self, expect: Expect) {
        self.expect = expect;
    }

    /// Takes out the message that is due, if it is whole and may follow what came before.
    pub fn take(&mut self) -> Option<Message> {
        let due = |draft: &Draft| {
            draft.sequence == self.next && draft.is_complete() && self.expect.follows(self.last, draft.kind)
        };
        let index = self.drafts.iter().position(due)?;
        let draft = self.drafts.swap_remove(index);
        self.next = self.next.wrapping_add(1);
        self.last = Some(draft.kind);
        self.cookie_refused = false;
        let next = self.next;
        self.drafts.retain(|other| ahead(other.sequence, next) < WINDOW);
        self.cost = self.drafts.iter().map(Draft::cost).sum();
        let mut pieces = draft.pieces.into_iter().map(|piece| piece.bytes);
        // Most messages come in one piece.
        let mut body = pieces.next().unwrap_or_default();
        pieces.for_each(|piece| body.extend_from_slice(&piece));
        if draft.kind == kind::HELLO_VERIFY_REQUEST {
            self.verify_request.clone_from(&body);
            // The server keeps nothing of us yet, so what is here already answers another hello: that of
            // the client which had our port before us.
            self.clear();
        }
        Some(Message { kind: draft.kind, sequence: draft.sequence, body })
    }

    /// Whether the server, it seems, answered the returned cookie with another one, and has not gone
    /// on since.
    pub fn cookie_was_refused(&self) -> bool {
        self.cookie_refused
    }

    /// Forgets what is unfinished: the handshake is over.
    pub fn clear(&mut self) {
        self.drafts = Vec::new();
        self.cost = 0;
    }

    fn add_fragment_untrusted(&mut self, fragment: &Fragment) -> Result<(), Discard> {
        if !self.expect.admits(fragment.kind) || fragment.length > self.expect.longest_message() {
            return Err(Discard::Handshake);
        }
        match ahead(fragment.sequence, self.next) {
            0..WINDOW => {}
            // Half the number space lies behind.
            0x8000.. => {
                let at_hello = self.last == Some(kind::HELLO_VERIFY_REQUEST);
                let again =
                    fragment.kind == kind::HELLO_VERIFY_REQUEST && fragment.bytes.len() == fragment.length;
                self.cookie_refused |= at_hello && again && fragment.bytes != self.verify_request;
                return Err(Discard::Duplicate);
            }
            _ => return Err(Discard::Handshake),
        }
        self.clock = self.clock.wrapping_add(1);
        let touched = self.clock;
        let index = self.drafts.iter().position(|draft| draft.agrees(fragment)).unwrap_or_else(|| {
            self.cost += OVERHEAD;
            self.drafts.push(Draft::of(fragment));
            self.drafts.len() - 1
        });
        let draft = &mut self.drafts[index];
        draft.touched = touched;
        let before = draft.cost();
        let news = draft.insert(fragment.start, fragment.bytes);
        self.cost += draft.cost() - before;
        if draft.pieces.len() > MOST_PIECES {
            // As a whole, so that the peer's next transmission finds it as if nothing had come yet.
            self.drop_draft(index);
            return Err(Discard::Overflow);
        }
        self.make_room(touched)?;
        if news {
            Ok(())
        } else {
            Err(Discard::Duplicate)
        }
    }

    /// Lets the drafts touched longest ago yield until the budget is kept.
    fn make_room(&mut self, newest: u32) -> Result<(), Discard> {
        while self.cost > self.expect.budget() || self.drafts.len() > MOST_DRAFTS {
            let age = |draft: &Draft| newest.wrapping_sub(draft.touched);
            let Some(oldest) = (0..self.drafts.len()).max_by_key(|&i| age(&self.drafts[i])) else { break };
            let only_the_newest_is_left = age(&self.drafts[oldest]) == 0;
            self.drop_draft(oldest);
            if only_the_newest_is_left {
                return Err(Discard::Overflow);
            }
        }
        Ok(())
    }

    fn drop_draft(&mut self, index: usize) {
        self.cost -= self.drafts.swap_remove(index).cost();
    }
}

/// How far `sequence` lies ahead of `next`, on the circle of 16-bit numbers.
fn ahead(sequence: u16, next: u16) -> u16 {
    sequence.wrapping_sub(next)
}

impl Draft {
    fn of(fragment: &Fragment) -> Draft {
        Draft {
            sequence: fragment.sequence,
            kind: fragment.kind,
            length: fragment.length,
            pieces: Vec::new(),
            held: 0,
            touched: 0,
        }
    }

    fn agrees(&self, fragment: &Fragment) -> bool {
        (self.sequence, self.kind, self.length) == (fragment.sequence, fragment.kind, fragment.length)
    }

    fn is_complete(&self) -> bool {
        self.held == self.length
    }

    fn cost(&self) -> usize {
        self.held + (self.pieces.len() + 1) * OVERHEAD
    }

    /// Fills the gaps that `bytes` covers; what is there already stays. (A retransmission may cut
    /// a message at other places than the first transmission did.)
    ///
    /// Says whether there was anything new.
    fn insert(&mut self, start: usize, bytes: &[u8]) -> bool {
        let end = start + bytes.len();
        let mut news = self.length == 0;
        let mut at = start;
        let mut index = self.pieces.partition_point(|piece| piece.start + piece.bytes.len() <= start);
        while at < end {
            let gap_end = match self.pieces.get(index) {
                Some(piece) if piece.start <= at => {
                    at = at.max(piece.start + piece.bytes.len());
                    index += 1;
                    continue;
                }
                Some(piece) => piece.start.min(end),
                None => end,
            };
            let piece = Piece { start: at, bytes: bytes[at - start..gap_end - start].to_vec() };
            self.held += piece.bytes.len();
            self.pieces.insert(index, piece);
            news = true;
            index += 1;
            at = gap_end;
        }
        news
    }
}

/// A fragment inside its record, its lengths checked.
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    pub(crate) length: usize,
    pub(crate) sequence: u16,
    pub(crate) start: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    pub(crate) fn split_first_untrusted(body: &'a [u8]) -> Option<(Fragment<'a>, &'a [u8])> {
        let header = body.get(..MESSAGE_HEADER)?;
        let length = read_u24(&header[1..4]);
        let start = read_u24(&header[6..9]);
        let part = read_u24(&header[9..12]);
        let bytes = body.get(MESSAGE_HEADER..MESSAGE_HEADER + part)?;
        // A part of nothing tells nothing, unless the message is empty.
        if start + part > length || (part == 0 && length > 0) {
            return None;
        }
        let sequence = u16::from_be_bytes([header[4], header[5]]);
        let fragment = Fragment { kind: header[0], length, sequence, start, bytes };
        Some((fragment, &body[MESSAGE_HEADER + part..]))
    }
}

#[cfg(test)]
mod tests;
