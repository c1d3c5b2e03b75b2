//! Every cause for which a datagram, or a part of one, is dropped. Dropping is counted, never
//! raised: on an open network it is everyday life.

/// Why bytes from the network went no further. The names are counters' names, and API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// No believable DTLS record: empty, cut short, or something else altogether.
    Malformed,
    /// From an address without a session, and no ClientHello.
    NotHello,
    /// From an address that cannot be answered: port 0, multicast, unspecified.
    Address,
    /// A record of an epoch that is not in use.
    Epoch,
    /// A plaintext record after the handshake.
    Plaintext,
    /// A sealed record shorter than its cipher suite can produce.
    Short,
    /// A record type that has no business at this point of the handshake.
    Unexpected,
    /// A handshake message that no peer would send at this point of the handshake.
    Handshake,
    /// A part of a handshake message that was had already.
    Duplicate,
    /// A plaintext alert: noted, not believed.
    Alert,
    /// More arrived ahead of its time than is kept.
    Overflow,
    /// A sealed record that was had already, or is older than can be told.
    Replayed,
    /// OpenSSL read it and said nothing: forged or empty.
    Unauthenticated,
    /// The session is over.
    Closed,
}

impl Discard {
    /// The counter's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Discard::Malformed => "malformed",
            Discard::NotHello => "unknown",
            Discard::Address => "address",
            Discard::Epoch => "epoch",
            Discard::Plaintext => "plaintext",
            Discard::Short => "short",
            Discard::Unexpected => "unexpected",
            Discard::Handshake => "handshake",
            Discard::Duplicate => "duplicate",
            Discard::Alert => "alert",
            Discard::Overflow => "overflow",
            Discard::Replayed => "replayed",
            Discard::Unauthenticated => "unauthenticated",
            Discard::Closed => "closed",
        }
    }
}
