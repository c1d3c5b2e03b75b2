//! The system calls of UDP sockets that libuv does not make for us. A descriptor is a number here: a call with
//! one that is not open fails with EBADF, and harms nothing.

use libc::{c_int, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, socklen_t};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

fn outcome(returned: c_int) -> io::Result<c_int> {
    if returned == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// Makes a UDP socket of a family: no other program inherits it, and no call on it waits. socket(2).
///
/// # Errors
///
/// The system's: EMFILE, ENFILE, EAFNOSUPPORT, ENOBUFS, …
pub fn udp_socket(family: c_int) -> io::Result<OwnedFd> {
    #[cfg(not(target_vendor = "apple"))]
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[cfg(target_vendor = "apple")]
    let kind = libc::SOCK_DGRAM;
    // SAFETY: takes numbers alone.
    let made = outcome(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the descriptor is new, and nobody else's.
    let made = unsafe { OwnedFd::from_raw_fd(made) };
    #[cfg(target_vendor = "apple")]
    for (command, flag) in [(libc::F_SETFD, libc::FD_CLOEXEC), (libc::F_SETFL, libc::O_NONBLOCK)] {
        // SAFETY: takes numbers alone.
        outcome(unsafe { libc::fcntl(made.as_raw_fd(), command, flag) })?;
    }
    Ok(made)
}

/// Sets an option whose value is an `int`. setsockopt(2).
///
/// # Errors
///
/// The system's: EINVAL, ENOPROTOOPT, EBADF, …
pub fn set_option(socket: RawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: the value is alive and has that length.
    outcome(unsafe { libc::setsockopt(socket, level, option, std::ptr::from_ref(&value).cast(), length) })?;
    Ok(())
}

/// Gives a socket its own address. bind(2).
///
/// # Errors
///
/// The system's: EADDRINUSE, EADDRNOTAVAIL, EACCES, …
pub fn bind(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    // SAFETY: `with_raw` passes an address that is alive and has that length.
    with_raw(address, |raw, length| outcome(unsafe { libc::bind(socket.as_raw_fd(), raw, length) }))?;
    Ok(())
}

/// Makes a socket hear nobody but one peer from now on. connect(2).
///
/// # Errors
///
/// The system's: ENETUNREACH, EINVAL, EADDRNOTAVAIL, …
pub fn connect(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    // SAFETY: `with_raw` passes an address that is alive and has that length.
    with_raw(address, |raw, length| outcome(unsafe { libc::connect(socket.as_raw_fd(), raw, length) }))?;
    Ok(())
}

/// Takes the next datagram out of a socket's queue, without waiting for one: its length and who sent it.
/// recvfrom(2).
///
/// # Errors
///
/// EAGAIN where the queue is empty; what an earlier datagram met with, such as ECONNREFUSED.
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    // SAFETY: an address of zeros is a valid value of that plain type.
    let mut from: sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    // SAFETY: the buffer and the address are alive and have these lengths.
    let received = unsafe {
        libc::recvfrom(
            socket,
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            std::ptr::from_mut(&mut from).cast(),
            &mut length,
        )
    };
    if received < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((received as usize, address_of(&from).ok_or(io::ErrorKind::Unsupported)?))
}

/// Sends one datagram, without waiting: to an address, or to the one peer of a connected socket. sendto(2).
///
/// # Errors
///
/// EAGAIN where the socket's buffer is full; what the system says.
#[cfg(batches)]
pub fn send(socket: RawFd, to: Option<&SocketAddr>, datagram: &[u8]) -> io::Result<()> {
    let bytes = datagram.as_ptr().cast();
    let call = |raw, length| {
        // SAFETY: the datagram is alive and has that length, and so does the address, where there is one.
        let sent = unsafe { libc::sendto(socket, bytes, datagram.len(), libc::MSG_DONTWAIT, raw, length) };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    let send = || match to {
        Some(address) => with_raw(address, call),
        None => call(std::ptr::null(), 0),
    };
    // That is about an earlier datagram. This one has not been tried.
    let is_old = |error: &io::Error| error.raw_os_error() == Some(libc::ECONNREFUSED);
    send().or_else(|error| if is_old(&error) { send() } else { Err(error) })
}

/// Closes a descriptor. close(2); what it could complain of is nobody's to mend.
pub fn close(socket: RawFd) {
    // SAFETY: takes a number alone.
    unsafe { libc::close(socket) };
}

/// The number that IPv6 scopes know a network interface by. if_nametoindex(3).
pub fn interface_index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is alive and ends in a NUL.
    Some(unsafe { libc::if_nametoindex(name.as_ptr()) }).filter(|&index| index != 0)
}

/// How many descriptors this process may have. getrlimit(2).
// Some systems count them with a sign.
#[allow(clippy::unnecessary_cast)]
pub fn most_descriptors() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in a structure that is alive.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } == 0 {
        limit.rlim_cur as u64
    } else {
        u64::MAX
    }
}

/// Room for an address of either family.
#[repr(C)]
pub union RawAddress {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

/// Writes an address as the system wants it. Returns its length.
pub fn write_address(address: &SocketAddr, raw: &mut RawAddress) -> socklen_t {
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: zeros are a valid value of that plain type.
            let mut made: sockaddr_in = unsafe { zeroed() };
            made.sin_family = libc::AF_INET as _;
            made.sin_port = v4.port().to_be();
            made.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            raw.v4 = made;
            size_of::<sockaddr_in>() as socklen_t
        }
        SocketAddr::V6(v6) => {
            // SAFETY: zeros are a valid value of that plain type.
            let mut made: sockaddr_in6 = unsafe { zeroed() };
            made.sin6_family = libc::AF_INET6 as _;
            made.sin6_port = v6.port().to_be();
            made.sin6_addr.s6_addr = v6.ip().octets();
            made.sin6_scope_id = v6.scope_id();
            raw.v6 = made;
            size_of::<sockaddr_in6>() as socklen_t
        }
    }
}

fn with_raw<T>(address: &SocketAddr, call: impl FnOnce(*const sockaddr, socklen_t) -> T) -> T {
    // SAFETY: zeros are a valid value of either plain type.
    let mut raw: RawAddress = unsafe { zeroed() };
    let length = write_address(address, &mut raw);
    call(std::ptr::from_ref(&raw).cast(), length)
}

/// Reads an address of the system's; `None` where it is of another family.
pub fn address_of(raw: &sockaddr_storage) -> Option<SocketAddr> {
    let raw = std::ptr::from_ref(raw);
    // SAFETY: the storage is aligned for every kind of address and large enough; its family says which it holds.
    unsafe {
        match c_int::from((*raw).ss_family) {
            libc::AF_INET => {
                let v4 = *raw.cast::<sockaddr_in>();
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some((ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = *raw.cast::<sockaddr_in6>();
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}
