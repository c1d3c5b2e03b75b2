//! The closed list of failures, each with its stable name and one sentence.
//!
//! The sentence may improve; the name is API. Where libuv has a word for the failure, that is the
//! name.

use openssl::error::ErrorStack;
use openssl::ssl::SslRef;
use openssl::x509::X509VerifyResult;
use std::fmt;

/// The stable names. `doc` strings here are what the README's table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A deadline passed before the handshake was complete.
    TimedOut,
    /// There is no established session to send on.
    NotConnected,
    /// The message does not fit a DTLS record, or what was negotiated for one.
    MessageTooBig,
    /// The argument can never be sent, such as an empty message.
    Invalid,
    /// The peer's certificate chain leads to no trusted CA.
    UnknownCa,
    /// The peer's certificate is for another name or address.
    CertificateName,
    /// The peer's certificate has expired, or is not valid yet.
    CertificateTime,
    /// The peer's certificate cannot be accepted for another reason.
    Certificate,
    /// The peer's certificate has been revoked.
    CertificateRevoked,
    /// The peer's certificate is none of those that are known by fingerprint.
    Fingerprint,
    /// The peer's raw public key is none of those that are known.
    PublicKey,
    /// The stapled OCSP response is missing, or cannot be believed.
    OcspResponse,
    /// The peer presented no certificate though one is required.
    NoCertificate,
    /// The user's own judgement: the peer is not welcome.
    Denied,
    /// Nobody has a key for that PSK identity.
    UnknownIdentity,
    /// The two ends have different keys for the PSK identity.
    WrongKey,
    /// The server has no such host.
    ServerName,
    /// The server speaks none of the application protocols that the client offers.
    ApplicationProtocol,
    /// The two ends have agreed on no SRTP protection profile.
    NoSrtp,
    /// The session has no extended master secret, which what is wanted of it depends on.
    NoExtendedMasterSecret,
    /// The two ends have no cipher suite in common.
    NoCipher,
    /// The two ends have no protocol version in common.
    Version,
    /// An earlier session cannot be resumed: there is a full handshake. Only a warning.
    Session,
    /// A hook failed: it threw, or its answer is none.
    Hook,
    /// The peer ended the session with a fatal alert.
    Alert,
    /// The handshake failed for another reason.
    Handshake,
    /// An established session broke: the peer violated the protocol.
    Protocol,
}

impl Name {
    /// The name as programs compare it.
    pub fn as_str(self) -> &'static str {
        match self {
            Name::TimedOut => "ETIMEDOUT",
            Name::NotConnected => "ENOTCONN",
            Name::MessageTooBig => "EMSGSIZE",
            Name::Invalid => "EINVAL",
            Name::UnknownCa => "EUNKNOWNCA",
            Name::CertificateName => "ECERTNAME",
            Name::CertificateTime => "ECERTTIME",
            Name::Certificate => "ECERT",
            Name::CertificateRevoked => "ECERTREVOKED",
            Name::Fingerprint => "EFINGERPRINT",
            Name::PublicKey => "EPUBLICKEY",
            Name::OcspResponse => "EOCSP",
            Name::NoCertificate => "ENOCERT",
            Name::Denied => "EDENIED",
            Name::UnknownIdentity => "EPSKIDENTITY",
            Name::WrongKey => "EPSKKEY",
            Name::ServerName => "ESERVERNAME",
            Name::ApplicationProtocol => "EALPN",
            Name::NoSrtp => "ENOSRTP",
            Name::NoExtendedMasterSecret => "ENOEMS",
            Name::NoCipher => "ENOCIPHER",
            Name::Version => "EVERSION",
            Name::Session => "ESESSION",
            Name::Hook => "EHOOK",
            Name::Alert => "EALERT",
            Name::Handshake => "EHANDSHAKE",
            Name::Protocol => "EPROTO",
        }
    }
}

/// A failure: its name, and a sentence for people. Displayed as luv does, `NAME: sentence`, with the
/// alert that went with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What programs compare.
    pub name: Name,
    /// What people read.
    pub sentence: String,
    /// The fatal alert that told the other end, if one did.
    pub alert: Option<Alert>,
}

/// A fatal alert (RFC 5246 section 7.2.2) by its number and whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// Ours.
    Sent(u8),
    /// The peer's.
    Received(u8),
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, number) = match *self {
            Alert::Sent(number) => ("sent", number),
            Alert::Received(number) => ("received", number),
        };
        write!(f, "{word} alert {number}, {}", crate::ffi::alert_description(number))
    }
}

/// How far a handshake was when the peer refused to go on: some alerts mean one thing here and
/// another there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// We are a client, and no ServerHello has come.
    pub only_hello: bool,
    /// We are a client that was asked for a certificate and has none.
    pub lacks_certificate: bool,
}

impl Error {
    /// Makes a failure of a name and a sentence.
    pub fn new(name: Name, sentence: impl Into<String>) -> Error {
        Error { name, sentence: sentence.into(), alert: None }
    }

    /// The same with the alert that we have sent of it.
    pub(crate) fn with_alert_sent(mut self, number: Option<u8>) -> Error {
        self.alert = self.alert.or(number.map(Alert::Sent));
        self
    }

    /// There is no session to send on, and why.
    pub(crate) fn not_connected(state: &str) -> Error {
        Error::new(Name::NotConnected, format!("the session is {state}"))
    }

    /// The peer sent this fatal alert. Where its number says what the two ends disagree about, the
    /// name is the one that the other end has for it.
    pub(crate) fn alert(number: u8, progress: Progress) -> Error {
        let (name, sentence) = match number {
            40 if progress.only_hello => {
                (Name::NoCipher, "the server finds nothing in common with what we offer")
            }
            // GnuTLS's libcoap calls the certificate that is missing a bad one.
            40 | 42 if progress.lacks_certificate => {
                (Name::NoCertificate, "the server requires a certificate, and we have none for it")
            }
            42 | 43 | 46 | 114 => (Name::Certificate, "the peer does not accept our certificate"),
            44 => (Name::CertificateRevoked, "to the peer our certificate has been revoked"),
            45 => (Name::CertificateTime, "to the peer our certificate is not valid at this time"),
            48 => (Name::UnknownCa, "the peer does not trust the CA of our certificate"),
            49 => (Name::Denied, "the peer does not want us"),
            70 | 86 => (Name::Version, "the peer does not speak the version that we do"),
            71 => (Name::NoCipher, "the peer wants cipher suites that are safer than ours"),
            112 => (Name::ServerName, "the server has no host of that name"),
            113 => (Name::OcspResponse, "the peer does not accept our OCSP response, or the lack of one"),
            115 => (Name::UnknownIdentity, "the server does not know our PSK identity"),
            116 => (Name::NoCertificate, "the server requires a certificate, and we have none for it"),
            120 => (Name::ApplicationProtocol, "the server speaks no application protocol that we offer"),
            _ => (Name::Alert, "the peer ended the session with a fatal alert"),
        };
        Error { alert: Some(Alert::Received(number)), ..Error::new(name, sentence) }
    }

    /// A chain that does not verify.
    pub(crate) fn certificate(result: X509VerifyResult) -> Error {
        // The numbers are X509_V_ERR_*, stable since OpenSSL 1.0.2 (X509_STORE_CTX_get_error(3)).
        let (name, what) = match result.as_raw() {
            62..=64 => (Name::CertificateName, "the peer's certificate is for another name"),
            9 | 10 => (Name::CertificateTime, "the peer's certificate is not valid at this time"),
            2 | 18..=21 => (Name::UnknownCa, "the peer's certificate leads to no trusted CA"),
            3 => (Name::Certificate, "there is no CRL of a CA in the peer's chain"),
            11 => (Name::Certificate, "the CRL of a CA in the peer's chain is not valid yet"),
            12 => (Name::Certificate, "the CRL of a CA in the peer's chain is out of date"),
            5 | 8 | 15 | 16 | 33 | 35 | 36 | 44 | 54 | 101 => {
                (Name::Certificate, "the CRL of a CA in the peer's chain is no good")
            }
            23 => (Name::CertificateRevoked, "the peer's certificate has been revoked"),
            _ => (Name::Certificate, "the peer's certificate was refused"),
        };
        Error::new(name, format!("{what} ({})", result.error_string()))
    }

    /// The alert that tells the peer of this failure in what it has presented (RFC 5246 section 7.2.2,
    /// RFC 4279 section 2, RFC 6066 section 3, RFC 7301 section 3.2), as OpenSSL has it where it is OpenSSL who finds it.
    pub(crate) fn alert_to_send(&self) -> u8 {
        match self.name {
            Name::NoCertificate | Name::NoCipher => 40,
            Name::Certificate | Name::CertificateName | Name::Fingerprint | Name::PublicKey => 42,
            Name::CertificateRevoked => 44,
            Name::CertificateTime => 45,
            Name::UnknownCa => 48,
            Name::Denied => 49,
            Name::ServerName => 112,
            Name::OcspResponse => 113,
            Name::UnknownIdentity => 115,
            Name::ApplicationProtocol => 120,
            _ => 80,
        }
    }

    /// What OpenSSL says of a handshake that it ended.
    pub(crate) fn handshake(ssl: &SslRef, stack: Option<&ErrorStack>) -> Error {
        let Some(reason) = ssl_reason(stack) else {
            return Error::new(Name::Handshake, "the handshake failed for a reason OpenSSL does not name");
        };
        // The numbers are SSL_R_* of <openssl/sslerr.h>, part of OpenSSL's ABI.
        match reason.code {
            134 => Error::certificate(ssl.verify_result()),
            199 => Error::new(Name::NoCertificate, "the peer presented no certificate, and one is required"),
            193 if ssl.certificate().is_none() && ssl.private_key().is_some() => Error::new(
                Name::NoCipher,
                "the peer offers no cipher suite that is enabled here, or takes no raw public key, which is \
                 all that we have",
            ),
            193 => Error::new(
                Name::NoCipher,
                "the peer offers no cipher suite that is enabled here and that our certificate can serve",
            ),
            258 | 266 | 267 => Error::new(Name::Version, "the peer does not speak DTLS 1.2"),
            312 => Error::new(Name::TimedOut, "the peer did not answer any of the retransmissions"),
            // OpenSSL's own alert: no peer's comes so early.
            1113 if !ssl.is_server() => {
                Error::new(Name::OcspResponse, "the stapled OCSP response is malformed")
            }
            code @ 1000..=1255 => Error::alert((code - 1000) as u8, Progress::default()),
            _ => Error::new(Name::Handshake, format!("the handshake failed: {}", reason.text)),
        }
    }

    /// What OpenSSL says of an established session that it ended.
    pub(crate) fn established(stack: Option<&ErrorStack>) -> Error {
        match ssl_reason(stack) {
            Some(Cause { code: code @ 1000..=1255, .. }) => {
                Error::alert((code - 1000) as u8, Progress::default())
            }
            Some(cause) => Error::new(Name::Protocol, format!("the session broke: {}", cause.text)),
            None => Error::new(Name::Protocol, "the session broke for a reason OpenSSL does not name"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.as_str(), self.sentence)?;
        self.alert.map_or(Ok(()), |alert| write!(f, " ({alert})"))
    }
}

impl std::error::Error for Error {}

struct Cause {
    code: i32,
    text: String,
}

/// The newest entry of libssl itself: older ones are its causes, and entries of libcrypto say less.
fn ssl_reason(stack: Option<&ErrorStack>) -> Option<Cause> {
    const ERR_LIB_SSL: i32 = 20;
    let errors = stack?.errors();
    let error = errors.iter().rev().find(|e| e.library_code() == ERR_LIB_SSL).or(errors.last())?;
    let text = error.reason().unwrap_or("unknown reason").to_owned();
    Some(Cause { code: error.reason_code(), text })
}
