//! Handshakes and messages over terrible networks.

use crate::pair::dice::{Dice, Trying};
use crate::pair::forge::{message_kind, record, records};
use crate::pair::{fair, Delivery, Pair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::record::HANDSHAKE;

/// The handshake takes no more than this, in milliseconds of the invented clock: half of what
/// OpenSSL's twelve retransmissions would.
const BOUND: u64 = 240_000;

const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;

/// Loses, doubles and delays at random.
fn storm(seed: u64, lost: usize, doubled: usize, most_delay: usize) -> Weather {
    let mut dice = Dice::new(seed);
    Box::new(move |sent| {
        let mut arrivals = Vec::new();
        while !dice.percent(if arrivals.is_empty() { lost } else { 100 - doubled }) {
            arrivals.push(sent.arrives(1 + dice.below(most_delay) as u64));
        }
        arrivals
    })
}

/// Connects in this weather, converses after it has cleared, and returns how long the handshake took.
#[track_caller]
fn survives(setup: Setup, weather: Weather) -> u64 {
    let mut pair = setup.pair_in(weather);
    pair.connect();
    let took = pair.now;
    assert!(took < BOUND, "it took {took} ms");
    assert_eq!(pair.admitted, 1, "one peer, several sessions");
    pair.weather = fair();
    // What is still on its way arrives first.
    pair.run(10_000);
    pair.converse();
    pair.assert_unharmed();
    took
}

#[test]
fn a_fair_network_takes_three_round_trips() {
    assert_eq!(survives(Setup::default(), fair()), 6);
    assert_eq!(survives(Setup::mutual(), fair()), 6);
}

#[test]
fn every_handshake_outlives_a_storm() {
    for seed in 0..300 {
        let _trying = Trying(format!("seed {seed}"));
        let setup = if seed % 3 == 0 { Setup::mutual() } else { Setup::default() };
        let mtu = [256, 512, 1200, 4096][seed as usize % 4];
        survives(setup.with_mtu(mtu), storm(seed, 25, 25, 50 + seed as usize % 5 * 500));
    }
}

#[test]
fn losing_any_one_datagram_costs_no_more_than_one_timeout() {
    for to in BOTH {
        for lost in 0..12 {
            let _trying = Trying(format!("the datagram number {lost} to the {to:?}"));
            let weather = Box::new(move |sent: &Sent| {
                let gone = sent.to == to && sent.number == lost;
                if gone {
                    vec![]
                } else {
                    vec![sent.arrives(1)]
                }
            });
            let took = survives(Setup::mutual().with_mtu(512), weather);
            assert!(took < 1500, "it took {took} ms");
        }
    }
}

#[test]
fn losing_the_first_datagrams_of_one_side_costs_only_their_timeouts() {
    for to in BOTH {
        for lost in 0..8 {
            let _trying = Trying(format!("the first {lost} datagrams to the {to:?}"));
            let weather = Box::new(move |sent: &Sent| {
                let gone = sent.to == to && sent.number < lost;
                if gone {
                    vec![]
                } else {
                    vec![sent.arrives(1)]
                }
            });
            survives(Setup::mutual(), weather);
        }
    }
}

#[test]
fn three_copies_of_everything_change_nothing() {
    let weather = || -> Weather { Box::new(|sent| vec![sent.arrives(1), sent.arrives(1), sent.arrives(2)]) };
    assert_eq!(survives(Setup::default(), weather()), 6);
    let mut pair = Setup::mutual().pair_in(weather());
    pair.connect();
    pair.run(1000);
    pair.send(Side::Client, b"once").unwrap();
    pair.run(1000);
    assert_eq!(pair.server.messages(), [b"once"]);
}

/// Holds back what is sent within a stretch of time and then lets it go, as it came or reversed.
fn bursts(every: u64, reversed: bool) -> Weather {
    let mut held = 0;
    Box::new(move |sent| {
        held += 1;
        let order = if reversed { 100 - held % 100 } else { 0 };
        vec![sent.arrives(every + order)]
    })
}

#[test]
fn flights_that_arrive_backwards_are_put_in_order() {
    for mtu in [256, 512, 1200] {
        let took = survives(Setup::mutual().with_mtu(mtu), bursts(1, true));
        assert!(took < 1000, "it took {took} ms at an mtu of {mtu}");
    }
}

#[test]
fn a_network_slower_than_the_timeout_is_only_slow() {
    for delay in [900, 1100, 2500, 5000] {
        for reversed in [false, true] {
            let _trying = Trying(format!("a delay of {delay} ms, reversed: {reversed}"));
            survives(Setup::mutual(), bursts(delay, reversed));
        }
    }
}

/// Every datagram's records travel by themselves, in this order.
fn records_apart(reversed: bool) -> Weather {
    Box::new(move |sent| {
        let mut parts: Vec<Vec<u8>> =
            crate::pair::forge::records(sent.bytes).iter().map(|record| record.whole.to_vec()).collect();
        if reversed {
            parts.reverse();
        }
        let to = sent.to;
        parts.into_iter().map(|bytes| Delivery { to, after: 1, bytes }).collect()
    })
}

#[test]
fn records_that_travel_apart_and_backwards_make_a_handshake() {
    for reversed in [false, true] {
        for setup in [Setup::default(), Setup::mutual()] {
            assert_eq!(survives(setup, records_apart(reversed)), 6);
        }
    }
}

/// The server's flight comes first with two of its messages, and ever after with all of them in one
/// record: half of that is old and half is news.
fn flight_in_one_record() -> Weather {
    let mut flight = Vec::new();
    Box::new(move |sent| {
        let in_record = |body: &[u8]| {
            let bytes = record(HANDSHAKE, 0, sent.number as u64, body);
            vec![Delivery { to: sent.to, after: 1, bytes }]
        };
        match message_kind(sent.bytes) {
            _ if sent.to == Side::Server => vec![sent.arrives(1)],
            None | Some(HELLO_VERIFY_REQUEST) => vec![sent.arrives(1)],
            Some(SERVER_HELLO) if flight.is_empty() => {
                let bodies: Vec<_> = records(sent.bytes).iter().map(|record| record.body).collect();
                flight = bodies.concat();
                in_record(&bodies[..2].concat())
            }
            Some(SERVER_HELLO) => in_record(&flight),
            // OpenSSL repeats each message in a datagram of its own.
            Some(_) => vec![],
        }
    })
}

#[test]
fn a_record_of_old_messages_and_new_ones_is_worth_its_new_ones() {
    // A ticket would be lost, too.
    let setup = Setup { tickets: None, ..Setup::default() };
    let took = survives(setup.with_mtu(4096), flight_in_one_record());
    assert!(took < 1500, "it took {took} ms");
}

#[test]
fn messages_that_overtake_the_finished_are_delivered() {
    // The client's last flight waits; its messages do not. The server cannot know them genuine yet.
    let mut pair = Setup::default().pair_in(Box::new(|sent| {
        let slow = sent.to == Side::Client && crate::pair::forge::changes_cipher(sent.bytes);
        vec![sent.arrives(if slow { 500 } else { 1 })]
    }));
    assert!(pair.run_until(|pair| pair.server.is_open()));
    for number in 0..100_u8 {
        pair.send(Side::Server, &[number]).unwrap();
    }
    pair.connect();
    pair.run(1000);
    let delivered = pair.client.messages().len();
    assert!(delivered >= 16, "{delivered} of 100 early messages were delivered");
    pair.converse();
}

#[test]
fn both_ends_agree_about_messages_in_a_storm() {
    for seed in 0..50 {
        let _trying = Trying(format!("seed {seed}"));
        let mut pair = Setup::default().pair();
        pair.connect();
        // No delay: only sixty-four records back are told from replays.
        pair.weather = storm(seed, 20, 30, 5);
        for number in 0..200_u32 {
            pair.send(Side::Client, &number.to_be_bytes()).unwrap();
            pair.send(Side::Server, &number.to_be_bytes()).unwrap();
            pair.run(1);
        }
        pair.run(100);
        for side in BOTH {
            let mut heard: Vec<_> = pair.end(side).messages().iter().map(|m| m.to_vec()).collect();
            let delivered = heard.len();
            heard.sort_unstable();
            heard.dedup();
            assert_eq!(heard.len(), delivered, "a message was delivered twice");
            assert!((120..200).contains(&delivered), "{delivered} of 200");
        }
        pair.assert_unharmed();
    }
}

#[test]
fn no_retransmission_timeout_is_too_short_for_a_handshake() {
    for timeout in [0, 1, 10, 15, 16, 20, 50] {
        let _trying = Trying(format!("a timeout of {timeout} ms"));
        let mut setup = Setup::mutual().with_mtu(256);
        setup.server.retransmit_timeout_ms = timeout;
        setup.client.retransmit_timeout_ms = timeout;
        survives(setup.clone(), fair());
        survives(setup.clone(), bursts(30, true));
        survives(setup, storm(u64::from(timeout), 25, 25, 50));
    }
}

#[test]
fn a_wall_clock_that_steps_ends_no_handshake() {
    for step in [-3_600_000, 3_600_000] {
        for after in 0..6 {
            let _trying = Trying(format!("a step of {step} ms after {after} ms"));
            let mut pair: Pair = Setup::default().pair();
            pair.run(after);
            pair.skew = step;
            pair.connect();
            pair.assert_unharmed();
        }
    }
}

#[test]
fn a_wall_clock_that_is_put_back_and_right_again_delays_a_retransmission_by_a_minute_at_most() {
    let mut pair = Setup::default().pair_in(Box::new(|_| Vec::new()));
    pair.skew = -3_600_000;
    pair.run(10_000);
    pair.weather = fair();
    pair.skew = 0;
    pair.connect();
    assert!(pair.now < 65_000, "it took {} ms", pair.now);
    pair.assert_unharmed();
}
