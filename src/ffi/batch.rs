//! Many datagrams in one system call: recvmmsg(2), sendmmsg(2), and what udp(7) calls segmentation offload.
//!
//! By hand, because the crates that have these calls want more than that: quinn-udp forbids fragmentation on the
//! socket and marks every datagram, and nix loses the size of segments where headers are used twice.

use super::socket::{address_of, write_address, RawAddress};
use libc::{c_int, c_void, iovec, mmsghdr, sockaddr_storage};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// How many messages a call takes at the most.
pub const MOST: usize = 32;

/// The longest message: a datagram, or as many as the kernel hands over as one.
const LONGEST: usize = 65_536;

/// Room for one control message that holds an `int` or less, aligned as `cmsghdr` has to be.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

// SAFETY: arithmetic on a constant.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(size_of::<c_int>() as u32) } as usize;

/// Lets a socket hand over several datagrams of one sender as one message, or not: UDP_GRO in udp(7).
///
/// # Errors
///
/// ENOPROTOOPT before Linux 5.0; EBADF.
pub fn coalesce(socket: RawFd, on: bool) -> io::Result<()> {
    super::socket::set_option(socket, libc::SOL_UDP, libc::UDP_GRO, on.into())
}

/// Has an error that waits in a socket reported as an event of its own beside EPOLLERR (SO_SELECT_ERR_QUEUE in
/// Linux's net/core/datagram.c): libuv stops to watch at an EPOLLERR alone, and luv complains on standard error.
///
/// # Errors
///
/// EBADF.
pub fn tell_of_errors(socket: RawFd) -> io::Result<()> {
    super::socket::set_option(socket, libc::SOL_SOCKET, libc::SO_SELECT_ERR_QUEUE, 1)
}

/// Where a batch of messages is received.
pub struct Inbound {
    bytes: Vec<u8>,
    names: Vec<sockaddr_storage>,
    controls: Vec<Control>,
    headers: Vec<mmsghdr>,
    vectors: Vec<iovec>,
}

/// One message of a batch.
pub struct Received<'a> {
    /// Who sent it; `None` where that is no IP address.
    pub from: Option<SocketAddr>,
    /// What it holds.
    pub bytes: &'a [u8],
    /// The length of each datagram in it, of which the last may be shorter.
    pub segment: usize,
    /// Whether it did not fit.
    pub truncated: bool,
}

impl Inbound {
    /// Takes address space, most of which is never touched.
    pub fn new() -> Inbound {
        // SAFETY: zeros are a valid value of these plain types, whose pointers are null then.
        let (name, header, vector) = unsafe { (zeroed(), zeroed(), zeroed()) };
        Inbound {
            bytes: vec![0; MOST * LONGEST],
            names: vec![name; MOST],
            controls: vec![Control([0; CONTROL]); MOST],
            headers: vec![header; MOST],
            vectors: vec![vector; MOST],
        }
    }

    /// Receives what is there, `most` messages and [`MOST`] at the most, without waiting. Says how many.
    ///
    /// # Errors
    ///
    /// EAGAIN where there is none; what an earlier datagram met with, such as ECONNREFUSED.
    pub fn receive(&mut self, socket: RawFd, most: usize) -> io::Result<usize> {
        let parts = self.bytes.chunks_exact_mut(LONGEST).zip(&mut self.names).zip(&mut self.controls);
        for (((part, name), control), (header, vector)) in
            parts.zip(self.headers.iter_mut().zip(&mut self.vectors))
        {
            *vector = iovec { iov_base: part.as_mut_ptr().cast(), iov_len: LONGEST };
            let header = &mut header.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<sockaddr_storage>() as _;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            header.msg_flags = 0;
        }
        let most = most.min(MOST);
        // SAFETY: every header points to a name, a vector and a control of `self`, each of the length that it
        // says, and every vector to its own part of the bytes. None of them moves during the call.
        let count = unsafe {
            libc::recvmmsg(socket, self.headers.as_mut_ptr(), most as _, libc::MSG_DONTWAIT as _, null_mut())
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// A message of the last batch, whose number must be below what [`receive`](Inbound::receive) said.
    pub fn get(&self, number: usize) -> Received<'_> {
        let header = &self.headers[number];
        let length = (header.msg_len as usize).min(LONGEST);
        let begin = number * LONGEST;
        Received {
            from: address_of(&self.names[number]),
            bytes: &self.bytes[begin..begin + length],
            segment: self.segment(number).filter(|&segment| segment > 0).unwrap_or(length),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }

    /// How many datagrams a message of the last batch holds.
    pub fn count(&self, number: usize) -> usize {
        let length = self.headers[number].msg_len as usize;
        self.segment(number).map_or(1, |segment| length.div_ceil(segment.max(1)).max(1))
    }

    fn segment(&self, number: usize) -> Option<usize> {
        let header = &self.headers[number].msg_hdr;
        // SAFETY: the kernel has filled in the control of this header as far as its length says, and whoever
        // has called `get` with another number finds what it was before, which is as whole.
        unsafe {
            let control = libc::CMSG_FIRSTHDR(header).as_ref()?;
            let is_segment = (control.cmsg_level, control.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
            let size = is_segment.then(|| libc::CMSG_DATA(control).cast::<c_int>().read_unaligned())?;
            usize::try_from(size).ok()
        }
    }
}

/// A message to be sent.
pub struct Outgoing<'a> {
    /// To whom; `None` for the one peer of a connected socket.
    pub to: Option<SocketAddr>,
    /// What it holds.
    pub bytes: &'a [u8],
    /// The length of each datagram in it, of which the last may be shorter; `None` where it is one datagram.
    pub segment: Option<u16>,
}

/// Sends messages in order, [`MOST`] at the most, without waiting. Says how many have been sent: the first so
/// many, and at least one.
///
/// # Errors
///
/// Why the first could not be sent.
pub fn send<'a>(socket: RawFd, messages: impl Iterator<Item = Outgoing<'a>>) -> io::Result<usize> {
    // SAFETY: zeros are a valid value of these plain types.
    let (mut names, mut vectors, mut headers): ([RawAddress; MOST], [iovec; MOST], [mmsghdr; MOST]) =
        unsafe { (zeroed(), zeroed(), zeroed()) };
    let mut controls = [Control([0; CONTROL]); MOST];
    let mut count = 0;
    for (number, message) in messages.take(MOST).enumerate() {
        let header = &mut headers[number].msg_hdr;
        if let Some(to) = &message.to {
            header.msg_namelen = write_address(to, &mut names[number]);
            header.msg_name = std::ptr::from_mut(&mut names[number]).cast();
        }
        // sendmmsg(2) reads it only.
        let base: *mut c_void = message.bytes.as_ptr().cast_mut().cast();
        vectors[number] = iovec { iov_base: base, iov_len: message.bytes.len() };
        header.msg_iov = &mut vectors[number];
        header.msg_iovlen = 1;
        if let Some(segment) = message.segment {
            header.msg_control = controls[number].0.as_mut_ptr().cast();
            // SAFETY: the control has room for one message of that size, and is aligned for it.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
            }
        }
        count = number + 1;
    }
    // SAFETY: the first `count` headers point to names, vectors and controls of this frame, and the vectors to
    // bytes that outlive it.
    let sent = unsafe { libc::sendmmsg(socket, headers.as_mut_ptr(), count as _, libc::MSG_DONTWAIT as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
