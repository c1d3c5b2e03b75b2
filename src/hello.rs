//! What is read of a ClientHello before OpenSSL sees it (RFC 6347 section 4.2.1, RFC 5246 section
//! 7.4.1.2): by the gate the fields up to the cookie, which lie in its first fragment whatever the
//! sender's MTU; by a session, which has the whole message, what its user may want to decide upon.

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

    /// Whether its cookie may be one that was sent: with message_seq 1, as OpenSSL goes on from no other.
    pub fn returns_cookie(&self) -> bool {
        self.message_sequence == 1 && !self.cookie.is_empty()
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

/// What a whole ClientHello asks for, as far as a decision may hang on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The session that the client wants to resume by its id; empty where it wants none.
    pub session_id: Vec<u8>,
    /// The host that it wants (RFC 6066 section 3), in lower case and without a trailing dot. Nothing
    /// else is promised of it: OpenSSL refuses a NUL and more than 255 bytes, but later.
    pub server_name: Option<String>,
    /// Whether it wants a stapled OCSP response (RFC 6066 section 8).
    pub status_request: bool,
    /// The application protocols that it offers (RFC 7301).
    pub alpn_protocols: Vec<Vec<u8>>,
    /// Whether it offers the extended master secret (RFC 7627).
    pub extended_master_secret: bool,
    /// Whether it brings a ticket (RFC 5077).
    pub ticket: bool,
    /// Whether it takes a raw public key of its server (RFC 7250).
    pub raw_public_key: bool,
    /// Whether it says which signatures certificates may bear (RFC 8446 section 4.2.3).
    pub certificate_signatures: bool,
}

impl Wishes {
    /// Reads the body of a ClientHello message. What does not parse is left out: it is OpenSSL who
    /// refuses a hello.
    pub fn read_untrusted(body: &[u8]) -> Wishes {
        let mut wishes = Wishes::default();
        // Whatever was understood before the fault is kept.
        let _ = wishes.fill_untrusted(body);
        wishes
    }

    fn fill_untrusted(&mut self, body: &[u8]) -> Option<()> {
        const VERSION_AND_RANDOM: usize = 34;
        let mut rest = body.get(VERSION_AND_RANDOM..)?;
        self.session_id = take_u8_list(&mut rest)?.to_vec();
        let _cookie = take_u8_list(&mut rest)?;
        let _suites = take_u16_list(&mut rest)?;
        let _compressions = take_u8_list(&mut rest)?;
        let mut extensions = take_u16_list(&mut rest)?;
        while !extensions.is_empty() {
            let kind = take_u16(&mut extensions)?;
            let content = take_u16_list(&mut extensions)?;
            match kind {
                0 => self.server_name = host_name(content),
                5 => self.status_request = true,
                16 => self.alpn_protocols = protocol_names(content).unwrap_or_default(),
                20 => self.raw_public_key = takes_raw_public_key(content),
                23 => self.extended_master_secret = true,
                // An empty one asks for a ticket.
                35 => self.ticket = !content.is_empty(),
                50 => self.certificate_signatures = true,
                _ => {}
            }
        }
        Some(())
    }
}

/// Reads the one host name of a server_name extension.
fn host_name(mut extension: &[u8]) -> Option<String> {
    const HOST_NAME: u8 = 0;
    let (&kind, mut name) = take_u16_list(&mut extension)?.split_first()?;
    let name = take_u16_list(&mut name).filter(|_| kind == HOST_NAME)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b".").unwrap_or(name));
    Some(name.to_ascii_lowercase())
}

/// Looks for a raw public key in a server_certificate_type extension.
fn takes_raw_public_key(mut extension: &[u8]) -> bool {
    const RAW_PUBLIC_KEY: u8 = 2;
    take_u8_list(&mut extension).is_some_and(|types| types.contains(&RAW_PUBLIC_KEY))
}

/// Reads the names of an application_layer_protocol_negotiation extension.
fn protocol_names(mut extension: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut list = take_u16_list(&mut extension)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        names.push(take_u8_list(&mut list)?.to_vec());
    }
    Some(names)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let taken = rest.get(..length)?;
    *rest = &rest[length..];
    Some(taken)
}

fn take_u16(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Takes what an 8-bit length stands in front of.
pub(crate) fn take_u8_list<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(take(rest, 1)?[0]);
    take(rest, length)
}

/// Takes what a 16-bit length stands in front of.
pub(crate) fn take_u16_list<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(take_u16(rest)?);
    take(rest, length)
}

/// Takes what a 24-bit length stands in front of.
pub(crate) fn take_u24_list<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_u24(take(rest, 3)?);
    take(rest, length)
}

/// Reads a 24-bit big-endian number.
pub(crate) fn read_u24(bytes: &[u8]) -> usize {
    bytes.iter().take(3).fold(0, |n, &b| n << 8 | usize::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body of a hello with a session id of four bytes and these extensions.
    fn body(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = vec![0xfe, 0xfd];
        out.extend_from_slice(&[7; 32]);
        out.extend_from_slice(&[4, 1, 2, 3, 4]);
        out.extend_from_slice(&[2, 9, 9]);
        out.extend_from_slice(&[0, 2, 0xc0, 0x2b]);
        out.extend_from_slice(&[1, 0]);
        let list: Vec<u8> = extensions.iter().flat_map(|(kind, content)| extension(*kind, content)).collect();
        out.extend_from_slice(&(list.len() as u16).to_be_bytes());
        out.extend_from_slice(&list);
        out
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn server_name(name: &[u8]) -> Vec<u8> {
        let entry = [&[0][..], &(name.len() as u16).to_be_bytes(), name].concat();
        [&(entry.len() as u16).to_be_bytes()[..], &entry].concat()
    }

    #[test]
    fn a_hello_says_what_the_client_wants() {
        let wishes = Wishes::read_untrusted(&body(&[
            (10, &[0, 2, 0, 23]),
            (0, &server_name(b"Lamp.Example")),
            (5, &[1, 0, 0, 0, 0]),
            (23, &[]),
        ]));
        assert_eq!(wishes.session_id, [1, 2, 3, 4]);
        assert_eq!(wishes.server_name.as_deref(), Some("lamp.example"));
        assert!(wishes.status_request && wishes.extended_master_secret);
        let wishes = Wishes::read_untrusted(&body(&[]));
        assert_eq!((wishes.server_name, wishes.status_request), (None, false));
    }

    #[test]
    fn a_hello_that_breaks_off_says_what_came_before() {
        let whole = body(&[(0, &server_name(b"lamp.example")), (23, &[])]);
        for cut in 0..whole.len() {
            let wishes = Wishes::read_untrusted(&whole[..cut]);
            assert!(!wishes.extended_master_secret, "cut at {cut}");
        }
        assert_eq!(Wishes::read_untrusted(&whole[..whole.len() - 1]).session_id, [1, 2, 3, 4]);
    }

    #[test]
    fn a_server_name_that_is_none_is_not_there() {
        for content in [&[][..], &[0, 0], &[0, 3, 0, 0, 9], &[0, 4, 1, 0, 1, b'x']] {
            assert_eq!(Wishes::read_untrusted(&body(&[(0, content)])).server_name, None, "{content:?}");
        }
    }

    #[test]
    fn protocols_are_read_in_order() {
        let wishes = Wishes::read_untrusted(&body(&[(16, &[0, 6, 1, b'a', 3, b'b', 0, 0xff])]));
        assert_eq!(wishes.alpn_protocols, [&b"a"[..], &b"b\0\xff"[..]]);
    }

    #[test]
    fn a_list_of_protocols_that_does_not_parse_offers_none() {
        for content in [&[][..], &[0], &[0, 0], &[0, 9, 1, b'a'], &[0, 3, 1, b'a', 7], &[0, 2, 2, b'a']] {
            let wishes = Wishes::read_untrusted(&body(&[(16, content)]));
            assert_eq!(wishes.alpn_protocols, Vec::<Vec<u8>>::new(), "{content:?}");
        }
    }
}
