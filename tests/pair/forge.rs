//! Datagrams made by hand, genuine and forged.

use dtls_core::record::{self, Record, CHANGE_CIPHER_SPEC, DTLS_1_2, HANDSHAKE, HEADER};

/// The largest record number.
pub const LAST_NUMBER: u64 = (1 << 48) - 1;

/// A record of any epoch.
pub fn record(kind: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut out = record::plaintext(kind, DTLS_1_2, sequence, body);
    out[3..5].copy_from_slice(&epoch.to_be_bytes());
    out
}

/// A handshake fragment: its header says `length`, its body is `bytes` from `start`.
pub fn fragment(kind: u8, sequence: u16, length: usize, start: usize, bytes: &[u8]) -> Vec<u8> {
    fragment_claiming(kind, sequence, length, start, bytes.len(), bytes)
}

/// A fragment that claims to hold `part` bytes, whatever it holds.
pub fn fragment_claiming(
    kind: u8,
    sequence: u16,
    length: usize,
    start: usize,
    part: usize,
    bytes: &[u8],
) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&(start as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&(part as u32).to_be_bytes()[1..]);
    out.extend_from_slice(bytes);
    out
}

/// A plaintext record with one whole handshake message.
pub fn message(kind: u8, sequence: u16, number: u64, body: &[u8]) -> Vec<u8> {
    record(HANDSHAKE, 0, number, &fragment(kind, sequence, body.len(), 0, body))
}

/// The records of a genuine datagram.
pub fn records(datagram: &[u8]) -> Vec<Record<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(|| {
        let (record, behind) = Record::split_first_untrusted(rest)?;
        rest = behind;
        Some(record)
    })
    .collect()
}

/// Whether the datagram holds a ChangeCipherSpec.
pub fn changes_cipher(datagram: &[u8]) -> bool {
    records(datagram).iter().any(|record| record.kind == CHANGE_CIPHER_SPEC)
}

/// The type of the first plaintext handshake message in the datagram.
pub fn message_kind(datagram: &[u8]) -> Option<u8> {
    let plain = records(datagram).into_iter().find(|record| record.kind == HANDSHAKE && record.epoch == 0)?;
    Some(plain.body[0])
}

/// The epoch and number of every record, read from the headers alone.
pub fn numbers(datagram: &[u8]) -> Vec<(u16, u64)> {
    records(datagram).iter().map(|record| (record.epoch, record.sequence)).collect()
}

pub const RECORD_HEADER: usize = HEADER;
