//! Sessions that are resumed (RFC 5077, RFC 5246 section 7.3), and those that must not be.

use crate::pair::certificates::{self, issue, Template};
use crate::pair::dice::{Dice, Trying};
use crate::pair::forge::record;
use crate::pair::raw::{self, Raw};
use crate::pair::{clock, Pair, Sent, Setup, Side, BOTH};
use dtls_core::config::FragmentLength;
use dtls_core::context::PeerName;
use dtls_core::desk::PskPair;
use dtls_core::psk::Psk;
use dtls_core::reassembly::kind;
use dtls_core::record::{CHANGE_CIPHER_SPEC, HANDSHAKE};
use dtls_core::resumption::is_kept;
use dtls_core::{Answer, Config, Context, Name, Output, Question, TicketKeys};
use openssl::ssl::{SslContext, SslOptions, SslSession, SslSessionCacheMode};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// What the client of this setup keeps of a session.
#[track_caller]
fn kept(setup: &Setup) -> Vec<u8> {
    let mut pair = setup.clone().pair();
    pair.connect();
    pair.converse();
    kept_by(&mut pair).expect("the session cannot be resumed")
}

fn kept_by(pair: &mut Pair) -> Option<Vec<u8>> {
    let established = pair.client.session().established().unwrap();
    established.kept.as_ref().map(|kept| kept.bytes().to_vec())
}

/// The same client comes back.
fn returning(setup: &Setup) -> Setup {
    Setup { kept: Some(kept(setup)), ..setup.clone() }
}

/// Both ends agree on whether a connected session is an earlier one.
#[track_caller]
fn resumed(pair: &mut Pair) -> bool {
    let [client, server] = BOTH.map(|side| pair.end(side).session().established().unwrap().resumed);
    assert_eq!(client, server, "{}", pair.story());
    client
}

/// Connects, and says whether that resumed an earlier session.
#[track_caller]
fn resumes(setup: &Setup) -> bool {
    let mut pair = setup.clone().pair();
    pair.connect();
    pair.converse();
    pair.assert_unharmed();
    resumed(&mut pair)
}

/// Why a client of this configuration does not offer what was kept.
#[track_caller]
fn refusal(config: &Config, name: &str, kept: &[u8]) -> String {
    let context = Context::new(config.clone()).unwrap();
    let error = context.earlier(&PeerName::parse(name), kept).err().expect("it was taken");
    assert_eq!(error.name, Name::Session);
    error.sentence
}

fn secret(letter: u8) -> Vec<u8> {
    vec![letter; 32]
}

fn keys(letters: &[u8]) -> Option<TicketKeys> {
    let secrets: Vec<_> = letters.iter().map(|&letter| secret(letter)).collect();
    Some(TicketKeys::with_secrets(&secrets).unwrap())
}

// What is resumed.

#[test]
fn a_session_is_resumed_with_certificates_on_either_side_and_with_keys() {
    let mut short = Setup::default();
    short.client.max_fragment_length = FragmentLength::new(512).ok();
    for setup in [Setup::default(), Setup::mutual(), Setup::psk(), short] {
        let again = returning(&setup);
        let mut pair = again.pair();
        pair.connect();
        assert!(resumed(&mut pair));
        // Two flights instead of four, and no certificate in them.
        let messages = pair.server.sent.concat();
        assert!(messages.len() < 400, "the server sent {} bytes", messages.len());
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn a_session_that_was_resumed_can_be_resumed_again() {
    let mut setup = returning(&Setup::default());
    for _ in 0..3 {
        let mut pair = setup.clone().pair();
        pair.connect();
        assert!(resumed(&mut pair));
        setup.kept = kept_by(&mut pair);
    }
}

#[test]
fn a_resumed_peer_is_who_it_was() {
    let mut pair = returning(&Setup::mutual()).pair();
    pair.connect();
    assert!(resumed(&mut pair));
    for (side, own) in [(Side::Client, certificates::server()), (Side::Server, certificates::client())] {
        let established = pair.end(side).session().established().unwrap();
        assert_eq!((&established.chain, &established.verification), (&vec![own.cert.clone()], &Some(Ok(()))));
    }
}

#[test]
fn a_resumed_session_has_its_psk_identity() {
    let mut pair = returning(&Setup::psk()).pair();
    pair.connect();
    assert!(resumed(&mut pair));
    for side in BOTH {
        let established = pair.end(side).session().established().unwrap();
        assert_eq!(established.psk_identity.as_deref(), Some(&b"device 1"[..]));
    }
}

// Tickets.

#[test]
fn tickets_outlive_the_server_where_their_keys_do() {
    let before = Setup { tickets: keys(b"a"), ..Setup::default() };
    let again = returning(&before);
    assert!(resumes(&Setup { tickets: keys(b"a"), ..again.clone() }));
    assert!(!resumes(&Setup { tickets: keys(b"b"), ..again.clone() }));
    assert!(!resumes(&Setup { tickets: None, ..again.clone() }));
    assert!(!resumes(&Setup { tickets: Some(TicketKeys::random(7200)), ..again }));
}

#[test]
fn a_ticket_of_an_older_key_resumes_once_and_is_replaced() {
    let ring = keys(b"a").unwrap();
    let mut setup = returning(&Setup { tickets: Some(ring.clone()), ..Setup::default() });
    ring.set_secrets(&[secret(b'b'), secret(b'a')]).unwrap();
    let mut pair = setup.clone().pair();
    pair.connect();
    assert!(resumed(&mut pair));
    let renewed = kept_by(&mut pair);
    assert_ne!(renewed, setup.kept);
    ring.set_secrets(&[secret(b'b')]).unwrap();
    assert!(!resumes(&setup), "its key is gone");
    setup.kept = renewed;
    assert!(resumes(&setup));
}

#[test]
fn random_keys_change_by_themselves_and_the_last_ones_open_for_as_long_as_tickets_live() {
    clock::set(0);
    let ring = TicketKeys::random(100);
    let first = ring.to_seal().name;
    assert!(ring.to_open(&first).unwrap().1);
    clock::set(99_000);
    assert_eq!(ring.to_seal().name, first);
    clock::set(100_000);
    let second = ring.to_seal().name;
    assert_ne!(second, first);
    assert!(!ring.to_open(&first).unwrap().1);
    clock::set(200_000);
    assert!(ring.to_open(&first).is_none());
    assert!(ring.to_open(&second).is_some());
    clock::set(500_000);
    assert!(ring.to_open(&second).is_none(), "nobody has used the ring for more than its tickets' life");
}

#[test]
fn short_secrets_and_none_are_refused_and_the_ring_stays_as_it_was() {
    let ring = keys(b"a").unwrap();
    let name = ring.to_seal().name;
    let refused = ring.set_secrets(&[secret(b'b'), vec![0; 31]]).unwrap_err();
    assert_eq!(refused.to_string(), "ticket_keys: must be at least 32 bytes long, got 31");
    let refused = ring.set_secrets(&[]).unwrap_err();
    assert_eq!(refused.to_string(), "ticket_keys: must hold at least one secret");
    assert_eq!(ring.to_seal().name, name);
}

// What is not resumed: a full handshake takes its place.

#[test]
fn a_client_offers_a_session_only_where_it_would_have_been_made_just_so() {
    let made = Setup::mutual().client;
    let blob = kept(&Setup::mutual());
    let pem = |issued: &certificates::Issued| vec![issued.cert_pem()];
    let other_ca =
        issue(&Template { name: "Other", ca: true, ..Template::default() }, &certificates::ecdsa(), None);
    let anybody = Config { reject_unauthorized: false, ..made.clone() };
    let rows = [
        ("another name", made.clone(), "other.test"),
        ("an address", made.clone(), "192.0.2.1"),
        ("another CA", Config { ca: Some(pem(&other_ca)), ..made.clone() }, "server.test"),
        ("the system's CAs", Config { ca: None, ..made.clone() }, "server.test"),
        ("no verification", anybody.clone(), "server.test"),
        ("a verify hook", Config { ask_peer: true, ..made.clone() }, "server.test"),
        ("another certificate of ours", Config { cert: vec![], key: vec![], ..made.clone() }, "server.test"),
        ("a pre-shared key", Config { psk: Setup::psk().client.psk, ..made.clone() }, "server.test"),
        (
            "short records",
            Config { max_fragment_length: FragmentLength::new(512).ok(), ..made.clone() },
            "server.test",
        ),
        (
            "other cipher suites",
            Config { ciphers: Some("ECDHE+CHACHA20".into()), ..made.clone() },
            "server.test",
        ),
    ];
    for (what, config, name) in rows {
        let _trying = Trying(what);
        let sentence = refusal(&config, name, &blob);
        assert!(sentence.contains("with another server, or under other rules"), "{sentence}");
    }
    // And the other way round: what was never verified is nothing to one who verifies.
    let unverified = kept(&Setup { client: anybody, ..Setup::mutual() });
    assert!(refusal(&made, "server.test", &unverified).contains("under other rules"));
    // The name is the same in other letters, and the CAs in another order.
    let context = Context::new(made).unwrap();
    assert!(context.earlier(&PeerName::parse("SERVER.test."), &blob).is_ok());
}

#[test]
fn another_identity_does_not_offer_a_session_of_the_first() {
    let blob = kept(&Setup::psk());
    let pair = PskPair { identity: b"device 2".to_vec(), key: b"sixteen bytes 16".to_vec().into() };
    let other = Config { psk: Some(Psk::Pair(pair)), ..Setup::psk().client };
    assert!(refusal(&other, "server.test", &blob).contains("under other rules"));
}

#[test]
fn damaged_sessions_and_those_of_other_versions_are_not_offered() {
    let config = Setup::default().client;
    let blob = kept(&Setup::default());
    assert!(is_kept(&blob));
    let mut newer = blob.clone();
    newer[12] = 2;
    assert!(is_kept(&newer));
    assert!(refusal(&config, "server.test", &newer).contains("none of this version's"));
    for length in 13..blob.len() {
        refusal(&config, "server.test", &blob[..length]);
    }
    for at in 12..blob.len() {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x10;
        refusal(&config, "server.test", &damaged);
    }
    for nonsense in [&b""[..], b"dtls session", b"nonsense", &blob[1..]] {
        assert!(!is_kept(nonsense));
        refusal(&config, "server.test", nonsense);
    }
}

#[test]
fn a_session_is_not_offered_when_its_life_is_over_nor_resumed() {
    let mut setup = Setup { tickets: keys(b"a"), ..Setup::default() };
    setup.client.session_timeout_s = 600;
    setup.server.session_timeout_s = 300;
    clock::set(0);
    let blob = kept(&setup);
    let context = Context::new(setup.client.clone()).unwrap();
    let name = PeerName::parse("server.test");
    // The server's 300 seconds stand in the ticket's lifetime hint.
    clock::set(298_000);
    assert!(context.earlier(&name, &blob).is_ok());
    clock::set(301_000);
    assert!(refusal(&setup.client, "server.test", &blob).contains("life is over"));
    // A clock that was put back tells no age.
    clock::set(-10_000);
    assert!(refusal(&setup.client, "server.test", &blob).contains("life is over"));
}

#[test]
fn a_session_lives_no_longer_than_the_certificate_it_rests_on() {
    let week = 7 * 86_400;
    let mut setup = Setup::mutual();
    setup.client.session_timeout_s = week;
    setup.server.session_timeout_s = week;
    let days = |days| {
        issue(
            &Template { valid: (-1, days), ..Template::default() },
            &certificates::ecdsa(),
            Some(certificates::authority()),
        )
    };
    for (own, other) in [(2, 30), (30, 2)] {
        let (server, client) = (days(own), days(other));
        setup.server.cert = vec![server.cert_pem()];
        setup.server.key = vec![server.key_pem()];
        setup.client.cert = vec![client.cert_pem()];
        setup.client.key = vec![client.key_pem()];
        clock::set(0);
        let blob = kept(&setup);
        let context = Context::new(setup.client.clone()).unwrap();
        let name = PeerName::parse("server.test");
        clock::set(86_400_000);
        assert!(context.earlier(&name, &blob).is_ok());
        clock::set(2 * 86_400_000 + 5_000);
        // The client's own session by the server's certificate; by its own, the server's ticket, whose
        // hint says so.
        assert!(refusal(&setup.client, "server.test", &blob).contains("life is over"));
    }
}

#[test]
fn a_server_refuses_a_session_of_another_host_and_of_another_policy() {
    let setup = Setup { tickets: keys(b"a"), ..Setup::default() };
    let again = returning(&setup);
    let other = certificates::trusted("server.test", &certificates::ecdsa());
    let with = |change: &dyn Fn(&mut Config)| {
        let mut setup = again.clone();
        change(&mut setup.server);
        setup
    };
    assert!(resumes(&again));
    assert!(resumes(&with(&|config| config.mtu = dtls_core::config::Mtu::new(600).unwrap())));
    assert!(!resumes(&with(&|config| {
        config.cert = vec![other.cert_pem()];
        config.key = vec![other.key_pem()];
    })));
    assert!(!resumes(&with(&|config| config.ca = None)));
    assert!(!resumes(&with(&|config| config.reject_unauthorized = false)));
    assert!(!resumes(&with(&|config| config.psk = Setup::psk().server.psk)));
    assert!(!resumes(&with(&|config| config.ciphers = Some("ECDHE+CHACHA20".into()))));
}

/// An OpenSSL client that is handed a session whatever it was made with.
fn raw_client(configure: impl FnOnce(&mut openssl::ssl::SslContextBuilder)) -> SslContext {
    raw::context(|builder| {
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT);
        configure(builder);
    })
}

/// Lets an OpenSSL client and a server of ours talk until they are connected, or neither says more.
fn talk(setup: &Setup, client: &mut Raw) -> Pair {
    exchange(setup.clone().pair_in(Box::new(|_| vec![])), client)
}

/// The same with a server's context that has been there before.
fn talk_with(server: &Rc<Context>, client: &mut Raw) -> Pair {
    let server = server.clone();
    let setup = Setup { ask_server_name: true, ..Setup::default() };
    let mut pair = setup.pair_in(Box::new(|_| vec![]));
    pair.server.hook = Some(Box::new(move |_| Answer::Context(Some(server.clone()))));
    exchange(pair, client)
}

fn exchange(mut pair: Pair, client: &mut Raw) -> Pair {
    let mut taken = 0;
    for _ in 0..10 {
        for datagram in client.take() {
            pair.deliver(Side::Server, &datagram);
        }
        while let Some(datagram) = pair.server.sent.get(taken).cloned() {
            taken += 1;
            client.receive(&datagram);
        }
    }
    assert!(client.connected && pair.server.is_open(), "{:?}: {}", client.failure, pair.story());
    pair
}

fn server_resumed(pair: &mut Pair) -> bool {
    pair.server.session().established().unwrap().resumed
}

#[test]
fn a_ticket_of_one_host_is_no_use_at_another_of_the_same_server() {
    let context = raw_client(|_| {});
    let setup = Setup::default();
    let client = |host: &str, session: Option<&SslSession>| {
        Raw::client_with(&context, 1200, |ssl| {
            ssl.set_hostname(host).unwrap();
            if let Some(session) = session {
                raw::offer(ssl, session);
            }
        })
    };
    let mut first = client("a.test", None);
    talk(&setup, &mut first);
    let der = first.stream.ssl().session().unwrap().to_der().unwrap();
    for (host, expected) in [("a.test", true), ("b.test", false), ("A.TEST", true)] {
        let session = SslSession::from_der(&der).unwrap();
        let mut second = client(host, Some(&session));
        let mut pair = talk(&setup, &mut second);
        assert_eq!(server_resumed(&mut pair), expected, "{host}");
    }
}

// Session ids, for clients that take no tickets.

fn without_tickets() -> Setup {
    Setup { tickets: None, ..Setup::default() }
}

#[test]
fn a_server_remembers_those_that_take_no_tickets() {
    let context = raw_client(|builder| {
        builder.set_options(SslOptions::NO_TICKET);
    });
    let server = Rc::new(Context::new(Setup::default().server).unwrap());
    let mut first = Raw::client(&context, 1200);
    // To OpenSSL a session whose end nobody has announced is a failed one, and not to be resumed.
    talk_with(&server, &mut first).close(Side::Server);
    let session = first.stream.ssl().session().unwrap().to_owned();
    assert_eq!(session.id().len(), 32);
    let mut second = Raw::client_with(&context, 1200, |ssl| raw::offer(ssl, &session));
    let mut pair = talk_with(&server, &mut second);
    assert!(server_resumed(&mut pair));
    // In another context nobody has heard of it.
    let mut third = Raw::client_with(&context, 1200, |ssl| raw::offer(ssl, &session));
    let mut pair = talk(&Setup::default(), &mut third);
    assert!(!server_resumed(&mut pair));
}

type Store = Rc<RefCell<HashMap<Vec<u8>, Vec<u8>>>>;

/// A server whose user keeps the sessions, and what it keeps.
fn with_cache() -> Setup {
    let mut setup = without_tickets();
    setup.server.session_cache = true;
    setup
}

/// Connects, with the user's store behind the server.
#[track_caller]
fn connect_with(store: &Store, setup: &Setup) -> Pair {
    let mut pair = setup.clone().pair();
    let lookup = store.clone();
    pair.server.hook = Some(Box::new(move |question| match question {
        Question::CachedSession(id) => Answer::CachedSession(lookup.borrow().get(id).cloned()),
        other => panic!("{other:?}"),
    }));
    pair.connect();
    pair.converse();
    for output in &pair.server.said {
        if let Output::Session(id, kept) = output {
            store.borrow_mut().insert(id.clone(), kept.bytes().to_vec());
        }
    }
    pair
}

#[test]
fn the_user_keeps_sessions_by_their_ids() {
    let store = Store::default();
    let mut setup = with_cache();
    let mut first = connect_with(&store, &setup);
    assert_eq!((store.borrow().len(), first.server.questions().len()), (1, 0));
    setup.kept = kept_by(&mut first);
    let mut second = connect_with(&store, &setup);
    assert!(resumed(&mut second));
    // A session is told of once.
    assert_eq!((store.borrow().len(), second.server.questions().len()), (1, 1));
    store.borrow_mut().clear();
    assert!(!resumed(&mut connect_with(&store, &setup)));
    assert_eq!(store.borrow().len(), 1);
}

#[test]
fn nobody_is_asked_for_a_session_whose_ticket_came_along() {
    let mut setup = Setup { tickets: keys(b"a"), ..with_cache() };
    setup.kept = Some(kept(&setup));
    let store = Store::default();
    let mut pair = connect_with(&store, &setup);
    assert!(resumed(&mut pair) && pair.server.questions().is_empty() && store.borrow().is_empty());
}

#[test]
fn what_the_user_keeps_is_refused_where_it_does_not_belong() {
    let store = Store::default();
    let mut setup = with_cache();
    let mut first = connect_with(&store, &setup);
    setup.kept = kept_by(&mut first);
    let (id, genuine) = store.borrow().iter().next().map(|(id, kept)| (id.clone(), kept.clone())).unwrap();
    connect_with(&store, &with_cache());
    let foreign = store.borrow().iter().find(|(other, _)| **other != id).unwrap().1.clone();
    let mut longer = genuine.clone();
    longer.push(0);
    let rows = [
        ("nothing", vec![]),
        ("nonsense", b"nonsense".to_vec()),
        ("a piece", genuine[..genuine.len() - 1].to_vec()),
        ("more than all", longer),
        ("another session", foreign),
        ("what a client keeps", setup.kept.clone().unwrap()),
    ];
    for (what, bytes) in rows {
        let _trying = Trying(what);
        store.borrow_mut().insert(id.clone(), bytes);
        assert!(!resumed(&mut connect_with(&store, &setup)));
    }
    // Another policy's.
    store.borrow_mut().insert(id.clone(), genuine.clone());
    let mut other = setup.clone();
    other.server.reject_unauthorized = false;
    assert!(!resumed(&mut connect_with(&store, &other)));
    // And at last where it belongs.
    store.borrow_mut().insert(id, genuine);
    assert!(resumed(&mut connect_with(&store, &setup)));
}

#[test]
fn a_cache_that_fails_costs_one_handshake() {
    let store = Store::default();
    let mut setup = with_cache();
    setup.kept = kept_by(&mut connect_with(&store, &setup));
    let mut pair = setup.clone().pair();
    pair.server.hook = Some(Box::new(|_| Answer::Failed("the database is on fire".into())));
    pair.run(5_000);
    assert_eq!((pair.server.failure(), pair.client.failure()), (Some(Name::Hook), Some(Name::Alert)));
    pair.assert_both_know(Side::Server);
    assert!(resumed(&mut connect_with(&store, &setup)));
}

// What a resumed session rests on is looked at again.

#[test]
fn a_verify_hook_is_asked_again_and_may_have_changed_its_mind() {
    for side in BOTH {
        let mut setup = Setup::mutual();
        match side {
            Side::Client => setup.client.ask_peer = true,
            Side::Server => setup.server.ask_peer = true,
        }
        for welcome in [true, false] {
            let mut pair = setup.clone().pair();
            pair.end(side).hook = Some(Box::new(|_| Answer::Peer(Ok(()))));
            pair.connect();
            let kept = kept_by(&mut pair);
            assert!(kept.is_some());
            let mut pair = Setup { kept, ..setup.clone() }.pair();
            let asked =
                |pair: &Pair| !pair.client.questions().is_empty() || !pair.server.questions().is_empty();
            assert!(pair.run_until(asked));
            let (number, question) = pair.end(side).questions().pop().unwrap();
            let Question::Peer(presented) = question else { panic!("{question:?}") };
            assert!(presented.resumed);
            assert_eq!((presented.verdict, presented.chain.len()), (Ok(()), 1));
            pair.run(3_000);
            if welcome {
                assert!(pair.answer(side, number, Answer::Peer(Ok(()))));
                pair.connect();
                assert!(resumed(&mut pair));
                pair.converse();
            } else {
                // A client that doubts the alert says hello again, and is refused again.
                pair.end(side).hook = Some(Box::new(|_| Answer::Peer(Err(None))));
                pair.answer(side, number, Answer::Peer(Err(None)));
                pair.run(30_000);
                assert_eq!(
                    (pair.server.failure(), pair.client.failure()),
                    (Some(Name::Denied), Some(Name::Denied))
                );
                pair.assert_both_know(side);
            }
        }
    }
}

#[test]
fn a_psk_identity_that_is_known_no_more_is_refused() {
    let table = |names: &[&str]| {
        let key = || b"sixteen bytes 16".to_vec().into();
        Some(Psk::Table(names.iter().map(|name| (name.as_bytes().to_vec(), key())).collect()))
    };
    for hide_unknown_identity in [false, true] {
        let mut setup = Setup::psk();
        setup.server.hide_unknown_identity = hide_unknown_identity;
        setup.server.psk = table(&["device 1", "device 2"]);
        let mut again = returning(&setup);
        again.server.psk = table(&["device 1"]);
        assert!(resumes(&again));
        again.server.psk = table(&["device 2"]);
        let mut pair = again.clone().pair();
        pair.run(5_000);
        assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity), "{}", pair.story());
        pair.assert_both_know(Side::Server);
    }
}

#[test]
fn a_psk_hook_is_asked_again_and_its_key_must_be_the_same() {
    let first = b"sixteen bytes 16".to_vec();
    let rows = [(Some(first.clone()), true), (Some(b"another".to_vec()), false), (None, false)];
    for (key, expected) in rows {
        let mut setup = Setup::psk();
        setup.server.psk = Some(Psk::Ask);
        let mut pair = setup.clone().pair();
        let known = first.clone();
        pair.server.hook = Some(Box::new(move |_| Answer::Key(Some(known.clone()))));
        pair.connect();
        let kept = kept_by(&mut pair);
        let mut pair = Setup { kept, ..setup }.pair();
        pair.server.hook = Some(Box::new(move |question| {
            assert_eq!(*question, Question::PskIdentity(b"device 1".to_vec()));
            Answer::Key(key.clone())
        }));
        if expected {
            pair.connect();
            assert!(resumed(&mut pair));
        } else {
            pair.run(5_000);
            let names = (pair.server.failure(), pair.client.failure());
            assert_eq!(names, (Some(Name::UnknownIdentity), Some(Name::UnknownIdentity)));
            pair.assert_both_know(Side::Server);
        }
    }
}

#[test]
fn a_certificate_that_has_expired_since_is_refused_even_if_the_session_is_young() {
    for side in BOTH {
        let day = issue(
            &Template { valid: (-1, 1), ..Template::default() },
            &certificates::ecdsa(),
            Some(certificates::authority()),
        );
        let mut setup = Setup::mutual();
        let config = if side == Side::Client { &mut setup.server } else { &mut setup.client };
        config.cert = vec![day.cert_pem()];
        config.key = vec![day.key_pem()];
        clock::set_date(0);
        let again = returning(&setup);
        assert!(resumes(&again));
        // The date alone changes, as if the session had been made with a clock that was slow.
        clock::set_date(2);
        let mut pair = again.clone().pair();
        pair.run(30_000);
        let names = (pair.server.failure(), pair.client.failure());
        assert_eq!(names, (Some(Name::CertificateTime), Some(Name::CertificateTime)), "{}", pair.story());
        pair.assert_both_know(side);
        // Who does not insist is told.
        match side {
            Side::Client => setup.client.reject_unauthorized = false,
            Side::Server => setup.server.reject_unauthorized = false,
        }
        clock::set_date(0);
        let again = returning(&setup);
        clock::set_date(2);
        let mut pair = again.pair();
        pair.connect();
        assert!(resumed(&mut pair));
        let verification = pair.end(side).session().established().unwrap().verification.clone();
        assert_eq!(verification.unwrap().unwrap_err().name, Name::CertificateTime);
    }
}

// Without the extended master secret there is no resumption (RFC 7627 section 5.3).

#[test]
fn a_session_without_the_extended_master_secret_gets_neither_a_ticket_nor_an_id() {
    for options in [SslOptions::empty(), SslOptions::NO_TICKET] {
        let context = raw_client(|builder| {
            builder.set_options(raw::NO_EXTENDED_MASTER_SECRET | options);
        });
        let mut client = Raw::client(&context, 1200);
        let mut setup = Setup::default();
        setup.server.session_cache = true;
        let pair = talk(&setup, &mut client);
        assert!(!raw::is_resumable(client.stream.ssl().session().unwrap()));
        assert!(!pair.server.said.iter().any(|output| matches!(output, Output::Session(..))));
    }
}

#[test]
fn nothing_is_kept_of_a_session_without_the_extended_master_secret() {
    let identity = certificates::server();
    for (options, expected) in [(SslOptions::empty(), true), (raw::NO_EXTENDED_MASTER_SECRET, false)] {
        let context = raw::context(|builder| {
            builder.set_certificate(&identity.cert).unwrap();
            builder.set_private_key(&identity.key).unwrap();
            builder.set_session_id_context(b"test").unwrap();
            builder.set_options(options);
        });
        let mut server = Raw::server(&context, 1200);
        let mut pair = Setup::default().pair_in(Box::new(|_| vec![]));
        let mut taken = 0;
        for _ in 0..10 {
            while let Some(datagram) = pair.client.sent.get(taken).cloned() {
                taken += 1;
                server.receive(&datagram);
            }
            for datagram in server.take() {
                pair.deliver(Side::Client, &datagram);
            }
        }
        assert!(pair.client.is_open() && server.connected, "{}", pair.story());
        assert_eq!(kept_by(&mut pair).is_some(), expected);
    }
}

#[test]
fn a_timeout_of_zero_is_no_resumption_at_either_end() {
    let mut setup = Setup::default();
    setup.client.session_timeout_s = 0;
    let mut pair = setup.pair();
    pair.connect();
    assert_eq!(kept_by(&mut pair), None);
    let mut setup = Setup { tickets: keys(b"a"), ..Setup::default() };
    let kept = Some(kept(&setup));
    setup.server.session_timeout_s = 0;
    let mut pair = setup.clone().pair();
    pair.connect();
    assert_eq!(kept_by(&mut pair), None);
    assert!(!resumes(&Setup { kept, ..setup }));
}

// Loss and forgery in the abbreviated handshake.

#[test]
fn an_abbreviated_handshake_recovers_from_the_loss_of_any_datagram() {
    let setup = returning(&Setup::default());
    let renewing = Setup {
        tickets: keys(b"ab"),
        kept: Some(kept(&Setup { tickets: keys(b"b"), ..Setup::default() })),
        ..Setup::default()
    };
    for setup in [setup, renewing] {
        for to in BOTH {
            for lost in 0..6 {
                let _trying = Trying(format!("number {lost} to the {to:?} is lost"));
                let mut pair = setup.clone().pair_in(Box::new(move |sent: &Sent| {
                    if (sent.to, sent.number) == (to, lost) {
                        vec![]
                    } else {
                        vec![sent.arrives(1)]
                    }
                }));
                pair.connect();
                assert!(resumed(&mut pair));
                pair.weather = crate::pair::fair();
                pair.run(5_000);
                pair.converse();
                pair.assert_unharmed();
            }
        }
    }
}

#[test]
fn an_abbreviated_handshake_gets_through_terrible_weather() {
    let setup = returning(&Setup::mutual());
    for seed in 0..100 {
        let _trying = Trying(format!("seed {seed}"));
        let mut dice = Dice::new(seed);
        let mut pair =
            setup.clone().with_mtu([256, 1200][seed as usize % 2]).pair_in(Box::new(move |sent: &Sent| {
                let copies = if dice.percent(35) { 0 } else { 1 + dice.below(2) };
                (0..copies).map(|_| sent.arrives(1 + dice.below(1500) as u64)).collect()
            }));
        pair.connect();
        assert!(resumed(&mut pair));
        pair.weather = crate::pair::fair();
        pair.run(5_000);
        pair.converse();
    }
}

#[test]
fn forged_records_harm_no_abbreviated_handshake() {
    let message = |kind: u8, sequence: u8, body: &[u8]| {
        let length = [0, 0, body.len() as u8];
        let head = [&[kind][..], &length, &[0, sequence], &[0, 0, 0], &length].concat();
        [head, body.to_vec()].concat()
    };
    let forged: Vec<Vec<u8>> = vec![
        record(HANDSHAKE, 0, 50, &message(kind::CERTIFICATE, 2, &[0, 0, 0])),
        record(HANDSHAKE, 0, 51, &message(kind::SERVER_HELLO_DONE, 2, &[])),
        record(HANDSHAKE, 0, 52, &message(kind::CERTIFICATE_REQUEST, 2, &[1, 64, 0, 0, 0, 0])),
        record(HANDSHAKE, 0, 53, &message(kind::CLIENT_KEY_EXCHANGE, 2, &[0])),
        record(CHANGE_CIPHER_SPEC, 0, 54, &[1]),
        record(HANDSHAKE, 1, 0, &[0; 48]),
    ];
    for forgery in forged {
        for to in BOTH {
            let _trying = Trying(format!("{forgery:02x?} to the {to:?}"));
            let copy = forgery.clone();
            let mut pair = returning(&Setup::default()).pair_in(Box::new(move |sent: &Sent| {
                let mut deliveries = vec![sent.arrives(2)];
                // In front of every datagram that goes there, but the hellos.
                if sent.to == to && sent.number > 1 {
                    deliveries.insert(0, Sent { to, number: 0, bytes: &copy }.arrives(1));
                }
                deliveries
            }));
            pair.connect();
            assert!(resumed(&mut pair));
            pair.run(5_000);
            pair.converse();
            pair.assert_unharmed();
        }
    }
}
