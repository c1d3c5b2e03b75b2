//! The yardstick: an echo server on the very OpenSSL that the module links, without Lua and without
//! anything that the open Internet asks for but a cookie (`DTLSv1_listen(3)`).
//!
//! `floor HOST PORT CERT KEY [single|batch|gso|plain]`: one system call for a datagram; or `recvmmsg`, and one call
//! for a datagram sent; or segmentation offload as well, by which datagrams for one peer leave in one call; or no
//! DTLS at all. Any number of them can share a port.

use dtls_bench::inbound::Inbound;
use foreign_types::ForeignTypeRef;
use hmac::{Hmac, KeyInit, Mac};
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslMode, SslOptions, SslStream,
    SslVersion,
};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState, BATCH_SIZE};
use sha2::Sha256;
use socket2::{Domain, Socket, Type};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

extern "C" {
    fn DTLSv1_listen(ssl: *mut openssl_sys::SSL, client: *mut openssl_sys::BIO_ADDR) -> i32;
    fn BIO_ADDR_new() -> *mut openssl_sys::BIO_ADDR;
}

thread_local! {
    /// Whose datagram it is: for the cookie.
    static PEER: Cell<SocketAddr> = const { Cell::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)) };
    static SECRET: Hmac<Sha256> = Hmac::new_from_slice(&[7; 32]).expect("a key");
}

/// One datagram in, any number out.
#[derive(Default)]
struct Wire {
    inbound: Inbound,
    outbound: Vec<u8>,
    /// Where each datagram to be sent ends.
    ends: Vec<usize>,
}

impl Wire {
    fn drain(&mut self, mut send: impl FnMut(&[u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            send(&self.outbound[start..end]);
            start = end;
        }
        self.outbound.clear();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inbound.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outbound.extend_from_slice(datagram);
        self.ends.push(self.outbound.len());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Server {
    context: SslContext,
    peers: HashMap<SocketAddr, SslStream<Wire>>,
    /// What the next stranger is given.
    spare: Option<SslStream<Wire>>,
    client: *mut openssl_sys::BIO_ADDR,
    scratch: Vec<u8>,
}

impl Server {
    fn new(context: SslContext) -> Server {
        // SAFETY: allocates.
        let client = unsafe { BIO_ADDR_new() };
        Server { context, peers: HashMap::new(), spare: None, client, scratch: vec![0; 16_384] }
    }

    fn stranger(&mut self) -> SslStream<Wire> {
        self.spare.take().unwrap_or_else(|| {
            let mut ssl = Ssl::new(&self.context).expect("a session");
            ssl.set_accept_state();
            ssl.set_mtu(1200).expect("an mtu");
            SslStream::new(ssl, Wire::default()).expect("a stream")
        })
    }

    /// Takes a datagram, and gives what is to be sent to `send`.
    fn receive(&mut self, datagram: &[u8], peer: SocketAddr, send: impl FnMut(&[u8])) {
        if let Some(stream) = self.peers.get_mut(&peer) {
            feed(stream, datagram);
            let stays = serve(stream, &mut self.scratch);
            stream.get_mut().drain(send);
            if !stays {
                self.peers.remove(&peer);
            }
            return;
        }
        let mut stream = self.stranger();
        feed(&mut stream, datagram);
        PEER.set(peer);
        // SAFETY: both pointers are live.
        let is_admitted = unsafe { DTLSv1_listen(stream.ssl().as_ptr(), self.client) } == 1;
        let stays = is_admitted && serve(&mut stream, &mut self.scratch);
        stream.get_mut().drain(send);
        if stays {
            self.peers.insert(peer, stream);
        } else if !is_admitted {
            self.spare = Some(stream);
        }
    }
}

fn feed(stream: &mut SslStream<Wire>, datagram: &[u8]) {
    let wire = stream.get_mut();
    wire.inbound.lay(datagram);
}

/// Goes on with the handshake, or echoes. Says whether the session stays.
fn serve(stream: &mut SslStream<Wire>, scratch: &mut [u8]) -> bool {
    if !stream.ssl().is_init_finished() {
        let _ = stream.do_handshake();
    }
    while stream.ssl().is_init_finished() {
        match stream.ssl_read(scratch) {
            Ok(length) => drop(stream.ssl_write(&scratch[..length])),
            Err(error) => return error.code() == ErrorCode::WANT_READ,
        }
    }
    true
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, cert, key, rest @ ..] = &arguments[..] else {
        eprintln!("usage: floor HOST PORT CERT KEY [single|batch|gso|plain]");
        std::process::exit(2);
    };
    let socket = bound(&format!("{host}:{port}"));
    println!("listening on {host} port {}", socket.local_addr().expect("an address").port());
    let server = Server::new(context(cert, key));
    match rest.first().map(String::as_str).unwrap_or("single") {
        "single" => one_by_one(server, &socket),
        "batch" => in_batches(server, &socket, false),
        "gso" => in_batches(server, &socket, true),
        "plain" => plain(&socket),
        other => panic!("there is no way {other:?}"),
    }
}

fn bound(address: &str) -> UdpSocket {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("a port to share");
    socket.bind(&address.into()).expect("bound");
    socket.into()
}

fn context(cert: &str, key: &str) -> SslContext {
    let mut builder = SslContextBuilder::new(SslMethod::dtls_server()).expect("a context");
    builder.set_min_proto_version(Some(SslVersion::DTLS1_2)).expect("DTLS 1.2");
    builder
        .set_options(SslOptions::NO_QUERY_MTU | SslOptions::COOKIE_EXCHANGE | SslOptions::NO_RENEGOTIATION);
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    builder.set_groups_list("X25519:P-256").expect("groups");
    builder.set_certificate_chain_file(cert).expect("a certificate");
    builder.set_private_key_file(key, SslFiletype::PEM).expect("a key");
    builder.set_cookie_generate_cb(|_, cookie| {
        let made = cookie_for_peer();
        cookie[..32].copy_from_slice(&made);
        Ok(32)
    });
    builder.set_cookie_verify_cb(|_, cookie| cookie == cookie_for_peer());
    builder.build()
}

fn cookie_for_peer() -> [u8; 32] {
    let mut mac = SECRET.with(Hmac::clone);
    let peer = PEER.get();
    match peer.ip() {
        IpAddr::V4(address) => mac.update(&address.octets()),
        IpAddr::V6(address) => mac.update(&address.octets()),
    }
    mac.update(&peer.port().to_be_bytes());
    mac.finalize().into_bytes().into()
}

fn one_by_one(mut server: Server, socket: &UdpSocket) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        server.receive(&buffer[..length], peer, |datagram| {
            let _ = socket.send_to(datagram, peer);
        });
    }
}

fn plain(socket: &UdpSocket) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(&buffer[..length], peer);
    }
}

/// Datagrams for one peer that leave together.
struct Flight {
    peer: SocketAddr,
    segment: usize,
    contents: Vec<u8>,
}

fn in_batches(mut server: Server, socket: &UdpSocket, offload: bool) {
    socket.set_nonblocking(true).expect("nonblocking");
    let state = UdpSocketState::new(UdpSockRef::from(socket)).expect("a state");
    let segments = if offload { state.max_gso_segments() } else { 1 };
    let mut buffers = vec![vec![0; 65_536]; BATCH_SIZE];
    let mut flights: Vec<Flight> = Vec::new();
    loop {
        let mut ready =
            libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(socket), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which lives.
        unsafe { libc::poll(&mut ready, 1, -1) };
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: Vec<IoSliceMut> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let Ok(count) = state.recv(UdpSockRef::from(socket), &mut slices, &mut metas) else { continue };
        for (meta, buffer) in metas[..count].iter().zip(&buffers) {
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                server.receive(datagram, meta.addr, |out| gather(&mut flights, meta.addr, out, segments));
            }
        }
        send_all(&state, socket, &mut flights);
    }
}

fn gather(flights: &mut Vec<Flight>, peer: SocketAddr, datagram: &[u8], segments: usize) {
    let joins = |flight: &Flight| {
        flight.peer == peer
            && flight.segment == datagram.len()
            && flight.contents.len() / flight.segment < segments
            && flight.contents.len() + datagram.len() < 60_000
    };
    match flights.iter_mut().rev().find(|flight| flight.peer == peer).filter(|flight| joins(flight)) {
        Some(flight) => flight.contents.extend_from_slice(datagram),
        None => flights.push(Flight { peer, segment: datagram.len(), contents: datagram.to_vec() }),
    }
}

fn send_all(state: &UdpSocketState, socket: &UdpSocket, flights: &mut Vec<Flight>) {
    for flight in flights.drain(..) {
        let transmit = Transmit {
            destination: flight.peer,
            ecn: None,
            contents: &flight.contents,
            segment_size: (flight.contents.len() > flight.segment).then_some(flight.segment),
            src_ip: None,
        };
        let _ = state.try_send(UdpSockRef::from(socket), &transmit);
    }
}
