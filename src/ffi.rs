//! The few OpenSSL calls that the `openssl` crate lacks, and some of the system's, behind safe
//! signatures. All hand-written `unsafe` lives here.
#![allow(unsafe_code)]

#[cfg(batches)]
pub mod batch;
#[cfg_attr(not(all(feature = "vendored", target_os = "linux")), path = "ffi/blocks_of_the_library.rs")]
pub mod blocks;
pub mod heap;
pub mod raw_key;
pub mod socket;

use crate::datagram_bio::Wire;
use foreign_types::{ForeignType, ForeignTypeRef};
use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void, timeval};
use once_cell::sync::{Lazy, OnceCell};
use openssl::asn1::{Asn1IntegerRef, Asn1ObjectRef, Asn1OctetStringRef};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::nid::Nid;
use openssl::ocsp::OcspBasicResponseRef;
use openssl::ssl::{
    Ssl, SslCipherRef, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslRef, SslStream,
};
use openssl::stack::Stack;
use openssl::x509::store::{X509StoreBuilder, X509StoreRef};
use openssl::x509::{X509CrlRef, X509Ref, X509VerifyResult};
use openssl_sys as sys;
use std::ffi::{CStr, CString};
use std::time::Duration;

mod resumption;

pub use resumption::*;

/// An address that we never look at: DTLSv1_listen(3) insists on filling one in.
#[repr(C)]
struct BioAddr {
    _opaque: [u8; 0],
}

/// An entry of an OCSP response.
#[repr(C)]
struct SingleResponse {
    _opaque: [u8; 0],
}

type TimerCallback = unsafe extern "C" fn(*mut sys::SSL, c_uint) -> c_uint;

extern "C" {
    fn BIO_ADDR_new() -> *mut BioAddr;
    fn BIO_ADDR_free(address: *mut BioAddr);
    fn DTLSv1_listen(ssl: *mut sys::SSL, client: *mut BioAddr) -> c_int;
    fn DTLS_set_timer_cb(ssl: *mut sys::SSL, callback: TimerCallback);
    fn ERR_peek_error() -> c_ulong;
    fn SSL_free_buffers(ssl: *mut sys::SSL) -> c_int;
    fn SSL_CTX_use_psk_identity_hint(context: *mut sys::SSL_CTX, hint: *const c_char) -> c_int;
    fn SSL_get_psk_identity_hint(ssl: *const sys::SSL) -> *const c_char;
    fn SSL_CTX_get_security_callback(context: *const sys::SSL_CTX) -> Option<SecurityCallback>;
    fn SSL_CTX_set_security_callback(context: *mut sys::SSL_CTX, callback: SecurityCallback);
    fn SSL_get_pending_cipher(ssl: *const sys::SSL) -> *const sys::SSL_CIPHER;
    fn SSL_get1_supported_ciphers(ssl: *mut sys::SSL) -> *mut sys::stack_st_SSL_CIPHER;
    fn SSL_CTX_set_tlsext_max_fragment_length(context: *mut sys::SSL_CTX, code: u8) -> c_int;
    fn X509_STORE_add_crl(store: *mut sys::X509_STORE, list: *mut sys::X509_CRL) -> c_int;
    fn OCSP_resp_count(response: *mut sys::OCSP_BASICRESP) -> c_int;
    fn OCSP_resp_get0(response: *mut sys::OCSP_BASICRESP, index: c_int) -> *mut SingleResponse;
    fn OCSP_SINGLERESP_get0_id(single: *const SingleResponse) -> *const sys::OCSP_CERTID;
    fn OCSP_id_get0_info(
        issuer_name: *mut *mut sys::ASN1_OCTET_STRING,
        digest: *mut *mut sys::ASN1_OBJECT,
        issuer_key: *mut *mut sys::ASN1_OCTET_STRING,
        serial: *mut *mut sys::ASN1_INTEGER,
        id: *mut sys::OCSP_CERTID,
    ) -> c_int;
    fn SSL_SESSION_get_max_fragment_length(session: *const sys::SSL_SESSION) -> u8;
}

// Constants of <openssl/ssl.h> and <openssl/crypto.h>, part of the ABI.
const CTRL_SET_MTU: c_int = 17;
const CTRL_SET_MAX_CERT_LIST: c_int = 51;
const CTRL_DTLS_GET_TIMEOUT: c_int = 73;
const CTRL_DTLS_HANDLE_TIMEOUT: c_int = 74;
const CTRL_CHAIN_CERT: c_int = 89;
const CTRL_SET_DH_AUTO: c_int = 118;
const CTRL_SET_VERIFY_CERT_STORE: c_int = 106;
const CTRL_SET_MAX_PROTO_VERSION: c_int = 124;
const INIT_NO_LOAD_CONFIG: u64 = 0x80;
const INIT_NO_ATEXIT: u64 = 0x0008_0000;

/// Initialises OpenSSL without reading the host's `openssl.cnf` or `OPENSSL_CONF`, which are
/// meant for another OpenSSL than ours. Must come before anything else of OpenSSL.
pub fn init() {
    static INIT: Lazy<()> = Lazy::new(|| {
        blocks::install();
        // SAFETY: OPENSSL_init_ssl(3) takes any flags and a null settings pointer. NO_ATEXIT,
        // because the host may unload this module before the process ends.
        unsafe { sys::OPENSSL_init_ssl(INIT_NO_LOAD_CONFIG | INIT_NO_ATEXIT, std::ptr::null_mut()) };
        openssl::init();
    });
    Lazy::force(&INIT);
}

/// Empties this thread's error queue. Call it before each call into libssl, whose SSL_get_error(3)
/// takes a stale entry for the call's own, and after, so that ours is nobody's stale entry.
pub fn clear_errors() {
    // SAFETY: touches nothing but OpenSSL's own thread-local queue. Looking whether there is anything in it, as
    // there hardly ever is, costs a tenth of clearing all sixteen places.
    unsafe {
        if ERR_peek_error() != 0 {
            sys::ERR_clear_error();
        }
    }
}

/// Whether this OpenSSL has DTLS 1.3: if so, a context can be told to go so far.
pub fn has_dtls_1_3() -> bool {
    const DTLS_1_3: c_long = 0xfefc;
    init();
    let Ok(builder) = SslContext::builder(SslMethod::dtls()) else { return false };
    // SAFETY: the command checks and stores a number in a context that the builder owns.
    let outcome = unsafe {
        sys::SSL_CTX_ctrl(builder.as_ptr(), CTRL_SET_MAX_PROTO_VERSION, DTLS_1_3, std::ptr::null_mut())
    };
    clear_errors();
    outcome == 1
}

/// Fills `bytes` from OpenSSL's random generator.
///
/// # Panics
///
/// Where the system has no randomness: nothing that is built on it could be trusted.
pub fn random_bytes(bytes: &mut [u8]) {
    openssl::rand::rand_bytes(bytes).unwrap_or_else(|error| panic!("no randomness: {error}"));
}

/// What an alert's number means, in OpenSSL's words.
pub fn alert_description(description: u8) -> &'static str {
    // SAFETY: SSL_alert_desc_string_long(3) returns a static string for every number.
    let text = unsafe { CStr::from_ptr(sys::SSL_alert_desc_string_long(c_int::from(description))) };
    text.to_str().unwrap_or("unknown")
}

/// Gives a server session the ClientHello that lies on its wire and whose cookie the gate has
/// accepted; says whether OpenSSL goes on from it (DTLSv1_listen(3)).
pub fn listen(stream: &mut SslStream<Wire>) -> bool {
    // SAFETY: the SSL is borrowed mutably through its stream for the length of the call; the
    // address is ours, checked, and freed on the only way out.
    unsafe {
        let address = BIO_ADDR_new();
        if address.is_null() {
            return false;
        }
        let outcome = DTLSv1_listen(stream.ssl().as_ptr(), address);
        BIO_ADDR_free(address);
        outcome == 1
    }
}

/// How long until the running retransmission timer expires, DTLSv1_get_timeout(3).
pub fn timeout(ssl: &SslRef) -> Option<Duration> {
    let mut left = timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: the command writes one timeval, which `left` is.
    let running = unsafe {
        sys::SSL_ctrl(ssl.as_ptr(), CTRL_DTLS_GET_TIMEOUT, 0, std::ptr::from_mut(&mut left).cast())
    };
    let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
    let micros = u64::try_from(left.tv_usec).unwrap_or(0);
    (running == 1).then(|| Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Gives back the buffers that records are read into and written from, SSL_free_buffers(3): 16 KiB, which DTLS
/// takes anew for each attempt to read and keeps though there was nothing, whatever SSL_MODE_RELEASE_BUFFERS
/// says. Does nothing where something is left in one.
pub fn free_buffers(stream: &mut SslStream<Wire>) {
    // SAFETY: the SSL is borrowed mutably through its stream, so nobody is reading from it.
    unsafe {
        SSL_free_buffers(stream.ssl().as_ptr());
    }
}

/// Retransmits if the timer has expired, DTLSv1_handle_timeout(3). False where it expired once
/// too often and OpenSSL has given up.
pub fn handle_timeout(stream: &mut SslStream<Wire>) -> bool {
    // SAFETY: the SSL is borrowed mutably through its stream; the command takes no argument.
    let outcome =
        unsafe { sys::SSL_ctrl(stream.ssl().as_ptr(), CTRL_DTLS_HANDLE_TIMEOUT, 0, std::ptr::null_mut()) };
    outcome >= 0
}

static FIRST_TIMEOUT_US: Lazy<Index<Ssl, c_uint>> = Lazy::new(|| {
    // Fails only where memory is exhausted, long before any peer is involved.
    Ssl::new_ex_index().unwrap_or_else(|error| panic!("no index for session data: {error}"))
});

/// Sets the first retransmission timeout; it doubles with each to a minute, as OpenSSL's own.
///
/// OpenSSL takes a timer with 15 ms left for expired: a shorter one would expire at every read, and
/// the twelfth time is the last.
pub fn set_first_timeout(ssl: &mut SslRef, first_ms: u32) {
    const LEAST_MS: u32 = 20;
    ssl.set_ex_data(*FIRST_TIMEOUT_US, first_ms.max(LEAST_MS).saturating_mul(1000));
    // SAFETY: the callback is a plain function, valid for ever, and reads only what was set above.
    unsafe { DTLS_set_timer_cb(ssl.as_ptr(), next_timeout) };
}

unsafe extern "C" fn next_timeout(ssl: *mut sys::SSL, last_us: c_uint) -> c_uint {
    const MINUTE_US: c_uint = 60_000_000;
    if last_us > 0 {
        return last_us.saturating_mul(2).min(MINUTE_US);
    }
    // SAFETY: OpenSSL calls back with the SSL that the timer belongs to, alive during the call.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    ssl.ex_data(*FIRST_TIMEOUT_US).copied().unwrap_or(1_000_000)
}

/// Changes the MTU of a session that is under way, SSL_set_mtu(3). (The crate's wants the SSL
/// mutably, which its stream does not lend.)
pub fn set_mtu(ssl: &SslRef, bytes: u32) {
    // SAFETY: stores a number in an SSL that nothing else is using: the session is borrowed.
    unsafe { sys::SSL_ctrl(ssl.as_ptr(), CTRL_SET_MTU, c_long::from(bytes), std::ptr::null_mut()) };
}

/// OpenSSL's name of the cipher suite that has been agreed on, if one has.
pub fn pending_suite(ssl: &SslRef) -> Option<&'static str> {
    // SAFETY: returns null or a pointer into OpenSSL's static table of suites.
    let pending = unsafe { SSL_get_pending_cipher(ssl.as_ptr()) };
    if pending.is_null() {
        return None;
    }
    // SAFETY: not null, and static, as above. (The crate's type wants a mutable pointer and only reads.)
    let cipher = unsafe { SslCipherRef::from_ptr(pending.cast_mut()) };
    Some(cipher.name())
}

/// OpenSSL's name of the cipher suite in use, or else of the one that has been agreed on.
pub fn suite(ssl: &SslRef) -> Option<&'static str> {
    ssl.current_cipher().map(SslCipherRef::name).or_else(|| pending_suite(ssl))
}

/// Tells clients which pre-shared key to use, SSL_CTX_use_psk_identity_hint(3).
pub fn use_psk_identity_hint(builder: &mut SslContextBuilder, hint: &[u8]) -> Result<(), ErrorStack> {
    let text = CString::new(hint).map_err(|_| ErrorStack::get())?;
    // SAFETY: the context copies the string, which is terminated and alive.
    let outcome = unsafe { SSL_CTX_use_psk_identity_hint(builder.as_ptr(), text.as_ptr()) };
    (outcome == 1).then_some(()).ok_or_else(ErrorStack::get)
}

/// The hint that the server has given, SSL_get_psk_identity_hint(3).
pub fn psk_identity_hint(ssl: &SslRef) -> Option<Vec<u8>> {
    // SAFETY: returns null or a terminated string that the borrowed session keeps.
    let hint = unsafe { SSL_get_psk_identity_hint(ssl.as_ptr()) };
    // SAFETY: not null, and terminated, as above.
    (!hint.is_null()).then(|| unsafe { CStr::from_ptr(hint) }.to_bytes().to_vec())
}

/// Lets clients ask for records of 256 << `code` bytes at most, `code` being 1 to 4,
/// SSL_CTX_set_tlsext_max_fragment_length(3).
pub fn ask_for_fragment_length(builder: &mut SslContextBuilder, code: u8) {
    // SAFETY: checks and stores a number.
    unsafe { SSL_CTX_set_tlsext_max_fragment_length(builder.as_ptr(), code) };
}

/// The plaintext that a record may hold where RFC 6066's max_fragment_length was negotiated.
pub fn max_fragment_length(ssl: &SslRef) -> Option<usize> {
    let session = ssl.session()?;
    // SAFETY: reads a field of a session that the borrowed SSL holds.
    let code = unsafe { SSL_SESSION_get_max_fragment_length(session.as_ptr()) };
    (1..=4).contains(&code).then(|| 256 << code)
}

/// A cipher suite that a context has enabled.
pub struct Suite {
    /// OpenSSL's name.
    pub name: String,
    /// The protocol version it belongs to, as OpenSSL writes it.
    pub version: String,
}

/// The suites that sessions of this context will really offer or accept, after versions and
/// security level have had their say, SSL_get1_supported_ciphers(3).
pub fn supported_suites(context: &SslContextRef) -> Result<Vec<Suite>, ErrorStack> {
    let ssl = Ssl::new(context)?;
    // SAFETY: returns null or a new stack of pointers into a static table; the stack is ours.
    let list = unsafe { SSL_get1_supported_ciphers(ssl.as_ptr()) };
    if list.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: not null, and owned by us, as above. Its entries are static: freeing them is a no-op.
    let list = unsafe { <Stack<openssl::ssl::SslCipher> as ForeignType>::from_ptr(list) };
    let suite =
        |cipher: &SslCipherRef| Suite { name: cipher.name().into(), version: cipher.version().into() };
    Ok(list.iter().map(suite).collect())
}

/// An X509_V_* number as the crate's type.
pub fn verify_result(code: c_int) -> X509VerifyResult {
    // SAFETY: the type is a number, and every number has an error string.
    unsafe { X509VerifyResult::from_raw(code) }
}

/// Adds an intermediate to the chain of the certificate that was set last. (The crate's
/// `add_extra_chain_cert` has one chain for all certificates.)
pub fn add_chain_certificate(
    builder: &mut SslContextBuilder,
    certificate: &X509Ref,
) -> Result<(), ErrorStack> {
    const TAKE_REFERENCE: c_long = 1;
    // SAFETY: with TAKE_REFERENCE the context holds a reference of its own; ours stays ours.
    let outcome = unsafe {
        sys::SSL_CTX_ctrl(
            builder.as_ptr(),
            CTRL_CHAIN_CERT,
            TAKE_REFERENCE,
            certificate.as_ptr().cast::<c_void>(),
        )
    };
    if outcome == 1 {
        Ok(())
    } else {
        Err(ErrorStack::get())
    }
}

/// Lets a server take a group that is as strong as the rest for DHE, SSL_CTX_set_dh_auto(3).
pub fn choose_dh_group(builder: &mut SslContextBuilder) {
    // SAFETY: stores a number.
    unsafe { sys::SSL_CTX_ctrl(builder.as_ptr(), CTRL_SET_DH_AUTO, 1, std::ptr::null_mut()) };
}

type SecurityCallback = unsafe extern "C" fn(
    *const sys::SSL,
    *const sys::SSL_CTX,
    c_int,
    c_int,
    c_int,
    *mut c_void,
    *mut c_void,
) -> c_int;

/// OpenSSL's own judgement of what a security level permits.
static DEFAULT_SECURITY: OnceCell<SecurityCallback> = OnceCell::new();

/// Permits the suites with AES-CCM_8, whose 64-bit tag no security level above 0 permits, and
/// changes nothing else of the level, SSL_CTX_set_security_callback(3).
pub fn allow_ccm8(builder: &mut SslContextBuilder) {
    // SAFETY: reads and stores a function pointer; both functions are there for ever.
    unsafe {
        if let Some(default) = SSL_CTX_get_security_callback(builder.as_ptr()) {
            DEFAULT_SECURITY.get_or_init(|| default);
            SSL_CTX_set_security_callback(builder.as_ptr(), permit_ccm8);
        }
    }
}

unsafe extern "C" fn permit_ccm8(
    ssl: *const sys::SSL,
    context: *const sys::SSL_CTX,
    operation: c_int,
    bits: c_int,
    nid: c_int,
    other: *mut c_void,
    extra: *mut c_void,
) -> c_int {
    // SSL_SECOP_CIPHER_SUPPORTED, _SHARED and _CHECK of <openssl/ssl.h>: `other` is a cipher suite.
    const OTHER_CIPHER: c_int = 1 << 16;
    if operation & !0xffff == OTHER_CIPHER && !other.is_null() {
        // SAFETY: for these operations OpenSSL passes a pointer into its static table of suites.
        let suite = unsafe { SslCipherRef::from_ptr(other.cast()) };
        if suite.name().ends_with("CCM8") {
            return 1;
        }
    }
    // SAFETY: the arguments are passed on as they came. There is a default: see `allow_ccm8`.
    DEFAULT_SECURITY
        .get()
        .map_or(0, |default| unsafe { default(ssl, context, operation, bits, nid, other, extra) })
}

/// Limits the length of a peer's certificate chain, SSL_CTX_set_max_cert_list(3).
pub fn set_max_certificate_list(builder: &mut SslContextBuilder, bytes: usize) {
    // SAFETY: stores a number.
    unsafe {
        sys::SSL_CTX_ctrl(builder.as_ptr(), CTRL_SET_MAX_CERT_LIST, bytes as c_long, std::ptr::null_mut())
    };
}

/// Adds a revocation list to a store, X509_STORE_add_crl(3).
pub fn add_crl(builder: &mut X509StoreBuilder, list: &X509CrlRef) -> Result<(), ErrorStack> {
    // SAFETY: both are borrowed; the store holds a reference of its own to the list, ours stays ours.
    let outcome = unsafe { X509_STORE_add_crl(builder.as_ptr(), list.as_ptr()) };
    (outcome == 1).then_some(()).ok_or_else(ErrorStack::get)
}

/// A certificate by its issuer's name, hashed, and its serial number: how an OCSP response names it.
pub struct CertificateId {
    /// The hash.
    pub digest: Nid,
    /// The issuer's name under it.
    pub issuer_name: Vec<u8>,
    /// The serial number.
    pub serial: BigNum,
}

/// Which certificates an OCSP response is about, OCSP_id_get0_info(3).
pub fn certificate_ids(response: &OcspBasicResponseRef) -> Vec<CertificateId> {
    let read = |index| {
        let (mut issuer_name, mut digest, mut serial) =
            (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the index is below the count, so there is an entry, and an entry has an id. All that is
        // pointed to belongs to the borrowed response, and is copied while it is.
        unsafe {
            let id = OCSP_SINGLERESP_get0_id(OCSP_resp_get0(response.as_ptr(), index));
            OCSP_id_get0_info(
                &mut issuer_name,
                &mut digest,
                std::ptr::null_mut(),
                &mut serial,
                id.cast_mut(),
            );
            Some(CertificateId {
                digest: Asn1ObjectRef::from_ptr(digest).nid(),
                issuer_name: Asn1OctetStringRef::from_ptr(issuer_name).as_slice().to_vec(),
                serial: Asn1IntegerRef::from_ptr(serial).to_bn().ok()?,
            })
        }
    };
    // SAFETY: reads a number of a response that is borrowed.
    let count = unsafe { OCSP_resp_count(response.as_ptr()) };
    (0..count).filter_map(read).collect()
}

/// Lets a session verify its peer against this store, SSL_set1_verify_cert_store(3).
pub fn set_verify_store(ssl: &mut SslRef, store: &X509StoreRef) {
    const TAKE_REFERENCE: c_long = 1;
    // SAFETY: with TAKE_REFERENCE the session holds a reference of its own; ours stays ours.
    unsafe {
        sys::SSL_ctrl(
            ssl.as_ptr(),
            CTRL_SET_VERIFY_CERT_STORE,
            TAKE_REFERENCE,
            store.as_ptr().cast::<c_void>(),
        )
    };
}
