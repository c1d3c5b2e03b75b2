//! Raw public keys (RFC 7250), which OpenSSL has since 3.2.

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};
use openssl::ssl::SslRef;

/// What a peer may present itself with, by its number in the registry of TLS certificate types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CertificateType {
    /// An X.509 certificate, which is what everybody knows.
    X509 = 0,
    /// A public key, and nothing else.
    RawPublicKey = 2,
}

/// Whether this OpenSSL has them.
pub const AVAILABLE: bool = cfg!(raw_public_keys);

/// Whether a hello's signature_algorithms_cert crashes a server that has a key without a certificate: OpenSSL
/// looks for the certificate's own signature (CVE-2026-14457, `check_cert_usable`).
pub fn crashes_at_certificate_signatures() -> bool {
    // 0x30600040 is 3.6.4.
    let number = openssl::version::number();
    let (branch, patch) = (number >> 20, number >> 4 & 0xff);
    match branch {
        0x304 => patch < 7,
        0x305 => patch < 8,
        0x306 => patch < 4,
        0x400 => patch < 2,
        _ => branch < 0x304,
    }
}

/// Sets what a session's server may present itself with and what its client may, the best first, and
/// offers or accepts no others; nothing is said where a list is empty. SSL_set1_server_cert_type(3).
///
/// # Errors
///
/// OpenSSL's, where memory is exhausted.
#[cfg(raw_public_keys)]
pub fn set_certificate_types(
    ssl: &mut SslRef,
    server: &[CertificateType],
    client: &[CertificateType],
) -> Result<(), ErrorStack> {
    use foreign_types::ForeignTypeRef;
    use libc::{c_int, c_uchar};
    use openssl_sys::SSL;

    extern "C" {
        fn SSL_set1_server_cert_type(ssl: *mut SSL, list: *const c_uchar, length: usize) -> c_int;
        fn SSL_set1_client_cert_type(ssl: *mut SSL, list: *const c_uchar, length: usize) -> c_int;
    }
    type Set = unsafe extern "C" fn(*mut SSL, *const c_uchar, usize) -> c_int;

    for (set, list) in
        [(SSL_set1_server_cert_type as Set, server), (SSL_set1_client_cert_type as Set, client)]
    {
        let numbers: Vec<u8> = list.iter().map(|&each| each as u8).collect();
        // SAFETY: OpenSSL copies the list, which is alive and has that length.
        if !numbers.is_empty() && unsafe { set(ssl.as_ptr(), numbers.as_ptr(), numbers.len()) } != 1 {
            return Err(ErrorStack::get());
        }
    }
    Ok(())
}

/// The raw public key that the peer has presented, SSL_get0_peer_rpk(3).
#[cfg(raw_public_keys)]
pub fn peer_key(ssl: &SslRef) -> Option<PKey<Public>> {
    use foreign_types::ForeignTypeRef;
    use openssl::pkey::PKeyRef;
    use openssl_sys::{EVP_PKEY, SSL};

    extern "C" {
        fn SSL_get0_peer_rpk(ssl: *const SSL) -> *mut EVP_PKEY;
    }

    // SAFETY: returns null or a key that the borrowed session holds.
    let key = unsafe { SSL_get0_peer_rpk(ssl.as_ptr()) };
    // SAFETY: not null, and alive, as above; to_owned takes a reference of our own.
    (!key.is_null()).then(|| unsafe { PKeyRef::from_ptr(key) }.to_owned())
}

/// Whether it was agreed on that the client presents a raw public key, if it presents anything,
/// SSL_get_negotiated_client_cert_type(3).
#[cfg(raw_public_keys)]
pub fn is_asked_for(ssl: &SslRef) -> bool {
    use foreign_types::ForeignTypeRef;
    use openssl_sys::SSL;

    extern "C" {
        fn SSL_get_negotiated_client_cert_type(ssl: *const SSL) -> libc::c_int;
    }

    // SAFETY: reads a number of a session that is borrowed.
    let agreed = unsafe { SSL_get_negotiated_client_cert_type(ssl.as_ptr()) };
    agreed == CertificateType::RawPublicKey as libc::c_int
}

/// Nothing can be set where there is but one type.
#[cfg(not(raw_public_keys))]
pub fn set_certificate_types(
    _: &mut SslRef,
    _: &[CertificateType],
    _: &[CertificateType],
) -> Result<(), ErrorStack> {
    Ok(())
}

/// Nobody presents any.
#[cfg(not(raw_public_keys))]
pub fn peer_key(_: &SslRef) -> Option<PKey<Public>> {
    None
}

/// It never was.
#[cfg(not(raw_public_keys))]
pub fn is_asked_for(_: &SslRef) -> bool {
    false
}
