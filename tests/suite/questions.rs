//! What a session asks its user, how long it can wait for the answer, and what the answers lead to.

use crate::pair::certificates::{self, issue, Template};
use crate::pair::forge::{self, record};
use crate::pair::{Pair, Setup, Side};
use dtls_core::config::Mtu;
use dtls_core::desk::PskPair;
use dtls_core::error::Alert;
use dtls_core::psk::Psk;
use dtls_core::reassembly::kind;
use dtls_core::record::{ALERT, HANDSHAKE, HEADER};
use dtls_core::{Answer, Config, Context, Name, Question, Reason};
use std::rc::Rc;

fn key() -> Vec<u8> {
    b"sixteen bytes 16".to_vec()
}

/// The server asks for the key of an identity, the client has one.
fn asking_for_a_key() -> Setup {
    let mut setup = Setup::psk();
    setup.server.psk = Some(Psk::Ask);
    setup
}

/// The client asks whether the server is welcome, who has a certificate that nobody knows.
fn asking_about_a_stranger() -> Setup {
    let stranger = issue(&Template::default(), &certificates::ecdsa(), None);
    let mut setup = Setup::default();
    setup.server.cert = vec![stranger.cert_pem()];
    setup.server.key = vec![stranger.key_pem()];
    setup.client.ask_peer = true;
    setup
}

/// Runs until that end asks, and returns the question.
#[track_caller]
fn question_of(pair: &mut Pair, side: Side) -> (u32, Question) {
    let asked = |pair: &Pair| {
        let end = if side == Side::Client { &pair.client } else { &pair.server };
        !end.questions().is_empty()
    };
    assert!(pair.run_until(asked), "nothing was asked: {}", pair.story());
    pair.end(side).questions().pop().unwrap()
}

#[test]
fn a_key_that_is_known_beforehand_is_not_asked_for() {
    let mut pair = Setup::psk().pair();
    pair.connect();
    pair.converse();
    assert!(pair.server.questions().is_empty() && pair.client.questions().is_empty());
    let server = pair.server.session().established().unwrap();
    assert_eq!(server.psk_identity.as_deref(), Some(&b"device 1"[..]));
    assert!(server.cipher.name.starts_with("ECDHE-PSK-"), "{}", server.cipher.name);
}

#[test]
fn the_answer_may_take_its_time() {
    let mut pair = asking_for_a_key().pair();
    let (number, question) = question_of(&mut pair, Side::Server);
    assert_eq!(question, Question::PskIdentity(b"device 1".to_vec()));
    pair.run(20_000);
    assert!(pair.answer(Side::Server, number, Answer::Key(Some(key()))));
    assert!(!pair.answer(Side::Server, number, Answer::Key(None)), "the second answer counts for nothing");
    pair.connect();
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn an_unknown_identity_is_refused_with_its_alert() {
    let mut pair = asking_for_a_key().pair();
    let (number, _) = question_of(&mut pair, Side::Server);
    pair.answer(Side::Server, number, Answer::Key(None));
    pair.run(5_000);
    assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity));
    assert_eq!(pair.client.failure(), Some(Name::UnknownIdentity));
    pair.assert_both_know(Side::Server);
}

#[test]
fn a_wrong_key_is_silence_and_both_ends_guess_it() {
    let mut setup = Setup::psk();
    setup.deadlines.handshake_ms = 5_000;
    setup.client.psk =
        Some(Psk::Pair(PskPair { identity: b"device 1".to_vec(), key: b"another".to_vec().into() }));
    let mut pair = setup.pair();
    pair.run(10_000);
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.failure(), Some(Name::WrongKey), "{}", pair.story());
        assert_eq!(end.end().unwrap().0, Reason::Timeout);
    }
}

#[test]
fn a_client_asks_whom_to_be_and_hears_the_hint() {
    let mut setup = Setup::psk();
    setup.server.psk_identity_hint = Some(b"which key".to_vec());
    setup.client.psk = Some(Psk::Ask);
    let mut pair = setup.pair();
    let (number, question) = question_of(&mut pair, Side::Client);
    assert_eq!(question, Question::PskHint(Some(b"which key".to_vec())));
    pair.run(3_000);
    let me = PskPair { identity: b"device 1".to_vec(), key: key().into() };
    assert!(pair.answer(Side::Client, number, Answer::Psk(Some(me))));
    pair.connect();
    pair.converse();
}

#[test]
fn a_stranger_is_welcome_where_the_user_says_so() {
    let mut pair = asking_about_a_stranger().pair();
    let (number, question) = question_of(&mut pair, Side::Client);
    let Question::Peer(presented) = question else { panic!("{question:?}") };
    assert_eq!(presented.verdict.unwrap_err().name, Name::UnknownCa);
    pair.run(4_000);
    assert!(pair.answer(Side::Client, number, Answer::Peer(Ok(()))));
    pair.connect();
    pair.converse();
    assert_eq!(pair.client.session().established().unwrap().verification, Some(Ok(())));
}

#[test]
fn a_stranger_is_refused_for_openssls_reason_or_for_the_users() {
    for (answer, failure) in [(None, Name::UnknownCa), (Some("not you".to_owned()), Name::Denied)] {
        let mut pair = asking_about_a_stranger().pair();
        let (number, _) = question_of(&mut pair, Side::Client);
        pair.answer(Side::Client, number, Answer::Peer(Err(answer)));
        pair.run(5_000);
        assert_eq!((pair.client.failure(), pair.server.failure()), (Some(failure), Some(failure)));
        pair.assert_both_know(Side::Client);
    }
}

#[test]
fn a_server_asks_about_its_clients_too() {
    let mut setup = Setup::mutual();
    setup.server.ask_peer = true;
    let mut pair = setup.pair();
    let (number, question) = question_of(&mut pair, Side::Server);
    let Question::Peer(presented) = question else { panic!("{question:?}") };
    assert_eq!((presented.verdict, presented.chain.len()), (Ok(()), 1));
    pair.answer(Side::Server, number, Answer::Peer(Err(None)));
    pair.run(5_000);
    assert_eq!((pair.server.failure(), pair.client.failure()), (Some(Name::Denied), Some(Name::Denied)));
    pair.assert_both_know(Side::Server);
}

#[test]
fn the_host_that_a_client_wants_chooses_the_context() {
    let mut setup = Setup { ask_server_name: true, ..Setup::default() };
    let config = setup.server.clone();
    // A context of its own: nothing of the first one is left.
    setup.server = Config { cert: vec![], key: vec![], psk: Setup::psk().server.psk, ..Config::default() };
    let mut pair = setup.pair();
    let (number, question) = question_of(&mut pair, Side::Server);
    assert_eq!(question, Question::ServerName(Some("server.test".into())));
    let context = Rc::new(Context::new(config).unwrap());
    assert!(pair.answer(Side::Server, number, Answer::Context(Some(context))));
    pair.connect();
    pair.converse();
    assert_eq!(pair.server.session().established().unwrap().server_name.as_deref(), Some("server.test"));
}

#[test]
fn a_host_that_is_not_here_is_refused_with_its_alert() {
    let mut pair = Setup { ask_server_name: true, ..Setup::default() }.pair();
    pair.server.hook = Some(Box::new(|_| Answer::Context(None)));
    pair.run(5_000);
    assert_eq!(
        (pair.server.failure(), pair.client.failure()),
        (Some(Name::ServerName), Some(Name::ServerName))
    );
    pair.assert_both_know(Side::Server);
}

#[test]
fn a_failed_hook_costs_one_handshake() {
    let mut pair = asking_for_a_key().pair();
    let (number, _) = question_of(&mut pair, Side::Server);
    pair.answer(Side::Server, number, Answer::Failed("the database is on fire".into()));
    pair.run(5_000);
    assert_eq!((pair.server.failure(), pair.client.failure()), (Some(Name::Hook), Some(Name::Alert)));
    pair.assert_both_know(Side::Server);
}

#[test]
fn without_an_answer_the_handshake_ends_by_its_deadline() {
    let mut setup = asking_for_a_key();
    setup.deadlines.handshake_ms = 5_000;
    let mut pair = setup.pair();
    let (number, _) = question_of(&mut pair, Side::Server);
    pair.run(10_000);
    assert_eq!(pair.server.failure(), Some(Name::TimedOut));
    assert!(!pair.answer(Side::Server, number, Answer::Key(Some(key()))));
}

#[test]
fn a_forged_alert_ends_no_handshake_that_waits_for_an_answer() {
    for side in [Side::Client, Side::Server] {
        let mut setup = asking_for_a_key();
        setup.client.psk = Some(Psk::Ask);
        let mut pair = setup.pair();
        if side == Side::Server {
            let me = PskPair { identity: b"device 1".to_vec(), key: key().into() };
            pair.client.hook = Some(Box::new(move |_| Answer::Psk(Some(me.clone()))));
        } else {
            pair.server.hook = Some(Box::new(|_| Answer::Key(Some(key()))));
        }
        let (number, _) = question_of(&mut pair, side);
        pair.deliver(side, &record(ALERT, 0, 9, &[2, 40]));
        pair.run(15_000);
        let answer = match side {
            Side::Client => Answer::Psk(Some(PskPair { identity: b"device 1".to_vec(), key: key().into() })),
            Side::Server => Answer::Key(Some(key())),
        };
        assert!(pair.answer(side, number, answer), "{side:?}: {}", pair.story());
        pair.connect();
        pair.converse();
    }
}

#[test]
fn nobody_is_asked_about_a_certificate_whose_key_the_client_has_not_shown_to_have() {
    let mut setup = Setup::mutual();
    setup.server.ask_peer = true;
    let mut pair = setup.pair_in(Box::new(|sent| {
        let mut delivery = sent.arrives(1);
        spoil(&mut delivery.bytes, kind::CERTIFICATE_VERIFY);
        vec![delivery]
    }));
    pair.run(10_000);
    assert!(pair.server.questions().is_empty());
    assert_eq!((pair.server.connected(), pair.client.connected()), (0, 0));
}

/// Turns the last bit of every plaintext handshake message of that type in a datagram.
fn spoil(datagram: &mut [u8], kind: u8) {
    let mut at = 0;
    while at + HEADER < datagram.len() {
        let length = usize::from(u16::from_be_bytes([datagram[at + 11], datagram[at + 12]]));
        let end = at + HEADER + length;
        if datagram[at] == HANDSHAKE && datagram[at + 4] == 0 && datagram[at + HEADER] == kind {
            datagram[end - 1] ^= 1;
        }
        at = end;
    }
}

#[test]
fn a_deadline_says_which_hook_was_waited_for() {
    let late = |mut setup: Setup, side: Side| {
        setup.deadlines.handshake_ms = 5_000;
        let mut pair = setup.pair();
        question_of(&mut pair, side);
        pair.run(10_000);
        let end = if side == Side::Client { &pair.client } else { &pair.server };
        end.end().and_then(|(_, error)| error).unwrap().to_string()
    };
    let because = |option| {
        format!(
            "ETIMEDOUT: the handshake was not complete within 5000 ms: the {option} hook has not answered"
        )
    };
    let by_name = Setup { ask_server_name: true, ..Setup::default() };
    assert_eq!(late(by_name, Side::Server), because("sni"));
    assert_eq!(late(asking_about_a_stranger(), Side::Client), because("verify"));
    assert_eq!(late(asking_for_a_key(), Side::Server), because("psk"));
}

#[test]
fn a_peer_that_left_while_the_answer_was_awaited_is_given_up_soon_after_it() {
    let setup = Setup { ask_server_name: true, ..Setup::default() };
    let context = Rc::new(Context::new(setup.server.clone()).unwrap());
    let mut pair = setup.pair();
    let (number, _) = question_of(&mut pair, Side::Server);
    pair.deliver(Side::Server, &forge::record(21, 0, 7, &[2, 40]));
    pair.destroy(Side::Client);
    pair.run(20_000);
    pair.answer(Side::Server, number, Answer::Context(Some(context)));
    pair.run(5_000);
    assert_eq!(pair.server.failure(), Some(Name::Alert));
}

#[test]
fn an_answer_to_another_question_decides_nothing() {
    for answer in [Answer::Peer(Ok(())), Answer::Psk(None), Answer::Context(None)] {
        let mut pair = asking_for_a_key().pair();
        let (number, _) = question_of(&mut pair, Side::Server);
        pair.answer(Side::Server, number, answer);
        assert_eq!(pair.server.failure(), Some(Name::Hook));
    }
    let mut pair = asking_about_a_stranger().pair();
    let (number, _) = question_of(&mut pair, Side::Client);
    pair.answer(Side::Client, number, Answer::Key(None));
    assert_eq!(pair.client.failure(), Some(Name::Hook));
}

#[test]
fn the_chosen_context_brings_its_own_mtu() {
    let mut setup = Setup { ask_server_name: true, ..Setup::default() };
    let config = Config { mtu: Mtu::new(400).unwrap(), ..setup.server.clone() };
    let chosen = Rc::new(Context::new(config).unwrap());
    setup.server.mtu = Mtu::new(1400).unwrap();
    let mut pair = setup.pair();
    pair.server.hook = Some(Box::new(move |_| Answer::Context(Some(chosen.clone()))));
    assert!(pair.run_until(|pair| pair.server.sent.len() > 1));
    assert_eq!(pair.server.session().lower_mtu(500), Some(400));
}

#[test]
fn whoever_closes_instead_of_answering_tells_the_peer() {
    for (setup, side) in [(asking_for_a_key(), Side::Server), (asking_about_a_stranger(), Side::Client)] {
        let mut pair = setup.pair();
        question_of(&mut pair, side);
        pair.close(side);
        assert_eq!(pair.end(side).end(), Some((Reason::Closed, None)));
        let closed_at = pair.now;
        assert!(pair.run_until(|pair| pair.client.end().is_some() && pair.server.end().is_some()));
        let (reason, error) = pair.end(side.other()).end().unwrap();
        assert_eq!((reason, error.unwrap().alert), (Reason::Error, Some(Alert::Received(90))));
        // As long as a plaintext alert is doubted, since anybody may have sent it.
        assert!(pair.now - closed_at < 4_000, "{} ms", pair.now - closed_at);
    }
}
