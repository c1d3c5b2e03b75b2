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
use std::collections::VecDeque;
use std::io::{self, Read, Write};

/// What lies between OpenSSL and the network.
#[derive(Debug, Default)]
pub struct Wire {
    /// The record that the next read returns. Kept when read, for its memory.
    inbound: Vec<u8>,
    unread: bool,
    outbound: VecDeque<Bytes>,
    plaintext_offset: u64,
}

impl Wire {
    /// A wire that adds `plaintext_offset` to the sequence numbers of plaintext records on their
    /// way out.
    pub fn new(plaintext_offset: u64) -> Wire {
        Wire { plaintext_offset, ..Wire::default() }
    }

    /// Lays one record out to be read. One that nobody read is gone.
    pub fn feed(&mut self, record: &[u8]) {
        self.inbound.clear();
        self.inbound.extend_from_slice(record);
        self.unread = true;
    }

    /// Takes the next datagram that OpenSSL wrote.
    pub fn take_datagram(&mut self) -> Option<Bytes> {
        self.outbound.pop_front()
    }
}

impl Read for Wire {
    /// One record, whole: OpenSSL's buffer is larger than any record may be.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.unread {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.unread = false;
        let length = self.inbound.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.inbound[..length]);
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
