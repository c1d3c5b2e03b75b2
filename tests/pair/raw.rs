//! A peer that is OpenSSL and nothing else, for what our own sessions never do.
#![allow(unsafe_code)]

use super::{ADDRESS, PORT};
use dtls_core::datagram_bio::Wire;
use dtls_core::{Context, Deadlines, Gate, Output, Session, Verdict};
use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionRef, SslStream,
    SslVerifyMode,
};
use std::rc::Rc;

/// SSL_OP_NO_EXTENDED_MASTER_SECRET, which the crate lacks.
pub const NO_EXTENDED_MASTER_SECRET: SslOptions = SslOptions::from_bits_retain(1);

/// An OpenSSL client or server that is handed datagrams.
pub struct Raw {
    pub stream: SslStream<Wire>,
    pub connected: bool,
    pub messages: Vec<Vec<u8>>,
    /// OpenSSL's words for what went wrong.
    pub failure: Option<String>,
}

/// A context with no opinions.
pub fn context(configure: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::dtls()).unwrap();
    builder.set_options(SslOptions::NO_QUERY_MTU);
    builder.set_verify(SslVerifyMode::NONE);
    configure(&mut builder);
    builder.build()
}

extern "C" {
    fn SSL_CTX_set_tlsext_max_fragment_length(
        context: *mut openssl_sys::SSL_CTX,
        mode: u8,
    ) -> std::ffi::c_int;
    fn SSL_get_cipher_list(
        ssl: *const openssl_sys::SSL,
        priority: std::ffi::c_int,
    ) -> *const std::ffi::c_char;
    fn SSL_SESSION_is_resumable(session: *const openssl_sys::SSL_SESSION) -> std::ffi::c_int;
}

/// Asks for records of 256 << `mode` bytes at most (RFC 6066 section 4).
pub fn ask_for_short_records(builder: &SslContextBuilder, mode: u8) {
    // SAFETY: stores a number in a context that the builder owns.
    assert_eq!(unsafe { SSL_CTX_set_tlsext_max_fragment_length(builder.as_ptr(), mode) }, 1);
}

/// The names of all DTLS 1.2 cipher suites of a list, in order.
pub fn suites(list: &str) -> Vec<String> {
    let context = context(|builder| {
        builder.set_security_level(0);
        builder.set_cipher_list(list).unwrap();
    });
    let ssl = Ssl::new(&context).unwrap();
    let name = |priority| {
        // SAFETY: returns null behind the last, or a terminated name out of a static table.
        let name = unsafe { SSL_get_cipher_list(ssl.as_ptr(), priority) };
        // SAFETY: as above.
        (!name.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(name) }.to_str().unwrap().to_owned())
    };
    (0..).map_while(name).filter(|name| !name.starts_with("TLS_")).collect()
}

/// Lets a client offer to resume a session that one of the same context has made.
pub fn offer(ssl: &mut Ssl, session: &SslSessionRef) {
    // SAFETY: the caller's contexts are one and the same.
    unsafe { ssl.set_session(session) }.unwrap();
}

/// Whether OpenSSL would offer to resume it.
pub fn is_resumable(session: &SslSessionRef) -> bool {
    // SAFETY: reads fields of a session that is borrowed.
    unsafe { SSL_SESSION_is_resumable(session.as_ptr()) == 1 }
}

impl Raw {
    /// A client with something more to it than its context.
    pub fn client_with(context: &SslContext, mtu: u32, configure: impl FnOnce(&mut Ssl)) -> Raw {
        Raw::new(context, mtu, |ssl| {
            ssl.set_connect_state();
            configure(ssl);
        })
    }

    pub fn client(context: &SslContext, mtu: u32) -> Raw {
        Raw::new(context, mtu, |ssl| ssl.set_connect_state())
    }

    /// A server that asks for no cookie.
    pub fn server(context: &SslContext, mtu: u32) -> Raw {
        Raw::new(context, mtu, |ssl| ssl.set_accept_state())
    }

    fn new(context: &SslContext, mtu: u32, take_role: impl FnOnce(&mut Ssl)) -> Raw {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_mtu(mtu).unwrap();
        take_role(&mut ssl);
        let stream = SslStream::new(ssl, Wire::new(0)).unwrap();
        let mut raw = Raw { stream, connected: false, messages: Vec::new(), failure: None };
        raw.drive();
        raw
    }

    /// Takes a datagram, or nothing, and does what comes of it.
    pub fn receive(&mut self, datagram: &[u8]) {
        self.stream.get_mut().feed(datagram);
        self.drive();
    }

    pub fn drive(&mut self) {
        if !self.connected {
            match self.stream.do_handshake() {
                Ok(()) => self.connected = true,
                Err(error) if error.code() == ErrorCode::WANT_READ => {}
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
        if self.connected {
            let mut buffer = vec![0; 20_000];
            while let Ok(length) = self.stream.ssl_read(&mut buffer) {
                self.messages.push(buffer[..length].to_vec());
            }
        }
    }

    /// Gets past the gate, and returns the session that a server of `context` has for this client.
    pub fn meet(&mut self, context: &Rc<Context>) -> Session {
        let (mut gate, deadlines) = (Gate::random(0), Deadlines { handshake_ms: 30_000, idle_ms: 0 });
        let mut session: Option<Session> = None;
        while session.is_none() {
            let datagrams = self.take();
            assert!(!datagrams.is_empty(), "the client says no more: {:?}", self.failure);
            for datagram in datagrams {
                match &mut session {
                    Some(session) => {
                        session.receive_untrusted(&datagram, 0);
                    }
                    None => match gate.examine_untrusted(&datagram, ADDRESS, PORT, 0) {
                        Verdict::Challenge { reply, .. } => self.receive(&reply),
                        Verdict::Admit(_) => {
                            let made = Session::server(context, &datagram, &deadlines.into(), 0);
                            session = Some(made.unwrap());
                        }
                        Verdict::Discard(cause) => panic!("{cause:?}"),
                    },
                }
            }
        }
        session.unwrap()
    }

    /// Hands datagrams back and forth until nothing moves, and returns what our session said.
    pub fn talk(&mut self, session: &mut Session) -> Vec<Output> {
        let mut said = Vec::new();
        loop {
            let datagrams = self.take();
            for datagram in &datagrams {
                session.receive_untrusted(datagram, 0);
            }
            let before = said.len();
            let mut sent = 0;
            loop {
                match session.poll() {
                    Output::Transmit(datagram) => {
                        sent += 1;
                        self.receive(&datagram);
                    }
                    Output::Timeout(_) => break,
                    other => said.push(other),
                }
            }
            if datagrams.is_empty() && sent == 0 && before == said.len() {
                return said;
            }
        }
    }

    pub fn take(&mut self) -> Vec<Vec<u8>> {
        let wire = self.stream.get_mut();
        std::iter::from_fn(|| wire.take_datagram()).map(|datagram| datagram.to_vec()).collect()
    }
}
