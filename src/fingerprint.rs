//! SHA-256 fingerprints of certificates, by which a peer is known without any CA (RFC 8122).

use crate::config::{Config, Refusal};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::x509::X509Ref;
use std::fmt;

/// SHA-256 of a certificate's DER form. Displayed as browsers, SDP and `openssl x509 -fingerprint`
/// do: `AB:CD:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    ///
    /// # Errors
    ///
    /// OpenSSL's, where memory is exhausted.
    pub fn of(certificate: &X509Ref) -> Result<Fingerprint, ErrorStack> {
        let digest = certificate.digest(MessageDigest::sha256())?;
        let mut bytes = [0; 32];
        bytes.copy_from_slice(&digest);
        Ok(Fingerprint(bytes))
    }

    /// Reads hexadecimal digits in either case, with a colon between all bytes or none, and with
    /// SDP's `sha-256 ` in front or without.
    pub fn parse(text: &str) -> Option<Fingerprint> {
        const ALGORITHM: &str = "sha-256 ";
        let text = text.trim();
        let digits = match text.get(..ALGORITHM.len()) {
            Some(head) if head.eq_ignore_ascii_case(ALGORITHM) => text[ALGORITHM.len()..].trim_start(),
            _ => text,
        };
        let stride = if digits.contains(':') { 3 } else { 2 };
        // Each byte is two digits, and the last has no colon behind it.
        if !digits.is_ascii() || digits.len() != 32 * stride - (stride - 2) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, piece) in bytes.iter_mut().zip(digits.as_bytes().chunks(stride)) {
            let digit = |at: usize| char::from(piece[at]).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
            if piece.get(2).is_some_and(|&behind| behind != b':') {
                return None;
            }
        }
        Some(Fingerprint(bytes))
    }

    /// Reads the fingerprints of a configuration; `None` where it has none.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `fingerprints`.
    pub fn read_all(config: &Config) -> Result<Option<Vec<Fingerprint>>, Refusal> {
        let Some(texts) = &config.fingerprints else { return Ok(None) };
        let refuse = |sentence: String| Refusal::new("fingerprints", sentence);
        if texts.is_empty() {
            return Err(refuse("is an empty list, so nobody could be accepted".to_owned()));
        }
        let read = |text: &String| {
            Fingerprint::parse(text).ok_or_else(|| {
                let shown: String = text.chars().take(100).collect();
                refuse(format!(
                    "holds '{}', which is no SHA-256 fingerprint: 32 bytes as 'AB:CD:…'",
                    shown.escape_debug()
                ))
            })
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Some)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}
