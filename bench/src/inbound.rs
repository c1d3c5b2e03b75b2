//! The datagram that OpenSSL reads next.

use std::io::{self, Read};

/// One datagram, read once. *empty → laid out → empty → …*
#[derive(Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    unread: bool,
}

impl Inbound {
    /// Lays out a datagram. One that nobody read is gone.
    pub fn lay(&mut self, datagram: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(datagram);
        self.unread = true;
    }
}

impl Read for Inbound {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !std::mem::take(&mut self.unread) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.bytes.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.bytes[..length]);
        Ok(length)
    }
}
