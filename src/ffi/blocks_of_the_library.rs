//! Where all of OpenSSL's memory is the C library's: another OpenSSL than one of our own has other users, who
//! outlive this module, and elsewhere than on Linux pages are given back by other calls.

/// What a handshake leaves behind, which stays where it is.
#[derive(Clone, Copy, Default)]
pub struct Leavings;

/// Leaves OpenSSL its memory.
pub fn install() {}

/// Makes the first call of SSL_do_handshake(3) for a session.
pub fn beginning<T>(first_call: impl FnOnce() -> T) -> (T, Leavings) {
    (first_call(), Leavings)
}

/// Leaves it where it is.
pub fn discard(_: Leavings) {}

/// There is nothing to give back.
pub fn trim() {}

/// How many bytes are in use in blocks.
pub fn in_use() -> usize {
    0
}
