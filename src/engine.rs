//! OpenSSL's part of one session: records in, datagrams and messages out. The only place that works
//! with its error queue, which each call finds and leaves empty.

use crate::datagram_bio::Wire;
use crate::error::{Error, Name};
use crate::ffi;
use crate::ffi::blocks::{self, Leavings};
use crate::record::MAX_PLAINTEXT;
use bytes::Bytes;
use openssl::error::ErrorStack;
use openssl::ssl::{ErrorCode, ShutdownState, Ssl, SslRef, SslStream};
use std::cell::RefCell;
use std::time::Duration;

/// One OpenSSL connection over a [`Wire`].
pub struct Engine {
    tls: SslStream<Wire>,
    /// What the handshake will leave behind, from its first step until it is complete.
    leavings: Option<Leavings>,
}

/// Why reading came to an end.
#[derive(Debug)]
pub enum Reading {
    /// There is nothing more to read for now.
    Waits,
    /// The peer has sent its close_notify.
    Goodbye,
    /// OpenSSL has ended the connection.
    Failed(Error),
}

thread_local! {
    /// Where messages are opened: a record's plaintext is never longer, and a smaller buffer would
    /// cut it in two.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_PLAINTEXT]);
}

impl Engine {
    /// Puts what a context has made on a wire that adds `plaintext_offset` to the sequence numbers
    /// of plaintext records on their way out.
    ///
    /// # Errors
    ///
    /// [`Name::Handshake`] where OpenSSL could not make it.
    pub fn new(ssl: Result<Ssl, ErrorStack>, plaintext_offset: u64) -> Result<Engine, Error> {
        let made = ssl.and_then(|ssl| SslStream::new(ssl, Wire::new(plaintext_offset)));
        ffi::clear_errors();
        match made {
            Ok(tls) => Ok(Engine { tls, leavings: None }),
            Err(stack) => {
                Err(Error::new(Name::Handshake, format!("OpenSSL cannot start a session: {stack}")))
            }
        }
    }

    /// Lays out the one record that OpenSSL reads next.
    pub fn feed(&mut self, record: &[u8]) {
        self.tls.get_mut().feed(record);
    }

    /// Starts a server from the ClientHello that was fed, whose cookie the gate has accepted.
    ///
    /// # Errors
    ///
    /// [`Name::Handshake`] where OpenSSL cannot go on from it.
    pub fn listen(&mut self) -> Result<(), Error> {
        let sentence = "the ClientHello is one that OpenSSL cannot go on from";
        let goes_on = self.call(ffi::listen);
        goes_on.then_some(()).ok_or_else(|| Error::new(Name::Handshake, sentence))
    }

    /// Goes on with the handshake. Says whether it is complete.
    ///
    /// # Errors
    ///
    /// What OpenSSL has ended it for. Its alert is among the datagrams.
    pub fn shake_hands(&mut self) -> Result<bool, Error> {
        let step = |tls: &mut SslStream<Wire>| match tls.do_handshake() {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ErrorCode::WANT_READ => {
                ffi::free_buffers(tls);
                Ok(false)
            }
            Err(error) => Err(Error::handshake(tls.ssl(), error.ssl_error())),
        };
        let (outcome, leavings) = match self.leavings {
            Some(leavings) => (self.call(step), leavings),
            None => blocks::beginning(|| self.call(step)),
        };
        self.leavings = Some(leavings);
        outcome
    }

    /// What the handshake leaves behind, now that it is complete.
    pub fn leavings(&self) -> Leavings {
        self.leavings.unwrap_or_default()
    }

    /// Reads the message of the record that was fed, if it holds one: a record never holds two.
    pub fn read(&mut self, on_message: impl FnOnce(&[u8])) -> Reading {
        SCRATCH.with_borrow_mut(|scratch| {
            let reading = match self.call(|tls| tls.ssl_read(scratch)) {
                Ok(length) => {
                    on_message(&scratch[..length]);
                    Reading::Waits
                }
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ => Reading::Waits,
                    ErrorCode::ZERO_RETURN => return Reading::Goodbye,
                    _ => return Reading::Failed(Error::established(error.ssl_error())),
                },
            };
            ffi::free_buffers(&mut self.tls);
            reading
        })
    }

    /// Seals a message into a datagram.
    ///
    /// # Errors
    ///
    /// What OpenSSL has ended the connection for.
    pub fn seal(&mut self, message: &[u8]) -> Result<Bytes, Error> {
        let outcome = self.call(|tls| tls.ssl_write(message));
        match (outcome, self.take_datagram()) {
            (Ok(_), Some(datagram)) => Ok(datagram),
            (outcome, _) => {
                Err(Error::established(outcome.as_ref().err().and_then(|error| error.ssl_error())))
            }
        }
    }

    /// Fills `out` with keying material (RFC 5705).
    ///
    /// # Errors
    ///
    /// [`Name::Invalid`] where OpenSSL refuses: the label is one that TLS uses itself.
    pub fn export(&mut self, out: &mut [u8], label: &str, context: Option<&[u8]>) -> Result<(), Error> {
        self.call(|tls| tls.ssl().export_keying_material(out, label, context)).map_err(|stack| {
            let reason = stack.errors().last().and_then(|error| error.reason()).unwrap_or("no reason given");
            Error::new(Name::Invalid, format!("OpenSSL exports nothing by that label and context: {reason}"))
        })
    }

    /// Sends a close_notify, if none has been sent (RFC 5246 section 7.2.1).
    pub fn say_goodbye(&mut self) {
        // Whether the peer's has come as well is what reading tells.
        let _ = self.call(SslStream::shutdown);
    }

    /// Reads on behind the peer's close_notify, which has been answered, SSL_set_shutdown(3).
    pub fn read_on(&mut self) {
        self.tls.set_shutdown(ShutdownState::SENT);
    }

    /// Sends the last flight again, if OpenSSL finds that it is time to.
    ///
    /// # Errors
    ///
    /// [`Name::TimedOut`] where it has done so too often.
    pub fn retransmit(&mut self) -> Result<(), Error> {
        let sentence = "the peer did not answer any of the retransmissions";
        let going_on = self.call(ffi::handle_timeout);
        going_on.then_some(()).ok_or_else(|| Error::new(Name::TimedOut, sentence))
    }

    /// How long until it wants to, by the wall clock; `None` while nothing waits for an answer.
    pub fn retransmits_in(&self) -> Option<Duration> {
        ffi::timeout(self.ssl())
    }

    /// Takes the next datagram that OpenSSL has written.
    pub fn take_datagram(&mut self) -> Option<Bytes> {
        self.tls.get_mut().take_datagram()
    }

    /// Whether the peer's ChangeCipherSpec has been taken and its Finished is due. The short name of
    /// OpenSSL's state (SSL_state_string(3)) has stayed the same where the numbers have not.
    pub fn awaits_finished(&self) -> bool {
        self.ssl().state_string() == "TRCCS"
    }

    /// What OpenSSL knows.
    pub fn ssl(&self) -> &SslRef {
        self.tls.ssl()
    }

    fn call<T>(&mut self, function: impl FnOnce(&mut SslStream<Wire>) -> T) -> T {
        ffi::clear_errors();
        let outcome = function(&mut self.tls);
        ffi::clear_errors();
        outcome
    }
}
