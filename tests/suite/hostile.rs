//! Law 4: no unauthenticated datagram ends or stalls a session, and none ends a handshake except
//! by a deadline. Each forgery comes from the peer's own address, before every datagram of a
//! handshake and after it, to both ends.
//!
//! What DTLS 1.2 cannot survive is at the end of this file.

use crate::pair::dice::Trying;
use crate::pair::forge::{fragment, fragment_claiming, message, record, LAST_NUMBER};
use crate::pair::{fair, Delivery, Pair, Sent, Setup, Side, Weather, BOTH};
use dtls_core::record::{
    self, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, DTLS_1_0, DTLS_1_2, HANDSHAKE, HEADER, MAX_BODY,
};
use dtls_core::{Name, Reason};

/// A class of forgery: what it is, and the datagrams that are sent one after the other.
type Forgery = (&'static str, Vec<Vec<u8>>);

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const FINISHED: u8 = 20;

/// The table. It knows nothing of the handshake that it is thrown at, as a blind attacker does not,
/// but tries every message_seq of one.
fn forgeries() -> Vec<Forgery> {
    let mut table = whole_datagrams();
    table.extend(records_of_no_use());
    table.extend(handshake_nonsense());
    table.extend(next_epochs());
    table
}

fn whole_datagrams() -> Vec<Forgery> {
    let mut second_length_lies = message(SERVER_HELLO_DONE, 9, 0, b"");
    second_length_lies.extend_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 1]);
    vec![
        ("an empty datagram", vec![vec![]]),
        ("one byte", (0..=255).map(|byte| vec![byte]).collect()),
        ("zeroes", vec![vec![0; 100]]),
        ("ones", vec![vec![0xff; 1000]]),
        ("a STUN binding request", vec![[&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat()]),
        ("an HTTP request", vec![b"GET / HTTP/1.1\r\n\r\n".to_vec()]),
        ("a TLS ClientHello", vec![[&[22, 3, 1, 0, 50, 1, 0, 0, 46, 3, 3][..], &[9; 44]].concat()]),
        ("a record header cut short", (1..HEADER).map(|cut| record(22, 0, 0, b"")[..cut].to_vec()).collect()),
        ("a record without a body", (20..24).map(|kind| record(kind, 0, 0, b"")).collect()),
        ("a length that leads out", vec![record(22, 0, 0, &[1; 40])[..30].to_vec()]),
        ("a second length that leads out", vec![second_length_lies]),
        ("a body longer than records are", vec![record(23, 0, 0, &vec![1; MAX_BODY + 1])]),
        ("a body as long as records are", vec![record(23, 1, 0, &vec![1; MAX_BODY])]),
        ("the largest datagram", vec![vec![22; 65_507]]),
        ("a DTLS 1.3 record", vec![[&[0x2f, 0, 1, 0, 20][..], &[5; 20]].concat()]),
        ("a connection id record", vec![record(25, 1, 1, &[5; 40])]),
    ]
}

fn records_of_no_use() -> Vec<Forgery> {
    let plain = |kind, body: &[u8]| record(kind, 0, 3, body);
    let versioned = |version| record::plaintext(ALERT, version, 3, &[2, 80]);
    let alerts = |level: u8, descriptions: &[u8]| -> Vec<Vec<u8>> {
        descriptions.iter().map(|&description| plain(ALERT, &[level, description])).collect()
    };
    let fatal: Vec<u8> = vec![10, 20, 21, 22, 30, 40, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 60, 70, 71, 80];
    vec![
        ("unknown content types", [0, 1, 19, 24, 26, 64, 255].map(|kind| plain(kind, &[1; 20])).into()),
        ("versions of nothing", [[3, 3], [1, 0], [0xfe, 0], [0, 0]].map(versioned).into()),
        ("plaintext application data", vec![plain(APPLICATION_DATA, b"believe me")]),
        ("much plaintext application data", vec![plain(APPLICATION_DATA, &vec![0; 16_384])]),
        ("an alert of one byte", vec![plain(ALERT, &[2])]),
        ("an alert of three bytes", vec![plain(ALERT, &[2, 40, 0])]),
        ("two alerts in a record", vec![plain(ALERT, &[1, 90, 2, 40])]),
        ("alerts of unknown level", vec![plain(ALERT, &[0, 40]), plain(ALERT, &[3, 40])]),
        ("every fatal alert", alerts(2, &fatal)),
        ("rarer fatal alerts", alerts(2, &[86, 90, 100, 109, 110, 111, 112, 113, 114, 115, 116, 120, 255])),
        ("a fatal close_notify", alerts(2, &[0])),
        ("one warning", alerts(1, &[90])),
        ("six warnings", alerts(1, &[90; 6])),
        ("a hundred warnings", alerts(1, &[41; 100])),
        ("a no_renegotiation warning", alerts(1, &[100])),
        ("a plaintext close_notify", alerts(1, &[0])),
        ("an alert of DTLS 1.0", vec![record::plaintext(ALERT, DTLS_1_0, 0, &[2, 70])]),
        ("a ChangeCipherSpec of 0", vec![plain(CHANGE_CIPHER_SPEC, &[0])]),
        ("a ChangeCipherSpec of 2", vec![plain(CHANGE_CIPHER_SPEC, &[2])]),
        ("a ChangeCipherSpec of two bytes", vec![plain(CHANGE_CIPHER_SPEC, &[1, 1])]),
        ("a long ChangeCipherSpec", vec![plain(CHANGE_CIPHER_SPEC, &[1; 1000])]),
        ("a well-formed ChangeCipherSpec", vec![plain(CHANGE_CIPHER_SPEC, &[1])]),
        ("many ChangeCipherSpecs", vec![plain(CHANGE_CIPHER_SPEC, &[1]); 50]),
        (
            "the largest record number on something harmless",
            [ALERT, HANDSHAKE, CHANGE_CIPHER_SPEC].map(|kind| record(kind, 0, LAST_NUMBER, &[1, 90])).into(),
        ),
        (
            "the largest record number on a well-formed ChangeCipherSpec",
            vec![record(CHANGE_CIPHER_SPEC, 0, LAST_NUMBER, &[1])],
        ),
    ]
}

fn handshake_nonsense() -> Vec<Forgery> {
    const SEQUENCES: std::ops::Range<u16> = 0..12;
    let plain = |body: &[u8]| record(HANDSHAKE, 0, 4, body);
    let each = |make: &dyn Fn(u16) -> Vec<u8>| -> Vec<Vec<u8>> {
        SEQUENCES.map(|sequence| plain(&make(sequence))).collect()
    };
    let kinds = [0, 1, 2, 3, 4, 11, 12, 13, 14, 15, 16, 20, 22, 99, 254];
    let each_kind = |make: &dyn Fn(u8, u16) -> Vec<u8>| -> Vec<Vec<u8>> {
        kinds
            .iter()
            .flat_map(|&kind| SEQUENCES.map(move |s| (kind, s)))
            .map(|(k, s)| plain(&make(k, s)))
            .collect()
    };
    let overlong = fragment(CERTIFICATE, 2, 0xff_ffff, 0, &[1; 100]);
    vec![
        ("handshake headers cut short", (1..12).map(|length| plain(&vec![2; length])).collect()),
        (
            "a fragment longer than its record",
            each_kind(&|kind, s| fragment_claiming(kind, s, 500, 0, 500, &[1; 20])),
        ),
        (
            "a fragment that leads out of its message",
            each_kind(&|kind, s| fragment(kind, s, 20, 10, &[1; 20])),
        ),
        ("a fragment longer than its message", each_kind(&|kind, s| fragment(kind, s, 4, 0, &[1; 20]))),
        ("a fragment of nothing", each_kind(&|kind, s| fragment(kind, s, 300, 0, b""))),
        ("a fragment of nothing at the end", each_kind(&|kind, s| fragment(kind, s, 300, 300, b""))),
        ("the first byte of a long message", each_kind(&|kind, s| fragment(kind, s, 5000, 0, &[1]))),
        ("the last byte of a long message", each_kind(&|kind, s| fragment(kind, s, 5000, 4999, &[1]))),
        (
            "fragments that disagree about the length",
            each_kind(&|kind, s| {
                [fragment(kind, s, 700, 0, &[0x99; 50]), fragment(kind, s, 701, 50, &[1; 50])].concat()
            }),
        ),
        ("an absurd length", vec![plain(&overlong)]),
        ("absurd lengths everywhere", each_kind(&|kind, s| fragment(kind, s, 0x80_0000, 0x7f_0000, &[1; 9]))),
        ("lengths just over what is kept", each(&|s| fragment(CERTIFICATE, s, 32 * 1024 + 1, 0, &[1; 9]))),
        ("a HelloRequest", each(&|s| fragment(0, s, 0, 0, b""))),
        ("a HelloRequest with a body", each(&|s| fragment(0, s, 4, 0, b"oops"))),
        ("a HelloRequest of the far future", vec![plain(&fragment(0, 0xffff, 0, 0, b""))]),
        ("unknown handshake types", each(&|s| fragment(99, s, 8, 0, &[1; 8]))),
        ("a plaintext Finished", each(&|s| fragment(FINISHED, s, 12, 0, &[1; 12]))),
        ("an empty Finished", each(&|s| fragment(FINISHED, s, 0, 0, b""))),
        (
            "messages of the far future",
            [10, 11, 100, 0x7fff, 0x8000, 0xffff]
                .map(|s| plain(&fragment(CERTIFICATE, s, 9, 0, &[1; 9])))
                .into(),
        ),
        ("a ServerHelloDone with a body", each(&|s| fragment(SERVER_HELLO_DONE, s, 5000, 0, &[1; 4]))),
        (
            "trailing bytes behind a fragment",
            each(&|s| [fragment(FINISHED, s, 1, 0, b"x"), vec![1; 5]].concat()),
        ),
        ("many fragments in a record", vec![plain(&fragment(FINISHED, 3, 1, 0, b"x").repeat(500))]),
        (
            "ten future messages as long as are kept",
            (0..12).map(|s| plain(&fragment(CERTIFICATE, s, 16_000, 0, &vec![1; 12_000]))).collect(),
        ),
        (
            "a thousand fragments of different messages",
            (0..1000)
                .map(|n| plain(&fragment(CLIENT_KEY_EXCHANGE, n as u16 % 12, 900 + n, n % 800, &[1; 80])))
                .collect(),
        ),
    ]
}

/// A hello that the gate can read.
fn hello(sequence: u16, number: u64) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[0x55; 32]);
    body.extend_from_slice(&[0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
    message(CLIENT_HELLO, sequence, number, &body)
}

fn next_epochs() -> Vec<Forgery> {
    let sealed = |kind, epoch, number, length| record(kind, epoch, number, &vec![0xa5; length]);
    let lengths = |kind, epoch| -> Vec<Vec<u8>> {
        (1..=64).map(|length| sealed(kind, epoch, length as u64, length)).collect()
    };
    vec![
        ("short sealed handshake records", lengths(HANDSHAKE, 1)),
        ("short sealed application records", lengths(APPLICATION_DATA, 1)),
        ("short sealed alerts", lengths(ALERT, 1)),
        ("short sealed ChangeCipherSpecs", lengths(CHANGE_CIPHER_SPEC, 1)),
        ("hundreds of sealed application records", (0..300).map(|n| sealed(23, 1, n, 60)).collect()),
        ("hundreds of sealed handshake records", (0..300).map(|n| sealed(22, 1, n, 40)).collect()),
        ("hundreds of long sealed records", (0..300).map(|n| sealed(22, 1, n, 16_000)).collect()),
        ("sealed records with the largest number", (20..24).map(|k| sealed(k, 1, LAST_NUMBER, 40)).collect()),
        ("records of epoch 2", lengths(HANDSHAKE, 2)),
        ("records of epoch 65535", lengths(APPLICATION_DATA, 0xffff)),
        ("application data of epoch 2", (0..200).map(|n| sealed(23, 2, n, 100)).collect()),
        ("a sealed record of DTLS 1.0", {
            let mut old = sealed(HANDSHAKE, 1, 0, 40);
            old[1..3].copy_from_slice(&DTLS_1_0);
            vec![old]
        }),
    ]
}

/// Throws these at both ends before every datagram. (Of the first forty each way: a forged hello
/// draws a challenge, which is a datagram too.)
fn injecting(datagrams: Vec<Vec<u8>>) -> Weather {
    Box::new(move |sent: &Sent| {
        if sent.number >= 40 {
            return vec![sent.arrives(1)];
        }
        let forged = |to| datagrams.iter().map(move |bytes| Delivery { to, after: 1, bytes: bytes.clone() });
        let mut all: Vec<Delivery> = BOTH.into_iter().flat_map(forged).collect();
        all.push(sent.arrives(1));
        all
    })
}

/// Throws these at both ends now.
fn inject(pair: &mut Pair, datagrams: &[Vec<u8>]) {
    for side in BOTH {
        for datagram in datagrams {
            pair.deliver(side, datagram);
        }
    }
}

#[test]
fn no_forgery_ends_or_delays_a_handshake() {
    let table = forgeries();
    assert!(table.len() >= 60, "only {} classes", table.len());
    for setup in [Setup::default(), Setup::mutual()] {
        for (what, datagrams) in &table {
            let _trying = Trying(what);
            let mut pair = setup.clone().pair_in(injecting(datagrams.clone()));
            pair.connect();
            assert!(pair.now < 1000, "it took {} ms: {}", pair.now, pair.story());
            pair.weather = fair();
            pair.converse();
            pair.run(100_000);
            pair.assert_unharmed();
        }
    }
}

#[test]
fn no_forgery_ends_an_established_session() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for (what, datagrams) in forgeries() {
        let _trying = Trying(what);
        inject(&mut pair, &datagrams);
        pair.converse();
    }
    pair.run(1_000_000);
    pair.assert_unharmed();
}

#[test]
fn forged_hellos_do_not_disturb_a_handshake_under_way() {
    let hellos = [hello(0, 0), hello(0, 1), hello(0, LAST_NUMBER), hello(1, 1), hello(1, LAST_NUMBER)];
    let mut pair = Setup::mutual().pair();
    assert!(pair.run_until(|pair| pair.admitted == 1));
    pair.weather = injecting(hellos.to_vec());
    pair.connect();
    assert!(pair.now < 1000, "it took {} ms", pair.now);
    pair.assert_unharmed();
}

#[test]
fn a_hello_forged_before_the_genuine_one_costs_a_timeout() {
    // It draws a challenge whose cookie the client's own hello cannot use.
    let mut pair = Setup::default().pair();
    pair.deliver(Side::Server, &hello(0, 0));
    pair.connect();
    assert!(pair.now < 2500, "it took {} ms", pair.now);
    pair.assert_unharmed();
}

#[test]
fn all_forgeries_together_end_nothing() {
    let everything: Vec<Vec<u8>> = forgeries().into_iter().flat_map(|(_, datagrams)| datagrams).collect();
    let mut pair = Setup::mutual().pair_in(injecting(everything));
    pair.connect();
    pair.weather = fair();
    pair.converse();
    pair.assert_unharmed();
}

/// Suites of every record shape.
const SUITES: [&str; 10] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "AES128-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
];

fn sealed_of_every_length(number: u64) -> Vec<Vec<u8>> {
    let lengths = (1..=300).chain([1000, 16_384, 16_400, MAX_BODY - 1, MAX_BODY]);
    lengths
        .flat_map(|length| (20..24).map(move |kind| record(kind, 1, number, &vec![0x5a; length])))
        .collect()
}

#[test]
fn no_sealed_forgery_of_any_length_ends_an_established_session_under_any_suite() {
    for suite in SUITES {
        let _trying = Trying(suite);
        let mut pair = Setup::with_suite(suite).pair();
        pair.connect();
        for number in [0, 1, 70, LAST_NUMBER] {
            inject(&mut pair, &sealed_of_every_length(number));
            pair.converse();
        }
        pair.assert_unharmed();
    }
}

#[test]
fn no_sealed_forgery_of_any_length_comes_between_change_cipher_spec_and_finished() {
    for suite in SUITES {
        assert_none_comes_behind_the_change(suite, &sealed_of_every_length(0));
    }
}

/// Has a handshake of that suite completed without delay, though these forgeries come between
/// ChangeCipherSpec and Finished in both directions.
pub fn assert_none_comes_behind_the_change(suite: &'static str, forgeries: &[Vec<u8>]) {
    let _trying = Trying(suite);
    let forgeries = forgeries.to_vec();
    // Records travel apart, so that the forgeries fit in between.
    let weather = Box::new(move |sent: &Sent| {
        let mut all = Vec::new();
        for genuine in crate::pair::forge::records(sent.bytes) {
            all.push(Delivery { to: sent.to, after: 1, bytes: genuine.whole.to_vec() });
            if genuine.kind == CHANGE_CIPHER_SPEC {
                let forged = forgeries.iter().cloned();
                all.extend(forged.map(|bytes| Delivery { to: sent.to, after: 1, bytes }));
            }
        }
        all
    });
    let mut pair = Setup::with_suite(suite).pair_in(weather);
    pair.connect();
    assert!(pair.now < 1000, "it took {} ms", pair.now);
    pair.weather = fair();
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn a_good_record_behind_a_bad_one_is_read() {
    let mut pair = Setup::default().pair();
    pair.connect();
    for (bad, why) in [
        (record(25, 1, 1, &[5; 40]), "unknown content type"),
        (record(23, 0, 1, b"plain"), "plaintext"),
        (record(23, 1, 1, &[5; 3]), "too short"),
        (record(23, 1, 99, &[5; 60]), "forged"),
        (record(23, 2, 1, &[5; 60]), "epoch 2"),
        (record(21, 0, 1, b""), "empty"),
        (message(SERVER_HELLO_DONE, 9, 0, b""), "a handshake message"),
    ] {
        let _trying = Trying(why);
        let good = pair.client.session().send(why.as_bytes()).unwrap();
        pair.deliver(Side::Server, &[bad, good.to_vec()].concat());
        assert_eq!(pair.server.messages().last(), Some(&why.as_bytes()));
    }
    pair.assert_unharmed();
}

#[test]
fn a_good_record_in_front_of_60_kilobytes_of_junk_is_read() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let mut datagram = pair.client.session().send(b"good").unwrap().to_vec();
    datagram.resize(65_507, 0x99);
    pair.deliver(Side::Server, &datagram);
    assert_eq!(pair.server.messages(), [b"good"]);
    pair.assert_unharmed();
}

#[test]
fn bad_records_in_front_of_every_genuine_one_delay_no_handshake() {
    let bad = [
        record(25, 0, 1, &[5; 40]),
        record(23, 0, 1, b"plain"),
        record(21, 0, 2, &[2, 40]),
        record(22, 1, 1, &[5; 3]),
        record(22, 0, 1, &fragment(FINISHED, 1, 12, 0, &[1; 12])),
    ]
    .concat();
    let mut pair = Setup::mutual().pair();
    // Before that the gate, which reads one record of a datagram, answers no bad one.
    assert!(pair.run_until(|pair| pair.admitted == 1));
    pair.weather = Box::new(move |sent| {
        let bytes: Vec<u8> = crate::pair::forge::records(sent.bytes)
            .into_iter()
            .flat_map(|genuine| [&bad[..], genuine.whole].concat())
            .collect();
        vec![Delivery { to: sent.to, after: 1, bytes }]
    });
    pair.connect();
    assert!(pair.now < 1000, "it took {} ms", pair.now);
}

#[test]
fn replayed_and_doubled_messages_are_delivered_once() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let old: Vec<Vec<u8>> =
        (0..100_u8).map(|number| pair.client.session().send(&[number]).unwrap().to_vec()).collect();
    for datagram in &old {
        for _ in 0..3 {
            pair.deliver(Side::Server, datagram);
        }
    }
    for datagram in &old {
        pair.deliver(Side::Server, datagram);
    }
    assert_eq!(pair.server.messages().len(), 100);
    pair.assert_unharmed();
}

#[test]
fn a_whole_handshake_replayed_changes_nothing() {
    let mut pair = Setup::mutual().pair();
    pair.connect();
    pair.run(1000);
    let (to_server, to_client) = (pair.client.sent.clone(), pair.server.sent.clone());
    for _ in 0..20 {
        to_server.iter().for_each(|datagram| pair.deliver(Side::Server, datagram));
        to_client.iter().for_each(|datagram| pair.deliver(Side::Client, datagram));
    }
    assert_eq!(pair.client.sent.len(), to_server.len(), "the client answered a replay");
    assert_eq!(pair.server.sent.len(), to_client.len(), "the server answered a replay");
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn hellos_on_an_address_in_use_touch_no_session() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let accepted = pair.client.sent[1].clone();
    let stranger = Setup::default().pair().client.sent[0].clone();
    let answered = pair.server.sent.len();
    for _ in 0..1000 {
        pair.deliver(Side::Server, &accepted);
        pair.deliver(Side::Server, &stranger);
    }
    assert_eq!((pair.admitted, pair.server.sent.len()), (1, answered));
    pair.converse();
    pair.assert_unharmed();
}

/// A HelloVerifyRequest with a cookie of the forger's choice.
fn verify_request(cookie: &[u8]) -> Vec<u8> {
    let body = [&DTLS_1_0[..], &[cookie.len() as u8], cookie].concat();
    record::plaintext(HANDSHAKE, DTLS_1_0, 0, &fragment(HELLO_VERIFY_REQUEST, 0, body.len(), 0, &body))
}

#[test]
fn a_verify_request_forged_before_the_genuine_one_costs_a_timeout() {
    let mut pair = Setup::default().pair();
    pair.deliver(Side::Client, &verify_request(b"a cookie of mine"));
    pair.connect();
    assert!(pair.now < 2500, "it took {} ms", pair.now);
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn a_verify_request_forged_after_the_genuine_one_costs_nothing() {
    let mut pair = Setup::default().pair_in(Box::new(|sent| {
        let forged = Delivery { to: Side::Client, after: 1, bytes: verify_request(&[sent.number as u8; 20]) };
        match (sent.to, sent.number) {
            (Side::Server, 0) => vec![sent.arrives(1)],
            (Side::Client, 0) => vec![sent.arrives(1), forged],
            _ => vec![forged, sent.arrives(1)],
        }
    }));
    pair.connect();
    assert!(pair.now < 1000, "it took {} ms", pair.now);
    pair.assert_unharmed();
}

#[test]
fn a_stale_cookie_is_replaced_by_a_fresh_handshake() {
    // The second hello is held for an hour of the server's clock: its cookie is refused.
    let mut pair = Setup::default().pair();
    pair.run(2);
    pair.gate = dtls_core::Gate::random(0);
    pair.connect();
    assert!(pair.now < 2500, "it took {} ms", pair.now);
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn a_forged_alert_costs_nothing_where_the_peer_goes_on() {
    // In the worst place: our flight is lost, and only our retransmission will show that the alert was forged.
    for lost in 0..6 {
        for side in BOTH {
            let _trying = Trying(format!("datagram {lost} to the {side:?}"));
            let weather = Box::new(move |sent: &Sent| {
                let alert = |to| Delivery { to, after: 1, bytes: record(ALERT, 0, 9, &[2, 40]) };
                let mut all = vec![alert(Side::Client), alert(Side::Server)];
                if sent.to != side || sent.number != lost {
                    all.push(sent.arrives(1));
                }
                all
            });
            let mut pair = Setup::mutual().pair_in(weather);
            pair.connect();
            pair.assert_unharmed();
        }
    }
}

// What DTLS 1.2 cannot survive: a complete, plausible plaintext message at the right moment, with the
// message_seq that is due, cannot be told from the genuine one before the Finished. So is a fragment
// that agrees with the genuine message's type and length and differs in its bytes, and a forged
// HelloVerifyRequest for as long as the forger keeps forging. Of these it is only asked that the
// handshake ends by its deadline, once, and that the next one is not harmed.
#[test]
fn a_plausible_forged_message_ends_the_handshake_it_is_part_of_and_nothing_else() {
    let hello = [&DTLS_1_2[..], &[3; 32], &[0, 0xc0, 0x2b, 0]].concat();
    let rows = [
        (Side::Client, message(SERVER_HELLO, 0, 5, &hello), "a ServerHello for a HelloVerifyRequest"),
        (Side::Client, message(SERVER_HELLO, 1, 5, &hello), "a ServerHello"),
        (Side::Client, message(CERTIFICATE, 2, 5, &[0, 0, 0]), "an empty chain"),
        (Side::Client, message(SERVER_HELLO_DONE, 4, 5, b""), "an early ServerHelloDone"),
        (Side::Server, message(CLIENT_KEY_EXCHANGE, 2, 5, &[1, 4]), "a ClientKeyExchange"),
    ];
    for (to, forged, what) in rows {
        let _trying = Trying(what);
        let bytes = forged.clone();
        let mut setup = Setup::default();
        setup.deadlines.handshake_ms = 20_000;
        let mut pair = setup.pair_in(Box::new(move |sent| {
            vec![Delivery { to, after: 1, bytes: bytes.clone() }, sent.arrives(1)]
        }));
        pair.run(100_000);
        for side in BOTH {
            // A server that was never met, or two that met, are fine as well.
            let end = pair.end(side);
            let ended = end.end().is_some_and(|(reason, error)| {
                reason != Reason::Closed && error.is_some_and(|error| error.name != Name::Protocol)
            });
            assert!(ended || end.is_open() || end.said.is_empty(), "{}", pair.story());
        }
        assert!(dtls_core_errors_are_empty());
        Setup::default().pair().connect();
    }
}

fn dtls_core_errors_are_empty() -> bool {
    openssl::error::ErrorStack::get().errors().is_empty()
}
