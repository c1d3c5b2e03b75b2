//! `dimpl-echo HOST PORT CERT KEY`: an echo server on dimpl, one system call a datagram.

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often sessions are told the time.
const TICK: Duration = Duration::from_millis(100);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, cert, key] = &arguments[..] else { panic!("usage: dimpl-echo HOST PORT CERT KEY") };
    let certificate = DtlsCertificate { certificate: der(cert), private_key: der(key) };
    let config =
        Arc::new(Config::builder().require_client_certificate(false).build().expect("a configuration"));
    let socket = UdpSocket::bind(format!("{host}:{port}")).expect("bound");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    println!("listening on {host} port {}", socket.local_addr().expect("an address").port());
    let mut server = Server { socket, sessions: HashMap::new(), out: vec![0; 20_000] };
    let mut buffer = vec![0; 65_536];
    let mut ticked = Instant::now();
    loop {
        let received = server.socket.recv_from(&mut buffer);
        let now = Instant::now();
        if let Ok((length, peer)) = received {
            let fresh = || Session { dtls: Dtls::new_12(config.clone(), certificate.clone(), now), due: now };
            let mut session = server.sessions.remove(&peer).unwrap_or_else(fresh);
            let is_fine = session.dtls.handle_timeout(now).is_ok()
                && session.dtls.handle_packet(&buffer[..length]).is_ok();
            if is_fine && server.drain(&mut session, peer) {
                server.sessions.insert(peer, session);
            }
        }
        if ticked.elapsed() > TICK {
            ticked = now;
            let due = server.sessions.extract_if(|_, session| session.due <= now);
            for (peer, mut session) in due.collect::<Vec<_>>() {
                if session.dtls.handle_timeout(now).is_ok() && server.drain(&mut session, peer) {
                    server.sessions.insert(peer, session);
                }
            }
        }
    }
}

fn der(file: &str) -> Vec<u8> {
    let text = std::fs::read(file).expect("a file");
    pem::parse(text).expect("PEM").into_contents()
}

struct Session {
    dtls: Dtls,
    due: Instant,
}

struct Server {
    socket: UdpSocket,
    sessions: HashMap<SocketAddr, Session>,
    out: Vec<u8>,
}

impl Server {
    /// Does what a session wants done. Says whether it goes on.
    fn drain(&mut self, session: &mut Session, peer: SocketAddr) -> bool {
        let mut goes_on = true;
        loop {
            let mut message = None;
            match session.dtls.poll_output(&mut self.out) {
                Output::Packet(datagram) => {
                    let _ = self.socket.send_to(datagram, peer);
                }
                Output::ApplicationData(bytes) => message = Some(bytes.to_vec()),
                Output::BufferTooSmall { needed } => self.out.resize(needed, 0),
                Output::CloseNotify => goes_on = false,
                Output::Timeout(at) => {
                    session.due = at;
                    return goes_on;
                }
                _ => {}
            }
            if let Some(message) = message {
                goes_on &= session.dtls.send_application_data(&message).is_ok();
            }
        }
    }
}
