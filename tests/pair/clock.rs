//! The invented clock. OpenSSL's retransmission timer reads the wall clock by gettimeofday(2); this
//! binary brings a gettimeofday of its own, which the linker prefers to libc's, so a test waits for
//! nothing and repeats exactly. OpenSSL reads the validity of certificates by time(3), which is the real
//! one, but for whole days.
#![allow(unsafe_code)]

use libc::{c_int, c_void, time_t, timespec, timeval};
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

thread_local! {
    static DAYS: Cell<time_t> = const { Cell::new(0) };
}

/// Sets the date so many days after today's.
pub fn set_date(days: time_t) {
    DAYS.set(days);
}

/// time(3) on another day.
///
/// # Safety
///
/// As the system's: `out` is null or points to a time_t.
#[no_mangle]
pub unsafe extern "C" fn time(out: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills in the one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    let seconds = now.tv_sec + DAYS.get() * 86_400;
    if !out.is_null() {
        // SAFETY: not null, so it is the caller's time_t.
        unsafe { *out = seconds };
    }
    seconds
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
