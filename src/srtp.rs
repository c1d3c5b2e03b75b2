//! Keys for SRTP out of a DTLS handshake (RFC 5764): the protection profiles there are, and how the
//! keying material is cut up.

use crate::config::Refusal;
use crate::context::unexpected;
use crate::ffi;
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslRef};
use zeroize::Zeroizing;

/// The label by which the keying material is exported (RFC 5764 section 4.2).
pub const LABEL: &str = "EXTRACTOR-dtls_srtp";

/// A protection profile, and how long its master keys and master salts are, in bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Profile {
    /// OpenSSL's name of it, the registry's but for the length of AES.
    pub name: &'static str,
    key: usize,
    salt: usize,
}

const fn profile(name: &'static str, key: usize, salt: usize) -> Profile {
    Profile { name, key, salt }
}

/// The profiles that encrypt, in OpenSSL's order. An older OpenSSL than ours has the first four alone.
static PROFILES: [Profile; 12] = [
    // RFC 5764 section 4.1.2.
    profile("SRTP_AES128_CM_SHA1_80", 16, 14),
    profile("SRTP_AES128_CM_SHA1_32", 16, 14),
    // RFC 7714 section 14.2.
    profile("SRTP_AEAD_AES_128_GCM", 16, 12),
    profile("SRTP_AEAD_AES_256_GCM", 32, 12),
    // RFC 8723: two keys in one, the end-to-end one first.
    profile("SRTP_DOUBLE_AEAD_AES_128_GCM_AEAD_AES_128_GCM", 32, 24),
    profile("SRTP_DOUBLE_AEAD_AES_256_GCM_AEAD_AES_256_GCM", 64, 24),
    // RFC 8269.
    profile("SRTP_ARIA_128_CTR_HMAC_SHA1_80", 16, 14),
    profile("SRTP_ARIA_128_CTR_HMAC_SHA1_32", 16, 14),
    profile("SRTP_ARIA_256_CTR_HMAC_SHA1_80", 32, 14),
    profile("SRTP_ARIA_256_CTR_HMAC_SHA1_32", 32, 14),
    profile("SRTP_AEAD_ARIA_128_GCM", 16, 12),
    profile("SRTP_AEAD_ARIA_256_GCM", 32, 12),
];

impl Profile {
    /// Reads a name as users write it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of what this OpenSSL does not have, with what it has.
    pub fn parse(name: &[u8]) -> Result<&'static Profile, Refusal> {
        PROFILES.iter().find(|profile| profile.name.as_bytes() == name && profile.is_there()).ok_or_else(
            || {
                let there: Vec<_> =
                    PROFILES.iter().filter(|one| one.is_there()).map(|one| one.name).collect();
                let (name, there) = (name.escape_ascii(), there.join(", "));
                Refusal::new("srtp_profiles", format!("must be among {there}; got '{name}'"))
            },
        )
    }

    /// Whether the OpenSSL we run on has it.
    fn is_there(&self) -> bool {
        ffi::init();
        let there = SslContext::builder(SslMethod::dtls())
            .and_then(|mut builder| builder.set_tlsext_use_srtp(self.name))
            .is_ok();
        ffi::clear_errors();
        there
    }

    /// The profile that a handshake has agreed on.
    pub fn of(ssl: &SslRef) -> Option<&'static Profile> {
        let name = ssl.selected_srtp_profile()?.name();
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// How much keying material it takes, in bytes.
    pub fn material_length(&self) -> usize {
        2 * (self.key + self.salt)
    }

    /// Cuts up keying material (RFC 5764 section 4.2). `None` where it has another length.
    pub fn cut(&'static self, material: &[u8]) -> Option<Keys> {
        if material.len() != self.material_length() {
            return None;
        }
        let (keys, salts) = material.split_at(2 * self.key);
        let own = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        Some(Keys {
            profile: self,
            client_key: own(&keys[..self.key]),
            server_key: own(&keys[self.key..]),
            client_salt: own(&salts[..self.salt]),
            server_salt: own(&salts[self.salt..]),
        })
    }
}

/// The master keys and salts of both ends: each protects what it sends with its own.
pub struct Keys {
    /// What they are for.
    pub profile: &'static Profile,
    /// The client's master key.
    pub client_key: Zeroizing<Vec<u8>>,
    /// The server's master key.
    pub server_key: Zeroizing<Vec<u8>>,
    /// The client's master salt.
    pub client_salt: Zeroizing<Vec<u8>>,
    /// The server's master salt.
    pub server_salt: Zeroizing<Vec<u8>>,
}

/// Lets the clients of a context offer these profiles, and its servers take the first that is offered.
///
/// # Errors
///
/// A [`Refusal`] where memory is exhausted, or a profile is named twice.
pub fn install(builder: &mut SslContextBuilder, profiles: &[&'static Profile]) -> Result<(), Refusal> {
    if profiles.is_empty() {
        return Ok(());
    }
    for (index, profile) in profiles.iter().enumerate() {
        if profiles[..index].contains(profile) {
            return Err(Refusal::new("srtp_profiles", format!("names {} twice", profile.name)));
        }
    }
    let names: Vec<_> = profiles.iter().map(|profile| profile.name).collect();
    builder.set_tlsext_use_srtp(&names.join(":")).map_err(|e| unexpected(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_first_and_the_client_comes_first() {
        let profile = Profile::parse(b"SRTP_AES128_CM_SHA1_80").unwrap();
        let material: Vec<u8> = (0..60).collect();
        let keys = profile.cut(&material).unwrap();
        assert_eq!(keys.client_key[..], material[..16]);
        assert_eq!(keys.server_key[..], material[16..32]);
        assert_eq!(keys.client_salt[..], material[32..46]);
        assert_eq!(keys.server_salt[..], material[46..]);
    }

    #[test]
    fn material_of_another_length_is_not_cut() {
        for profile in &PROFILES {
            let length = profile.material_length();
            for wrong in [0, length - 1, length + 1] {
                assert!(profile.cut(&vec![0; wrong]).is_none(), "{} with {wrong} bytes", profile.name);
            }
            assert!(profile.cut(&vec![0; length]).is_some());
        }
    }

    #[test]
    fn lengths_are_those_of_the_rfcs() {
        let lengths = |name: &str| Profile::parse(name.as_bytes()).unwrap().material_length();
        assert_eq!(lengths("SRTP_AES128_CM_SHA1_32"), 60);
        assert_eq!(lengths("SRTP_AEAD_AES_128_GCM"), 56);
        assert_eq!(lengths("SRTP_AEAD_AES_256_GCM"), 88);
    }

    #[test]
    fn a_name_that_is_not_there_is_refused_with_those_that_are() {
        for name in
            [&b"SRTP_NULL_SHA1_80"[..], b"", b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM", b"\xff\0"]
        {
            let refusal = Profile::parse(name).unwrap_err();
            assert_eq!(refusal.option, "srtp_profiles");
            assert!(refusal.sentence.contains("SRTP_AES128_CM_SHA1_80, SRTP_AES128_CM_SHA1_32, "));
            assert!(refusal.sentence.ends_with(&format!("; got '{}'", name.escape_ascii())));
        }
    }
}
