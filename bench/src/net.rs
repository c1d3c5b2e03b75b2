//! The clients' side of the network: one socket, and an address of its own for every client.
//!
//! All of 127.0.0.0/8 is this host, so one socket can speak from as many addresses as there are clients. It takes
//! no descriptor and no entry in the system's socket tables for each: with a socket a client, what a server pays
//! for looking up the clients' sockets, which elsewhere are on other machines, would count as its own.

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState, BATCH_SIZE};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// The address of client 0.
const FIRST: u32 = u32::from_be_bytes([127, 1, 0, 0]);
/// How many clients there can be before addresses are used again.
const ADDRESSES: u32 = 1 << 23;
/// Room for what is waiting to be read.
const BUFFER: usize = 4 << 20;

/// The socket of all clients, which speaks to one server.
pub struct Net {
    socket: Socket,
    state: UdpSocketState,
    server: SocketAddr,
}

impl Net {
    /// A socket to speak to `server` from.
    pub fn new(server: SocketAddr) -> io::Result<Net> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Net { socket, state, server })
    }

    /// Sends a datagram of that client's, or several of one length at once (GSO).
    pub fn send(&self, number: u32, contents: &[u8], segment: usize) {
        let source = Ipv4Addr::from(FIRST + number % ADDRESSES);
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents,
            segment_size: (contents.len() > segment).then_some(segment),
            src_ip: Some(IpAddr::V4(source)),
        };
        // What does not fit is lost, as on any network.
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
    }

    /// How many datagrams of one length leave in one call.
    pub fn most_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// Datagrams that have come in one call.
pub struct Inbox {
    buffers: Vec<Vec<u8>>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
    /// How long it looks for datagrams without sleeping: a load that sleeps has to be woken, and it is the server
    /// who pays for that.
    pub spin: Duration,
}

impl Default for Inbox {
    fn default() -> Inbox {
        let buffers = vec![vec![0; 65_536]; BATCH_SIZE];
        Inbox {
            buffers,
            metas: [RecvMeta::default(); BATCH_SIZE],
            count: 0,
            spin: Duration::from_micros(100),
        }
    }
}

impl Inbox {
    /// Takes what has come, and waits for it no longer than `limit`.
    pub fn fill(&mut self, net: &Net, limit: Duration) {
        let begin = Instant::now();
        let mut slices: Vec<IoSliceMut> =
            self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        self.count = loop {
            if let Ok(count) = net.state.recv(UdpSockRef::from(&net.socket), &mut slices, &mut self.metas) {
                break count;
            }
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                break 0;
            }
            if begin.elapsed() > self.spin {
                wait_readable(&net.socket, left);
            }
        }
    }

    /// The datagrams, each with the number of the client that it is for.
    pub fn datagrams(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.metas[..self.count].iter().zip(&self.buffers).flat_map(|(meta, buffer)| {
            let number = match meta.dst_ip {
                Some(IpAddr::V4(address)) => u32::from(address).wrapping_sub(FIRST),
                _ => u32::MAX,
            };
            // Several at once (GRO), where a server has sent them at once.
            buffer[..meta.len].chunks(meta.stride.max(1)).map(move |datagram| (number, datagram))
        })
    }
}

fn wait_readable(socket: &Socket, limit: Duration) {
    let mut ready = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, which lives.
    unsafe { libc::poll(&mut ready, 1, limit.as_millis() as i32 + 1) };
}
