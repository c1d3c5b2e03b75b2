//! Keys and certificates, made while the tests run.

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509Name, X509};
use std::sync::OnceLock;

pub type Key = PKey<Private>;

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    pub cert: X509,
    pub key: Key,
}

impl Issued {
    pub fn cert_pem(&self) -> Vec<u8> {
        self.cert.to_pem().unwrap()
    }

    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }
}

/// What a certificate says.
#[derive(Clone)]
pub struct Template {
    /// Its subject, and without `ca` its only alternative name too: a host name or an IP address.
    pub name: &'static str,
    pub ca: bool,
    /// Days from today.
    pub valid: (i64, i64),
    /// Whether its key may sign anything but certificates.
    pub signs: bool,
    /// Whether it may sign OCSP responses for its issuer.
    pub responder: bool,
    /// Makes it longer by so many bytes of a subject that nobody reads.
    pub padding: usize,
}

impl Default for Template {
    fn default() -> Template {
        Template {
            name: "server.test",
            ca: false,
            valid: (-1, 30),
            signs: true,
            responder: false,
            padding: 0,
        }
    }
}

/// Issues a certificate; one without an issuer signs itself.
pub fn issue(template: &Template, key: &Key, issuer: Option<&Issued>) -> Issued {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", template.name).unwrap();
    for _ in 0..template.padding.div_ceil(64) {
        subject.append_entry_by_text("OU", &"x".repeat(64)).unwrap();
    }
    let subject = subject.build();
    let mut serial = BigNum::new().unwrap();
    serial.rand(100, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&*subject, |issuer| issuer.cert.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    let day = |days: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Asn1Time::from_unix(now.as_secs() as i64 + days * 86_400).unwrap()
    };
    builder.set_not_before(&day(template.valid.0)).unwrap();
    builder.set_not_after(&day(template.valid.1)).unwrap();
    if template.ca {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let mut names = SubjectAlternativeName::new();
        match template.name.parse::<std::net::IpAddr>() {
            Ok(_) => names.ip(template.name),
            Err(_) => names.dns(template.name),
        };
        let extension = names.build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(extension).unwrap();
    }
    if !template.signs {
        builder.append_extension(KeyUsage::new().key_cert_sign().build().unwrap()).unwrap();
    }
    if template.responder {
        builder.append_extension(ExtendedKeyUsage::new().other("OCSPSigning").build().unwrap()).unwrap();
    }
    let signer = issuer.map_or(key, |issuer| &issuer.key);
    let edwards = matches!(signer.id(), Id::ED25519 | Id::ED448);
    let digest = if edwards { MessageDigest::null() } else { MessageDigest::sha256() };
    builder.sign(signer, digest).unwrap();
    Issued { cert: builder.build(), key: key.clone() }
}

pub fn ecdsa() -> Key {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub fn ed25519() -> Key {
    PKey::generate_ed25519().unwrap()
}

/// An RSA key of 2048 bits; slow to make, so there is one.
pub fn rsa() -> Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).clone()
}

/// An RSA key of 4096 bits; slower still.
pub fn rsa_4096() -> Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| PKey::from_rsa(Rsa::generate(4096).unwrap()).unwrap()).clone()
}

/// The CA that everybody in these tests trusts.
pub fn authority() -> &'static Issued {
    static CA: OnceLock<Issued> = OnceLock::new();
    CA.get_or_init(|| issue(&Template { name: "Test CA", ca: true, ..Template::default() }, &ecdsa(), None))
}

/// A certificate of the trusted CA.
pub fn trusted(name: &'static str, key: &Key) -> Issued {
    issue(&Template { name, ..Template::default() }, key, Some(authority()))
}

/// The usual server's.
pub fn server() -> &'static Issued {
    static SERVER: OnceLock<Issued> = OnceLock::new();
    SERVER.get_or_init(|| trusted("server.test", &ecdsa()))
}

/// The usual server's where RSA suites are tried.
pub fn rsa_server() -> &'static Issued {
    static SERVER: OnceLock<Issued> = OnceLock::new();
    SERVER.get_or_init(|| trusted("server.test", &rsa()))
}

/// The usual client's.
pub fn client() -> &'static Issued {
    static CLIENT: OnceLock<Issued> = OnceLock::new();
    CLIENT.get_or_init(|| trusted("client.test", &ecdsa()))
}
