//! The keys of session tickets (RFC 5077): a server seals what it knows of a session and leaves it to
//! the client to keep, so that resuming costs the server no memory.
//!
//! Whoever has the key of a ticket reads the master secret in it, and with that everything that was
//! ever said in the session: tickets take forward secrecy back for as long as their key exists. So
//! keys nobody has given are random and replaced before long; given ones are for their owner to replace.

use crate::config::Refusal;
use crate::ffi;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The least length of a secret that is given: the strength of the keys that are derived from it.
const LEAST_SECRET: usize = 32;

/// What a ticket begins with, to tell its key by.
pub type KeyName = [u8; 16];

/// One key of the ring: AES-256-CBC and HMAC-SHA256, encrypt-then-MAC, as RFC 5077 section 4 has it.
#[derive(Clone)]
pub struct TicketKey {
    /// Stands in front of every ticket, in plaintext.
    pub name: KeyName,
    /// Of AES-256-CBC.
    pub cipher: Zeroizing<[u8; 32]>,
    /// Of HMAC-SHA256.
    pub mac: Zeroizing<[u8; 32]>,
}

/// A ring of keys, newest first: the first seals, all open. A ticket that another than the first has
/// opened is replaced. Clones are the same ring; an endpoint shares it with its sessions.
#[derive(Clone)]
pub struct TicketKeys(Arc<Mutex<Ring>>);

struct Ring {
    /// Never empty.
    keys: Vec<TicketKey>,
    /// Where the keys are random.
    rotation: Option<Rotation>,
}

/// When random keys are replaced, in seconds on the wall clock, as the tickets' own lifetime.
struct Rotation {
    /// When the newest was drawn.
    drawn: u64,
    /// How long it seals. It opens for as long again: a ticket lives no longer than that.
    period: u64,
}

impl TicketKeys {
    /// Makes a ring of random keys for tickets that are valid for so many seconds. It replaces them by
    /// itself when it is used.
    pub fn random(lifetime_s: u64) -> TicketKeys {
        let rotation = Rotation { drawn: ffi::wall_seconds(), period: lifetime_s.max(1) };
        TicketKeys::of(Ring { keys: vec![TicketKey::random()], rotation: Some(rotation) })
    }

    /// Makes a ring of given secrets, newest first, for tickets that outlive this process or that
    /// several share.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `ticket_keys` where there is none, or one shorter than 32 bytes.
    pub fn with_secrets(secrets: &[Vec<u8>]) -> Result<TicketKeys, Refusal> {
        Ok(TicketKeys::of(Ring { keys: derive_all(secrets)?, rotation: None }))
    }

    /// Puts other secrets into the ring, for all who share it.
    ///
    /// # Errors
    ///
    /// As [`with_secrets`](TicketKeys::with_secrets); the ring stays as it was.
    pub fn set_secrets(&self, secrets: &[Vec<u8>]) -> Result<(), Refusal> {
        let keys = derive_all(secrets)?;
        *self.ring() = Ring { keys, rotation: None };
        Ok(())
    }

    /// The key that seals now.
    pub fn to_seal(&self) -> TicketKey {
        let mut ring = self.ring();
        ring.rotate(ffi::wall_seconds());
        ring.keys[0].clone()
    }

    /// The key of that name, and whether it is the one that seals now.
    pub fn to_open(&self, name: &[u8]) -> Option<(TicketKey, bool)> {
        let mut ring = self.ring();
        ring.rotate(ffi::wall_seconds());
        let index = ring.keys.iter().position(|key| key.name == name)?;
        Some((ring.keys[index].clone(), index == 0))
    }

    fn of(ring: Ring) -> TicketKeys {
        TicketKeys(Arc::new(Mutex::new(ring)))
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKeys(…)")
    }
}

impl Ring {
    fn rotate(&mut self, now: u64) {
        let Some(Rotation { drawn, period }) = &mut self.rotation else { return };
        let age = now.saturating_sub(*drawn);
        if age < *period {
            return;
        }
        // After two periods the tickets of the last key have expired as well.
        self.keys.truncate(usize::from(age < 2 * *period));
        self.keys.insert(0, TicketKey::random());
        *drawn = now;
    }
}

impl TicketKey {
    fn random() -> TicketKey {
        let mut secret = Zeroizing::new([0; LEAST_SECRET]);
        ffi::random_bytes(&mut *secret);
        TicketKey::derive(&*secret)
    }

    /// Derives the three parts, each under a label of its own, as HKDF-Expand does (RFC 5869 section 2.3).
    fn derive(secret: &[u8]) -> TicketKey {
        let part = |label: &[u8]| -> [u8; 32] {
            // HMAC takes a key of any length, so this cannot fail.
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| unreachable!("any key will do"));
            mac.update(label);
            mac.finalize().into_bytes().into()
        };
        let mut name = KeyName::default();
        name.copy_from_slice(&part(b"dtls ticket key name")[..16]);
        TicketKey {
            name,
            cipher: Zeroizing::new(part(b"dtls ticket aes-256-cbc")),
            mac: Zeroizing::new(part(b"dtls ticket hmac-sha256")),
        }
    }
}

fn derive_all(secrets: &[Vec<u8>]) -> Result<Vec<TicketKey>, Refusal> {
    if secrets.is_empty() {
        return Err(Refusal::new("ticket_keys", "must hold at least one secret"));
    }
    if let Some(short) = secrets.iter().find(|secret| secret.len() < LEAST_SECRET) {
        let sentence = format!("must be at least {LEAST_SECRET} bytes long, got {}", short.len());
        return Err(Refusal::new("ticket_keys", sentence));
    }
    Ok(secrets.iter().map(|secret| TicketKey::derive(secret)).collect())
}
