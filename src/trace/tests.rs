use super::*;
use crate::record::{plaintext, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, DTLS_1_2, HANDSHAKE, HEADER};
use Direction::{Received, Sent};

/// A plaintext record with a fragment of a message of `length` bytes.
fn fragment(kind: u8, sequence: u8, length: u16, start: u16, bytes: u16) -> Vec<u8> {
    let u24 = |n: u16| [0, (n >> 8) as u8, n as u8];
    let header = [&[kind][..], &u24(length), &[0, sequence], &u24(start), &u24(bytes)].concat();
    plaintext(HANDSHAKE, DTLS_1_2, 0, &[header, vec![7; usize::from(bytes)]].concat())
}

fn message(kind: u8, sequence: u8, length: u16) -> Vec<u8> {
    fragment(kind, sequence, length, 0, length)
}

fn change_cipher_spec() -> Vec<u8> {
    plaintext(CHANGE_CIPHER_SPEC, DTLS_1_2, 0, &[1])
}

fn sealed(kind: u8) -> Vec<u8> {
    let mut record = plaintext(kind, DTLS_1_2, 0, &[7; 40]);
    record[4] = 1;
    record
}

/// What a session does with a datagram, where every record has the same verdict.
fn receive(tracer: &mut Tracer, datagram: &[u8], verdict: Option<Discard>) {
    let mut rest = datagram;
    loop {
        let Some((record, behind)) = Record::split_first_untrusted(rest) else {
            return tracer.malformed(datagram.len(), rest.len());
        };
        tracer.received_untrusted(datagram.len(), &record);
        tracer.judged(verdict);
        rest = behind;
        if rest.is_empty() {
            return;
        }
    }
}

fn events(tracer: &mut Tracer) -> Vec<Event> {
    std::iter::from_fn(|| tracer.take()).collect()
}

/// Lets datagrams pass one after the other, and returns the flight and the first message of each
/// record.
fn passed(tracer: &mut Tracer, datagrams: &[(Direction, Vec<u8>)]) -> Vec<(Option<u32>, &'static str)> {
    for (direction, datagram) in datagrams {
        match direction {
            Sent => tracer.sent(datagram),
            Received => receive(tracer, datagram, None),
        }
    }
    let name = |event: &Event| event.messages.first().map_or(event.record.kind.as_str(), |first| first.kind);
    events(tracer).iter().map(|event| (event.flight, name(event))).collect()
}

/// A client's handshake up to its own Finished.
fn five_flights() -> Vec<(Direction, Vec<u8>)> {
    vec![
        (Sent, message(1, 0, 90)),
        (Received, message(3, 0, 23)),
        (Sent, message(1, 1, 110)),
        (Received, [message(2, 1, 60), message(11, 2, 300)].concat()),
        (Received, [message(12, 3, 100), message(14, 4, 0)].concat()),
        (Sent, [message(16, 2, 33), change_cipher_spec(), sealed(HANDSHAKE)].concat()),
    ]
}

#[test]
fn a_record_is_told_with_its_numbers_and_those_of_its_messages() {
    let mut tracer = Tracer::new();
    let mut record = fragment(11, 2, 1500, 1000, 200);
    record[5..11].copy_from_slice(&[0, 0, 0, 0, 1, 5]);
    receive(&mut tracer, &[record.clone(), change_cipher_spec()].concat(), None);
    let part = Part {
        sequence: 2,
        length: 1500,
        fragment_offset: 1000,
        fragment_length: 200,
        retransmission: false,
    };
    let expected = Event {
        direction: Received,
        flight: Some(1),
        datagram: record.len() + HEADER + 1,
        record: Header {
            kind: Kind::Handshake,
            epoch: Some(0),
            sequence: Some(0x105),
            length: HEADER + 12 + 200,
        },
        messages: vec![Message { kind: "Certificate", part: Some(part) }],
        alert: None,
        dropped: None,
    };
    assert_eq!(events(&mut tracer)[0], expected);
}

#[test]
fn flights_have_the_numbers_of_the_rfc() {
    let mut tracer = Tracer::new();
    let mut handshake = five_flights();
    let last = [message(4, 5, 180), change_cipher_spec(), sealed(HANDSHAKE)].concat();
    handshake.extend([(Received, last), (Sent, sealed(APPLICATION_DATA)), (Received, sealed(ALERT))]);
    let expected = [
        (Some(1), "ClientHello"),
        (Some(2), "HelloVerifyRequest"),
        (Some(3), "ClientHello"),
        (Some(4), "ServerHello"),
        (Some(4), "Certificate"),
        (Some(4), "ServerKeyExchange"),
        (Some(4), "ServerHelloDone"),
        (Some(5), "ClientKeyExchange"),
        (Some(5), "change_cipher_spec"),
        (Some(5), "Finished (sealed)"),
        (Some(6), "NewSessionTicket"),
        (Some(6), "change_cipher_spec"),
        (Some(6), "Finished (sealed)"),
        (None, "application_data"),
        (None, "alert"),
    ];
    assert_eq!(passed(&mut tracer, &handshake), expected);
}

#[test]
fn a_servers_session_begins_with_the_hello_that_returns_the_cookie() {
    for (sequence, first) in [(1, 3), (0, 1), (2, 1)] {
        let datagrams = [(Received, message(1, sequence, 90)), (Sent, message(2, sequence, 60))];
        let flights: Vec<_> =
            passed(&mut Tracer::new(), &datagrams).into_iter().map(|(flight, _)| flight).collect();
        assert_eq!(flights, [Some(first), Some(first + 1)], "message_seq {sequence}");
    }
}

#[test]
fn what_is_sent_again_is_marked_and_keeps_its_flight() {
    let mut tracer = Tracer::new();
    let handshake = five_flights();
    passed(&mut tracer, &handshake);
    // The client's flight 5 was lost, so the server repeats its flight 4, and the client its own.
    receive(&mut tracer, &handshake[4].1, Some(Discard::Duplicate));
    tracer.sent(&handshake[5].1);
    let seen: Vec<_> = events(&mut tracer)
        .iter()
        .map(|event| {
            let again = event.messages.iter().any(|m| m.part.is_some_and(|part| part.retransmission));
            (event.flight, event.messages.first().map(|first| first.kind), again)
        })
        .collect();
    let expected = [
        (Some(4), Some("ServerKeyExchange"), true),
        (Some(4), Some("ServerHelloDone"), true),
        (Some(5), Some("ClientKeyExchange"), true),
        (Some(5), None, false),
        (Some(5), Some("sealed handshake"), false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(passed(&mut tracer, &[(Received, message(4, 5, 180))]), [(Some(6), "NewSessionTicket")]);
}

#[test]
fn a_message_that_is_cut_anew_is_still_the_same() {
    let mut tracer = Tracer::new();
    let mut retransmission = |start: u16, bytes: u16| {
        tracer.sent(&fragment(11, 2, 900, start, bytes));
        events(&mut tracer)[0].messages[0].part.unwrap().retransmission
    };
    let first = [(0, 400), (400, 400), (800, 100)].map(|(start, bytes)| retransmission(start, bytes));
    let second = [(0, 300), (300, 300), (600, 300)].map(|(start, bytes)| retransmission(start, bytes));
    assert_eq!((first, second), ([false; 3], [true; 3]));
}

#[test]
fn fragments_that_come_out_of_order_are_news() {
    let mut tracer = Tracer::new();
    let starts = [600, 0, 300, 0];
    let again = starts.map(|start| {
        receive(&mut tracer, &fragment(11, 2, 900, start, 300), None);
        events(&mut tracer)[0].messages[0].part.unwrap().retransmission
    });
    assert_eq!(again, [false, false, false, true]);
}

#[test]
fn what_was_dropped_begins_no_flight_and_is_not_remembered() {
    let mut tracer = Tracer::new();
    tracer.sent(&message(1, 0, 90));
    let forged = [message(2, 7, 60), change_cipher_spec(), sealed(HANDSHAKE)].concat();
    receive(&mut tracer, &forged, Some(Discard::Handshake));
    let flights: Vec<_> = events(&mut tracer).iter().map(|event| (event.flight, event.dropped)).collect();
    let dropped = (None, Some(Discard::Handshake));
    assert_eq!(flights, [(Some(1), None), dropped, dropped, dropped]);
    let genuine = [(Sent, message(1, 0, 90)), (Received, forged)];
    let expected = [
        (Some(1), "ClientHello"),
        (Some(2), "ServerHello"),
        (Some(2), "change_cipher_spec"),
        (Some(2), "Finished (sealed)"),
    ];
    assert_eq!(passed(&mut tracer, &genuine), expected);
}

#[test]
fn a_new_message_beside_a_repeated_one_is_remembered() {
    let mut tracer = Tracer::new();
    receive(&mut tracer, &message(2, 1, 60), None);
    let (hello, done) = (message(2, 1, 60), message(14, 2, 0));
    let both = plaintext(HANDSHAKE, DTLS_1_2, 0, &[&hello[HEADER..], &done[HEADER..]].concat());
    for again in [false, true] {
        events(&mut tracer);
        receive(&mut tracer, &both, Some(Discard::Duplicate));
        let event = tracer.take().unwrap();
        let marks: Vec<_> = event.messages.iter().map(|m| m.part.unwrap().retransmission).collect();
        assert_eq!(marks, [true, again]);
    }
}

#[test]
fn an_answer_comes_behind_what_it_answers() {
    let mut tracer = Tracer::new();
    let hello = message(1, 1, 90);
    let (record, _) = Record::split_first_untrusted(&hello).unwrap();
    tracer.received_untrusted(hello.len(), &record);
    assert_eq!(tracer.take(), None, "nobody knows yet what becomes of it");
    tracer.sent(&message(2, 1, 60));
    tracer.judged(None);
    let order: Vec<_> = events(&mut tracer).iter().map(|event| (event.direction, event.flight)).collect();
    assert_eq!(order, [(Received, Some(3)), (Sent, Some(4))]);
}

#[test]
fn what_is_no_record_is_one_event() {
    let mut tracer = Tracer::new();
    let junk = [change_cipher_spec(), vec![0; 500]].concat();
    receive(&mut tracer, &junk, None);
    receive(&mut tracer, &[], None);
    let told = |event: &Event| (event.record.kind, event.datagram, event.record.length, event.dropped);
    let seen: Vec<_> = events(&mut tracer).iter().map(told).collect();
    let malformed = Some(Discard::Malformed);
    let expected = [
        (Kind::ChangeCipherSpec, 514, 14, None),
        (Kind::Malformed, 514, 500, malformed),
        (Kind::Malformed, 0, 0, malformed),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_record_of_no_known_type_and_a_message_of_none_are_named_so() {
    let mut tracer = Tracer::new();
    let heartbeat = plaintext(24, DTLS_1_2, 0, &[1; 20]);
    receive(&mut tracer, &heartbeat, Some(Discard::Malformed));
    assert_eq!(tracer.take().unwrap().record.kind.as_str(), "unknown");
    let mut cut = message(99, 0, 4);
    cut.truncate(cut.len() - 2);
    cut[12] -= 2;
    let body = [&message(99, 0, 4)[HEADER..], &cut[HEADER..]].concat();
    receive(&mut tracer, &plaintext(HANDSHAKE, DTLS_1_2, 0, &body), Some(Discard::Handshake));
    let kinds: Vec<_> = tracer.take().unwrap().messages.iter().map(|message| message.kind).collect();
    assert_eq!(kinds, ["unknown message", "malformed"]);
}

#[test]
fn an_alert_is_read_where_it_is_plaintext() {
    let mut tracer = Tracer::new();
    for body in [&[2, 40][..], &[1, 0], &[9, 255], &[2]] {
        receive(&mut tracer, &plaintext(ALERT, DTLS_1_2, 0, body), Some(Discard::Alert));
    }
    tracer.sent(&sealed(ALERT));
    let told = |event: &Event| event.alert.map(|alert| (alert.level_name(), alert.name()));
    let seen: Vec<_> = events(&mut tracer).iter().map(told).collect();
    let expected = [
        Some(("fatal", "handshake failure")),
        Some(("warning", "close notify")),
        Some(("unknown", "unknown")),
        None,
        None,
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_handshake_that_starts_afresh_begins_with_flight_1() {
    let mut tracer = Tracer::new();
    passed(&mut tracer, &five_flights());
    tracer.sent(&sealed(APPLICATION_DATA));
    tracer.restart();
    assert_eq!(passed(&mut tracer, &[]), [(None, "application_data")], "what was seen is still told");
    tracer.sent(&message(1, 0, 90));
    let event = tracer.take().unwrap();
    assert_eq!((event.flight, event.messages[0].part.unwrap().retransmission), (Some(1), false));
}

#[test]
fn planted_messages_occupy_a_bounded_memory_and_a_genuine_one_outlives_them() {
    let mut tracer = Tracer::new();
    for round in 0..5000 {
        let (length, start) = (1000 + round % 100, round % 90 * 10);
        receive(&mut tracer, &fragment(11, 2, length, start, 5), None);
        tracer.take();
        let messages = &tracer.received.messages;
        assert!(messages.len() <= MOST_MESSAGES);
        assert!(messages.iter().all(|seen| seen.spans.len() <= MOST_SPANS));
    }
    for again in [false, true] {
        receive(&mut tracer, &message(2, 1, 60), None);
        assert_eq!(tracer.take().unwrap().messages[0].part.unwrap().retransmission, again);
    }
}

/// SplitMix64.
fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn whatever_comes_every_byte_is_told_of_once() {
    let verdicts = [None, Some(Discard::Duplicate), Some(Discard::Handshake), Some(Discard::Plaintext)];
    let genuine = five_flights();
    for seed in 0..5000_u64 {
        let mut state = seed;
        let mut pick = |below: usize| (roll(&mut state) % below as u64) as usize;
        let mut tracer = Tracer::new();
        for _ in 0..4 {
            let mut datagram = match pick(4) {
                0 => (0..pick(200)).map(|_| pick(256) as u8).collect(),
                _ => genuine[pick(genuine.len())].1.clone(),
            };
            for _ in 0..pick(6).min(datagram.len()) {
                let at = pick(datagram.len());
                datagram[at] = pick(256) as u8;
            }
            datagram.truncate(datagram.len() - pick(3) * pick(datagram.len().max(1)) / 3);
            match pick(3) {
                0 => tracer.sent(&datagram),
                _ => receive(&mut tracer, &datagram, verdicts[pick(verdicts.len())]),
            }
            let lengths = events(&mut tracer).iter().map(|event| event.record.length).sum::<usize>();
            assert_eq!(lengths, datagram.len(), "seed {seed}: {datagram:02x?}");
        }
    }
}
