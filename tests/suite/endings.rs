//! How sessions end: once, with the right word, and with nothing after it.

use crate::pair::certificates::{self, Template};
use crate::pair::dice::Trying;
use crate::pair::forge::{changes_cipher, fragment, record, records};
use crate::pair::{Pair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::record::ALERT;
use dtls_core::{Name, Output, Reason};

/// How many datagrams each way a handshake with a client certificate has had, and some.
const STAGES: u64 = 9;

/// A pair whose clock stands at this millisecond of the handshake.
fn at_stage(stage: u64) -> Pair {
    let mut setup = Setup::mutual();
    setup.deadlines.handshake_ms = 30_000;
    // A server that has just opened when its client gives up hears nothing of it.
    setup.deadlines.idle_ms = 60_000;
    let mut pair = setup.pair();
    pair.run(stage);
    pair
}

/// Loses everything from now on.
fn silence() -> Weather {
    Box::new(|_| Vec::new())
}

#[test]
fn whoever_closes_at_whatever_stage_both_ends_end_once() {
    for stage in 0..STAGES {
        for side in BOTH {
            let _trying = Trying(format!("the {side:?} closes after {stage} ms"));
            let mut pair = at_stage(stage);
            if pair.end(side).session.is_none() {
                continue;
            }
            let was_open = pair.end(side).is_open();
            pair.close(side);
            pair.run(200_000);
            let (reason, error) = pair.end(side).end().expect("it did not end");
            assert_eq!((reason, error), (Reason::Closed, None));
            if was_open && pair.end(side.other()).connected() == 1 {
                assert_eq!(pair.end(side.other()).end(), Some((Reason::Closed, None)));
            }
            assert!(pair.client.session.is_none() && pair.server.session.is_none(), "one lives on");
        }
    }
}

#[test]
fn whoever_is_destroyed_says_nothing_and_ends_at_once() {
    for stage in 0..STAGES {
        for side in BOTH {
            let _trying = Trying(format!("the {side:?} is destroyed after {stage} ms"));
            let mut pair = at_stage(stage);
            if pair.end(side).session.is_none() {
                continue;
            }
            let sent = pair.end(side).sent.len();
            pair.destroy(side);
            assert_eq!(pair.end(side).end(), Some((Reason::Destroyed, None)));
            assert_eq!(pair.end(side).sent.len(), sent);
        }
    }
}

#[test]
fn a_peer_that_falls_silent_during_the_handshake_is_given_up_at_the_deadline() {
    for stage in 0..5 {
        let _trying = Trying(format!("silence after {stage} ms"));
        let mut pair = at_stage(stage);
        let opened: Vec<bool> = BOTH.map(|side| pair.end(side).is_open()).into();
        assert!(!opened[0], "this is no stage of the handshake");
        pair.weather = silence();
        pair.run(30_000 - pair.now);
        assert!(pair.client.end().is_none());
        pair.run(1 + stage);
        for side in BOTH {
            let end = pair.end(side);
            if end.connected() == 0 && !end.said.is_empty() {
                assert_eq!(end.failure(), Some(Name::TimedOut));
                assert_eq!(end.end().map(|(reason, _)| reason), Some(Reason::Timeout));
            }
        }
        assert!(pair.client.session.is_none());
        assert!(pair.server.session.is_none() || pair.server.is_open());
    }
}

#[test]
fn the_retransmissions_own_patience_ends_a_handshake_that_has_no_sooner_deadline() {
    let mut pair = Setup::default().pair_in(silence());
    pair.run(599_000);
    assert_eq!(pair.client.failure(), Some(Name::TimedOut));
    assert_eq!(pair.client.sent.len(), 13, "a hello and twelve retransmissions");
}

#[test]
fn a_peer_that_sends_only_the_first_fragment_of_its_hello_is_gone_at_the_deadline() {
    let mut setup = Setup::mutual().with_mtu(256);
    setup.client.ciphers = Some("ALL".into());
    setup.deadlines.handshake_ms = 5_000;
    let mut pair = setup.pair_in(Box::new(|sent| {
        let later_fragment = sent.to == Side::Server && records(sent.bytes)[0].body[6..9] != [0, 0, 0];
        if later_fragment {
            vec![]
        } else {
            vec![sent.arrives(1)]
        }
    }));
    assert!(pair.run_until(|pair| pair.admitted == 1));
    let admitted_at = pair.now;
    assert!(pair.run_until(|pair| pair.server.end().is_some()));
    assert_eq!(pair.server.failure(), Some(Name::TimedOut));
    assert_eq!(pair.now, admitted_at + 5_000);
}

#[test]
fn silence_and_junk_both_lead_to_the_idle_timeout_and_messages_do_not() {
    let mut setup = Setup::default();
    setup.deadlines.idle_ms = 10_000;
    let mut pair = setup.pair();
    pair.connect();
    for _ in 0..5 {
        pair.run(8_000);
        pair.converse();
    }
    pair.assert_unharmed();
    let heard_last = pair.now;
    while pair.server.session.is_some() {
        for junk in [record(23, 1, 1 << 40, &[7; 60]), record(23, 0, 9, b"hello"), record(22, 1, 3, &[1; 40])]
        {
            pair.deliver(Side::Server, &junk);
        }
        pair.run(500);
    }
    assert_eq!(pair.server.end(), Some((Reason::Timeout, None)));
    let lasted = pair.now - heard_last;
    assert!((9_500..=10_500).contains(&lasted), "it lasted {lasted} ms");
    // The idle end said goodbye, so the other did not have to wait for its own.
    assert_eq!(pair.client.end(), Some((Reason::Closed, None)));
}

#[test]
fn a_peer_that_the_user_gives_up_is_told_and_only_an_open_session_gives_up() {
    for side in BOTH {
        let mut pair = at_stage(3);
        let now = pair.now;
        if let Some(session) = &mut pair.end(side).session {
            session.give_up("too early", now);
        }
        pair.connect();
        pair.run(500);
        let heard_at = pair.end(side).session().heard_at();
        assert!(heard_at <= 20, "{heard_at}");
        pair.deliver(side, &record(23, 1, 9, &[7; 60]));
        assert_eq!(pair.end(side).session().heard_at(), heard_at, "a forged record was heard");
        pair.converse();
        assert!(pair.end(side).session().heard_at() > heard_at);
        let now = pair.now;
        pair.end(side).session().give_up("it answers nothing", now);
        pair.drain(side);
        let (reason, error) = pair.end(side).end().unwrap();
        assert_eq!(
            (reason, error.unwrap().to_string()),
            (Reason::Timeout, "ETIMEDOUT: it answers nothing".into())
        );
        pair.run(10);
        assert_eq!(pair.end(side.other()).end(), Some((Reason::Closed, None)));
    }
}

#[test]
fn a_close_whose_answer_is_lost_is_complete_after_a_second() {
    let mut pair = Setup::default().pair();
    pair.connect();
    pair.weather = silence();
    pair.close(Side::Client);
    assert_eq!(pair.client.session().state(), "closing");
    assert_eq!(pair.client.session().send(b"late").unwrap_err().name, Name::NotConnected);
    pair.run(999);
    assert!(pair.client.end().is_none());
    pair.run(2);
    assert_eq!(pair.client.end(), Some((Reason::Closed, None)));
}

#[test]
fn a_server_that_closes_at_once_while_its_last_flight_is_lost_ends_in_good_order() {
    // The client retransmits its Finished to a server that has sent a close_notify.
    for lost in 1..4 {
        let _trying = Trying(format!("{lost} last flights lost"));
        let mut left = lost;
        let mut pair = Setup::default().pair_in(Box::new(move |sent| {
            let last_flight = sent.to == Side::Client && changes_cipher(sent.bytes);
            if last_flight && left > 0 {
                left -= 1;
                return vec![];
            }
            vec![sent.arrives(1)]
        }));
        assert!(pair.run_until(|pair| pair.server.is_open()));
        pair.run(995);
        pair.close(Side::Server);
        pair.run(700_000);
        assert_eq!(pair.server.end(), Some((Reason::Closed, None)));
        assert!(pair.client.end().is_some());
    }
}

#[test]
fn messages_sent_before_a_close_arrive_before_it() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for number in 0..10_u8 {
        pair.send(Side::Client, &[number]).unwrap();
    }
    pair.close(Side::Client);
    pair.run(100);
    assert_eq!(pair.server.messages().len(), 10);
    assert!(matches!(pair.server.said.last(), Some(Output::Closed(Reason::Closed, None))));
}

#[test]
fn a_close_on_both_sides_at_once_is_one_close_each() {
    let mut pair = Setup::default().pair();
    pair.connect();
    BOTH.into_iter().for_each(|side| pair.close(side));
    BOTH.into_iter().for_each(|side| {
        if pair.end(side).session.is_some() {
            pair.close(side)
        }
    });
    pair.run(5_000);
    assert_eq!(pair.client.end(), Some((Reason::Closed, None)));
    assert_eq!(pair.server.end(), Some((Reason::Closed, None)));
}

#[test]
fn whoever_refuses_sends_its_alert_before_it_closes_and_the_other_learns_why_in_two_timeouts() {
    let mut setup = Setup::default();
    let stranger = certificates::issue(&Template::default(), &certificates::ecdsa(), None);
    setup.server.cert = vec![stranger.cert_pem()];
    setup.server.key = vec![stranger.key_pem()];
    let mut pair = setup.pair();
    assert!(pair.run_until(|pair| pair.client.end().is_some()));
    let refused_at = pair.now;
    assert_eq!(pair.client.failure(), Some(Name::UnknownCa));
    let alert = pair.client.sent.last().unwrap();
    assert_eq!((records(alert)[0].kind, records(alert)[0].body), (ALERT, &[2, 48][..]));
    let alerts = pair.client.sent.iter().filter(|sent| sent[0] == ALERT).count();
    assert_eq!(alerts, 1, "an alert is sent once");
    assert!(pair.run_until(|pair| pair.server.end().is_some()));
    assert!(pair.now - refused_at <= 2 * 1000 + 1, "the server waited {} ms", pair.now - refused_at);
    assert_eq!(pair.server.failure(), Some(Name::UnknownCa));
    pair.assert_both_know(Side::Client);
}

#[test]
fn a_client_without_the_certificate_that_is_required_learns_so() {
    let mut setup = Setup::mutual();
    setup.client.cert.clear();
    setup.client.key.clear();
    let mut pair = setup.pair();
    pair.run(5_000);
    assert_eq!(pair.server.failure(), Some(Name::NoCertificate));
    assert_eq!(pair.client.failure(), Some(Name::NoCertificate));
    pair.assert_both_know(Side::Server);
    assert!(pair.now <= 5_000);
}

#[test]
fn a_forged_goodbye_ends_no_session_and_the_peers_own_does() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for forged in [record(ALERT, 0, 9, &[2, 80]), record(ALERT, 0, 9, &[1, 0]), record(ALERT, 1, 1, &[2; 26])]
    {
        BOTH.into_iter().for_each(|side| pair.deliver(side, &forged));
    }
    pair.converse();
    pair.assert_unharmed();
    pair.close(Side::Client);
    pair.run(100);
    assert_eq!(pair.server.end(), Some((Reason::Closed, None)));
}

#[test]
fn a_client_that_never_hears_the_last_flight_repeats_its_own_and_ends_no_session_but_its_own() {
    // OpenSSL ends a server session at the thirteenth Finished; its clients send no more than that.
    let mut client = Setup::default();
    client.deadlines.handshake_ms = 3_600_000;
    let mut pair = client.pair_in(Box::new(|sent: &Sent| {
        let last_flight = sent.to == Side::Client && changes_cipher(sent.bytes);
        if last_flight {
            vec![]
        } else {
            vec![sent.arrives(1)]
        }
    }));
    assert!(pair.run_until(|pair| pair.server.is_open()));
    pair.run(590_000);
    assert_eq!(pair.client.failure(), Some(Name::TimedOut));
    assert!(pair.server.is_open(), "{}", pair.story());
}

#[test]
fn a_retransmission_timer_runs_while_and_only_while_something_is_to_be_retransmitted() {
    let mut pair = Setup::default().pair();
    pair.connect();
    pair.run(100_000);
    assert!(!pair.step(), "an open session without an idle timeout has nothing to do");
    let mut pair = Setup::default().pair_in(silence());
    for expected in [1_000, 3_000, 7_000, 15_000, 31_000, 63_000, 123_000] {
        let sent = pair.client.sent.len();
        assert!(pair.run_until(|pair| pair.client.sent.len() > sent));
        assert!(pair.now.abs_diff(expected) <= 200, "{} instead of {expected} ms", pair.now);
    }
}

#[test]
fn a_half_known_message_of_the_peer_waits_for_the_deadline_only() {
    let mut setup = Setup::default();
    setup.deadlines.handshake_ms = 2_000;
    let mut pair = setup.pair();
    assert!(pair.run_until(|pair| pair.admitted == 1));
    pair.weather = silence();
    let part = fragment(16, 2, 500, 0, &[1; 20]);
    pair.deliver(Side::Server, &record(22, 0, 5, &part));
    pair.run(10_000);
    assert_eq!(pair.server.failure(), Some(Name::TimedOut));
}
