//! Messages that the peer's close_notify has overtaken on their way are heard, and nothing else makes a
//! session wait.

use crate::pair::dice::{Dice, Trying};
use crate::pair::forge::{record, records, LAST_NUMBER};
use crate::pair::{fair, Pair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::record::{ALERT, APPLICATION_DATA, HANDSHAKE};
use dtls_core::{Discard, Output, Reason, Terms};

const LINGER_MS: u64 = Terms::LINGER_MS;

fn connected() -> Pair {
    let mut pair = Setup { linger_ms: LINGER_MS, ..Setup::default() }.pair();
    pair.connect();
    pair
}

fn is_alert(bytes: &[u8]) -> bool {
    records(bytes)[0].kind == ALERT
}

/// Messages take so many milliseconds longer than the close_notify.
fn slow_messages(ms: u64) -> Weather {
    Box::new(move |sent: &Sent| vec![sent.arrives(if is_alert(sent.bytes) { 1 } else { 1 + ms })])
}

/// Sends three messages and closes behind them. Returns when.
fn speak_and_leave(pair: &mut Pair, from: Side) -> u64 {
    for text in ["one", "two", "three"] {
        pair.send(from, text.as_bytes()).unwrap();
    }
    pair.close(from);
    pair.now
}

#[test]
fn what_the_close_notify_has_overtaken_is_heard_and_then_the_end_comes_at_once() {
    for from in BOTH {
        for late in [1, 100, LINGER_MS - 1] {
            let _trying = Trying(format!("from the {from:?}, {late} ms late"));
            let mut pair = connected();
            pair.weather = slow_messages(late);
            let left = speak_and_leave(&mut pair, from);
            assert!(pair.run_until(|pair| pair.client.end().is_some() && pair.server.end().is_some()));
            let end = pair.end(from.other());
            assert_eq!(end.messages(), [&b"one"[..], b"two", b"three"]);
            assert_eq!(end.said.last(), Some(&Output::Closed(Reason::Closed, None)));
            assert_eq!(pair.now, left + 1 + late);
        }
    }
}

#[test]
fn whoever_leaves_has_the_answer_at_once() {
    let mut pair = connected();
    pair.weather = slow_messages(200);
    let left = speak_and_leave(&mut pair, Side::Client);
    assert!(pair.run_until(|pair| pair.client.end().is_some()));
    assert_eq!(pair.now, left + 2);
    assert!(pair.server.end().is_none());
    // What lingers is no longer the user's to send with.
    assert_eq!(pair.server.session().state(), "closing");
    assert!(pair.server.session().send(b"late").is_err());
}

#[test]
fn what_is_later_than_that_is_lost() {
    for linger_ms in [0, 100, LINGER_MS] {
        let mut pair = Setup { linger_ms, ..Setup::default() }.pair();
        pair.connect();
        pair.weather = slow_messages(linger_ms + 10);
        let left = speak_and_leave(&mut pair, Side::Client);
        assert!(pair.run_until(|pair| pair.server.end().is_some()));
        assert_eq!(pair.server.messages(), <[&[u8]; 0]>::default());
        assert_eq!(pair.now, left + 1 + linger_ms);
    }
}

#[test]
fn nobody_waits_where_nothing_is_missing_or_what_is_missing_was_lost_long_ago() {
    for lost_ms_ago in [None, Some(LINGER_MS), Some(LINGER_MS - 100)] {
        let _trying = Trying(format!("{lost_ms_ago:?}"));
        let mut pair = connected();
        if let Some(ago) = lost_ms_ago {
            pair.weather = Box::new(|_| vec![]);
            pair.send(Side::Client, b"lost").unwrap();
            pair.weather = fair();
            pair.converse();
            // A conversation takes forty milliseconds; the first of its messages tells of the loss.
            pair.run(ago - 40);
        }
        let left = speak_and_leave(&mut pair, Side::Client);
        assert!(pair.run_until(|pair| pair.server.end().is_some()));
        let waited = if lost_ms_ago == Some(LINGER_MS - 100) { 100 } else { 0 };
        assert!((pair.now - left).abs_diff(waited) <= 2, "{} ms", pair.now - left);
    }
}

#[test]
fn a_forged_close_notify_neither_ends_nor_delays_anything() {
    for number in [1, 4, 9, 70, LAST_NUMBER] {
        let _trying = Trying(number);
        let mut pair = connected();
        for _ in 0..100 {
            pair.deliver(Side::Server, &record(ALERT, 1, number, &[5; 26]));
        }
        pair.converse();
        pair.assert_unharmed();
        let left = speak_and_leave(&mut pair, Side::Client);
        assert!(pair.run_until(|pair| pair.server.end().is_some()));
        assert_eq!((pair.server.messages().len(), pair.now), (3, left + 1));
    }
}

#[test]
fn while_it_lingers_nothing_but_earlier_messages_has_an_effect() {
    let mut pair = connected();
    pair.weather = slow_messages(200);
    let left = speak_and_leave(&mut pair, Side::Client);
    pair.run(10);
    for kind in [HANDSHAKE, ALERT, APPLICATION_DATA] {
        for number in [1, 2, 3, 5, 60, LAST_NUMBER] {
            pair.deliver(Side::Server, &record(kind, 1, number, &[5; 40]));
        }
    }
    let goodbye = pair.client.sent.last().unwrap().clone();
    pair.deliver(Side::Server, &goodbye);
    assert_eq!(pair.server.discards.last(), Some(&Discard::Replayed));
    assert_eq!(pair.server.session().state(), "closing");
    assert!(pair.run_until(|pair| pair.server.end().is_some()));
    assert_eq!((pair.server.messages().len(), pair.now), (3, left + 201));
}

#[test]
fn its_user_may_end_it_at_any_time() {
    for destroyed in [false, true] {
        let mut pair = connected();
        pair.weather = slow_messages(200);
        speak_and_leave(&mut pair, Side::Client);
        pair.run(10);
        if destroyed {
            pair.destroy(Side::Server);
        } else {
            pair.close(Side::Server);
        }
        let reason = if destroyed { Reason::Destroyed } else { Reason::Closed };
        assert_eq!(pair.server.end(), Some((reason, None)));
        assert_eq!(pair.server.messages().len(), 0);
    }
}

#[test]
fn whatever_the_order_nothing_is_lost_that_is_late_by_less() {
    for seed in 0..100 {
        let _trying = Trying(seed);
        let mut dice = Dice::new(seed);
        let mut pair = connected();
        pair.weather = Box::new(move |sent: &Sent| vec![sent.arrives(dice.below(LINGER_MS as usize) as u64)]);
        for number in 0..40_u8 {
            pair.send(Side::Client, &[number; 3]).unwrap();
            pair.run(2);
        }
        pair.close(Side::Client);
        assert!(pair.run_until(|pair| pair.server.end().is_some()));
        let mut heard: Vec<u8> = pair.server.messages().iter().map(|message| message[0]).collect();
        heard.sort_unstable();
        assert_eq!(heard, (0..40).collect::<Vec<_>>());
    }
}
