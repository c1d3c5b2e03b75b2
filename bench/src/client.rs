//! One DTLS client over a connected socket that does not block.

use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSession, SslStream,
    SslVerifyMode, SslVersion,
};
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read, Write};
use std::net::SocketAddr;

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

/// A socket as OpenSSL's wire: a read is a datagram, and so is a write, unless they are gathered.
pub struct Wire {
    socket: Socket,
    peer: SocketAddr,
    state: UdpSocketState,
    /// Datagrams that wait to be sent at once, all of one length.
    gathered: Vec<u8>,
    segment: usize,
    gathers: bool,
}

impl Wire {
    fn flush_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let transmit = Transmit {
            destination: self.peer,
            ecn: None,
            contents: &self.gathered,
            segment_size: Some(self.segment),
            src_ip: None,
        };
        // What does not fit is lost, as on any network.
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        self.gathered.clear();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        if !self.gathers {
            return match (&self.socket).write(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(datagram.len()),
                other => other,
            };
        }
        let full = self.gathered.len() + datagram.len() > 60_000
            || self.gathered.len() / self.segment.max(1) >= self.state.max_gso_segments();
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

/// A client.
pub struct Client {
    stream: SslStream<Wire>,
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
    /// A client of `server`, which has sent nothing yet.
    pub fn new(context: &SslContext, server: SocketAddr, earlier: Option<&SslSession>) -> io::Result<Client> {
        let socket = Socket::new(Domain::for_address(server), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.connect(&server.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut ssl = Ssl::new(context)?;
        ssl.set_mtu(1200)?;
        ssl.set_connect_state();
        if let Some(session) = earlier {
            // SAFETY: the session was made by this very context.
            unsafe { ssl.set_session(session)? };
        }
        let wire = Wire { socket, peer: server, state, gathered: Vec::new(), segment: 0, gathers: false };
        Ok(Client { stream: SslStream::new(ssl, wire)? })
    }

    /// The socket, to be waited for.
    pub fn socket(&self) -> &Socket {
        &self.stream.get_ref().socket
    }

    /// Goes on with the handshake.
    pub fn shake_hands(&mut self) -> Progress {
        match self.stream.do_handshake() {
            Ok(()) => Progress::Done,
            Err(error) if error.code() == ErrorCode::WANT_READ => Progress::Waits,
            Err(_) => Progress::Failed,
        }
    }

    /// Retransmits, if it is time to.
    pub fn tick(&mut self) {
        use foreign_types::ForeignTypeRef;
        const DTLS_CTRL_HANDLE_TIMEOUT: i32 = 74;
        // SAFETY: the pointer is that of a live SSL, and this control takes no argument.
        unsafe {
            openssl_sys::SSL_ctrl(
                self.stream.ssl().as_ptr(),
                DTLS_CTRL_HANDLE_TIMEOUT,
                0,
                std::ptr::null_mut(),
            )
        };
    }

    /// From now on what is sent is gathered until [`Client::flush`], and leaves in one system call (GSO).
    pub fn gather(&mut self) {
        self.stream.get_mut().gathers = true;
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) -> bool {
        self.stream.ssl_write(message).is_ok()
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) {
        self.stream.get_mut().flush_gathered();
    }

    /// Takes the next message that has come.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<usize> {
        self.stream.ssl_read(buffer).ok()
    }

    /// The session, to be resumed.
    pub fn session(&self) -> Option<SslSession> {
        self.stream.ssl().session().map(ToOwned::to_owned)
    }

    /// Whether it resumes one.
    pub fn resumes(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// Says goodbye.
    pub fn close(mut self) {
        let _ = self.stream.shutdown();
    }
}
