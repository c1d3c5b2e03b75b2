//! What a session tells about the wire: every record that it sends and receives, in order.

use crate::pair::forge::{fragment, record, records};
use crate::pair::{fair, Pair, Sent, Setup, Side, BOTH};
use dtls_core::record::{ALERT, HANDSHAKE};
use dtls_core::trace::{Direction, Event, Kind};
use dtls_core::{Answer, Discard, Name};

fn traced(setup: Setup) -> Setup {
    Setup { trace: true, ..setup }
}

/// An event in a few words: which way, the flight, what it is, and why it was dropped.
fn told(event: &Event) -> String {
    let arrow = if event.direction == Direction::Sent { "->" } else { "<-" };
    let flight = event.flight.map_or("-".to_owned(), |flight| flight.to_string());
    let names: Vec<_> = event.messages.iter().map(|message| message.kind).collect();
    let what = if names.is_empty() { event.record.kind.as_str().to_owned() } else { names.join("+") };
    let again = event.messages.iter().any(|message| message.part.is_some_and(|part| part.retransmission));
    let again = if again { " again" } else { "" };
    let dropped = event.dropped.map_or(String::new(), |cause| format!(", dropped: {}", cause.as_str()));
    format!("{arrow} {flight} {what}{again}{dropped}")
}

fn story(events: &[Event]) -> Vec<String> {
    events.iter().map(told).collect()
}

#[test]
fn a_handshake_is_told_by_both_ends_flight_by_flight() {
    let mut pair = traced(Setup::default()).pair();
    pair.connect();
    pair.converse();
    pair.close(Side::Client);
    pair.run(100);
    let client = [
        "-> 1 ClientHello",
        "<- 2 HelloVerifyRequest",
        "-> 3 ClientHello",
        "<- 4 ServerHello",
        "<- 4 Certificate",
        "<- 4 ServerKeyExchange",
        "<- 4 ServerHelloDone",
        "-> 5 ClientKeyExchange",
        "-> 5 change_cipher_spec",
        "-> 5 Finished (sealed)",
        "<- 6 NewSessionTicket",
        "<- 6 change_cipher_spec",
        "<- 6 Finished (sealed)",
        "-> - application_data",
        "<- - application_data",
        "-> - alert",
        "<- - alert",
    ];
    assert_eq!(story(&pair.client.events), client);
    // The gate keeps nothing of the first two flights.
    let mirrored = client[2..].iter().map(|line| match line.split_at(2) {
        ("->", rest) => format!("<-{rest}"),
        (_, rest) => format!("->{rest}"),
    });
    assert_eq!(story(&pair.server.events), mirrored.collect::<Vec<_>>());
}

#[test]
fn nothing_is_told_unasked() {
    let mut pair = Setup::default().pair();
    pair.connect();
    pair.converse();
    assert!(pair.client.events.is_empty() && pair.server.events.is_empty());
}

#[test]
fn every_byte_is_told_of_once_and_its_datagram_is_measured() {
    let mut pair = traced(Setup::mutual()).with_mtu(512).pair();
    pair.connect();
    pair.converse();
    // The server's first datagram is the gate's.
    for (end, foreign) in [(&pair.client, 0), (&pair.server, 1)] {
        let sent = end.events.iter().filter(|event| event.direction == Direction::Sent);
        let told: Vec<_> = sent.map(|event| (event.datagram, event.record.length)).collect();
        let lengths = |datagram: &Vec<u8>| -> Vec<_> {
            records(datagram).iter().map(|record| (datagram.len(), record.whole.len())).collect()
        };
        assert_eq!(told, end.sent[foreign..].iter().flat_map(lengths).collect::<Vec<_>>());
    }
}

#[test]
fn a_lost_flight_shows_as_one_that_is_sent_again() {
    let mut lost = false;
    let mut pair = traced(Setup::default()).pair_in(Box::new(move |sent: &Sent| {
        let loses = sent.to == Side::Client && sent.number == 1 && !std::mem::replace(&mut lost, true);
        if loses {
            vec![]
        } else {
            vec![sent.arrives(1)]
        }
    }));
    pair.connect();
    let server = story(&pair.server.events);
    assert!(server.contains(&"-> 4 ServerHello again".to_owned()), "{server:?}");
    let client = story(&pair.client.events);
    assert!(client.contains(&"<- 4 ServerHello".to_owned()), "{client:?}");
    assert!(!client.contains(&"<- 4 ServerHello again".to_owned()), "{client:?}");
}

#[test]
fn what_is_dropped_is_told_with_its_cause() {
    let mut pair = traced(Setup::default()).pair();
    pair.connect();
    let rows = [
        (record(HANDSHAKE, 0, 9, &fragment(14, 9, 0, 0, b"")), Kind::Handshake, Discard::Plaintext),
        (record(ALERT, 0, 9, &[2, 80]), Kind::Alert, Discard::Plaintext),
        (record(23, 1, 99, &[5; 60]), Kind::ApplicationData, Discard::Unauthenticated),
        (record(23, 7, 99, &[5; 60]), Kind::ApplicationData, Discard::Epoch),
        (vec![0x99; 20], Kind::Malformed, Discard::Malformed),
    ];
    for (bytes, kind, cause) in rows {
        for side in BOTH {
            pair.deliver(side, &bytes);
            let last = pair.end(side).events.last().unwrap();
            assert_eq!((last.record.kind, last.dropped), (kind, Some(cause)));
            assert_eq!((last.datagram, last.direction), (bytes.len(), Direction::Received));
        }
    }
}

#[test]
fn the_alert_of_a_refusal_is_told_by_both_ends() {
    let mut setup = traced(Setup::psk());
    setup.server.psk = Some(dtls_core::psk::Psk::Ask);
    let mut pair = setup.pair();
    pair.server.hook = Some(Box::new(|_| Answer::Key(None)));
    pair.run(5_000);
    assert_eq!(pair.server.failure(), Some(Name::UnknownIdentity));
    for side in BOTH {
        let alert = pair.end(side).events.iter().find_map(|event| event.alert).unwrap();
        assert_eq!((alert.level_name(), alert.name()), ("fatal", "unknown PSK identity"));
    }
}

#[test]
fn a_session_that_starts_afresh_begins_with_the_first_flight() {
    let mut pair: Pair = traced(Setup::default()).pair();
    pair.run(2);
    pair.gate = dtls_core::Gate::random(0);
    pair.connect();
    let client = story(&pair.client.events);
    let hellos = client.iter().filter(|line| *line == "-> 1 ClientHello").count();
    assert_eq!(hellos, 2, "{client:?}");
    pair.weather = fair();
    pair.converse();
}
