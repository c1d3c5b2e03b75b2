//! PSK identities as strangers choose them (RFC 4279): what passes for whom, and what can be learned
//! by trying.

use crate::pair::dice::Trying;
use crate::pair::forge::{message, records};
use crate::pair::{Delivery, Pair, Sent, Setup, Side, Weather};
use dtls_core::desk::PskPair;
use dtls_core::psk::{identity_untrusted, Psk};
use dtls_core::record::{ALERT, HANDSHAKE};
use dtls_core::{Answer, Discard, Name, Reason};
use std::collections::HashMap;

const CLIENT_KEY_EXCHANGE: u8 = 16;
const UNKNOWN_PSK_IDENTITY: u8 = 115;
const KEY: &[u8] = b"sixteen bytes 16";

fn known_by(identity: &[u8], key: &[u8]) -> PskPair {
    PskPair { identity: identity.to_vec(), key: key.to_vec().into() }
}

/// A client of this identity and key, and a server that knows these identities, all by the same key.
fn setup(client: PskPair, known: &[&[u8]]) -> Setup {
    let table: HashMap<_, _> =
        known.iter().map(|identity| (identity.to_vec(), KEY.to_vec().into())).collect();
    let mut setup = Setup::psk();
    setup.client.psk = Some(Psk::Pair(client));
    setup.server.psk = Some(Psk::Table(table));
    setup.deadlines.handshake_ms = 5_000;
    setup
}

/// Puts another identity into every ClientKeyExchange.
fn presenting(identity: &[u8]) -> Weather {
    let identity = identity.to_vec();
    Box::new(move |sent: &Sent| {
        let rewritten = |record: dtls_core::record::Record| {
            if (record.kind, record.epoch, record.body[0]) != (HANDSHAKE, 0, CLIENT_KEY_EXCHANGE) {
                return record.whole.to_vec();
            }
            let body = &record.body[12..];
            let own = identity_untrusted(body).unwrap().len();
            let length = (identity.len() as u16).to_be_bytes();
            let body = [&length[..], &identity, &body[2 + own..]].concat();
            let sequence = u16::from_be_bytes([record.body[4], record.body[5]]);
            message(CLIENT_KEY_EXCHANGE, sequence, record.sequence, &body)
        };
        let bytes = records(sent.bytes).into_iter().flat_map(rewritten).collect();
        vec![Delivery { to: sent.to, after: 1, bytes }]
    })
}

#[test]
fn any_bytes_but_nul_are_an_identity_up_to_256() {
    let longest = [0x61; 256];
    for identity in [&b""[..], b"a", b"\xff\xfe not UTF-8", b"{\"json\": \"\xc3\xa9\"}", &longest] {
        let _trying = Trying(String::from_utf8_lossy(identity).into_owned());
        let mut pair = setup(known_by(identity, KEY), &[b"admin", identity]).pair();
        pair.connect();
        pair.converse();
        for end in [&mut pair.client, &mut pair.server] {
            assert_eq!(end.session().established().unwrap().psk_identity.as_deref(), Some(identity));
        }
    }
}

#[test]
fn an_identity_passes_for_nobody_elses() {
    // To a C string some of these are "admin".
    let longer = [&[0x61; 256][..], b"a"].concat();
    let rows = [
        &b"admin\0x"[..],
        b"admin\0",
        b"\0admin",
        b"\0",
        b"",
        b"Admin",
        b"admin ",
        b"admi",
        b"admin\xff",
        &longer,
        &[0x61; 5000],
    ];
    for identity in rows {
        let _trying = Trying(identity.escape_ascii().to_string());
        let mut pair =
            setup(known_by(b"admin", KEY), &[b"admin", &[0x61; 256]]).pair_in(presenting(identity));
        pair.run(10_000);
        assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity), "{}", pair.story());
        assert_eq!(pair.client.failure(), Some(Name::UnknownIdentity), "{}", pair.story());
        pair.assert_both_know(Side::Server);
    }
    // The rewriting itself is not what it failed for.
    let mut pair = setup(known_by(b"admin", KEY), &[b"admin"]).pair_in(presenting(b"admin"));
    pair.connect();
}

#[test]
fn nobody_is_asked_about_an_identity_that_cannot_be() {
    for identity in [&b"admin\0x"[..], &[0x61; 257]] {
        let mut setup = setup(known_by(b"admin", KEY), &[]);
        setup.server.psk = Some(Psk::Ask);
        let mut pair = setup.pair_in(presenting(identity));
        pair.server.hook = Some(Box::new(|question| panic!("asked about {question:?}")));
        pair.run(10_000);
        assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity));
    }
}

/// What somebody on the way sees of a session: for each direction the type, epoch and length of every
/// record.
fn seen(pair: &Pair) -> Vec<Vec<(u8, u16, usize)>> {
    let shapes = |datagram: &Vec<u8>| -> Vec<_> {
        records(datagram).iter().map(|record| (record.kind, record.epoch, record.body.len())).collect()
    };
    let all = |sent: &Vec<Vec<u8>>| sent.iter().flat_map(shapes).collect();
    vec![all(&pair.client.sent), all(&pair.server.sent)]
}

/// Runs a handshake that fails, and returns the server's name for it and what was seen.
fn fails(mut setup: Setup, hides: bool, asks: bool) -> (Option<Name>, Pair) {
    setup.server.hide_unknown_identity = hides;
    if asks {
        setup.server.psk = Some(Psk::Ask);
    }
    let mut pair = setup.pair();
    if !asks {
        pair.run(10_000);
    } else if pair.run_until(|pair| !pair.server.questions().is_empty()) {
        // The answer takes its time.
        let (number, question) = pair.server.questions().pop().unwrap();
        pair.run(300);
        let known = format!("{question:?}").contains(&format!("{:?}", b"device 1"));
        assert!(pair.answer(Side::Server, number, Answer::Key(known.then(|| KEY.to_vec()))));
        pair.run(10_000);
    }
    (pair.server.failure(), pair)
}

#[test]
fn who_tries_identities_cannot_tell_a_hidden_one_from_a_wrong_key() {
    let stranger = || setup(known_by(b"device 2", KEY), &[b"device 1"]);
    let guesser = || setup(known_by(b"device 1", b"another key here"), &[b"device 1"]);
    for asks in [false, true] {
        let (unknown, stranger) = fails(stranger(), true, asks);
        let (wrong, guesser) = fails(guesser(), true, asks);
        // The server's own user is told.
        assert_eq!((unknown, wrong), (Some(Name::UnknownIdentity), Some(Name::WrongKey)));
        assert_eq!(seen(&stranger), seen(&guesser));
        let alerts = seen(&stranger).concat().into_iter().filter(|shape| shape.0 == ALERT).count();
        assert_eq!(alerts, 0);
        for pair in [stranger, guesser] {
            let (reason, error) = pair.client.end().unwrap();
            assert_eq!((reason, error.unwrap().name), (Reason::Timeout, Name::WrongKey));
            assert_eq!(pair.server.end().unwrap().0, Reason::Timeout);
            assert!(!pair.server.discards.contains(&Discard::Handshake));
        }
    }
}

#[test]
fn an_identity_that_cannot_be_is_hidden_too() {
    let mut hiding = setup(known_by(b"admin", KEY), &[b"admin"]);
    hiding.server.hide_unknown_identity = true;
    let mut pair = hiding.pair_in(presenting(b"admin\0"));
    pair.run(10_000);
    assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity), "{}", pair.story());
    assert_eq!(pair.client.failure(), Some(Name::WrongKey), "{}", pair.story());
}

#[test]
fn an_unknown_identity_that_is_not_hidden_is_refused_with_its_alert() {
    for asks in [false, true] {
        let (unknown, pair) = fails(setup(known_by(b"device 2", KEY), &[b"device 1"]), false, asks);
        assert_eq!(unknown, Some(Name::UnknownIdentity));
        assert_eq!(pair.client.failure(), Some(Name::UnknownIdentity));
        let last = pair.server.sent.last().unwrap();
        assert_eq!((records(last)[0].kind, records(last)[0].body), (ALERT, &[2, UNKNOWN_PSK_IDENTITY][..]));
    }
}
