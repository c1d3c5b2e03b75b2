//! Pre-shared keys (RFC 4279): who has which, and the identity as it stands in ClientKeyExchange.

use crate::config::Refusal;
use crate::desk::{Desk, PskPair};
use crate::ffi;
use crate::hello::take_u16_list;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslRef};
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Where pre-shared keys come from.
#[derive(Clone)]
pub enum Psk {
    /// One identity with its key: all that a client has, or that a server knows.
    Pair(PskPair),
    /// What a server knows: identities and their keys.
    Table(HashMap<Vec<u8>, Zeroizing<Vec<u8>>>),
    /// The user is asked each time.
    Ask,
}

impl std::fmt::Debug for Psk {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Psk::Pair(pair) => pair.fmt(f),
            Psk::Table(table) => write!(f, "Table({} identities)", table.len()),
            Psk::Ask => f.write_str("Ask"),
        }
    }
}

/// PSK_MAX_IDENTITY_LEN of <openssl/ssl.h>.
const LONGEST_IDENTITY: usize = 256;
/// PSK_MAX_PSK_LEN.
const LONGEST_KEY: usize = 512;

impl Psk {
    /// Checks what is known beforehand.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of an identity or a key that no handshake could use.
    pub fn check(&self) -> Result<(), Refusal> {
        let refuse = |sentence: String| Err(Refusal::new("psk", sentence));
        let check = |identity: &[u8], key: &[u8]| match (identity_fault(identity), key_fault(key)) {
            (Some(fault), _) => refuse(format!("has an identity that {fault}")),
            (_, Some(fault)) => {
                refuse(format!("has a key for the identity '{}' that {fault}", identity.escape_ascii()))
            }
            (None, None) => Ok(()),
        };
        match self {
            Psk::Pair(pair) => check(&pair.identity, &pair.key),
            Psk::Table(table) if table.is_empty() => refuse("is empty: nobody could connect".into()),
            Psk::Table(table) => table.iter().try_for_each(|(identity, key)| check(identity, key)),
            Psk::Ask => Ok(()),
        }
    }

    /// The key of an identity, as far as it is known without asking.
    pub fn key(&self, identity: &[u8]) -> Option<&[u8]> {
        match self {
            Psk::Pair(pair) => (pair.identity == identity).then_some(&pair.key),
            Psk::Table(table) => table.get(identity).map(|key| key.as_slice()),
            Psk::Ask => None,
        }
    }
}

/// What is wrong with an identity, to follow "that". OpenSSL keeps identities as C strings: one
/// with a NUL would pass for its own beginning.
pub fn identity_fault(identity: &[u8]) -> Option<&'static str> {
    if identity.contains(&0) {
        Some("holds a NUL, at which OpenSSL would cut it off")
    } else if identity.len() > LONGEST_IDENTITY {
        Some("is longer than 256 bytes")
    } else {
        None
    }
}

/// What is wrong with a key, to follow "that".
pub fn key_fault(key: &[u8]) -> Option<&'static str> {
    if key.is_empty() {
        Some("is empty")
    } else if key.len() > LONGEST_KEY {
        Some("is longer than 512 bytes")
    } else {
        None
    }
}

/// Reads the identity off the body of a ClientKeyExchange of a PSK suite: it comes first in all of
/// them (RFC 4279 sections 2 to 4, RFC 5489 section 2).
pub fn identity_untrusted(mut client_key_exchange: &[u8]) -> Option<&[u8]> {
    take_u16_list(&mut client_key_exchange)
}

/// A key that no client has: with it an unknown identity fails as a wrong key does, in silence.
pub fn key_of_nobody() -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(vec![0; 32]);
    ffi::random_bytes(&mut key);
    key
}

/// Lets the sessions of a context take the key that lies on their desk.
pub fn install(builder: &mut SslContextBuilder) {
    builder.set_psk_server_callback(|ssl, _identity, key| Ok(take_key(ssl, key)));
    builder.set_psk_client_callback(|ssl, _hint, identity, key| {
        let desk = Desk::of(ssl);
        if let Some(pair) = &desk.papers().psk {
            // The longest identity fills what OpenSSL shows of its buffer, which is full of NULs and has room
            // for one more behind (tls_construct_cke_psk_preamble).
            let Some(room) = identity.get_mut(..pair.identity.len()) else { return Ok(0) };
            room.copy_from_slice(&pair.identity);
        }
        Ok(take_key(ssl, key))
    });
}

/// Copies the key that lies on the desk; its length, or 0 where there is none.
fn take_key(ssl: &SslRef, out: &mut [u8]) -> usize {
    let desk = Desk::of(ssl);
    let papers = desk.papers();
    let Some(pair) = &papers.psk else { return 0 };
    let Some(room) = out.get_mut(..pair.key.len()) else { return 0 };
    room.copy_from_slice(&pair.key);
    pair.key.len()
}

/// Tells the clients of a server which key to use (RFC 4279 section 5.2).
///
/// # Errors
///
/// OpenSSL's, where the hint is too long.
pub fn hint(builder: &mut SslContextBuilder, text: &[u8]) -> Result<(), ErrorStack> {
    ffi::use_psk_identity_hint(builder, text)
}
