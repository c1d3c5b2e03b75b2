//! What sealed records look like in each cipher suite: the least that a genuine one can be, and the most
//! that fits one.
//!
//! (DTLS 1.3 has no explicit nonce, and a byte of content type inside: RFC 9147 section 4.)

use crate::record::HEADER;

/// What surrounds the plaintext in the body of a sealed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedShape {
    /// Bytes in front of it: an explicit nonce or an IV.
    front: usize,
    /// Bytes behind it: a tag or a MAC.
    behind: usize,
    /// What it is padded to, with one byte at least; `None` for AEAD.
    block: Option<usize>,
}

impl SealedShape {
    /// Reads the shape off OpenSSL's name of a cipher suite (RFC 5288, 6655, 7905, 5246 section 6.2.3.2).
    pub fn of_suite(name: &str) -> SealedShape {
        const EXPLICIT_NONCE: usize = 8;
        let aead = |front, behind| SealedShape { front, behind, block: None };
        if name.contains("CHACHA20") {
            aead(0, 16)
        } else if name.ends_with("CCM8") {
            aead(EXPLICIT_NONCE, 8)
        } else if name.contains("GCM") || name.contains("CCM") {
            aead(EXPLICIT_NONCE, 16)
        } else {
            let block = if name.contains("DES") { 8 } else { 16 };
            let mac = match name {
                _ if name.ends_with("SHA384") => 48,
                _ if name.ends_with("SHA256") => 32,
                _ => 20,
            };
            SealedShape { front: block, behind: mac, block: Some(block) }
        }
    }

    /// Whether a record is authenticated before anything else is done with it.
    pub fn is_aead(self) -> bool {
        self.block.is_none()
    }

    /// Whether a body begins with a part of its AEAD's nonce.
    pub fn has_nonce(self) -> bool {
        self.is_aead() && self.front > 0
    }

    /// The least length of a body. OpenSSL 3.6 ends an established session at an AEAD record that is
    /// shorter, whoever sent it.
    pub fn least(self) -> usize {
        self.front + self.block.map_or(self.behind, |block| (self.behind + 1).next_multiple_of(block))
    }

    /// Whether a body of this length can be genuine.
    pub fn fits(self, length: usize) -> bool {
        length >= self.least() && self.block.is_none_or(|block| length.is_multiple_of(block))
    }

    /// The longest plaintext whose record fits a datagram of this length; 0 where none does. (As
    /// DTLS_get_data_mtu(3), which knows handshake datagrams alone.)
    pub fn longest_plaintext(self, datagram: usize) -> usize {
        let inside = datagram.saturating_sub(HEADER + self.front);
        match self.block {
            None => inside.saturating_sub(self.behind),
            Some(block) => (inside - inside % block).saturating_sub(self.behind + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_has_the_shape_of_its_nonce_tag_mac_and_padding() {
        for (suite, least, block) in [
            ("ECDHE-ECDSA-AES128-GCM-SHA256", 24, 1),
            ("ECDHE-RSA-AES256-GCM-SHA384", 24, 1),
            ("ECDHE-ECDSA-CHACHA20-POLY1305", 16, 1),
            ("ECDHE-ECDSA-AES256-CCM", 24, 1),
            ("ECDHE-ECDSA-AES128-CCM8", 16, 1),
            ("PSK-AES128-CCM8", 16, 1),
            ("ECDHE-ECDSA-ARIA128-GCM-SHA256", 24, 1),
            ("AES128-SHA", 16 + 32, 16),
            ("ECDHE-ECDSA-AES128-SHA256", 16 + 48, 16),
            ("ECDHE-RSA-AES256-SHA384", 16 + 64, 16),
            ("ECDHE-ECDSA-CAMELLIA128-SHA256", 16 + 48, 16),
            ("DES-CBC3-SHA", 8 + 24, 8),
        ] {
            let shape = SealedShape::of_suite(suite);
            assert_eq!((shape.least(), shape.block.unwrap_or(1)), (least, block), "{suite}");
            let has_nonce = suite.contains("GCM") || suite.contains("CCM");
            assert_eq!((shape.is_aead(), shape.has_nonce()), (block == 1, has_nonce), "{suite}");
        }
    }

    #[test]
    fn a_length_fits_from_the_least_on_in_steps_of_a_block() {
        let cbc = SealedShape::of_suite("AES128-SHA");
        let fitting: Vec<usize> = (0..100).filter(|&length| cbc.fits(length)).collect();
        assert_eq!(fitting, [48, 64, 80, 96]);
        let gcm = SealedShape::of_suite("ECDHE-ECDSA-AES128-GCM-SHA256");
        assert!(!gcm.fits(23) && gcm.fits(24) && gcm.fits(25));
    }

    #[test]
    fn nothing_fits_a_datagram_that_is_too_small() {
        for (suite, first) in [("PSK-AES128-CCM8", 30), ("AES128-SHA", 13 + 48)] {
            let shape = SealedShape::of_suite(suite);
            let least = (0..100).find(|&datagram| shape.longest_plaintext(datagram) > 0);
            assert_eq!(least, Some(first), "{suite}");
        }
    }
}
