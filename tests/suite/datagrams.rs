//! What goes over the wire: sizes, numbers, fragments, and which message arrives as which.

use crate::pair::certificates::{self, issue, Issued, Template};
use crate::pair::dice::{Dice, Trying};
use crate::pair::forge::{message_kind, numbers, records};
use crate::pair::raw::{self, Raw};
use crate::pair::{fair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::config::Mtu;
use dtls_core::record::HANDSHAKE;
use dtls_core::{Config, Context, Name, Output};
use std::collections::HashSet;
use std::rc::Rc;

/// A leaf, two intermediates and their root, as long as RSA makes them, and padded if need be.
fn long_chain(padding: usize) -> (Vec<Issued>, Issued) {
    let key = certificates::rsa_4096();
    let ca = |name, issuer: Option<&Issued>| {
        issue(&Template { name, ca: true, padding, ..Template::default() }, &key, issuer)
    };
    let root = ca("Root", None);
    let upper = ca("Upper", Some(&root));
    let lower = ca("Lower", Some(&upper));
    let leaf = issue(&Template { padding, ..Template::default() }, &key, Some(&lower));
    (vec![leaf, lower, upper], root)
}

fn with_long_chain(padding: usize) -> Setup {
    let (chain, root) = long_chain(padding);
    let mut setup = Setup::mutual();
    let pem: Vec<u8> = chain.iter().flat_map(Issued::cert_pem).collect();
    for config in [&mut setup.server, &mut setup.client] {
        config.cert = vec![pem.clone()];
        config.key = vec![chain[0].key_pem()];
        config.ca = Some(vec![root.cert_pem()]);
    }
    setup
}

#[test]
fn no_datagram_of_a_handshake_is_larger_than_the_mtu() {
    for padding in [0, 1500] {
        for mtu in [256, 257, 512, 1200, 1500, 4095, 4096] {
            let _trying = Trying(format!("an mtu of {mtu}, {padding} bytes of padding"));
            let mut pair = with_long_chain(padding).with_mtu(mtu).pair();
            pair.connect();
            // Nothing was sent twice, so nothing was garbled the first time.
            assert!(pair.now < 1000, "it took {} ms", pair.now);
            for side in BOTH {
                let longest = pair.end(side).sent.iter().map(Vec::len).max().unwrap();
                assert!(longest <= mtu as usize, "a datagram of {longest} bytes from the {side:?}");
                assert!(longest > mtu as usize / 2, "only {longest} bytes of {mtu} are used");
                for datagram in &pair.end(side).sent {
                    let whole: usize = records(datagram).iter().map(|record| record.whole.len()).sum();
                    assert_eq!(whole, datagram.len(), "a record is cut in two");
                }
            }
            pair.converse();
        }
    }
}

#[test]
fn no_retransmitted_datagram_is_larger_than_the_mtu() {
    for mtu in [256, 1200, 4096] {
        let _trying = Trying(mtu);
        let mut dice = Dice::new(u64::from(mtu));
        let mut pair = with_long_chain(0).with_mtu(mtu).pair_in(Box::new(move |sent| {
            if dice.percent(33) {
                vec![]
            } else {
                vec![sent.arrives(1)]
            }
        }));
        pair.connect();
        let longest = pair.client.sent.iter().chain(&pair.server.sent).map(Vec::len).max().unwrap();
        assert!(longest <= mtu as usize, "a datagram of {longest} bytes");
    }
}

#[test]
fn a_lowered_mtu_holds_from_the_next_transmission_on_and_sinks_one_step_a_flight() {
    // The network refuses whatever is larger than its own idea.
    for (network, expected) in [(1400, 1232), (600, 548), (300, 256)] {
        let _trying = Trying(network);
        let mut pair = with_long_chain(0).with_mtu(4096).pair_in(Box::new(move |sent: &Sent| {
            if sent.bytes.len() > network {
                vec![]
            } else {
                vec![sent.arrives(1)]
            }
        }));
        let mut refused = [0, 0];
        let open = |pair: &crate::pair::Pair| pair.client.is_open() && pair.server.is_open();
        while !open(&pair) {
            assert!(pair.step(), "no handshake: {}", pair.story());
            for (index, side) in BOTH.into_iter().enumerate() {
                let end = pair.end(side);
                let large: Vec<usize> =
                    end.sent[refused[index]..].iter().map(Vec::len).filter(|&sent| sent > network).collect();
                refused[index] = end.sent.len();
                for datagram in large {
                    end.session().lower_mtu(datagram);
                }
            }
        }
        for side in BOTH {
            let end = pair.end(side);
            let payload = end.session().established().unwrap().max_payload;
            assert!((expected - 60..expected).contains(&payload), "{payload} with an mtu of {expected}");
            assert_eq!(end.session().lower_mtu(9000), None, "the handshake is over");
        }
    }
}

#[test]
fn a_lowered_mtu_outlives_a_fresh_start() {
    let mut pair = Setup::mutual().with_mtu(4096).pair();
    assert_eq!(pair.client.session().lower_mtu(4000), Some(1232));
    pair.run(2);
    pair.gate = dtls_core::Gate::random(0);
    pair.connect();
    let payload = pair.client.session().established().unwrap().max_payload;
    assert!(payload < 1232, "{payload}");
}

#[test]
fn thirty_datagrams_in_one_burst_are_thirty_messages() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let sent: Vec<Vec<u8>> = (0..30_u8).map(|n| vec![n; 500 + usize::from(n)]).collect();
    for message in &sent {
        pair.send(Side::Server, message).unwrap();
    }
    pair.run(10);
    assert_eq!(pair.client.messages(), sent);
}

#[test]
fn forty_records_in_one_datagram_are_forty_messages() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let datagrams: Vec<_> = (0..40_u8).map(|n| pair.server.session().send(&[n; 9]).unwrap()).collect();
    pair.deliver(Side::Client, &datagrams.concat());
    let expected: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; 9]).collect();
    assert_eq!(pair.client.messages(), expected);
}

/// One of each overhead.
const SUITES: [&str; 7] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

#[test]
fn messages_of_every_size_arrive_whole_and_no_other_size_is_sent() {
    for suite in SUITES {
        let _trying = Trying(suite);
        let mut pair = Setup::with_suite(suite).pair();
        pair.connect();
        for length in (1..100).chain([1000, 1199, 1200, 1201, 9000, 16_383, 16_384]) {
            let message: Vec<u8> = (0..length).map(|n| n as u8).collect();
            pair.send(Side::Client, &message).unwrap();
            pair.run(5);
            assert_eq!(pair.server.messages().last(), Some(&&message[..]), "{length} bytes");
        }
        for (length, name) in
            [(16_385, Name::MessageTooBig), (100_000, Name::MessageTooBig), (0, Name::Invalid)]
        {
            assert_eq!(pair.send(Side::Client, &vec![1; length]).unwrap_err().name, name);
        }
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn a_client_that_asks_for_short_records_gets_none_longer_with_or_without_a_certificate() {
    for mutual in [false, true] {
        for (mode, most) in [(1, 512), (2, 1024), (4, 4096)] {
            let _trying = Trying(format!("{most} bytes, a client certificate: {mutual}"));
            let client = raw::context(|builder| {
                raw::ask_for_short_records(builder, mode);
                // Longer than its records may be.
                let template = Template { name: "client.test", padding: 3000, ..Template::default() };
                let identity = issue(&template, &certificates::ecdsa(), Some(certificates::authority()));
                builder.set_certificate(&identity.cert).unwrap();
                builder.set_private_key(&identity.key).unwrap();
            });
            let setup = if mutual { Setup::mutual() } else { Setup::default() };
            let context = Rc::new(Context::new(setup.server).unwrap());
            let mut raw = Raw::client(&client, 1200);
            let mut session = raw.meet(&context);
            assert_eq!(raw.talk(&mut session), [Output::Connected]);
            assert!(raw.connected, "{:?}", raw.failure);

            let established = session.established().unwrap();
            assert_eq!((established.max_message, established.max_payload <= most), (most, true));
            assert_eq!(session.send(&vec![7; most + 1]).unwrap_err().name, Name::MessageTooBig);
            raw.receive(&session.send(&vec![7; most]).unwrap());
            assert_eq!(raw.messages, [vec![7; most]]);
        }
    }
}

#[test]
fn no_record_number_is_used_twice_and_the_server_hello_has_the_accepted_hellos() {
    for lost_challenges in 0..5 {
        for lost_flights in 0..3 {
            let _trying = Trying(format!("{lost_challenges} challenges and {lost_flights} flights lost"));
            let mut flights = 0;
            let mut pair = Setup::mutual().pair_in(Box::new(move |sent| {
                let is_flight = message_kind(sent.bytes) == Some(2);
                flights += usize::from(is_flight);
                let challenge = sent.to == Side::Client && !is_flight && sent.number < lost_challenges;
                let lost = challenge || (is_flight && flights <= lost_flights);
                if lost {
                    vec![]
                } else {
                    vec![sent.arrives(1)]
                }
            }));
            pair.connect();
            pair.run(5_000);
            let accepted = pair.client.sent.iter().rev().find(|sent| message_kind(sent) == Some(1)).unwrap();
            let server_hello = pair.server.sent.iter().find(|sent| message_kind(sent) == Some(2)).unwrap();
            let first_accepted =
                pair.client.sent.iter().find(|sent| records(sent)[0].body[5] == 1).unwrap_or(accepted);
            assert_eq!(numbers(server_hello)[0], numbers(first_accepted)[0]);
            let mut used = HashSet::new();
            for number in pair.server.sent.iter().flat_map(|sent| numbers(sent)) {
                assert!(used.insert(number), "the number {number:?} is used twice");
            }
        }
    }
}

#[test]
fn a_fragmented_hello_is_put_together_whatever_the_order_of_its_fragments() {
    let fragmented = |reversed: bool| -> Weather {
        Box::new(move |sent| {
            let is_hello = sent.to == Side::Server && message_kind(sent.bytes) == Some(1);
            vec![sent.arrives(if is_hello && reversed { 100 - sent.number as u64 } else { 1 })]
        })
    };
    for reversed in [false, true] {
        let mut setup = Setup::default().with_mtu(256);
        setup.client.ciphers = Some("ALL".into());
        let mut pair = setup.pair_in(fragmented(reversed));
        pair.connect();
        let hellos = pair.client.sent.iter().filter(|sent| message_kind(sent) == Some(1)).count();
        assert!(hellos >= 4, "the hello was not cut");
        // A later fragment that comes before the first is nobody's yet: it comes again a timeout later.
        assert!(pair.now < if reversed { 3_000 } else { 1_000 }, "it took {} ms", pair.now);
        pair.weather = fair();
        pair.converse();
    }
}

#[test]
fn whatever_follows_the_hello_in_its_datagram_is_judged_like_everything_else() {
    let mut pair = Setup::default().pair_in(Box::new(|sent| {
        let mut bytes = sent.bytes.to_vec();
        if sent.to == Side::Server && message_kind(sent.bytes) == Some(1) {
            bytes.extend_from_slice(&crate::pair::forge::record(23, 0, 9, b"early"));
            bytes.extend_from_slice(&crate::pair::forge::record(HANDSHAKE, 1, 0, &[1; 30]));
            bytes.extend_from_slice(b"junk");
        }
        vec![crate::pair::Delivery { to: sent.to, after: 1, bytes }]
    }));
    pair.connect();
    assert!(pair.now < 1000);
    pair.weather = fair();
    pair.converse();
}

#[test]
fn openssl_cuts_records_in_two_beyond_an_mtu_of_4096() {
    // Why there is a limit: OpenSSL gathers a flight in a buffer of 4096 bytes and sends it whenever that
    // is full, in the middle of a record or not. Should this fail, the limit can go.
    let (chain, _) = long_chain(1500);
    let server = raw::context(|builder| {
        builder.set_certificate(&chain[0].cert).unwrap();
        builder.set_private_key(&chain[0].key).unwrap();
        builder.add_extra_chain_cert(chain[1].cert.clone()).unwrap();
        builder.add_extra_chain_cert(chain[2].cert.clone()).unwrap();
    });
    for (mtu, whole) in [(4096, true), (9000, false)] {
        let mut raw = Raw::server(&server, mtu);
        raw.receive(&Setup::default().pair().client.sent[0]);
        let flight = raw.take();
        let is_whole = |datagram: &Vec<u8>| {
            records(datagram).iter().map(|record| record.whole.len()).sum::<usize>() == datagram.len()
        };
        assert!(flight.iter().map(Vec::len).sum::<usize>() > 5000, "the flight is too short to tell");
        assert_eq!(flight.iter().all(is_whole), whole, "an mtu of {mtu}");
    }
}

#[test]
fn only_an_mtu_that_works_is_accepted() {
    for (bytes, accepted) in
        [(0, false), (255, false), (256, true), (4096, true), (4097, false), (65_535, false)]
    {
        assert_eq!(Mtu::new(bytes).is_ok(), accepted, "{bytes}");
    }
    let refusal = Mtu::new(9000).unwrap_err().to_string();
    assert_eq!(refusal, "mtu: must be from 256 to 4096 bytes, got 9000");
    assert_eq!(Config::default().mtu.bytes(), 1200);
}
