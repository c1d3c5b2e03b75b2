//! What a peer that has proved its address and nothing else can make us keep.
//!
//! OpenSSL's part is read from the C library's counters, which glibc alone has.
#![cfg(target_env = "gnu")]
#![allow(unsafe_code)]

mod pair;

use pair::dice::Trying;
use pair::forge::{fragment, record};
use pair::{Pair, Setup, Side};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};

/// The most that an open session of a server may occupy that neither sends nor receives, in bytes.
const MOST_WHEN_IDLE: i64 = 32 * 1024;
/// The most that may be pinned in one session of a server, in bytes.
const MOST: i64 = 32 * 1024;
/// The same where it asks its peers for a certificate chain.
const MOST_WITH_CHAIN: i64 = 44 * 1024;
/// The same in a client's, which must be ready for a server's certificate chain.
const MOST_IN_A_CLIENT: i64 = 96 * 1024;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, which counts what this thread holds: Rust's part, without OpenSSL's.
struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as i64);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as i64);
        System.dealloc(pointer, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What the whole process has allocated, OpenSSL included, in bytes.
fn allocated() -> i64 {
    in_heap() + dtls_core::bytes_in_blocks() as i64
}

/// The same with those pages alone, of OpenSSL's large blocks, that are there. Free ones are not.
fn occupied() -> i64 {
    dtls_core::trim_heap();
    in_heap() + resident_in_blocks()
}

fn in_heap() -> i64 {
    // SAFETY: mallinfo2(3) reads counters.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd) as i64
}

/// How much of OpenSSL's large blocks is there, in bytes: nothing else is mapped without huge pages, which
/// proc_pid_smaps(5) tells behind each mapping's figures.
fn resident_in_blocks() -> i64 {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut sum, mut kib) = (0, 0);
    for line in smaps.lines() {
        if let Some(figure) = line.strip_prefix("Rss:") {
            kib = figure.trim().trim_end_matches(" kB").parse().unwrap();
        } else if line.starts_with("VmFlags:") && line.contains(" nh") {
            sum += kib * 1024;
        }
    }
    sum
}

/// How much of the process is there, in bytes, when all that is free has gone back to the system.
fn resident() -> i64 {
    const PAGE: i64 = 4096;
    dtls_core::trim_heap();
    let counts = std::fs::read_to_string("/proc/self/statm").unwrap();
    counts.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * PAGE
}

/// The process has one heap for all threads: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Every way to make a session keep something, ten thousand times.
fn forgeries() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for n in 0..10_000_usize {
        let length = [24, 40, 100, 1_000, 16_000][n % 5];
        all.push(record([22, 23, 21, 20][n % 4], 1, n as u64, &vec![1; length]));
    }
    for n in 0..2_000_usize {
        let (kind, sequence) = ([11, 12, 16, 15, 2, 14, 1][n % 7], (n % 12) as u16);
        let bytes = vec![2; [1, 100, 8_000, 15_000][n % 4]];
        for length in [0xffff, 16_000 + n % 300, 5_000 + n % 900, 32_000] {
            let start = n * 97 % length.saturating_sub(bytes.len()).max(1);
            all.push(record(22, 0, 5, &fragment(kind, sequence, length, start, &bytes)));
        }
    }
    all
}

/// A pair whose server has sent its flight and waits, and whose client has it not.
fn half_open(setup: &Setup) -> Pair {
    let mut pair = setup.clone().pair();
    assert!(pair.run_until(|pair| pair.admitted == 1));
    pair
}

/// What the forgeries have this end keep, in Rust's part.
fn pinned(pair: &mut Pair, side: Side, forgeries: &[Vec<u8>]) -> i64 {
    pair.end(side).discards.reserve(2 * forgeries.len());
    let before = LIVE.get();
    for forged in forgeries {
        pair.deliver(side, forged);
    }
    LIVE.get() - before
}

#[test]
fn no_stranger_fills_a_session_with_what_rust_keeps() {
    let _turn = alone();
    let forgeries = forgeries();
    let kinds = [(Setup::default(), "without", MOST), (Setup::mutual(), "with", MOST_WITH_CHAIN)];
    for (setup, what, most) in kinds {
        let _trying = Trying(format!("{what} a client certificate"));
        let mut pair = half_open(&setup);
        let pinned_in_server = pinned(&mut pair, Side::Server, &forgeries);
        let pinned_in_client = pinned(&mut pair, Side::Client, &forgeries);
        assert!(pinned_in_server < most, "{pinned_in_server} bytes in the server");
        assert!(pinned_in_client < MOST_IN_A_CLIENT, "{pinned_in_client} bytes in the client");
        // An open session gives back what its handshake kept.
        pair.connect();
        pair.assert_unharmed();
        pair.converse();
        let pinned_when_open = pinned(&mut pair, Side::Server, &forgeries);
        assert!(pinned_when_open < 256, "{pinned_when_open} bytes in an open session");
    }
}

#[test]
fn no_stranger_fills_a_session_with_what_openssl_keeps() {
    const SESSIONS: i64 = 200;
    let _turn = alone();
    let forgeries: Vec<Vec<u8>> = forgeries().into_iter().step_by(7).collect();
    for (setup, most) in [(Setup::default(), MOST), (Setup::mutual(), MOST_WITH_CHAIN)] {
        let mut pairs: Vec<Pair> = (0..SESSIONS).map(|_| half_open(&setup)).collect();
        let before = allocated();
        for pair in &mut pairs {
            pinned(pair, Side::Server, &forgeries);
            pair.server.discards = Vec::new();
        }
        let each = (allocated() - before) / SESSIONS;
        assert!(each < most, "{each} bytes a session");
        pairs.iter_mut().for_each(Pair::connect);
    }
}

#[test]
fn sessions_that_are_over_leave_nothing() {
    let _turn = alone();
    let round = || {
        let mut pair = Setup::mutual().pair();
        pair.connect();
        pair.converse();
        pair.close(Side::Client);
        pair.run(100);
    };
    (0..50).for_each(|_| round());
    let (live, before) = (LIVE.get(), allocated());
    (0..2_000).for_each(|_| round());
    // A leak would be of some bytes in every round. (What is kept of OpenSSL's for the next session is listed by
    // size, and the first of a size begins a list.)
    let grown = LIVE.get() - live;
    assert!(grown < 4 * 2_000, "Rust's part grows by {grown} bytes");
    let grown = allocated() - before;
    assert!(grown < 256 * 1024, "OpenSSL's part grows by {grown} bytes");
}

#[test]
fn a_half_open_session_takes_little_and_gives_all_of_it_back_at_once() {
    const SESSIONS: i64 = 200;
    let _turn = alone();
    let setup = Setup::default();
    let mut pairs: Vec<Pair> = (0..SESSIONS).map(|_| half_open(&setup)).collect();
    let before = allocated();
    pairs.iter_mut().for_each(|pair| pair.server.session().destroy());
    let each = (before - allocated()) / SESSIONS;
    assert!(each < 72 * 1024, "{each} bytes a session");
}

#[test]
fn an_idle_session_occupies_little() {
    const SESSIONS: i64 = 1_000;
    let _turn = alone();
    let setup = Setup::default().of_one_server();
    let open = || {
        let mut pair = setup.clone().pair();
        pair.connect();
        pair.destroy(Side::Client);
        // What the pair has noted.
        (pair.client, pair.server.sent, pair.server.said) = Default::default();
        pair
    };
    // What the first of all bring about is not theirs.
    drop((0..SESSIONS).map(|_| open()).collect::<Vec<_>>());
    let before = occupied();
    let pairs: Vec<Pair> = (0..SESSIONS).map(|_| open()).collect();
    let each = (occupied() - before) / SESSIONS - size_of::<Pair>() as i64;
    assert!(each < MOST_WHEN_IDLE, "{each} bytes a session");
    drop(pairs);
}

#[test]
fn what_many_sessions_had_goes_back_to_the_system() {
    const SESSIONS: i64 = 1_000;
    let _turn = alone();
    let setup = Setup::default().of_one_server();
    let rounds = [(); 2].map(|()| {
        let pairs: Vec<Pair> = (0..SESSIONS).map(|_| half_open(&setup)).collect();
        let full = resident();
        drop(pairs);
        (full, resident())
    });
    let [(_, before), (full, after)] = rounds;
    assert!(full - before > SESSIONS * 40 * 1024, "{full} after {before}");
    assert!(after - before < 1024 * 1024, "{after} after {before}");
}
