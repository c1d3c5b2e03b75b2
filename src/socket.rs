//! UDP sockets that libuv has no words for: several on one port, and bound ones that hear but one peer.
//!
//! They are made here, handed over to the event loop as descriptors, and forgotten. The core holds none.
//!
//! # Sharing a port
//!
//! It takes SO_REUSEPORT on all sockets of the port, and never SO_REUSEADDR. On Linux the two differ in who
//! may come: with SO_REUSEADDR on both sides *anybody's* socket may be bound to a port that is in use, and the
//! newest gets all that arrives; with SO_REUSEPORT alone it must be the same user's. libuv sets SO_REUSEADDR on
//! every descriptor that it is given, so [`keep_to_user`] takes it off again. (A program that tries all the time
//! might come in the moment between. It can keep datagrams from us, and read nothing.)
//!
//! # Descriptors
//!
//! A socket for each peer means that whoever returns a cookie costs the process a descriptor. A program that
//! cannot open a file any more is worse off than a peer that shares a socket, so some are left to others.

use crate::ffi::socket as ffi;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Whether this system divides what arrives at a port among the sockets that share it.
pub const SHARES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// What a socket is to be.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Where it is bound.
    pub local: SocketAddr,
    /// The one peer that it hears; `None` for all.
    pub peer: Option<SocketAddr>,
    /// Whether others may be bound to the same port.
    pub shared: bool,
    /// Whether `::` stands for no IPv4 address.
    pub ipv6_only: bool,
    /// How many routers its datagrams may pass.
    pub ttl: Option<u8>,
    /// The size of its receive buffer in bytes.
    pub recv_buffer_size: Option<u32>,
    /// The size of its send buffer in bytes.
    pub send_buffer_size: Option<u32>,
}

/// Reads an IP address, which may have a scope: `fe80::1%eth0`, `fe80::1%2`.
pub fn read_address(ip: &str, port: u16) -> Option<SocketAddr> {
    let Some((ip, scope)) = ip.split_once('%') else {
        return Some(SocketAddr::new(ip.parse().ok()?, port));
    };
    let scope = scope.parse().ok().or_else(|| ffi::interface_index(scope))?;
    Some(SocketAddrV6::new(ip.parse().ok()?, port, 0, scope).into())
}

/// Writes an IP address as libuv does: as the RFC 5952 has it, but for the IPv6 addresses that hold an IPv4
/// address in their last four bytes and nothing else.
pub fn write_ip(ip: IpAddr) -> String {
    match ip {
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => v6.to_string(),
            [0, 0, 0, 0, 0, 0, high, low] => {
                format!("::{}", Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            _ => v6.to_string(),
        },
        IpAddr::V4(v4) => v4.to_string(),
    }
}

/// Makes a socket, and binds it; connects it, too, where there is a peer. Whatever fails, nothing stays open.
///
/// # Errors
///
/// The system's. ENOTSUP where it shares no ports; EMFILE for a peer's socket where few descriptors are left.
pub fn open(terms: &Terms) -> io::Result<OwnedFd> {
    let socket = ffi::udp_socket(match terms.local {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    })?;
    let most = ffi::most_descriptors();
    if terms.peer.is_some() && socket.as_raw_fd() as u64 >= most - reserve(most) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    let set = |level, option, value| ffi::set_option(socket.as_raw_fd(), level, option, value);
    if terms.shared {
        if !SHARES {
            return Err(io::Error::from_raw_os_error(libc::ENOTSUP));
        }
        set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    let is_dual = terms.local.is_ipv6() && !terms.ipv6_only;
    if terms.ipv6_only && terms.local.is_ipv6() {
        set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    } else if is_dual {
        // Where the system has no dual stack, IPv6 it is.
        let _ = set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0);
    }
    if let Some(ttl) = terms.ttl {
        if terms.local.is_ipv6() {
            set(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, ttl.into())?;
        }
        // IPv4 datagrams of a dual-stack socket have a limit of their own; only Linux lets it be set.
        if terms.local.is_ipv4() || (is_dual && cfg!(any(target_os = "linux", target_os = "android"))) {
            set(libc::IPPROTO_IP, libc::IP_TTL, ttl.into())?;
        }
    }
    for (option, size) in
        [(libc::SO_RCVBUF, terms.recv_buffer_size), (libc::SO_SNDBUF, terms.send_buffer_size)]
    {
        if let Some(size) = size {
            set(libc::SOL_SOCKET, option, size.try_into().unwrap_or(i32::MAX))?;
        }
    }
    ffi::bind(&socket, &terms.local)?;
    if let Some(peer) = &terms.peer {
        ffi::connect(&socket, peer)?;
    }
    Ok(socket)
}

/// How many descriptors the sockets of peers leave to others.
fn reserve(most: u64) -> u64 {
    (most / 16).max(16).min(most)
}

/// Keeps other users' sockets off the port of one that libuv was given.
///
/// # Errors
///
/// EBADF where it is none.
pub fn keep_to_user(socket: RawFd) -> io::Result<()> {
    // libuv sets what lets a second socket in, and on BSDs that is SO_REUSEPORT.
    let reuse = if SHARES { libc::SO_REUSEADDR } else { libc::SO_REUSEPORT };
    ffi::set_option(socket, libc::SOL_SOCKET, reuse, 0)
}

/// Takes the next datagram out of a socket's queue: `None` where there is none. An error that the socket
/// reports is about a datagram sent earlier, and is passed over.
pub fn take(socket: RawFd) -> Option<(Vec<u8>, IpAddr, u16)> {
    let mut buffer = vec![0; 65536];
    // Errors wait apart from datagrams, one at a time.
    for _ in 0..8 {
        match ffi::receive(socket, &mut buffer) {
            Ok((length, from)) => {
                buffer.truncate(length);
                return Some((buffer, from.ip(), from.port()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {}
        }
    }
    None
}

/// Closes a socket that was made here and that nobody took.
pub fn discard(socket: RawFd) {
    ffi::close(socket);
}

#[cfg(test)]
mod tests;
