//! What the gate reads of a ClientHello (RFC 6347 section 4.2.1, RFC 5246 section 7.4.1.2): the
//! fields up to the cookie, which lie in its first fragment whatever the sender's MTU.

use crate::discard::Discard;
use crate::record::{Record, HANDSHAKE};

/// Handshake message type client_hello.
pub const CLIENT_HELLO: u8 = 1;

/// Bytes before a handshake message's body: type, length, message_seq, fragment offset and length.
pub const MESSAGE_HEADER: usize = 12;

/// The beginning of a ClientHello, as a stranger sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The record's sequence number, which the answer repeats.
    pub record_sequence: u64,
    /// 0 for a first hello, 1 for the one that answers a HelloVerifyRequest.
    pub message_sequence: u16,
    /// client_version, the random and the session id with its length: what a client may not change
    /// between its first hello and the one with the cookie.
    pub fixed: &'a [u8],
    /// The cookie; empty in a first hello.
    pub cookie: &'a [u8],
}

impl<'a> Hello<'a> {
    /// Reads the first record of a stranger's datagram.
    ///
    /// # Errors
    ///
    /// [`Discard::Malformed`] where there is no record, [`Discard::NotHello`] where it holds
    /// anything but the beginning of a plaintext ClientHello with message_seq 0 or 1. (OpenSSL
    /// continues from no other: `DTLSv1_listen(3)`.)
    pub fn read_untrusted(datagram: &'a [u8]) -> Result<Hello<'a>, Discard> {
        let (record, _) = Record::split_first_untrusted(datagram).ok_or(Discard::Malformed)?;
        if record.kind != HANDSHAKE || record.epoch != 0 {
            return Err(Discard::NotHello);
        }
        Hello::read_body(&record).ok_or(Discard::NotHello)
    }

    fn read_body(record: &Record<'a>) -> Option<Hello<'a>> {
        let header = record.body.get(..MESSAGE_HEADER)?;
        let message_sequence = u16::from_be_bytes([header[4], header[5]]);
        let from_the_start = header[6..9] == [0, 0, 0];
        if header[0] != CLIENT_HELLO || message_sequence > 1 || !from_the_start {
            return None;
        }
        let fragment = read_u24(&header[9..12]);
        if fragment > read_u24(&header[1..4]) {
            return None;
        }
        let body = record.body.get(MESSAGE_HEADER..MESSAGE_HEADER + fragment)?;
        let session_id = usize::from(*body.get(34)?);
        if session_id > 32 {
            return None;
        }
        let fixed = body.get(..35 + session_id)?;
        let cookie = usize::from(*body.get(fixed.len())?);
        let cookie = body.get(fixed.len() + 1..fixed.len() + 1 + cookie)?;
        Some(Hello { record_sequence: record.sequence, message_sequence, fixed, cookie })
    }
}

/// Reads a 24-bit big-endian number.
pub(crate) fn read_u24(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |n, &b| n << 8 | usize::from(b))
}
