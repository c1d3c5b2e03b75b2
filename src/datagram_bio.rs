//! The memory BIO pair: one record a read, one datagram a write, never joined, never "retry" on
//! write.
//!
//! `BIO_s_mem` joins what is written: two datagrams fed become one blob that OpenSSL cuts at the
//! wrong place, and a flight drained becomes one datagram larger than the MTU. `BIO_s_dgram_mem`
//! keeps them apart but grows without limit. A BIO over the real socket would see the datagrams of
//! every peer. So OpenSSL reads and writes this [`Wire`] through the BIO that the `openssl` crate
//! makes of any `Read + Write`.

use crate::record;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// What lies between OpenSSL and the network.
#[derive(Debug, Default)]
pub struct Wire {
    /// The record that the next read returns.
    inbound: Option<Vec<u8>>,
    outbound: VecDeque<Bytes>,
    plaintext_offset: u64,
}

thread_local! {
    /// The memory of the record that was read last, for the next one on any wire: one that lies out is read
    /// within the call that has laid it out.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Wire {
    /// A wire that adds `plaintext_offset` to the sequence numbers of plaintext records on their
    /// way out.
    pub fn new(plaintext_offset: u64) -> Wire {
        Wire { plaintext_offset, ..Wire::default() }
    }

    /// Lays one record out to be read. One that nobody read is gone.
    pub fn feed(&mut self, record: &[u8]) {
        let mut buffer = self.inbound.take().unwrap_or_else(|| SPARE.take());
        buffer.clear();
        buffer.extend_from_slice(record);
        self.inbound = Some(buffer);
    }

    /// Takes the next datagram that OpenSSL wrote.
    pub fn take_datagram(&mut self) -> Option<Bytes> {
        self.outbound.pop_front()
    }
}

impl Read for Wire {
    /// One record, whole: OpenSSL's buffer is larger than any record may be.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let record = self.inbound.take().ok_or(io::ErrorKind::WouldBlock)?;
        let length = record.len().min(buffer.len());
        buffer[..length].copy_from_slice(&record[..length]);
        SPARE.set(record);
        Ok(length)
    }
}

impl Write for Wire {
    /// One datagram. Always taken: a write that must be retried parks a flight inside OpenSSL, and
    /// a timeout that comes meanwhile corrupts it.
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        let mut out = datagram.to_vec();
        if self.plaintext_offset != 0 {
            record::renumber_plaintext(&mut out, self.plaintext_offset);
        }
        self.outbound.push_back(out.into());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_returns_one_record_and_then_waits() {
        let mut wire = Wire::default();
        let mut buffer = [0; 16];
        assert_eq!(wire.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        wire.feed(b"one");
        assert_eq!(wire.read(&mut buffer).unwrap(), 3);
        assert_eq!(wire.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_write_is_a_datagram() {
        let mut wire = Wire::default();
        wire.write_all(b"one").unwrap();
        wire.write_all(b"two").unwrap();
        assert_eq!(
            (wire.take_datagram(), wire.take_datagram(), wire.take_datagram()),
            (Some("one".into()), Some("two".into()), None)
        );
    }
}
