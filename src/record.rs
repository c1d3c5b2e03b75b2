//! The DTLS record layer as a stranger may send it: headers read, nothing believed
//! (RFC 6347 section 4.1).
//!
//! The layout is that of DTLS 1.2. A DTLS 1.3 record (RFC 9147 section 4) has a unified header,
//! whose second byte is part of a sequence number: it fails [`Record`]'s version check, or else its
//! first three bits, `001`, are those of no content type below.

/// Bytes before a record's body: type, version, epoch, sequence number, length.
pub const HEADER: usize = 13;

/// The largest body a sender may produce: 2^14 of plaintext and 2^11 of expansion.
pub const MAX_BODY: usize = (1 << 14) + 2048;

/// The largest plaintext of one record (RFC 5246 section 6.2.1).
pub const MAX_PLAINTEXT: usize = 1 << 14;

/// Content type change_cipher_spec.
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// Content type alert.
pub const ALERT: u8 = 21;
/// Content type handshake.
pub const HANDSHAKE: u8 = 22;
/// Content type application_data.
pub const APPLICATION_DATA: u8 = 23;

/// DTLS 1.0 on the wire: what a HelloVerifyRequest carries whatever is negotiated later.
pub const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
/// DTLS 1.2 on the wire.
pub const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];

/// One record, still inside its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Content type: one of the four constants of this module, if the record is believable.
    pub kind: u8,
    /// 0 before ChangeCipherSpec, 1 after.
    pub epoch: u16,
    /// The 48-bit sequence number.
    pub sequence: u64,
    /// What follows the header: plaintext in epoch 0, sealed from epoch 1 on.
    pub body: &'a [u8],
    /// Header and body.
    pub whole: &'a [u8],
}

impl<'a> Record<'a> {
    /// Takes the first record off `datagram`, or nothing where no header and body can be told apart:
    /// then everything behind is unreadable too, and the caller drops the rest. A record of no use
    /// does not take those behind it along (RFC 6347 section 4.1.2.7).
    pub fn split_first_untrusted(datagram: &'a [u8]) -> Option<(Record<'a>, &'a [u8])> {
        let header = datagram.get(..HEADER)?;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        if header[1] != 0xfe || length > MAX_BODY || datagram.len() < HEADER + length {
            return None;
        }
        let (whole, rest) = datagram.split_at(HEADER + length);
        let record = Record {
            kind: header[0],
            epoch: u16::from_be_bytes([header[3], header[4]]),
            sequence: read_u48(&header[5..11]),
            body: &whole[HEADER..],
            whole,
        };
        Some((record, rest))
    }

    /// Whether it has a type that DTLS 1.2 knows, and a body.
    pub fn is_believable(&self) -> bool {
        (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&self.kind) && !self.body.is_empty()
    }
}

/// Writes a plaintext (epoch 0) record.
pub fn plaintext(kind: u8, version: [u8; 2], sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.push(kind);
    out.extend_from_slice(&version);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&sequence.to_be_bytes()[2..]);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// The number of a sealed record, which is whole; `None` where it is plaintext. (In DTLS 1.3 the number is
/// encrypted itself, and the record shows a part of it: RFC 9147 section 4.2.3.)
pub fn sealed_number(record: &[u8]) -> Option<u64> {
    let sealed = record.get(3..5)? != [0, 0];
    sealed.then(|| read_u48(&record[5..HEADER]))
}

/// Adds `offset` to the sequence numbers of a datagram's epoch-0 records, which nothing
/// authenticates. The datagram is our own, so its lengths are believed.
pub fn renumber_plaintext(datagram: &mut [u8], offset: u64) {
    let mut at = 0;
    while at + HEADER <= datagram.len() {
        let length = usize::from(u16::from_be_bytes([datagram[at + 11], datagram[at + 12]]));
        if datagram[at + 3..at + 5] == [0, 0] {
            let sequence = read_u48(&datagram[at + 5..at + 11]).wrapping_add(offset);
            datagram[at + 5..at + 11].copy_from_slice(&sequence.to_be_bytes()[2..]);
        }
        at += HEADER + length;
    }
}

/// Reads a 48-bit big-endian number.
fn read_u48(bytes: &[u8]) -> u64 {
    bytes.iter().take(6).fold(0, |n, &b| n << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_split_off_and_the_rest_remains() {
        let mut datagram = plaintext(HANDSHAKE, DTLS_1_2, 7, b"abc");
        datagram.extend_from_slice(&plaintext(ALERT, DTLS_1_2, 8, &[2, 40]));
        let (first, rest) = Record::split_first_untrusted(&datagram).unwrap();
        assert_eq!((first.kind, first.epoch, first.sequence, first.body), (22, 0, 7, &b"abc"[..]));
        let (second, rest) = Record::split_first_untrusted(rest).unwrap();
        assert_eq!((second.sequence, second.body, rest.len()), (8, &[2, 40][..], 0));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let good = plaintext(HANDSHAKE, DTLS_1_2, 0, b"x");
        for cut in 0..good.len() {
            assert_eq!(Record::split_first_untrusted(&good[..cut]), None, "cut at {cut}");
        }
        for (at, value, why) in [(1, 3, "version"), (12, 2, "leads out")] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Record::split_first_untrusted(&bad), None, "{why}");
        }
        let huge = [&[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &[0; 65_535]].concat();
        assert_eq!(Record::split_first_untrusted(&huge), None, "longer than a record may be");
    }

    #[test]
    fn a_record_of_no_use_leaves_the_next_one_readable() {
        for kind in [0, 19, 24, 25, 255] {
            let bad = [plaintext(kind, DTLS_1_2, 0, b"x"), plaintext(ALERT, DTLS_1_2, 0, b"")].concat();
            let (first, rest) = Record::split_first_untrusted(&bad).unwrap();
            let (second, rest) = Record::split_first_untrusted(rest).unwrap();
            assert_eq!((first.is_believable(), second.is_believable(), rest.len()), (false, false, 0));
        }
    }

    #[test]
    fn renumbering_moves_epoch_0_alone_and_wraps_at_48_bits() {
        let mut datagram = plaintext(HANDSHAKE, DTLS_1_2, 1, b"abc");
        let mut sealed = plaintext(HANDSHAKE, DTLS_1_2, 1, b"def");
        sealed[4] = 1;
        datagram.extend_from_slice(&sealed);
        renumber_plaintext(&mut datagram, (1 << 48) - 1);
        let (first, rest) = Record::split_first_untrusted(&datagram).unwrap();
        let (second, _) = Record::split_first_untrusted(rest).unwrap();
        assert_eq!((first.sequence, second.sequence), (0, 1));
    }
}
