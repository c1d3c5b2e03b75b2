//! Whoever sends the last flight of a handshake repeats it for a peer that has not heard it, and knows
//! that by the peer's repeated Finished (RFC 6347 section 4.2.4).
//!
//! OpenSSL counts what it repeats and ends the session at the thirteenth time, though it is complete.
//! So not every repeated Finished may reach it; but a forged one, which may be anybody's, must not
//! take the place of a genuine one.

use crate::pair::clock;
use crate::pair::dice::Trying;
use crate::pair::forge::{changes_cipher, record, records};
use crate::pair::seal::{Sealer, SUITE};
use crate::pair::{fair, Delivery, Pair, Sent, Setup, Side, BOTH};
use dtls_core::record::{CHANGE_CIPHER_SPEC, HANDSHAKE};
use dtls_core::{Config, Discard};

/// Both ends have the suite whose records can be sealed by hand.
fn sealable() -> Setup {
    let mut setup = Setup::with_suite(SUITE);
    setup.client.key_log = true;
    setup
}

fn connected() -> Pair {
    connect(sealable())
}

fn connect(setup: Setup) -> Pair {
    let mut pair = setup.pair();
    pair.connect();
    pair.run(100);
    pair
}

/// The session of a client that comes back: there it is the client who sends the last flight.
fn resumed() -> Pair {
    let setup = sealable();
    let mut first = connect(setup.clone());
    let kept = first.client.session().established().unwrap().kept.as_ref().unwrap().bytes().to_vec();
    let mut pair = connect(Setup { kept: Some(kept), ..setup });
    assert!(pair.client.session().established().unwrap().resumed);
    pair
}

/// Beyond what the client has used, and near enough for its next ones not to count as replays.
const NUMBER: u64 = 30;

#[test]
fn a_finished_that_is_repeated_for_ever_ends_no_session() {
    for make in [connected, resumed] {
        for (repeater, pause) in BOTH.into_iter().flat_map(|side| [0, 10, 700, 60_000].map(|ms| (side, ms))) {
            let _trying = Trying(format!("the {repeater:?} every {pause} ms"));
            let mut pair = make();
            let mut sealer = Sealer::of(&pair, repeater, NUMBER);
            for _ in 0..25 {
                let finished = sealer.finished();
                pair.deliver(repeater.other(), &finished);
                pair.run(pause);
            }
            pair.run(100);
            pair.converse();
            pair.assert_unharmed();
        }
    }
}

#[test]
fn the_last_flight_is_repeated_in_measure() {
    let timeout = u64::from(Config::default().retransmit_timeout_ms);
    let mut pair = connected();
    let mut sealer = Sealer::of(&pair, Side::Client, NUMBER);
    let mut answered = Vec::new();
    for _ in 0..30 {
        let sent = pair.server.sent.len();
        let finished = sealer.finished();
        pair.deliver(Side::Server, &finished);
        if pair.server.sent.len() > sent {
            answered.push(pair.now);
        }
        pair.run(timeout / 5);
    }
    assert!(answered.len() >= 5, "{answered:?}");
    let steps = answered.windows(2).map(|two| two[1] - two[0]);
    assert!(steps.min().unwrap() >= timeout / 2, "{answered:?}");
    // From then on each has had its time.
    for _ in 0..30 {
        let finished = sealer.finished();
        pair.deliver(Side::Server, &finished);
        pair.run(timeout);
    }
    let flights = pair.server.sent.iter().filter(|datagram| changes_cipher(datagram)).count();
    assert_eq!(flights, 1 + 10);
    assert_eq!(pair.server.discards.last(), Some(&Discard::Duplicate));
}

#[test]
fn whoever_did_not_send_the_last_flight_repeats_nothing() {
    let mut pair = connected();
    let sent = pair.client.sent.len();
    let mut sealer = Sealer::of(&pair, Side::Server, NUMBER);
    let finished = sealer.finished();
    pair.deliver(Side::Client, &finished);
    pair.run(1000);
    assert_eq!(pair.client.sent.len(), sent);
    assert_eq!(pair.client.discards.last(), Some(&Discard::Unexpected));
}

#[test]
fn a_client_that_resumes_repeats_the_last_flight() {
    let mut pair = resumed();
    let mut sealer = Sealer::of(&pair, Side::Server, NUMBER);
    for repeated in 1..=12 {
        let finished = sealer.finished();
        pair.deliver(Side::Client, &finished);
        pair.run(1000);
        let flights = pair.client.sent.iter().filter(|datagram| changes_cipher(datagram)).count();
        assert_eq!(flights, 1 + repeated.min(10));
    }
}

/// A pair whose server is open, and whose client has not had the last flight.
fn without_the_last_flight(setup: Setup) -> Pair {
    let mut lost = false;
    let mut pair = setup.pair_in(Box::new(move |sent: &Sent| {
        let loses =
            sent.to == Side::Client && changes_cipher(sent.bytes) && !std::mem::replace(&mut lost, true);
        if loses {
            vec![]
        } else {
            vec![sent.arrives(1)]
        }
    }));
    assert!(pair.run_until(|pair| pair.server.is_open()));
    pair
}

#[test]
fn the_last_flight_can_be_repeated_when_what_the_handshake_left_behind_has_gone() {
    // The memory of a complete handshake is given back when others are complete: here they are, before the
    // client says that it has not heard the end of its own.
    for setup in [Setup::default(), Setup::mutual()].map(Setup::of_one_server) {
        let mut pair = without_the_last_flight(setup.clone());
        let others = [(); 40].map(|()| connect(setup.clone()));
        clock::set(pair.now as i64);
        assert!(!pair.client.is_open());
        pair.connect();
        pair.converse();
        pair.assert_unharmed();
        drop(others);
    }
}

#[test]
fn forgeries_take_no_answer_away() {
    // The last flight is lost, and before the client says so, junk comes that looks like it saying so.
    let mut pair = without_the_last_flight(Setup::default());
    let forge = |pair: &mut Pair| {
        for number in 0..500 {
            pair.deliver(Side::Server, &record(HANDSHAKE, 1, number, &[0x5a; 48]));
        }
    };
    forge(&mut pair);
    pair.run(990);
    assert!(!pair.client.is_open());
    forge(&mut pair);
    pair.connect();
    assert!(pair.now < 1100, "it took {} ms", pair.now);
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn a_finished_that_came_often_before_its_time_ends_no_session() {
    // The client's key is missing, its Finished is there, and there again.
    let mut key_exchange = Vec::new();
    let mut pair = sealable().pair_in(Box::new(move |sent: &Sent| {
        let mut delivery = sent.arrives(1);
        if sent.to == Side::Server && changes_cipher(sent.bytes) {
            let sealed = records(sent.bytes).into_iter().filter(|record| {
                let late = record.kind == HANDSHAKE && record.epoch == 0;
                if late {
                    key_exchange.extend_from_slice(record.whole);
                }
                !late
            });
            delivery.bytes = sealed.flat_map(|record| record.whole.to_vec()).collect();
            let late = Delivery { to: Side::Server, after: 500, bytes: std::mem::take(&mut key_exchange) };
            return vec![delivery, late];
        }
        vec![delivery]
    }));
    assert!(pair.run_until(|pair| pair.client.sent.iter().any(|datagram| changes_cipher(datagram))));
    pair.run(10);
    let mut sealer = Sealer::of(&pair, Side::Client, NUMBER);
    for _ in 0..20 {
        let finished = sealer.finished();
        pair.deliver(Side::Server, &[record(CHANGE_CIPHER_SPEC, 0, 9, &[1]), finished].concat());
    }
    pair.connect();
    assert!(pair.now < 900, "it took {} ms", pair.now);
    pair.weather = fair();
    pair.run(100);
    pair.converse();
    pair.assert_unharmed();
}
