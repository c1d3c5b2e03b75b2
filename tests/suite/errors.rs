//! OpenSSL's error queue belongs to the whole thread: what lies there when we return is taken by
//! somebody else for the reason of his own failure, and what lay there before must not be taken for ours.

use crate::pair::certificates::{self, Template};
use crate::pair::forge::record;
use crate::pair::{Setup, Side, BOTH};
use dtls_core::{Context, Name};
use openssl::error::ErrorStack;

/// Whether the queue is empty; empties it.
fn nothing_is_left() -> bool {
    ErrorStack::get().errors().is_empty()
}

/// Leaves a stranger's error behind.
fn leave_an_error() {
    // Taken out of the queue by the crate, and put back.
    let stack = openssl::x509::X509::from_pem(b"nonsense").unwrap_err();
    stack.put();
}

#[test]
fn garbage_leaves_no_error_behind() {
    let mut pair = Setup::default().pair();
    for _ in 0..2 {
        for side in BOTH {
            for length in 0..32 {
                pair.deliver(side, &vec![0xee; length]);
                pair.deliver(side, &record(22, 1, 1, &vec![1; length + 10]));
                pair.deliver(side, &record(23, 1, 2, &vec![1; length + 10]));
                assert!(nothing_is_left());
            }
        }
        pair.connect();
    }
}

#[test]
fn failed_handshakes_leave_no_error_behind() {
    let mut setup = Setup::default();
    let stranger = certificates::issue(&Template::default(), &certificates::ecdsa(), None);
    setup.server.cert = vec![stranger.cert_pem()];
    setup.server.key = vec![stranger.key_pem()];
    for _ in 0..3 {
        let mut pair = setup.clone().pair();
        while pair.step() {
            assert!(nothing_is_left());
        }
        assert_eq!(pair.client.failure(), Some(Name::UnknownCa));
    }
}

#[test]
fn refused_sends_and_options_leave_no_error_behind() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for length in [0, 16_385, 100_000] {
        pair.send(Side::Client, &vec![1; length]).unwrap_err();
        assert!(nothing_is_left());
    }
    let mut config = Setup::default().server;
    config.ciphers = Some("nonsense".into());
    assert!(Context::new(config).is_err());
    assert!(nothing_is_left());
}

#[test]
fn a_strangers_error_is_not_taken_for_ours() {
    let mut pair = Setup::mutual().pair();
    while !(pair.client.is_open() && pair.server.is_open()) {
        leave_an_error();
        assert!(pair.step(), "{}", pair.story());
    }
    for side in BOTH {
        leave_an_error();
        pair.send(side, b"hello").unwrap();
        leave_an_error();
        pair.deliver(side, &record(23, 1, 77, &[1; 50]));
    }
    leave_an_error();
    pair.close(Side::Client);
    leave_an_error();
    pair.run(100);
    pair.run(10_000);
    assert!(pair.client.failure().is_none() && pair.server.failure().is_none());
    let _ = nothing_is_left();
}
