//! What a datagram holds: messages on their way out, and the path's MTU.
//!
//! OpenSSL asks nobody about the size of a message's datagram: it seals up to 16384 bytes into one, and IP
//! cuts that in pieces, which all have to arrive. Beyond what a record may hold it ends the session (where
//! RFC 6066's max_fragment_length was negotiated) or refuses. So lengths are looked at here, before.
//!
//! There is one MTU for both: what the handshake's datagrams may fill, as long as there is a handshake, and
//! what messages are measured against later. OpenSSL makes handshake datagrams of 256 to 4096 bytes alone
//! ([`Mtu`]); a path that takes larger ones gets such, and its messages may be larger all the same.

use super::{Session, Stage};
use crate::config::Mtu;
use crate::error::{Error, Name};
use crate::ffi;
use crate::output::Reason;
use bytes::Bytes;

impl Session {
    /// Seals a message and returns the one datagram that carries it.
    ///
    /// # Errors
    ///
    /// [`Name::NotConnected`] before the handshake is complete and after the end,
    /// [`Name::Invalid`] for an empty message, [`Name::MessageTooBig`] for one that fits no
    /// record, or no datagram where the [`Terms`](crate::Terms) want that: none of these harms the
    /// session. Anything else has ended it.
    pub fn send(&mut self, message: &[u8]) -> Result<Bytes, Error> {
        let (Stage::Open, Some(engine), Some(established)) =
            (self.stage, &mut self.engine, &self.established)
        else {
            return Err(Error::not_connected(self.state()));
        };
        if message.is_empty() {
            return Err(Error::new(Name::Invalid, "a DTLS message cannot be empty"));
        }
        if message.len() > established.max_message {
            let sentence = format!(
                "a message of {} bytes does not fit a DTLS record of at most {}",
                message.len(),
                established.max_message
            );
            return Err(Error::new(Name::MessageTooBig, sentence));
        }
        if self.refuse_oversize && message.len() > established.max_payload {
            let sentence = format!(
                "a message of {} bytes makes a datagram of more than {}, the path's MTU: {} is the most",
                message.len(),
                self.mtu,
                established.max_payload
            );
            return Err(Error::new(Name::MessageTooBig, sentence));
        }
        let sealed = engine.seal(message);
        match &sealed {
            Ok(datagram) => {
                self.counter.said(message, datagram);
                self.trace(|tracer| tracer.sent(datagram));
            }
            Err(error) => {
                self.collect();
                self.finish(Reason::Error, Some(error.clone()));
            }
        }
        sealed
    }

    /// Takes what the path's MTU is: a UDP payload, in bytes. Handshake datagrams keep to it from the next
    /// transmission on. Returns the longest message that does, once the handshake is complete.
    pub fn set_mtu(&mut self, bytes: u32) -> Option<usize> {
        self.mtu = bytes;
        self.tell_mtu();
        let established = self.established.as_mut()?;
        established.fit(bytes);
        Some(established.max_payload)
    }

    /// Makes handshake datagrams smaller, because the network refused one of `refused` bytes: the
    /// retransmission will fit. Returns the new size, or `None` where there is no smaller one.
    ///
    /// A flight may be refused datagram by datagram; that lowers the size once.
    pub fn lower_mtu(&mut self, refused: usize) -> Option<u32> {
        // IPv6's least MTU less its headers, IPv4's least reassembly size less its, OpenSSL's least.
        const STEPS: [u32; 3] = [1232, 548, Mtu::LEAST];
        if self.stage != Stage::Handshaking || self.engine.is_none() {
            return None;
        }
        if refused <= self.mtu as usize {
            self.mtu = STEPS.into_iter().find(|&step| (step as usize) < refused)?;
            self.tell_mtu();
        }
        Some(self.mtu)
    }

    /// Tells OpenSSL how large handshake datagrams may be.
    pub(super) fn tell_mtu(&self) {
        if let Some(engine) = &self.engine {
            ffi::set_mtu(engine.ssl(), self.mtu.clamp(Mtu::LEAST, Mtu::MOST));
        }
    }
}
