//! The invented clock. OpenSSL's retransmission timer reads the wall clock by gettimeofday(2); this
//! binary brings a gettimeofday of its own, which the linker prefers to libc's, so a test waits for
//! nothing and repeats exactly. (OpenSSL reads the validity of certificates by time(3), the real one.)
#![allow(unsafe_code)]

use libc::{c_int, c_void, timeval};
use std::cell::Cell;

/// When every test begins, in seconds since 1970.
const EPOCH: u64 = 1_800_000_000;

thread_local! {
    /// Microseconds since 1970. Each test has a thread, and so a clock, of its own.
    static WALL_US: Cell<u64> = const { Cell::new(EPOCH * 1_000_000) };
}

/// Sets the wall clock to so many milliseconds after the beginning, before it if negative.
pub fn set(ms: i64) {
    WALL_US.set((EPOCH * 1_000_000).saturating_add_signed(ms * 1000));
}

/// Seconds since 1970, for the gate.
pub fn seconds() -> u64 {
    WALL_US.get() / 1_000_000
}

/// gettimeofday(2) with the invented time.
///
/// # Safety
///
/// As the system's: `time` points to a timeval.
#[no_mangle]
pub unsafe extern "C" fn gettimeofday(time: *mut timeval, _zone: *mut c_void) -> c_int {
    let us = WALL_US.get();
    // SAFETY: the caller, which is OpenSSL's ossl_time_now, passes its own local variable.
    unsafe { *time = timeval { tv_sec: (us / 1_000_000) as _, tv_usec: (us % 1_000_000) as _ } };
    0
}
