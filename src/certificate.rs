//! Certificates as users see them: described, and made on the spot.

use crate::ffi;
use crate::fingerprint::Fingerprint;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509Name, X509NameRef, X509Ref, X509};
use std::net::IpAddr;

/// What a certificate says, in Node's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Attributes of the subject by short name (`CN`, `O`, …), in order.
    pub subject: Vec<(String, String)>,
    /// Attributes of the issuer.
    pub issuer: Vec<(String, String)>,
    /// Names and addresses, as `DNS:example.org` and `IP:192.0.2.1`.
    pub subject_alt_name: Vec<String>,
    /// In upper-case hexadecimal.
    pub serial_number: String,
    /// As OpenSSL prints it: `Nov 20 12:00:00 2026 GMT`.
    pub valid_from: String,
    /// Likewise.
    pub valid_to: String,
    /// Its [`Fingerprint`].
    pub fingerprint256: String,
    /// The certificate itself.
    pub pem: Vec<u8>,
    /// The certificate itself.
    pub der: Vec<u8>,
}

impl Description {
    /// Describes a certificate.
    ///
    /// # Errors
    ///
    /// OpenSSL's, where a part of the certificate cannot be printed.
    pub fn of(certificate: &X509Ref) -> Result<Description, ErrorStack> {
        Ok(Description {
            subject: attributes(certificate.subject_name()),
            issuer: attributes(certificate.issuer_name()),
            subject_alt_name: alternative_names(certificate),
            serial_number: certificate.serial_number().to_bn()?.to_hex_str()?.to_string(),
            valid_from: certificate.not_before().to_string(),
            valid_to: certificate.not_after().to_string(),
            fingerprint256: Fingerprint::of(certificate)?.to_string(),
            pem: certificate.to_pem()?,
            der: certificate.to_der()?,
        })
    }
}

fn attributes(name: &X509NameRef) -> Vec<(String, String)> {
    let read = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry.data().to_string();
        (key, value.unwrap_or_else(|_| String::from_utf8_lossy(entry.data().as_slice()).into_owned()))
    };
    let list = name.entries().map(read).collect();
    ffi::clear_errors();
    list
}

fn alternative_names(certificate: &X509Ref) -> Vec<String> {
    let Some(names) = certificate.subject_alt_names() else { return Vec::new() };
    let read = |name: &openssl::x509::GeneralNameRef| {
        if let Some(dns) = name.dnsname() {
            return Some(format!("DNS:{dns}"));
        }
        if let Some(email) = name.email() {
            return Some(format!("email:{email}"));
        }
        if let Some(uri) = name.uri() {
            return Some(format!("URI:{uri}"));
        }
        let bytes = name.ipaddress()?;
        let address = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let address = address.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
        Some(format!("IP:{address}"))
    };
    names.iter().filter_map(read).collect()
}

/// A certificate made by [`generate`], with its key.
pub struct Generated {
    /// The certificate in PEM.
    pub cert: Vec<u8>,
    /// Its private key in PEM (PKCS #8).
    pub key: Vec<u8>,
    /// The certificate's [`Fingerprint`].
    pub fingerprint256: String,
}

/// Makes a self-signed ECDSA P-256 certificate for `names` (host names and IP addresses; the first
/// is the common name too), valid from an hour ago (clocks differ) for `days`.
///
/// # Errors
///
/// OpenSSL's, where a name does not fit a certificate.
pub fn generate(names: &[String], days: u32) -> Result<Generated, ErrorStack> {
    const HOUR: i64 = 3600;
    const VERSION_3: i32 = 2;
    const LONGEST_COMMON_NAME: usize = 64;
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut subject = X509Name::builder()?;
    if let Some(first) = names.first().filter(|name| name.len() <= LONGEST_COMMON_NAME) {
        subject.append_entry_by_nid(Nid::COMMONNAME, first)?;
    }
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(VERSION_3)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(&key)?;
    let start = unix_now() - HOUR;
    builder.set_not_before(Asn1Time::from_unix(start)?.as_ref())?;
    builder.set_not_after(Asn1Time::from_unix(start + HOUR + i64::from(days) * 24 * HOUR)?.as_ref())?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
    if !names.is_empty() {
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let extension = alternatives.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(extension)?;
    }
    builder.sign(&key, MessageDigest::sha256())?;
    let certificate = builder.build();
    Ok(Generated {
        cert: certificate.to_pem()?,
        key: key.private_key_to_pem_pkcs8()?,
        fingerprint256: Fingerprint::of(&certificate)?.to_string(),
    })
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |age| age.as_secs() as i64)
}
