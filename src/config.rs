//! What a context is made of: plain data, valid by construction. Every refusal is a sentence that
//! names the option.

use crate::ffi;
use crate::ocsp::Staple;
use crate::psk::Psk;
use crate::srtp;
use std::fmt;

/// An option that cannot be: which one, and why. `options.lua` turns the name into the user's
/// spelling (`min_version` into `minVersion`) and raises it at the caller's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The option, in the core's spelling.
    pub option: &'static str,
    /// What is wrong with it, to follow its name: "must be …".
    pub sentence: String,
}

impl Refusal {
    /// Makes a refusal of an option and a sentence.
    pub fn new(option: &'static str, sentence: impl Into<String>) -> Refusal {
        Refusal { option, sentence: sentence.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.sentence)
    }
}

impl std::error::Error for Refusal {}

/// The UDP payload that handshake datagrams may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu(u16);

impl Mtu {
    /// OpenSSL's own least (`dtls1_min_mtu`): below it the handshake fails without a word.
    pub const LEAST: u32 = 256;
    /// OpenSSL gathers a flight in a buffer of 4096 bytes and cuts records in two beyond it.
    pub const MOST: u32 = 4096;

    /// Takes a size in bytes.
    ///
    /// # Errors
    ///
    /// Refuses what lies outside 256 to 4096.
    pub fn new(bytes: u32) -> Result<Mtu, Refusal> {
        if !(Mtu::LEAST..=Mtu::MOST).contains(&bytes) {
            let sentence = format!("must be from {} to {} bytes, got {bytes}", Mtu::LEAST, Mtu::MOST);
            return Err(Refusal::new("mtu", sentence));
        }
        Ok(Mtu(bytes as u16))
    }

    /// The size in bytes.
    pub fn bytes(self) -> u32 {
        u32::from(self.0)
    }
}

impl Default for Mtu {
    /// 1200: passes every path that IPv6 permits (1280), with room for a tunnel.
    fn default() -> Mtu {
        Mtu(1200)
    }
}

/// The plaintext that a client wants the records of both ends to hold at most (RFC 6066 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLength(u8);

impl FragmentLength {
    /// Takes a size in bytes.
    ///
    /// # Errors
    ///
    /// Refuses all but the four that the extension can express.
    pub fn new(bytes: u32) -> Result<FragmentLength, Refusal> {
        let code = (1..=4).find(|&code| bytes == 256 << code).ok_or_else(|| {
            let sentence = format!("must be 512, 1024, 2048 or 4096 bytes, got {bytes}");
            Refusal::new("max_fragment_length", sentence)
        })?;
        Ok(FragmentLength(code))
    }

    /// The number that stands for it in the extension.
    pub fn code(self) -> u8 {
        self.0
    }
}

/// A protocol version that can be asked for.
///
/// DTLS 1.3 (RFC 9147) is not one, not even where OpenSSL has it, which 4.1 will: OpenSSL is held to
/// 1.2 then. What stands in front of it here knows the records and messages of DTLS 1.2. Were the two
/// ends of a handshake let go on to 1.3,
///
/// - the [gate](crate::gate) would ask for its cookie with a HelloVerifyRequest, but 1.3 has its cookies
///   in HelloRetryRequest, and refuses a hello that has one in the old place (sections 5.1 and 5.3);
/// - [`Record`](crate::record::Record) would know none of the sealed records, which have a shorter header
///   with an encrypted number, nor ACKs (sections 4 and 7), and each handshake would time out;
/// - the [screen](crate::screen) would hold back epochs 2, 3 and those behind KeyUpdates (section 6.1),
///   waiting for a ChangeCipherSpec, and take lengths that are genuine for forged;
/// - above all, certificates are sealed there, and there is no ServerHelloDone: no session would stop to
///   [ask](crate::question) about its peer. That nobody was asked must never mean that all are welcome.
///
/// So the option is refused until all of these know better, rather than believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 6347.
    Dtls12,
}

impl Version {
    /// Reads a name as users write it.
    ///
    /// # Errors
    ///
    /// Refuses versions that are broken, that this OpenSSL lacks, or that nobody knows.
    pub fn parse(option: &'static str, name: &str) -> Result<Version, Refusal> {
        match name {
            "DTLSv1.2" => Ok(Version::Dtls12),
            "DTLSv1" | "DTLSv1.0" => Err(Refusal::new(
                option,
                "must be at least 'DTLSv1.2': DTLS 1.0 rests on MD5 and SHA-1 and is deprecated by RFC 8996",
            )),
            "DTLSv1.3" => {
                let openssl = crate::openssl_version();
                let sentence = if ffi::has_dtls_1_3() {
                    format!("cannot be 'DTLSv1.3' yet: {openssl} has it, what this library adds does not")
                } else {
                    format!("cannot be 'DTLSv1.3': {openssl} does not have it")
                };
                Err(Refusal::new(option, sentence))
            }
            other => {
                Err(Refusal::new(option, format!("must be 'DTLSv1.2', got '{}'", other.escape_default())))
            }
        }
    }
}

/// A set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For hosts on the Internet.
    General,
    /// For constrained devices (RFC 7925): their cipher suites, and patience.
    Iot,
}

impl Profile {
    /// Reads a name as users write it.
    ///
    /// # Errors
    ///
    /// Refuses names that nobody knows.
    pub fn parse(name: &str) -> Result<Profile, Refusal> {
        match name {
            "iot" => Ok(Profile::Iot),
            other => Err(Refusal::new("profile", format!("must be 'iot', got '{}'", other.escape_default()))),
        }
    }
}

/// Everything a [`Context`](crate::Context) is made of. PEM texts are parsed there.
#[derive(Clone)]
pub struct Config {
    /// Certificate chains in PEM, leaf first, one for each key.
    pub cert: Vec<Vec<u8>>,
    /// Private keys in PEM, in the order of the chains; without any chain they are presented as raw public
    /// keys.
    pub key: Vec<Vec<u8>>,
    /// Opens the keys that are encrypted.
    pub passphrase: Option<Vec<u8>>,
    /// What is trusted, in PEM; `None` for the system's trust store.
    pub ca: Option<Vec<Vec<u8>>>,
    /// Revocation lists in PEM, one at least for each CA.
    pub crl: Option<Vec<Vec<u8>>>,
    /// SHA-256 fingerprints: a peer is accepted by its certificate's alone, and by nothing else.
    pub fingerprints: Option<Vec<String>>,
    /// Public keys in PEM: a peer that presents one of them, and nothing else, is accepted by it.
    pub raw_public_keys: Option<Vec<Vec<u8>>>,
    /// What a server staples to its certificate for clients that want an OCSP response.
    pub ocsp_response: Option<Staple>,
    /// Whether a client asks its server for one.
    pub request_ocsp: bool,
    /// Whether a client refuses a server that has none.
    pub require_ocsp: bool,
    /// Whether a server asks its peers for a certificate.
    pub request_cert: bool,
    /// Whether a peer that cannot be verified is refused.
    pub reject_unauthorized: bool,
    /// Whether the user is asked about every peer, and not only OpenSSL.
    pub ask_peer: bool,
    /// Where pre-shared keys come from, if there are any.
    pub psk: Option<Psk>,
    /// What a server tells its clients about which key to use.
    pub psk_identity_hint: Option<Vec<u8>>,
    /// Whether a server treats an unknown identity as if its key were wrong.
    pub hide_unknown_identity: bool,
    /// Where the defaults came from.
    pub profile: Profile,
    /// The oldest version accepted.
    pub min_version: Version,
    /// The newest version offered.
    pub max_version: Version,
    /// An OpenSSL cipher list, `openssl-ciphers(1)`.
    pub ciphers: Option<String>,
    /// An OpenSSL group list, `SSL_CTX_set1_groups_list(3)`.
    pub groups: Option<String>,
    /// An OpenSSL signature algorithm list, `SSL_CTX_set1_sigalgs_list(3)`.
    pub sigalgs: Option<String>,
    /// The application protocols that are spoken (RFC 7301), in order of preference; none where the
    /// peers need not agree on one.
    pub alpn_protocols: Vec<Vec<u8>>,
    /// The SRTP protection profiles that can be agreed on (RFC 5764), in order of preference.
    pub srtp_profiles: Vec<&'static srtp::Profile>,
    /// Whether keys are exported from a session without extended master secret too (RFC 7627).
    pub export_without_ems: bool,
    /// The size of handshake datagrams.
    pub mtu: Mtu,
    /// The records that a client asks for; a server does what its clients ask.
    pub max_fragment_length: Option<FragmentLength>,
    /// The first retransmission timeout, in milliseconds; it doubles up to a minute.
    pub retransmit_timeout_ms: u32,
    /// Whether sessions give their secrets away, for whoever is to read what was captured.
    pub key_log: bool,
    /// How long a session may be resumed, in seconds; 0 for not at all.
    pub session_timeout_s: u32,
    /// Whether the user keeps a server's sessions, and not OpenSSL.
    pub session_cache: bool,
}

impl fmt::Debug for Config {
    /// Shows nothing of it: private keys, their passphrase and pre-shared keys are in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cert: Vec::new(),
            key: Vec::new(),
            passphrase: None,
            ca: None,
            crl: None,
            fingerprints: None,
            raw_public_keys: None,
            ocsp_response: None,
            request_ocsp: false,
            require_ocsp: false,
            request_cert: false,
            reject_unauthorized: true,
            ask_peer: false,
            psk: None,
            psk_identity_hint: None,
            hide_unknown_identity: false,
            profile: Profile::General,
            min_version: Version::Dtls12,
            max_version: Version::Dtls12,
            ciphers: None,
            groups: None,
            sigalgs: None,
            alpn_protocols: Vec::new(),
            srtp_profiles: Vec::new(),
            export_without_ems: false,
            mtu: Mtu::default(),
            max_fragment_length: None,
            retransmit_timeout_ms: 1000,
            key_log: false,
            session_timeout_s: 7200,
            session_cache: false,
        }
    }
}

impl Config {
    /// Whether a server's sessions can be resumed by an id, and its user keeps them.
    pub(crate) fn keeps_sessions(&self) -> bool {
        self.session_cache && self.session_timeout_s > 0
    }

    /// The defaults of a profile.
    pub fn of_profile(profile: Profile) -> Config {
        match profile {
            Profile::General => Config::default(),
            Profile::Iot => Config {
                profile,
                mtu: Mtu(512),
                // RFC 7925 section 11: a slow network answers after several seconds.
                retransmit_timeout_ms: 9000,
                ..Config::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use zeroize::Zeroizing;

    #[test]
    fn what_is_shown_of_a_configuration_holds_no_secret() {
        let table = HashMap::from([(b"lamp".to_vec(), Zeroizing::new(vec![211; 32]))]);
        let config = Config {
            key: vec![vec![212; 32]],
            passphrase: Some(vec![213; 32]),
            psk: Some(Psk::Table(table)),
            ..Config::default()
        };
        let shown = format!("{config:?} {:?}", config.psk);
        for secret in ["211", "212", "213"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
