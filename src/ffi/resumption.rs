//! OpenSSL's side of resumption: tickets, session ids, and how long a session lives.

use super::*;
use crate::desk::Desk;
use crate::ticket::TicketKey;
use foreign_types::ForeignTypeRef;
use libc::c_uchar;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtxRef;
use openssl::ssl::{SslSession, SslSessionRef};

type TicketKeyCallback = unsafe extern "C" fn(
    *mut sys::SSL,
    *mut c_uchar,
    *mut c_uchar,
    *mut sys::EVP_CIPHER_CTX,
    *mut sys::EVP_MAC_CTX,
    c_int,
) -> c_int;
type NotResumableCallback = unsafe extern "C" fn(*mut sys::SSL, c_int) -> c_int;

extern "C" {
    fn SSL_CTX_set_tlsext_ticket_key_evp_cb(context: *mut sys::SSL_CTX, callback: TicketKeyCallback)
        -> c_int;
    fn SSL_set_options(ssl: *mut sys::SSL, options: u64) -> u64;
    fn SSL_CTX_set_timeout(context: *mut sys::SSL_CTX, seconds: c_long) -> c_long;
    fn SSL_set_not_resumable_session_callback(ssl: *mut sys::SSL, callback: NotResumableCallback);
    fn SSL_set_session_id_context(ssl: *mut sys::SSL, bytes: *const c_uchar, length: c_uint) -> c_int;
    fn SSL_get_psk_identity(ssl: *const sys::SSL) -> *const c_char;
    fn SSL_SESSION_set_timeout(session: *mut sys::SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_SESSION_set1_id(session: *mut sys::SSL_SESSION, id: *const c_uchar, length: c_uint) -> c_int;
    fn SSL_SESSION_is_resumable(session: *const sys::SSL_SESSION) -> c_int;
    fn SSL_SESSION_get_ticket_lifetime_hint(session: *const sys::SSL_SESSION) -> c_ulong;
    fn SSL_SESSION_set1_ticket_appdata(
        session: *mut sys::SSL_SESSION,
        data: *const c_void,
        length: usize,
    ) -> c_int;
    fn SSL_SESSION_get0_ticket_appdata(
        session: *mut sys::SSL_SESSION,
        data: *mut *mut c_void,
        length: *mut usize,
    ) -> c_int;
    fn OSSL_PARAM_construct_utf8_string(
        key: *const c_char,
        text: *mut c_char,
        length: usize,
    ) -> sys::OSSL_PARAM;
}

/// What the ticket callback returns: go on without a ticket, or with a full handshake.
const NO_TICKET: c_int = 0;
const SEALED_OR_OPENED: c_int = 1;
const OPENED_BUT_TO_BE_RENEWED: c_int = 2;
const FAILED: c_int = -1;

/// The wall clock as OpenSSL reads it for the age of sessions (gettimeofday(2)), in seconds since 1970.
pub fn wall_seconds() -> u64 {
    let mut now = timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: fills in the one timeval; no time zone is wanted.
    unsafe { libc::gettimeofday(&mut now, std::ptr::null_mut()) };
    u64::try_from(now.tv_sec).unwrap_or(0)
}

/// Lets the sessions of a context seal and open tickets with the ring on their desk,
/// SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
pub fn use_ticket_keys(builder: &mut SslContextBuilder) {
    // SAFETY: the callback is a plain function, valid for ever, and reaches no further than the desk.
    unsafe { SSL_CTX_set_tlsext_ticket_key_evp_cb(builder.as_ptr(), seal_or_open) };
}

unsafe extern "C" fn seal_or_open(
    ssl: *mut sys::SSL,
    name: *mut c_uchar,
    iv: *mut c_uchar,
    cipher: *mut sys::EVP_CIPHER_CTX,
    mac: *mut sys::EVP_MAC_CTX,
    sealing: c_int,
) -> c_int {
    const IV: usize = 16;
    // SAFETY: OpenSSL calls back with the SSL whose ticket it is, alive during the call.
    let ssl = unsafe { SslRef::from_ptr(ssl) };
    // SAFETY: the name has room for 16 bytes, the IV for EVP_MAX_IV_LENGTH, which is 16; they are
    // OpenSSL's to write where it opens and ours where it seals, and nobody else's meanwhile.
    let (name, iv) =
        unsafe { (std::slice::from_raw_parts_mut(name, 16), std::slice::from_raw_parts_mut(iv, IV)) };
    // SAFETY: OpenSSL has made the context for this call.
    let cipher = unsafe { CipherCtxRef::from_ptr_mut(cipher) };
    let Some(keys) = Desk::of(ssl).papers().tickets.clone() else { return NO_TICKET };
    let (key, outcome, begun) = if sealing == 1 {
        let key = keys.to_seal();
        name.copy_from_slice(&key.name);
        let drawn = openssl::rand::rand_bytes(iv);
        let aes = Some(Cipher::aes_256_cbc());
        let begun = drawn.and_then(|()| cipher.encrypt_init(aes, Some(&*key.cipher), Some(iv)));
        (key, SEALED_OR_OPENED, begun)
    } else {
        let Some((key, newest)) = keys.to_open(name) else { return NO_TICKET };
        let begun = cipher.decrypt_init(Some(Cipher::aes_256_cbc()), Some(&*key.cipher), Some(iv));
        (key, if newest { SEALED_OR_OPENED } else { OPENED_BUT_TO_BE_RENEWED }, begun)
    };
    // SAFETY: OpenSSL has made the MAC context for this call, too.
    let keyed = begun.is_ok() && unsafe { key_mac(mac, &key) };
    if keyed {
        outcome
    } else {
        FAILED
    }
}

/// Keys a context of HMAC-SHA256.
///
/// # Safety
///
/// The context must be alive, and HMAC's.
unsafe fn key_mac(mac: *mut sys::EVP_MAC_CTX, key: &TicketKey) -> bool {
    // SAFETY: the parameters live until the end of the block, and OpenSSL copies what they point to;
    // it writes to none of them.
    unsafe {
        let params = [
            sys::OSSL_PARAM_construct_octet_string(
                c"key".as_ptr(),
                key.mac.as_ptr().cast_mut().cast(),
                key.mac.len(),
            ),
            OSSL_PARAM_construct_utf8_string(c"digest".as_ptr(), c"SHA256".as_ptr().cast_mut(), 0),
            sys::OSSL_PARAM_construct_end(),
        ];
        sys::EVP_MAC_CTX_set_params(mac, params.as_ptr()) == 1
    }
}

/// Lets a server of this context find sessions by the id that a client names only in the one that lies
/// on the desk, SSL_CTX_sess_set_get_cb(3).
pub fn use_session_on_desk(builder: &mut SslContextBuilder) {
    // SAFETY: the session was read from bytes and is in no other context's cache.
    unsafe {
        builder.set_get_session_callback(|ssl, _id| Desk::of(ssl).papers().cached.take());
    }
}

/// Says how long sessions of a context may be resumed, SSL_CTX_set_timeout(3).
pub fn set_lifetime(builder: &mut SslContextBuilder, seconds: u32) {
    // SAFETY: stores a number.
    unsafe { SSL_CTX_set_timeout(builder.as_ptr(), c_long::from(seconds as i32)) };
}

/// Shortens the life of a session that is not older than that, SSL_SESSION_set_timeout(3).
pub fn shorten_lifetime(session: &SslSessionRef, seconds: i64) {
    if seconds < session.timeout() {
        // SAFETY: stores a number, under OpenSSL's own lock where the session is in a cache.
        unsafe { SSL_SESSION_set_timeout(session.as_ptr(), seconds as c_long) };
    }
}

/// Says to what a server's session belongs: another context's is not resumed in it,
/// SSL_set_session_id_context(3).
pub fn set_session_id_context(ssl: &SslRef, context: &[u8; 32]) {
    // SAFETY: OpenSSL copies the 32 bytes, which is all it has room for, into the borrowed session.
    unsafe { SSL_set_session_id_context(ssl.as_ptr(), context.as_ptr(), context.len() as c_uint) };
}

/// Lets a server neither seal a ticket for a session nor give it an id,
/// SSL_set_not_resumable_session_callback(3).
pub fn forbid_resumption(ssl: &SslRef) {
    unsafe extern "C" fn never(ssl: *mut sys::SSL, _forward_secret: c_int) -> c_int {
        const NONE: c_uint = 0;
        // SAFETY: OpenSSL calls back with an SSL that is alive and whose session, if it has one yet, is
        // its own; of the empty id nothing is read. (OpenSSL would give it an id all the same.)
        unsafe {
            let session = sys::SSL_get_session(ssl);
            if !session.is_null() {
                SSL_SESSION_set1_id(session, [0].as_ptr(), NONE);
            }
        }
        1
    }
    // SAFETY: the callback is a plain function, valid for ever.
    unsafe { SSL_set_not_resumable_session_callback(ssl.as_ptr(), never) };
}

/// Has a session overlook tickets, SSL_OP_NO_TICKET of SSL_set_options(3).
pub fn ignore_tickets(ssl: &SslRef) {
    // SAFETY: sets a bit in a borrowed session.
    unsafe { SSL_set_options(ssl.as_ptr(), sys::SSL_OP_NO_TICKET) };
}

/// Lets a client that has not begun yet offer to resume a session, SSL_set_session(3).
pub fn offer(ssl: &mut SslRef, session: &SslSessionRef) -> Result<(), ErrorStack> {
    // SAFETY: the session was read from bytes, so no other context knows it.
    unsafe { ssl.set_session(session) }
}

/// Whether the other end could resume the session, SSL_SESSION_is_resumable(3).
pub fn is_resumable(session: &SslSessionRef) -> bool {
    // SAFETY: reads fields of a session that is borrowed.
    unsafe { SSL_SESSION_is_resumable(session.as_ptr()) == 1 }
}

/// For how many seconds a session may be resumed: as long as both ends would have it.
pub fn lifetime(session: &SslSessionRef) -> i64 {
    // SAFETY: reads a field of a session that is borrowed.
    let hint = unsafe { SSL_SESSION_get_ticket_lifetime_hint(session.as_ptr()) };
    // 0 is no hint (RFC 5077 section 3.3).
    let hint = i64::try_from(hint).ok().filter(|&hint| hint > 0);
    session.timeout().min(hint.unwrap_or(i64::MAX))
}

/// The identity by which a pre-shared key was chosen, in this session or in the one that it resumes,
/// SSL_get_psk_identity(3).
pub fn psk_identity(ssl: &SslRef) -> Option<Vec<u8>> {
    // SAFETY: returns null or a terminated string that the borrowed session keeps.
    let identity = unsafe { SSL_get_psk_identity(ssl.as_ptr()) };
    // SAFETY: not null, and terminated, as above.
    (!identity.is_null()).then(|| unsafe { CStr::from_ptr(identity) }.to_bytes().to_vec())
}

/// Writes something into a server's session that goes wherever it goes,
/// SSL_SESSION_set1_ticket_appdata(3).
pub fn set_note(session: &SslSessionRef, note: &[u8]) {
    // SAFETY: OpenSSL copies the bytes into a session that is in no cache yet, and so nobody else's.
    unsafe { SSL_SESSION_set1_ticket_appdata(session.as_ptr(), note.as_ptr().cast(), note.len()) };
}

/// What was written into a session; empty where nothing was.
pub fn note(session: &SslSessionRef) -> Vec<u8> {
    let (mut data, mut length) = (std::ptr::null_mut(), 0);
    // SAFETY: fills in a pointer into the borrowed session, and how much is there.
    unsafe { SSL_SESSION_get0_ticket_appdata(session.as_ptr(), &mut data, &mut length) };
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: not null, and so long, as above; copied before the session can change.
    unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec()
}

/// Reads a session, SSL_SESSION in DER (d2i_SSL_SESSION(3)), that fills its bytes to the last.
pub fn read_session(der: &[u8]) -> Option<SslSession> {
    let session = SslSession::from_der(der).ok();
    clear_errors();
    session.filter(|session| session.to_der().is_ok_and(|again| again.len() == der.len()))
}
