//! What an address gets before it has proved itself: a cookie, and nothing else.
//!
//! # The cookie
//!
//! *Goal* (RFC 6347 section 4.2.1): a hello with a forged source address must cost next to nothing
//! and reach nobody but that address, with no more bytes than it brought. So the server keeps no
//! state and puts what it must recognise into the cookie:
//!
//! ```text
//! cookie = window (1 byte) ‖ HMAC-SHA256(secret, window ‖ address ‖ port ‖ version ‖ random ‖ session id)[..31]
//! ```
//!
//! *The address and port*, so that a cookie seen at one place is worth nothing at another. An
//! IPv4-mapped IPv6 address counts as the IPv4 address it maps.
//!
//! *The hello's fixed fields*, as the RFC asks: without them one proof would serve any number of
//! different hellos from that address. The objection is that a hello forged from a client's own
//! address before its first one draws a cookie which that client's hello cannot use, and OpenSSL
//! clients ignore the HelloVerifyRequest that would mend it. But whoever can forge that hello
//! can as well forge the HelloVerifyRequest itself, with any cookie in it, so binding to the
//! address alone would not protect that client either. (Ours starts afresh when its cookie is
//! refused: see `session.rs`.) The fields bound are those in front of the cookie, which the
//! first fragment holds; the cipher suites may lie in a later one.
//!
//! *The window*, minutes of wall-clock time, because several hosts that share a secret share
//! that clock and no other. The cookie of the window before and of the one after (clocks differ)
//! are accepted: validity is one to two minutes, the length of six retransmissions at least, since
//! a client whose second hello comes too late hangs. The cookie names its window so that each
//! secret costs one HMAC.
//!
//! *The secret* is random and changes hourly, or is given as a list, newest first: the first
//! signs, all are accepted. A predecessor is always kept, for the same hanging client.
//!
//! *Once*: the hello that a cookie came back with makes one session ([`Spent`]). Its copies, the network's,
//! the client's or an attacker's, make none.
//!
//! (DTLS 1.3 asks with a HelloRetryRequest, whose cookie is an extension of the second hello: RFC 9147
//! section 5.1. A client that has answered a HelloVerifyRequest stays below it.)
//!
//! # Cookies of another kind
//!
//! Whoever brings a scheme of their own has the hello read here ([`read_untrusted`]), the answer written
//! ([`challenge`]) and the hello remembered ([`Gate::pass`]), and decides about the cookie alone. So it holds
//! for them as well who is answered at all, from which hello a handshake may go on, that no answer is longer
//! than what it answers, and that a hello makes one session, for two minutes at least.

use crate::config::Refusal;
use crate::discard::Discard;
use crate::hello::{Hello, MESSAGE_HEADER};
use crate::record::{self, DTLS_1_0, HANDSHAKE, HEADER};
use crate::spent::Spent;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// How long a window lasts, in seconds.
const WINDOW: u64 = 60;
/// How many windows a random secret signs for.
const WINDOWS_PER_SECRET: u64 = 60;
/// The length of a cookie, and the most that one of another kind may have. DTLS 1.0 peers, which may read it,
/// take no more than 32.
const COOKIE: usize = 32;
/// What a HelloVerifyRequest holds in front of its cookie: server_version, and the cookie's length.
const VERSION_AND_LENGTH: usize = 2 + 1;
/// The length of the longest HelloVerifyRequest datagram.
const HELLO_VERIFY_REQUEST: usize = HEADER + MESSAGE_HEADER + VERSION_AND_LENGTH + COOKIE;
/// The shortest datagram that reads as a hello: it is longer than the answer, so nothing amplifies.
const LEAST_HELLO: usize = HEADER + MESSAGE_HEADER + 2 + 32 + 1 + 1;
const _: () = assert!(HELLO_VERIFY_REQUEST <= LEAST_HELLO);
/// The least length of a secret that is given: 128 bits.
const LEAST_SECRET: usize = 16;

type Secret = Hmac<Sha256>;

/// What to do with a stranger's datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send this HelloVerifyRequest back and forget the sender.
    Challenge {
        /// The datagram.
        reply: Vec<u8>,
        /// Whether the hello has a cookie, which is not accepted.
        stale: bool,
    },
    /// The sender has returned its cookie: make it a session with this very datagram, if the hello is not
    /// [spent](Gate::spend).
    Admit(Pass),
    /// Do nothing.
    Discard(Discard),
}

/// What a hello with a good cookie is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    digest: u64,
    /// The client's random: no two handshakes have the same.
    pub random: [u8; 32],
}

impl Pass {
    /// How many bytes it is written in.
    const LENGTH: usize = 8 + 32;

    /// Writes it.
    pub fn to_bytes(self) -> [u8; Pass::LENGTH] {
        let mut bytes = [0; Pass::LENGTH];
        bytes[..8].copy_from_slice(&self.digest.to_be_bytes());
        bytes[8..].copy_from_slice(&self.random);
        bytes
    }

    /// Reads what [`Pass::to_bytes`] has written; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Pass> {
        let (digest, random) = bytes.split_at_checked(8)?;
        Some(Pass { digest: u64::from_be_bytes(digest.try_into().ok()?), random: random.try_into().ok()? })
    }
}

/// Issues and checks cookies. Holds secrets, and nothing of any peer but which hellos it has let in.
pub struct Gate {
    /// Newest first; never empty.
    secrets: Vec<Secret>,
    /// The window in which the newest secret was drawn; `None` where secrets were given.
    drawn: Option<u64>,
    spent: Spent,
}

impl Gate {
    /// Makes a gate with random secrets that it changes hourly by itself.
    pub fn random(wall_seconds: u64) -> Gate {
        Gate { secrets: vec![random_secret()], drawn: Some(wall_seconds / WINDOW), spent: Spent::default() }
    }

    /// Makes a gate with given secrets, newest first, so that processes and hosts behind one
    /// address accept each other's cookies.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `cookie_secret` where there is none, or one shorter than 16 bytes.
    pub fn with_secrets(secrets: &[Vec<u8>]) -> Result<Gate, Refusal> {
        Ok(Gate { secrets: read(secrets)?, drawn: None, spent: Spent::default() })
    }

    /// Replaces the secrets by given ones, newest first. Cookies issued under one that stays in the list stay
    /// good, and so do those of the random ones that are replaced: nobody knows them, so nobody could keep
    /// them in the list, and an OpenSSL client whose cookie is refused hangs.
    ///
    /// # Errors
    ///
    /// Those of [`Gate::with_secrets`]; nothing changes then.
    pub fn set_secrets(&mut self, secrets: &[Vec<u8>]) -> Result<(), Refusal> {
        let mut secrets = read(secrets)?;
        if self.drawn.take().is_some() {
            secrets.append(&mut self.secrets);
        }
        self.secrets = secrets;
        Ok(())
    }

    /// Judges a datagram from an address that has no session.
    ///
    /// `wall_seconds` is Unix time. Allocates only for an answer, and answers with no more bytes
    /// than it was given, once.
    pub fn examine_untrusted(
        &mut self,
        datagram: &[u8],
        address: IpAddr,
        port: u16,
        wall_seconds: u64,
    ) -> Verdict {
        let address = address.to_canonical();
        let hello = match read_untrusted(datagram, address, port) {
            Ok(hello) => hello,
            Err(cause) => return Verdict::Discard(cause),
        };
        let window = wall_seconds / WINDOW;
        self.rotate(window);
        if hello.returns_cookie() && self.accepts(&hello, address, port, window) {
            if let Some(pass) = self.pass(hello.fixed, address, port) {
                return Verdict::Admit(pass);
            }
        }
        let cookie = cookie(&self.secrets[0], &hello, address, port, window);
        let reply = hello_verify_request(hello.record_sequence, &cookie);
        Verdict::Challenge { reply, stale: !hello.cookie.is_empty() }
    }

    /// What a hello with these [fixed fields](Hello::fixed) is known by; `None` for what is none of them.
    pub fn pass(&self, fixed: &[u8], address: IpAddr, port: u16) -> Option<Pass> {
        let random = fixed.get(2..34)?.try_into().ok()?;
        Some(Pass { digest: self.spent.digest((address.to_canonical(), port, fixed)), random })
    }

    /// Notes that a hello has become a session. Says whether it is the first time: a copy of it makes none.
    pub fn spend(&mut self, pass: Pass, wall_seconds: u64) -> bool {
        self.spent.spend(pass.digest, wall_seconds / WINDOW)
    }

    /// Whether a hello has become a session before.
    pub fn is_spent(&mut self, pass: Pass, wall_seconds: u64) -> bool {
        self.spent.holds(pass.digest, wall_seconds / WINDOW)
    }

    fn accepts(&self, hello: &Hello, address: IpAddr, port: u16, now: u64) -> bool {
        let Some(&named) = hello.cookie.first() else { return false };
        let neighbours = [now, now.wrapping_sub(1), now.wrapping_add(1)];
        let Some(window) = neighbours.into_iter().find(|&w| w as u8 == named) else { return false };
        self.secrets.iter().any(|secret| {
            let genuine = cookie(secret, hello, address, port, window);
            bool::from(genuine[..].ct_eq(hello.cookie))
        })
    }

    fn rotate(&mut self, window: u64) {
        // Where the clock was ahead, the hour begins now.
        self.drawn = self.drawn.map(|drawn| drawn.min(window));
        if self.drawn.is_some_and(|drawn| window.saturating_sub(drawn) >= WINDOWS_PER_SECRET) {
            self.secrets.insert(0, random_secret());
            self.secrets.truncate(2);
            self.drawn = Some(window);
        }
    }
}

fn read(secrets: &[Vec<u8>]) -> Result<Vec<Secret>, Refusal> {
    if secrets.is_empty() {
        return Err(Refusal::new("cookie_secret", "must hold at least one secret"));
    }
    if let Some(short) = secrets.iter().find(|s| s.len() < LEAST_SECRET) {
        let sentence = format!("must be at least {LEAST_SECRET} bytes long, got {}", short.len());
        return Err(Refusal::new("cookie_secret", sentence));
    }
    Ok(secrets.iter().map(|s| keyed(s)).collect())
}

/// Reads the hello of a stranger whom an answer would reach.
///
/// # Errors
///
/// Why nothing is done about the datagram.
pub fn read_untrusted(datagram: &[u8], address: IpAddr, port: u16) -> Result<Hello<'_>, Discard> {
    if !is_answerable(address, port) {
        return Err(Discard::Address);
    }
    Hello::read_untrusted(datagram)
}

/// Makes the answer to the hello with this record number, with a cookie of any kind. `None` where it has not 1
/// to 32 bytes: the answer might be longer than the hello, or the client could not tell it from none.
pub fn challenge(record_sequence: u64, cookie: &[u8]) -> Option<Vec<u8>> {
    (1..=COOKIE).contains(&cookie.len()).then(|| hello_verify_request(record_sequence, cookie))
}

/// Whether one peer can be at that address.
pub fn is_answerable(address: IpAddr, port: u16) -> bool {
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    port != 0 && !address.is_multicast() && !address.is_unspecified() && !is_broadcast
}

fn keyed(secret: &[u8]) -> Secret {
    // HMAC takes a key of any length, so this cannot fail.
    Secret::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes any key"))
}

fn random_secret() -> Secret {
    let mut bytes = [0; 32];
    crate::ffi::random_bytes(&mut bytes);
    keyed(&bytes)
}

fn cookie(secret: &Secret, hello: &Hello, address: IpAddr, port: u16, window: u64) -> [u8; COOKIE] {
    let mut mac = secret.clone();
    mac.update(&window.to_be_bytes());
    match address {
        IpAddr::V4(v4) => mac.update(&v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => mac.update(&v6.octets()),
    }
    mac.update(&port.to_be_bytes());
    mac.update(hello.fixed);
    let mut cookie: [u8; COOKIE] = mac.finalize().into_bytes().into();
    cookie[0] = window as u8;
    cookie
}

/// Builds the answer. It carries version 1.0, as the RFC has it, and the hello's own record number
/// (section 4.2.1); its message_seq is always 0.
fn hello_verify_request(record_sequence: u64, cookie: &[u8]) -> Vec<u8> {
    const TYPE: u8 = 3;
    let length = (VERSION_AND_LENGTH + cookie.len()) as u8;
    let mut body = Vec::with_capacity(HELLO_VERIFY_REQUEST - HEADER);
    body.extend_from_slice(&[TYPE, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length]);
    body.extend_from_slice(&DTLS_1_0);
    body.push(cookie.len() as u8);
    body.extend_from_slice(cookie);
    record::plaintext(HANDSHAKE, DTLS_1_0, record_sequence, &body)
}

#[cfg(test)]
mod tests;
