//! Revocation lists (RFC 5280 section 5) and OCSP responses (RFC 6960 section 4.2), honest and not: put
//! together byte by byte, since a test wants what no tool would make.

use super::certificates::Issued;
use openssl::hash::{hash, MessageDigest};
use openssl::sign::Signer;
use openssl::x509::X509;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// AlgorithmIdentifier of ecdsa-with-SHA256 and of SHA-1.
const ECDSA_SHA256: [u8; 12] = [0x30, 10, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SHA1: [u8; 11] = [0x30, 9, 0x06, 5, 0x2b, 14, 3, 2, 26, 0x05, 0];
/// AlgorithmIdentifier of SHA-256.
const SHA256: [u8; 15] = [0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 0x05, 0];
/// id-pkix-ocsp-basic.
const OCSP_BASIC: [u8; 11] = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 48, 1, 1];

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=127 => out.push(length as u8),
        128..=255 => out.extend([0x81, length as u8]),
        256..=65_535 => out.extend([0x82, (length >> 8) as u8, length as u8]),
        _ => out.extend([0x83, (length >> 16) as u8, (length >> 8) as u8, length as u8]),
    }
    out.extend(content);
    out
}

/// A time so many days from now.
fn time(days: i64) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = now.as_secs() as i64 + days * 86_400;
    // Civil date of a day number, with years that begin in March.
    let (day, second) = (at.div_euclid(86_400) + 719_468, at.rem_euclid(86_400));
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let text = format!("{:04}{month:02}{date:02}{hour:02}{minute:02}{second:02}Z", era * 400 + year + next);
    element(GENERALIZED_TIME, &[text.as_bytes()])
}

fn serial(certificate: &X509) -> Vec<u8> {
    let number = certificate.serial_number().to_bn().unwrap().to_vec();
    let sign: &[u8] = if number[0] < 0x80 { &[] } else { &[0] };
    element(INTEGER, &[sign, &number])
}

/// What is to be signed, signed: with an ECDSA key.
fn signed(content: &[u8], signer: &Issued, more: &[u8]) -> Vec<u8> {
    let mut by = Signer::new(MessageDigest::sha256(), &signer.key).unwrap();
    by.update(content).unwrap();
    let signature = by.sign_to_vec().unwrap();
    element(SEQUENCE, &[content, &ECDSA_SHA256, &element(BIT_STRING, &[&[0], &signature]), more])
}

/// A CA's revocation list in PEM, valid between these days from today.
pub fn crl(issuer: &Issued, revoked: &[&X509], valid: (i64, i64)) -> Vec<u8> {
    let entries: Vec<Vec<u8>> =
        revoked.iter().map(|each| element(SEQUENCE, &[&serial(each), &time(-1)])).collect();
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let list = if entries.is_empty() { Vec::new() } else { element(SEQUENCE, &entries) };
    let name = issuer.cert.subject_name().to_der().unwrap();
    let content = element(SEQUENCE, &[&ECDSA_SHA256, &name, &time(valid.0), &time(valid.1), &list]);
    let der = signed(&content, issuer, &[]);
    openssl::x509::X509Crl::from_der(&der).unwrap().to_pem().unwrap()
}

/// What an OCSP responder says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked,
    Unknown,
}

/// What an OCSP response is made of.
#[derive(Clone)]
pub struct Answer {
    pub status: Status,
    /// In days from today; without the second there is no nextUpdate.
    pub valid: (i64, Option<i64>),
    /// Which hash the certificate is named with: SHA-256, or SHA-1, as most responders do.
    pub sha256: bool,
    /// Certificates that go with it.
    pub certificates: Vec<X509>,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { status: Status::Good, valid: (-1, Some(1)), sha256: false, certificates: Vec::new() }
    }
}

impl Answer {
    /// The response about a certificate of this issuer's, in DER.
    pub fn about(&self, certificate: &X509, issuer: &Issued, signer: &Issued) -> Vec<u8> {
        let digest = if self.sha256 { MessageDigest::sha256() } else { MessageDigest::sha1() };
        let algorithm: &[u8] = if self.sha256 { &SHA256 } else { &SHA1 };
        let name = hash(digest, &issuer.cert.subject_name().to_der().unwrap()).unwrap();
        // The point of a P-256 key, which is the end of its SubjectPublicKeyInfo.
        let spki = issuer.key.public_key_to_der().unwrap();
        let key = hash(digest, &spki[spki.len() - 65..]).unwrap();
        let id = element(
            SEQUENCE,
            &[
                algorithm,
                &element(OCTET_STRING, &[&name]),
                &element(OCTET_STRING, &[&key]),
                &serial(certificate),
            ],
        );
        let status = match self.status {
            Status::Good => element(0x80, &[]),
            Status::Revoked => element(0xa1, &[&time(-1)]),
            Status::Unknown => element(0x82, &[]),
        };
        let next = self.valid.1.map(|day| element(0xa0, &[&time(day)])).unwrap_or_default();
        let single = element(SEQUENCE, &[&id, &status, &time(self.valid.0), &next]);
        let responder = element(0xa1, &[&signer.cert.subject_name().to_der().unwrap()]);
        let content = element(SEQUENCE, &[&responder, &time(self.valid.0), &element(SEQUENCE, &[&single])]);
        let certificates: Vec<Vec<u8>> =
            self.certificates.iter().map(|each| each.to_der().unwrap()).collect();
        let certificates: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
        let more = match certificates.len() {
            0 => Vec::new(),
            _ => element(0xa0, &[&element(SEQUENCE, &certificates)]),
        };
        let basic = element(OCTET_STRING, &[&signed(&content, signer, &more)]);
        let bytes = element(0xa0, &[&element(SEQUENCE, &[&OCSP_BASIC, &basic])]);
        element(SEQUENCE, &[&element(ENUMERATED, &[&[0]]), &bytes])
    }
}

/// A responder that has no answer, "try later".
pub fn no_answer() -> Vec<u8> {
    element(SEQUENCE, &[&element(ENUMERATED, &[&[3]])])
}
