//! DTLS for Luvit: the native core of the Lua module `dtls`.
//!
//! ```text
//!  in    UDP ───▶ udp.lua ──▶ arrival.lua ───┬─ known peer ─▶ Session ─▶ OpenSSL
//!        timer ─▶ endpoint.lua (peer table)  └─ stranger ───▶ Gate (cookie; keeps nothing)
//!        user ───▶ session.lua ─────────────────────────────▶ Session
//!                                                               │ outputs, drained to the last
//!  out   UDP  ◀── udp.lua ◀── drain.lua ◀── transmit ───────────┤
//!        user ◀── session.lua ◀── drain.lua ◀── connected, message, closed, question
//!        timer ◀─ endpoint.lua ◀── timeout (always the last) ───┘
//!
//!        Lua: sockets, timers, the table of peers, names.   Rust: no socket of its own, no timer, no Lua value.
//!
//!  On Linux a batch of datagrams is read and written at a time, beside udp.lua, and two ways are shorter:
//!
//!  in    UDP ─▶ batch.lua ─▶ Transport ──┬─ known peer, open ─▶ Session ─▶ message ─▶ drain.lua ─▶ user
//!                                        ├─ hello without a cookie ─▶ Gate ─▶ Transport
//!                                        └─ all else ─▶ arrival.lua, as above
//!  out   user ─▶ session.lua ─▶ Link ─▶ Session (seals) ─▶ Transport ─▶ UDP
//! ```
//!
//! # The four laws
//!
//! 1. **Rust never calls Lua.** It holds no Lua value and no user code runs while it works, so no
//!    call can re-enter it, no coroutine can yield through it and no Lua error can unwind it. What
//!    is the user's to decide is a [`Question`], and the session waits for its answer.
//! 2. **Mutate, then drain.** After `receive`, `close`, `answer` or `expire` the endpoint drains
//!    [`Output`]s until [`Output::Timeout`]. User handlers run during the drain and may call
//!    anything; a nested drain returns at once and the outer one finishes the work. (`send` is the
//!    short cut: it changes nothing but a sequence number, and returns its one datagram. So is a lone
//!    message that a transport hands over: it is drained with the call that has brought it.)
//! 3. **A stranger costs nothing.** Until an address has returned its cookie nothing is allocated
//!    for it, nothing is raised, nothing is logged above debug. Bad datagrams are dropped and
//!    counted by cause.
//! 4. **Only the peer can end a session.** No unauthenticated datagram, whatever its bytes, ends or
//!    stalls an established session, and junk ends no handshake except by its deadline.
//!
//! Functions whose bytes a stranger chose, and nobody has authenticated yet, end in `_untrusted`.
//!
//! # The way of a datagram
//!
//! **In.** On Linux `Batch:_read` (batch.lua) has a [`transport`] read a batch
//! ([`receive`](transport::Transport::receive)) and take up each datagram
//! ([`take_untrusted`](transport::Transport::take_untrusted)): it hands an open peer's to the session, lets the
//! gate answer strangers' hellos, and leaves all else to `arrival.receive` (arrival.lua). That gets everything
//! from `Udp:_receive` (udp.lua), which reads elsewhere, and on Linux a socket that is the user's, is one
//! peer's, or has datagrams waiting in libuv's queue.
//!
//! Either way strangers, and ClientHellos whoever sends them, pass [`Gate::examine_untrusted`]. The rest goes to
//! [`Session::receive_untrusted`], which splits it into records ([`record`]), lets the [`screen`] choose what
//! OpenSSL may see and in which order ([`reassembly`]), hands that to the [`engine`], which reads one record at
//! a time ([`datagram_bio`]), and queues what comes of it ([`output`]). The user is told by `drain.run`
//! (drain.lua), or of a batch's lone message by `drain.message`. What no session at its address takes may be of
//! a peer that has moved: sessions elsewhere, found by its [`trail`], try it
//! ([`Session::receive_stray_untrusted`]).
//!
//! **Out.** `Session:send` (session.lua) calls [`post`](link::Link::post) (link/route.rs): [`Session::send`]
//! seals the message, and the transport gathers the datagram until the batch has been told of
//! ([`send_along`](transport::Transport::send_along)), or sends it at once
//! ([`send_at_once`](transport::Transport::send_at_once)). A session that is traced, shares its address with
//! another, or has a socket of its own or the user's is sealed likewise and goes by `drain.sendTo` (drain.lua)
//! and `Udp:send` (udp.lua), as everything does elsewhere; that gives the datagram to the socket's transport
//! where there is one (`Batch:send`), else to libuv. What is not the user's (handshakes, alerts,
//! retransmissions) is an [`Output::Transmit`], which `drain.run` sends likewise.

pub mod alpn;
pub mod certificate;
pub mod config;
pub mod context;
pub mod crl;
pub mod datagram_bio;
pub mod desk;
pub mod discard;
pub mod engine;
pub mod error;
pub mod established;
pub mod fingerprint;
pub mod gate;
pub mod hello;
pub mod identity;
pub mod judge;
pub mod link;
pub mod ocsp;
pub mod output;
pub mod psk;
pub mod question;
pub mod raw_key;
pub mod reassembly;
pub mod record;
pub mod resumption;
pub mod retired;
pub mod screen;
pub mod session;
pub mod shape;
pub mod socket;
pub mod spent;
pub mod srtp;
pub mod suites;
pub mod ticket;
pub mod trace;
pub mod trail;
#[cfg(batches)]
pub mod transport;
pub mod trust;

mod ffi;
#[cfg(any(feature = "luajit", feature = "lua51"))]
mod lua;

pub use config::{Config, Refusal};
pub use context::Context;
pub use discard::Discard;
pub use error::{Error, Name};
pub use established::Established;
pub use gate::{Gate, Pass, Verdict};
pub use output::{Output, Reason};
pub use question::{Answer, Question};
pub use session::{Counts, Deadlines, Session, Terms, Totals};
pub use ticket::TicketKeys;

/// The OpenSSL this module runs on, as it names itself: `OpenSSL 3.6.3 9 Jun 2026`. Sees that it is ready.
pub fn openssl_version() -> &'static str {
    ffi::init();
    openssl::version::version()
}

/// Gives memory that is free back to the system, where the C library does not by itself.
pub fn trim_heap() {
    ffi::heap::trim();
}

/// How many bytes OpenSSL has in use that are not in the C library's heap.
pub fn bytes_in_blocks() -> usize {
    ffi::blocks::in_use()
}
