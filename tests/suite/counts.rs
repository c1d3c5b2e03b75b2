//! What a session counts and measures.

use crate::pair::dice::Trying;
use crate::pair::{fair, Setup, Side, Weather, BOTH};
use dtls_core::Discard;

fn distant(delay: u64) -> Weather {
    Box::new(move |sent| vec![sent.arrives(delay)])
}

#[test]
fn both_ends_measure_the_round_trip() {
    for (name, setup) in [("one way", Setup::default()), ("both", Setup::mutual()), ("psk", Setup::psk())] {
        let _trying = Trying(name.to_owned());
        let mut pair = setup.pair_in(distant(40));
        pair.connect();
        for side in BOTH {
            let counts = pair.end(side).session().counts();
            assert_eq!((counts.round_trip_ms, counts.retransmissions), (Some(80), 0), "{side:?}");
        }
    }
}

/// An answer that belongs to the first of two transmissions is no quick answer to the second.
#[test]
fn no_round_trip_is_shorter_than_it_was() {
    for delay in [493, 496, 499, 500, 600, 900, 1100, 2500, 5000] {
        let _trying = Trying(format!("a delay of {delay} ms"));
        let mut pair = Setup::mutual().pair_in(distant(delay));
        pair.connect();
        for side in BOTH {
            let counts = pair.end(side).session().counts();
            assert!(counts.round_trip_ms.is_none_or(|took| took >= 2 * delay), "{counts:?}");
        }
        assert!(delay < 500 || pair.client.session().counts().retransmissions > 0);
    }
}

#[test]
fn messages_and_what_is_dropped_are_counted_once() {
    let mut pair = Setup::default().pair_in(fair());
    pair.connect();
    let before = pair.server.session().counts().clone();
    pair.send(Side::Client, b"one").unwrap();
    pair.send(Side::Client, b"twice").unwrap();
    pair.run(10);
    pair.deliver(Side::Server, b"junk");
    pair.deliver(Side::Server, b"junk");
    pair.deliver(Side::Server, b"");
    let after = pair.server.session().counts().clone();
    assert_eq!((after.messages_in, after.message_bytes_in, after.messages_out), (2, 8, 0));
    assert_eq!(after.datagrams_in - before.datagrams_in, 5);
    assert_eq!(after.drops, [(Discard::Malformed, 3)]);
    let counts = pair.client.session().counts();
    assert_eq!((counts.messages_out, counts.message_bytes_out, counts.messages_in), (2, 8, 0));
}

#[test]
fn what_was_counted_outlives_what_is_given_back() {
    let mut pair = Setup::default().pair_in(fair());
    pair.connect();
    pair.converse();
    let session = pair.server.session();
    let before = session.counts().clone();
    session.forget();
    session.forget();
    assert_eq!(session.counts(), &before);
    assert!(session.established().is_some());
    assert!(session.send(b"more").is_err());
    assert_eq!(session.receive_untrusted(b"junk", 0), Some(Discard::Closed));
}
