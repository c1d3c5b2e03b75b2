//! Datagrams from another address than the peer's: which sessions take them, and that they leave no trace where
//! they are not the peer's; and the trail by which a session is found.

use crate::pair::dice::Trying;
use crate::pair::forge::{record, records};
use crate::pair::seal::{Sealer, SUITE};
use crate::pair::{Pair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::record::{ALERT, APPLICATION_DATA, HANDSHAKE};
use dtls_core::session::Stray;
use dtls_core::trail::Trail;
use dtls_core::{Discard, Output};

const NEWER: Option<Stray> = Some(Stray { newer: true, dropped: None });
const OLDER: Option<Stray> = Some(Stray { newer: false, dropped: None });

fn roaming(suite: &str) -> Setup {
    Setup { roams: true, ..Setup::with_suite(suite) }
}

/// An established pair, whose further datagrams stay on the wire.
fn open(setup: Setup) -> Pair {
    let mut pair = setup.pair();
    pair.connect();
    pair.run(100);
    pair.weather = Box::new(|_| Vec::new());
    pair
}

/// Seals a message that does not arrive.
fn sealed(pair: &mut Pair, from: Side, message: &[u8]) -> Vec<u8> {
    pair.send(from, message).unwrap();
    pair.end(from).sent.last().unwrap().clone()
}

/// Hands a datagram to one end, as if it came from elsewhere.
fn stray(pair: &mut Pair, to: Side, datagram: &[u8]) -> Option<Stray> {
    let now = pair.now;
    let outcome = pair.end(to).session().receive_stray_untrusted(datagram, now);
    pair.drain(to);
    outcome
}

/// What an end was told of its peer's trail.
fn trails(pair: &mut Pair, side: Side) -> Vec<Option<Trail>> {
    let trail = |output: &Output| match output {
        Output::Trail(trail) => Some(*trail),
        _ => None,
    };
    pair.end(side).said.iter().filter_map(trail).collect()
}

#[test]
fn a_newer_message_is_taken_and_an_overtaken_one_says_that_it_is() {
    for suite in [SUITE, "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM8"] {
        let _trying = Trying(suite);
        let mut pair = open(Setup::with_suite(suite));
        for side in BOTH {
            let [first, second, third] =
                [b"one", b"two", b"six"].map(|message| sealed(&mut pair, side.other(), message));
            assert_eq!(stray(&mut pair, side, &second), NEWER);
            assert_eq!(stray(&mut pair, side, &first), OLDER);
            assert_eq!(stray(&mut pair, side, &third), NEWER);
            for replayed in [&first, &second, &third] {
                assert_eq!(stray(&mut pair, side, replayed), None);
            }
            assert_eq!(pair.end(side).messages(), [b"two", b"one", b"six"]);
        }
        pair.assert_unharmed();
    }
}

#[test]
fn what_is_behind_the_first_record_goes_the_way_of_all_datagrams() {
    let mut pair = open(Setup::default());
    let [first, second] = [b"one", b"two"].map(|message| sealed(&mut pair, Side::Client, message));
    assert_eq!(stray(&mut pair, Side::Server, &[first.clone(), second].concat()), NEWER);
    let third = [sealed(&mut pair, Side::Client, b"six"), first].concat();
    let replayed = Some(Stray { newer: true, dropped: Some(Discard::Replayed) });
    assert_eq!(stray(&mut pair, Side::Server, &third), replayed);
    assert_eq!(pair.server.messages(), [b"one", b"two", b"six"]);
}

#[test]
fn a_close_notify_from_elsewhere_is_one() {
    let mut pair = open(Setup::default());
    pair.close(Side::Client);
    let goodbye = pair.client.sent.last().unwrap().clone();
    assert_eq!(records(&goodbye)[0].kind, ALERT);
    assert_eq!(stray(&mut pair, Side::Server, &goodbye), NEWER);
    assert!(pair.server.end().is_some());
}

#[test]
fn what_the_close_notify_has_overtaken_is_heard_and_moves_nothing() {
    let mut pair = open(Setup::default());
    let [late, lost] = [b"late", b"lost"].map(|message| sealed(&mut pair, Side::Client, message));
    pair.close(Side::Client);
    let goodbye = pair.client.sent.last().unwrap().clone();
    assert_eq!(stray(&mut pair, Side::Server, &goodbye), NEWER);
    assert_eq!(stray(&mut pair, Side::Server, &goodbye), None);
    assert_eq!(stray(&mut pair, Side::Server, &late), OLDER);
    assert_eq!(stray(&mut pair, Side::Server, &lost), OLDER);
    assert_eq!(pair.server.messages(), [b"late", b"lost"]);
    assert!(pair.server.end().is_some());
}

#[test]
fn what_is_not_the_peers_leaves_no_trace() {
    let mut pair = open(Setup { trace: true, roams: true, ..Setup::default() });
    let mut other = open(Setup::default());
    let message = sealed(&mut pair, Side::Client, b"a message");
    let mut broken = message.clone();
    *broken.last_mut().unwrap() ^= 1;
    let number = records(&message)[0].sequence;
    let mut forgeries = vec![
        sealed(&mut other, Side::Client, b"a message"),
        sealed(&mut pair, Side::Server, b"reflected"),
        broken,
        [&message[..20], &message].concat(),
        vec![],
        b"nonsense".to_vec(),
    ];
    for kind in [20, ALERT, HANDSHAKE, APPLICATION_DATA, 24] {
        for (epoch, length) in [(0, 40), (1, 0), (1, 23), (1, 24), (1, 40), (1, 16_000), (2, 40)] {
            forgeries.push(record(kind, epoch, number, &vec![7; length]));
        }
    }
    let before = pair.server.session().counts().clone();
    let (said, events, due) =
        (pair.server.said.len(), pair.server.events.len(), pair.server.session().poll());
    for forgery in &forgeries {
        pair.now += 1000;
        assert_eq!(stray(&mut pair, Side::Server, forgery), None);
    }
    assert_eq!(*pair.server.session().counts(), before);
    assert_eq!(pair.server.session().poll(), due, "its deadlines have changed");
    assert_eq!((pair.server.said.len(), pair.server.events.len()), (said, events));
    assert_eq!(stray(&mut pair, Side::Server, &message), NEWER);
    assert_eq!(pair.server.session().counts().datagrams_in, before.datagrams_in + 1);
    assert_eq!(pair.server.events.len(), events + 1);
    pair.assert_unharmed();
}

#[test]
fn no_session_tries_before_it_is_open_or_once_it_is_closing() {
    let mut pair = Setup::default().pair();
    let junk = record(APPLICATION_DATA, 1, 5, &[7; 40]);
    while !(pair.client.is_open() && pair.server.is_open()) {
        for side in BOTH {
            if pair.end(side).session.is_some() {
                assert_eq!(stray(&mut pair, side, &junk), None);
            }
        }
        assert!(pair.step());
    }
    pair.converse();
    pair.weather = Box::new(|_| Vec::new());
    let message = sealed(&mut pair, Side::Client, b"late");
    pair.close(Side::Server);
    assert_eq!(stray(&mut pair, Side::Server, &message), None);
}

#[test]
fn no_session_tries_whose_suite_is_not_an_aead() {
    let mut pair = open(roaming("ECDHE-ECDSA-AES128-SHA256"));
    let message = sealed(&mut pair, Side::Client, b"a message");
    assert_eq!(stray(&mut pair, Side::Server, &message), None);
    assert_eq!(trails(&mut pair, Side::Server), [None]);
}

#[test]
fn the_records_of_a_session_with_aes_gcm_leave_a_trail_of_its_own() {
    let mut all = Vec::new();
    for suite in [SUITE, SUITE, "ECDHE-RSA-AES256-GCM-SHA384"] {
        let mut pair = open(roaming(suite));
        for side in BOTH {
            let told = trails(&mut pair, side);
            assert_eq!(told.len(), 1);
            for _ in 0..20 {
                let datagram = sealed(&mut pair, side.other(), b"a message");
                assert_eq!(Trail::of_untrusted(&records(&datagram)[0]), told[0]);
            }
            let last = sealed(&mut pair, side.other(), b"another");
            assert_eq!(stray(&mut pair, side, &last), NEWER);
            assert_eq!(trails(&mut pair, side), told, "told again");
            assert!(told[0].is_some() && !all.contains(&told[0]));
            all.extend(told);
        }
    }
}

#[test]
fn the_trail_is_the_same_where_a_finished_was_lost_and_repeated() {
    for (to, number) in [(Side::Server, 2), (Side::Client, 2), (Side::Client, 1)] {
        let _trying = Trying(format!("{to:?} {number}"));
        let lost = move |sent: &Sent| sent.to == to && sent.number == number;
        let weather: Weather =
            Box::new(move |sent| if lost(sent) { Vec::new() } else { vec![sent.arrives(1)] });
        let mut pair = roaming(SUITE).pair_in(weather);
        pair.connect();
        pair.run(5000);
        for side in BOTH {
            let told = trails(&mut pair, side);
            let datagram = sealed(&mut pair, side.other(), b"a message");
            assert_eq!(Trail::of_untrusted(&records(&datagram)[0]), told[0]);
            assert_eq!(told.len(), 1);
        }
        assert!(
            pair.server.session().counts().retransmissions + pair.client.session().counts().retransmissions
                > 0
        );
    }
}

#[test]
fn with_other_suites_there_is_none() {
    for suite in ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-CCM8"] {
        let _trying = Trying(suite);
        let mut pair = open(roaming(suite));
        for side in BOTH {
            let message = sealed(&mut pair, side.other(), b"a message");
            assert_eq!(stray(&mut pair, side, &message), NEWER);
            assert_eq!(trails(&mut pair, side), [None]);
        }
    }
}

#[test]
fn a_second_record_off_the_trail_shows_that_there_is_none() {
    let mut setup = roaming(SUITE);
    setup.client.key_log = true;
    let mut pair = open(setup);
    let first = trails(&mut pair, Side::Server);
    assert!(matches!(first[..], [Some(_)]));
    // Its nonces are epoch and number, where those of the Finished began at random.
    let mut sealer = Sealer::of(&pair, Side::Client, 1);
    let datagram = sealer.seal(APPLICATION_DATA, b"a message");
    assert_eq!(stray(&mut pair, Side::Server, &datagram), NEWER);
    assert_eq!(trails(&mut pair, Side::Server), [first[0], None]);
    let datagram = sealer.seal(APPLICATION_DATA, b"another");
    assert_eq!(stray(&mut pair, Side::Server, &datagram), NEWER);
    assert_eq!(trails(&mut pair, Side::Server), [first[0], None]);
}

#[test]
fn nobody_is_told_of_a_trail_who_has_not_asked() {
    let mut pair = open(Setup::default());
    let message = sealed(&mut pair, Side::Client, b"a message");
    assert_eq!(stray(&mut pair, Side::Server, &message), NEWER);
    assert_eq!(trails(&mut pair, Side::Server), []);
}
