//! One client: of DTLS, or of a server that echoes plain datagrams.

use crate::inbound::Inbound;
use crate::net::Net;
use foreign_types::ForeignTypeRef;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSession, SslStream,
    SslVerifyMode, SslVersion,
};
use std::io::{self, Read, Write};
use std::rc::Rc;

/// What every client of a run has in common.
pub fn context(ciphers: &str) -> SslContext {
    let mut builder = SslContextBuilder::new(SslMethod::dtls_client()).expect("a context");
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2)).expect("DTLS 1.2");
    builder.set_options(SslOptions::NO_QUERY_MTU);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    builder.set_verify(SslVerifyMode::NONE);
    builder.set_groups_list("X25519:P-256").expect("groups");
    builder.set_cipher_list(ciphers).expect("ciphers");
    builder.build()
}

/// A client.
pub enum Client {
    /// Speaks DTLS 1.2.
    Secure(SslStream<Wire>),
    /// Sends its messages as they are.
    Plain(Wire),
}

/// How far a handshake is.
#[derive(PartialEq, Eq, Debug)]
pub enum Progress {
    /// It waits for the server.
    Waits,
    /// It is complete.
    Done,
    /// It has failed.
    Failed,
}

impl Client {
    /// A client that has sent nothing yet; without a context, a plain one.
    pub fn new(context: Option<&SslContext>, wire: Wire, earlier: Option<&SslSession>) -> Client {
        let Some(context) = context else { return Client::Plain(wire) };
        let mut ssl = Ssl::new(context).expect("a session");
        ssl.set_mtu(1200).expect("an mtu");
        ssl.set_connect_state();
        if let Some(session) = earlier {
            // SAFETY: the session was made by this very context.
            unsafe { ssl.set_session(session).expect("a session to resume") };
        }
        Client::Secure(SslStream::new(ssl, wire).expect("a stream"))
    }

    /// Takes a datagram, to be read by what is called next.
    pub fn feed(&mut self, datagram: &[u8]) {
        let wire = self.wire();
        wire.inbound.lay(datagram);
    }

    /// Goes on with the handshake.
    pub fn shake_hands(&mut self) -> Progress {
        let Client::Secure(stream) = self else { return Progress::Done };
        match stream.do_handshake() {
            Ok(()) => Progress::Done,
            Err(error) if error.code() == ErrorCode::WANT_READ => Progress::Waits,
            Err(_) => Progress::Failed,
        }
    }

    /// Retransmits, if it is time to.
    pub fn tick(&mut self) {
        const DTLS_CTRL_HANDLE_TIMEOUT: i32 = 74;
        let Client::Secure(stream) = self else { return };
        // SAFETY: the pointer is that of a live SSL, and this control takes no argument.
        unsafe {
            openssl_sys::SSL_ctrl(stream.ssl().as_ptr(), DTLS_CTRL_HANDLE_TIMEOUT, 0, std::ptr::null_mut())
        };
    }

    /// From now on what is sent is gathered until [`Client::flush`], and leaves in one system call (GSO).
    pub fn gather(&mut self) {
        self.wire().gathers = true;
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) {
        // A message that cannot be sent is missed later.
        let _ = match self {
            Client::Secure(stream) => stream.ssl_write(message).is_ok(),
            Client::Plain(wire) => wire.write(message).is_ok(),
        };
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) {
        self.wire().flush_gathered();
    }

    /// Takes the next message of the datagram that was fed.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self {
            Client::Secure(stream) => stream.ssl_read(buffer).ok(),
            Client::Plain(wire) => wire.read(buffer).ok(),
        }
    }

    /// The session, to be resumed.
    pub fn session(&self) -> Option<SslSession> {
        match self {
            Client::Secure(stream) => stream.ssl().session().map(ToOwned::to_owned),
            Client::Plain(_) => None,
        }
    }

    /// Whether it resumes one.
    pub fn resumes(&self) -> bool {
        matches!(self, Client::Secure(stream) if stream.ssl().session_reused())
    }

    /// Says goodbye.
    pub fn close(self) {
        if let Client::Secure(mut stream) = self {
            let _ = stream.shutdown();
            stream.get_mut().flush_gathered();
        }
    }

    fn wire(&mut self) -> &mut Wire {
        match self {
            Client::Secure(stream) => stream.get_mut(),
            Client::Plain(wire) => wire,
        }
    }
}

/// What a client reads from and writes to: a read is a datagram, and so is a write, unless they are gathered.
pub struct Wire {
    net: Rc<Net>,
    number: u32,
    inbound: Inbound,
    /// Datagrams that wait to be sent at once, all of one length.
    gathered: Vec<u8>,
    segment: usize,
    gathers: bool,
}

impl Wire {
    /// That of the client of this number.
    pub fn new(net: &Rc<Net>, number: u32) -> Wire {
        let net = net.clone();
        Wire { net, number, inbound: Inbound::default(), gathered: Vec::new(), segment: 0, gathers: false }
    }

    fn flush_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.net.send(self.number, &self.gathered, self.segment);
            self.gathered.clear();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inbound.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if !self.gathers {
            self.net.send(self.number, datagram, datagram.len());
            return Ok(datagram.len());
        }
        let full = self.gathered.len() + datagram.len() > 60_000
            || self.gathered.len() / self.segment.max(1) >= self.net.most_segments();
        if datagram.len() != self.segment || full {
            self.flush_gathered();
            self.segment = datagram.len();
        }
        self.gathered.extend_from_slice(datagram);
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
