//! Records inside records. OpenSSL skips a record by its header alone where it dislikes the version or the
//! length, and reads on behind the header: in the body, which nobody has looked at. So the screen must let no
//! such record pass.

use super::hostile::assert_none_comes_behind_the_change;
use crate::pair::dice::Trying;
use crate::pair::forge::{record, LAST_NUMBER};
use crate::pair::{Pair, Setup, Side};
use dtls_core::config::FragmentLength;
use dtls_core::record::{APPLICATION_DATA, HANDSHAKE};

const SUITES: [&str; 4] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES128-SHA256",
];

/// A sealed record whose body begins with another, in every way that OpenSSL skips a header.
fn wrappings(inner: &[u8], longest: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let padded = |length: usize| [inner, &vec![0; length - inner.len()][..]].concat();
    for kind in [APPLICATION_DATA, HANDSHAKE] {
        for minor in [0x00, 0xfc, 0xfe, 0xff] {
            for length in [inner.len(), inner.len() + 16, (inner.len() + 80).next_multiple_of(16)] {
                let mut outer = record(kind, 1, LAST_NUMBER, &padded(length));
                outer[2] = minor;
                all.push(outer);
            }
        }
        for over in [1, 16, 17, 1000, 1728] {
            let length = (longest + 320 + over).min(18_432);
            all.push(record(kind, 1, LAST_NUMBER, &padded(length)));
            all.push(record(kind, 1, LAST_NUMBER, &padded(length.next_multiple_of(16).min(18_432))));
        }
    }
    all
}

/// What a stranger could put inside: a record that is too short for its cipher, and one of the next epoch.
fn strange_insides() -> Vec<Vec<u8>> {
    vec![record(APPLICATION_DATA, 1, LAST_NUMBER, &[7; 5]), record(HANDSHAKE, 2, 0, &[7; 40])]
}

fn deliver_to_both(pair: &mut Pair, datagrams: &[Vec<u8>]) {
    for side in [Side::Client, Side::Server] {
        for datagram in datagrams {
            pair.deliver(side, datagram);
        }
    }
}

#[test]
fn an_established_session_reads_no_record_inside_a_record() {
    for suite in SUITES {
        let _trying = Trying(suite);
        let mut pair = Setup::with_suite(suite).pair();
        pair.connect();
        for inner in strange_insides() {
            deliver_to_both(&mut pair, &wrappings(&inner, 16_384));
        }
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn a_genuine_record_in_a_forged_one_makes_no_later_one_old() {
    for suite in SUITES {
        let _trying = Trying(suite);
        let mut pair = Setup::with_suite(suite).pair();
        pair.connect();
        let genuine = pair.client.session().send(b"overtaken by its copy").unwrap();
        for wrapped in wrappings(&genuine, 16_384) {
            pair.deliver(Side::Server, &wrapped);
        }
        pair.converse();
        pair.deliver(Side::Server, &genuine);
        assert_eq!(pair.server.messages().last(), Some(&&b"overtaken by its copy"[..]));
        pair.assert_unharmed();
    }
}

#[test]
fn nor_does_a_session_with_short_records() {
    let mut setup = Setup::default();
    setup.client.max_fragment_length = Some(FragmentLength::new(512).unwrap());
    let mut pair = setup.pair();
    pair.connect();
    for inner in strange_insides() {
        deliver_to_both(&mut pair, &wrappings(&inner, 512));
    }
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn nor_does_a_handshake_wherever_they_come() {
    let forgeries: Vec<_> = strange_insides().iter().flat_map(|inner| wrappings(inner, 16_384)).collect();
    for suite in SUITES {
        assert_none_comes_behind_the_change(suite, &forgeries);
    }
}

#[test]
fn a_closing_session_reads_none_either() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let now = pair.now;
    pair.client.session().close(now);
    for inner in strange_insides() {
        for wrapped in wrappings(&inner, 16_384) {
            pair.client.session().receive_untrusted(&wrapped, now);
        }
    }
    assert_eq!(pair.client.session().state(), "closing");
}
