//! What a context is made of: plain data, valid by construction. Every refusal is a sentence that
//! names the option.

use crate::psk::Psk;
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

/// A protocol version that can be asked for.
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
            "DTLSv1.3" => Err(Refusal::new(
                option,
                format!("cannot be 'DTLSv1.3': {} does not have it", crate::openssl_version()),
            )),
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
#[derive(Clone, Debug)]
pub struct Config {
    /// Certificate chains in PEM, leaf first, one for each key.
    pub cert: Vec<Vec<u8>>,
    /// Private keys in PEM, in the order of the chains.
    pub key: Vec<Vec<u8>>,
    /// Opens the keys that are encrypted.
    pub passphrase: Option<Vec<u8>>,
    /// What is trusted, in PEM; `None` for the system's trust store.
    pub ca: Option<Vec<Vec<u8>>>,
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
    /// The size of handshake datagrams.
    pub mtu: Mtu,
    /// The first retransmission timeout, in milliseconds; it doubles up to a minute.
    pub retransmit_timeout_ms: u32,
    /// How long a session may be resumed, in seconds; 0 for not at all.
    pub session_timeout_s: u32,
    /// Whether the user keeps a server's sessions, and not OpenSSL.
    pub session_cache: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cert: Vec::new(),
            key: Vec::new(),
            passphrase: None,
            ca: None,
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
            mtu: Mtu::default(),
            retransmit_timeout_ms: 1000,
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
