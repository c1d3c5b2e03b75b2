//! One event of a trace: a record on its way, and what anybody on the way could read of it.

use crate::discard::Discard;
use crate::ffi;
use crate::reassembly::Fragment;
use crate::record::{Record, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE};

const CLIENT_HELLO: &str = "ClientHello";
pub(super) const FINISHED: &str = "Finished (sealed)";
pub(super) const SEALED: &str = "sealed handshake";
const MALFORMED: &str = "malformed";

/// One record on its way, or what lay in the place of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which way it went.
    pub direction: Direction,
    /// The flight it belongs to. None for alerts, application data and whatever is not of this
    /// handshake.
    pub flight: Option<u32>,
    /// The length of the datagram it lay in.
    pub datagram: usize,
    /// The record itself.
    pub record: Header,
    /// What lies in a handshake record.
    pub messages: Vec<Message>,
    /// What a plaintext alert says.
    pub alert: Option<Alert>,
    /// Why it went no further.
    pub dropped: Option<Discard>,
}

/// Which way a datagram goes, as seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the peer.
    Sent,
    /// From the peer's address.
    Received,
}

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it carries.
    pub kind: Kind,
    /// 0 for plaintext; nothing for [`Kind::Malformed`].
    pub epoch: Option<u16>,
    /// The 48-bit sequence number; nothing for [`Kind::Malformed`].
    pub sequence: Option<u64>,
    /// Its length, header included.
    pub length: usize,
}

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Content type change_cipher_spec.
    ChangeCipherSpec,
    /// Content type alert.
    Alert,
    /// Content type handshake.
    Handshake,
    /// Content type application_data.
    ApplicationData,
    /// A content type that DTLS 1.2 does not know.
    Unknown,
    /// The rest of a datagram that is no record.
    Malformed,
}

/// A handshake message in a record, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type in the RFCs' words; `Finished (sealed)` for the first sealed one of each end,
    /// `sealed handshake` for others, `malformed` for what is no message.
    pub kind: &'static str,
    /// Which part of which message it is; nothing where that is sealed or malformed.
    pub part: Option<Part>,
}

/// What the header of a plaintext handshake message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The message_seq.
    pub sequence: u16,
    /// The length of the whole message.
    pub length: usize,
    /// Where in the message the fragment begins.
    pub fragment_offset: usize,
    /// The fragment's own length.
    pub fragment_length: usize,
    /// Whether its beginning went the same way before, however the message was cut then.
    pub retransmission: bool,
}

/// What a plaintext alert says. Nothing proves who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// 1 for a warning, 2 for a fatal one.
    pub level: u8,
    /// Its number (RFC 5246 section 7.2).
    pub description: u8,
}

impl Event {
    pub(super) fn of_untrusted(direction: Direction, datagram: usize, record: &Record) -> Event {
        let kind = Kind::of(record.kind);
        let in_plaintext = record.epoch == 0;
        let header = Header {
            kind,
            epoch: Some(record.epoch),
            sequence: Some(record.sequence),
            length: record.whole.len(),
        };
        let mut event = Event::new(direction, datagram, header);
        match (kind, record.body) {
            (Kind::Handshake, body) if in_plaintext => event.messages = Message::all_untrusted(body),
            (Kind::Alert, &[level, description]) if in_plaintext => {
                event.alert = Some(Alert { level, description });
            }
            _ => {}
        }
        event
    }

    pub(super) fn malformed(direction: Direction, datagram: usize, length: usize) -> Event {
        let header = Header { kind: Kind::Malformed, epoch: None, sequence: None, length };
        Event::new(direction, datagram, header)
    }

    fn new(direction: Direction, datagram: usize, record: Header) -> Event {
        Event { direction, flight: None, datagram, record, messages: Vec::new(), alert: None, dropped: None }
    }

    /// The number of the flight that a handshake begins with: 3 where its first message is the
    /// ClientHello that returns a cookie, which has message_seq 1.
    pub(super) fn first_flight(&self) -> u32 {
        let message = self.messages.first();
        let returns_cookie = message.is_some_and(|message| {
            message.kind == CLIENT_HELLO && message.part.is_some_and(|part| part.sequence == 1)
        });
        if returns_cookie {
            3
        } else {
            1
        }
    }
}

impl Message {
    /// The messages in the body of a plaintext handshake record.
    fn all_untrusted(mut body: &[u8]) -> Vec<Message> {
        let mut all = Vec::new();
        while !body.is_empty() {
            let Some((fragment, rest)) = Fragment::split_first_untrusted(body) else {
                all.push(Message { kind: MALFORMED, part: None });
                break;
            };
            let part = Part {
                sequence: fragment.sequence,
                length: fragment.length,
                fragment_offset: fragment.start,
                fragment_length: fragment.bytes.len(),
                retransmission: false,
            };
            all.push(Message { kind: message_name(fragment.kind), part: Some(part) });
            body = rest;
        }
        all
    }
}

/// What a handshake message's type is called (RFC 5246 section 7.4, RFC 6347 section 4.3.2, RFC
/// 5077 section 3.3, RFC 6066 section 8).
fn message_name(kind: u8) -> &'static str {
    match kind {
        0 => "HelloRequest",
        1 => CLIENT_HELLO,
        2 => "ServerHello",
        3 => "HelloVerifyRequest",
        4 => "NewSessionTicket",
        11 => "Certificate",
        12 => "ServerKeyExchange",
        13 => "CertificateRequest",
        14 => "ServerHelloDone",
        15 => "CertificateVerify",
        16 => "ClientKeyExchange",
        20 => "Finished",
        22 => "CertificateStatus",
        _ => "unknown message",
    }
}

impl Direction {
    /// The word users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Sent => "sent",
            Direction::Received => "received",
        }
    }
}

impl Kind {
    fn of(content_type: u8) -> Kind {
        match content_type {
            CHANGE_CIPHER_SPEC => Kind::ChangeCipherSpec,
            ALERT => Kind::Alert,
            HANDSHAKE => Kind::Handshake,
            APPLICATION_DATA => Kind::ApplicationData,
            _ => Kind::Unknown,
        }
    }

    /// The word users see: the content type as RFC 5246 section 6.2.1 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ChangeCipherSpec => "change_cipher_spec",
            Kind::Alert => "alert",
            Kind::Handshake => "handshake",
            Kind::ApplicationData => "application_data",
            Kind::Unknown => "unknown",
            Kind::Malformed => MALFORMED,
        }
    }
}

impl Alert {
    /// The level as RFC 5246 section 7.2 spells it.
    pub fn level_name(self) -> &'static str {
        match self.level {
            1 => "warning",
            2 => "fatal",
            _ => "unknown",
        }
    }

    /// What the description means, in OpenSSL's words.
    pub fn name(self) -> &'static str {
        ffi::alert_description(self.description)
    }
}
