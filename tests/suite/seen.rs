//! Which of the peer's sealed records a session has had, as far as others may build on it: replays are told
//! from forgeries, and no forgery is ever taken for the peer's.

use crate::pair::dice::Trying;
use crate::pair::forge::{record, records, LAST_NUMBER};
use crate::pair::{fair, Delivery, Sent, Setup, Side, BOTH};
use dtls_core::record::{ALERT, APPLICATION_DATA, HANDSHAKE};
use dtls_core::Discard;

#[test]
fn the_newest_record_is_the_peers_finished_and_then_its_latest_message() {
    let mut pair = Setup::default().pair();
    assert_eq!(pair.client.session().newest(), None);
    pair.connect();
    for expected in 0..5 {
        for side in BOTH {
            assert_eq!(pair.end(side).session().newest(), Some(expected), "{side:?}");
        }
        pair.converse();
    }
}

#[test]
fn a_replayed_message_is_known_for_one_however_old_it_is() {
    for back in [1, 2, 63, 64, 65, 150] {
        let _trying = Trying(back);
        let mut pair = Setup::default().pair();
        pair.connect();
        for number in 0..200_u8 {
            pair.send(Side::Client, &[number; 8]).unwrap();
        }
        pair.run(10);
        let old = pair.client.sent[pair.client.sent.len() - back].clone();
        pair.server.discards.clear();
        pair.deliver(Side::Server, &old);
        assert_eq!(pair.server.discards, [Discard::Replayed]);
        assert_eq!(pair.server.messages().len(), 200);
        pair.converse();
    }
}

#[test]
fn what_was_overtaken_is_no_replay() {
    let mut pair = Setup::default().pair();
    pair.connect();
    pair.weather = Box::new(|sent| vec![sent.arrives(100 - sent.number as u64)]);
    for number in 0..40_u8 {
        pair.send(Side::Client, &[number; 8]).unwrap();
    }
    pair.run(200);
    let expected: Vec<_> = (0..40_u8).rev().map(|number| vec![number; 8]).collect();
    assert_eq!(pair.server.messages(), expected);
    assert_eq!(pair.server.discards, []);
}

#[test]
fn a_forged_number_is_believed_by_nobody() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for side in BOTH {
        for kind in [HANDSHAKE, ALERT, APPLICATION_DATA] {
            for number in [1, 40, 1 << 33, LAST_NUMBER] {
                for length in [24, 26, 40, 1000] {
                    pair.deliver(side, &record(kind, 1, number, &vec![5; length]));
                }
            }
        }
        assert_eq!(pair.end(side).session().newest(), Some(0));
        assert!(!pair.end(side).discards.contains(&Discard::Replayed));
    }
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn nor_is_that_of_a_forged_finished_that_comes_just_when_something_is_retransmitted() {
    // Whatever OpenSSL is asked to read, it retransmits on the way if it is time to: something comes of the
    // forged record, and it is none of the peer's all the same.
    let mut lost = false;
    let mut pair = Setup::default().pair_in(Box::new(move |sent: &Sent| {
        let sealed = records(sent.bytes).into_iter().position(|record| record.epoch == 1);
        match sealed {
            Some(_) if sent.to == Side::Client && !lost => {
                lost = true;
                let before = records(sent.bytes).into_iter().take_while(|record| record.epoch == 0);
                let bytes = before.flat_map(|record| record.whole.to_vec()).collect();
                vec![Delivery { to: sent.to, after: 1, bytes }]
            }
            _ => vec![sent.arrives(1)],
        }
    }));
    assert!(pair.run_until(|pair| pair.server.is_open()));
    pair.run(20);
    assert!(!pair.client.is_open());
    let sent = pair.client.sent.len();
    pair.skew = 1500;
    pair.run(0);
    pair.deliver(Side::Client, &record(HANDSHAKE, 1, LAST_NUMBER, &[5; 40]));
    assert!(pair.client.sent.len() > sent, "nothing was retransmitted");
    assert_eq!(pair.client.session().newest(), None);
    pair.connect();
    pair.weather = fair();
    pair.converse();
}
