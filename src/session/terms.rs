//! What is wanted of a session.

use super::Totals;
use crate::resumption::Earlier;
use crate::ticket::TicketKeys;
use std::rc::Rc;

/// How long a session may take, in milliseconds on the caller's clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For the handshake, from the session's creation, less what has been [spent](Terms::spent_ms) before.
    pub handshake_ms: u64,
    /// Between two authenticated records; 0 for ever.
    pub idle_ms: u64,
}

/// What is wanted of a session, whatever its context.
#[derive(Clone)]
pub struct Terms {
    /// How long it may take.
    pub deadlines: Deadlines,
    /// How much of the handshake's time has passed before the session is made, in milliseconds: a client's, on
    /// other addresses.
    pub spent_ms: u64,
    /// How long messages are still heard that the peer's close_notify has overtaken, in milliseconds.
    pub linger_ms: u64,
    /// The path's MTU, a UDP payload in bytes, where it is another than the context's.
    pub mtu: Option<u32>,
    /// Whether messages that make larger datagrams than that are refused.
    pub refuse_oversize: bool,
    /// Whether a server asks the user which context serves the host that the client wants.
    pub ask_server_name: bool,
    /// Whether there are events of what goes over the wire.
    pub trace: bool,
    /// Whether the session is to be found again where its peer's address changes: see [`Output::Trail`](crate::Output::Trail).
    pub roams: bool,
    /// What a server's tickets are sealed with; `None` for no tickets.
    pub tickets: Option<TicketKeys>,
    /// The earlier session that a client offers to resume.
    pub earlier: Option<Earlier>,
    /// The sums that the session adds to.
    pub totals: Rc<Totals>,
}

impl Terms {
    /// How long to linger by default: longer than networks hold a datagram back that is not lost, and shorter
    /// than a retransmission timeout.
    pub const LINGER_MS: u64 = 250;
}

impl From<Deadlines> for Terms {
    /// Nothing but deadlines.
    fn from(deadlines: Deadlines) -> Terms {
        Terms {
            deadlines,
            spent_ms: 0,
            linger_ms: 0,
            mtu: None,
            refuse_oversize: false,
            ask_server_name: false,
            trace: false,
            roams: false,
            tickets: None,
            earlier: None,
            totals: Rc::default(),
        }
    }
}
