use super::*;
use crate::record::MAX_PLAINTEXT;

/// A fragment of a message: its header says `length`, its body is `bytes` from `start`.
fn fragment(kind: u8, sequence: u16, length: usize, start: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&(start as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(bytes);
    out
}

fn whole(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    fragment(kind, sequence, body.len(), 0, body)
}

fn server_flight() -> Reassembly {
    Reassembly::new(Expect::Server, 0)
}

fn bodies(reassembly: &mut Reassembly) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| reassembly.take()).map(|message| message.body).collect()
}

#[test]
fn messages_come_out_whole_and_in_order_whatever_the_order_of_their_fragments() {
    let mut flight = server_flight();
    flight.add_untrusted(&whole(kind::CERTIFICATE, 1, b"chain")).unwrap();
    assert_eq!(flight.take(), None);
    flight.add_untrusted(&fragment(kind::SERVER_HELLO, 0, 5, 3, b"lo")).unwrap();
    flight.add_untrusted(&fragment(kind::SERVER_HELLO, 0, 5, 0, b"hel")).unwrap();
    assert_eq!(bodies(&mut flight), [b"hello".to_vec(), b"chain".to_vec()]);
}

#[test]
fn overlapping_fragments_fill_only_the_gaps() {
    let mut flight = server_flight();
    for (start, bytes) in [(2, &b"cd"[..]), (6, b"gh"), (0, b"abcdef"), (1, b"bcdefghi"), (8, b"ij")] {
        flight.add_untrusted(&fragment(kind::SERVER_HELLO, 0, 10, start, bytes)).unwrap();
    }
    assert_eq!(bodies(&mut flight), [b"abcdefghij".to_vec()]);
}

#[test]
fn several_fragments_may_share_a_record() {
    let mut flight = server_flight();
    let record = [whole(kind::SERVER_HELLO, 0, b"one"), whole(kind::CERTIFICATE, 1, b"two")].concat();
    flight.add_untrusted(&record).unwrap();
    assert_eq!(bodies(&mut flight), [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn an_empty_message_is_whole_at_once() {
    let mut flight = server_flight();
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 0, b"hello")).unwrap();
    flight.add_untrusted(&whole(kind::SERVER_HELLO_DONE, 1, b"")).unwrap();
    assert_eq!(bodies(&mut flight), [b"hello".to_vec(), b"".to_vec()]);
}

#[test]
fn a_planted_fragment_that_disagrees_spoils_nothing() {
    let mut flight = server_flight();
    flight.add_untrusted(&fragment(kind::SERVER_HELLO, 0, 99, 0, b"evil")).unwrap();
    flight.add_untrusted(&fragment(kind::HELLO_VERIFY_REQUEST, 0, 5, 0, b"ev")).unwrap();
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 0, b"good")).unwrap();
    assert_eq!(bodies(&mut flight), [b"good".to_vec()]);
}

#[test]
fn a_message_that_may_not_follow_is_not_taken() {
    let mut flight = server_flight();
    flight.add_untrusted(&whole(kind::SERVER_HELLO_DONE, 0, b"")).unwrap();
    assert_eq!(flight.take(), None);
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 0, b"good")).unwrap();
    assert_eq!(bodies(&mut flight), [b"good".to_vec()]);
}

#[test]
fn what_no_peer_would_send_is_dropped() {
    let rows: [(Vec<u8>, &str); 8] = [
        (vec![2; 11], "a header cut short"),
        (fragment(kind::SERVER_HELLO, 0, 4, 0, b"12345"), "more than the message"),
        (fragment(kind::SERVER_HELLO, 0, 4, 3, b"12"), "leads out of the message"),
        (fragment(kind::SERVER_HELLO, 0, 4, 0, b""), "a part of nothing"),
        (whole(0, 0, b""), "a HelloRequest"),
        (whole(20, 0, &[0; 12]), "a plaintext Finished"),
        (whole(kind::SERVER_HELLO, WINDOW, b"x"), "too far ahead"),
        (fragment(kind::CERTIFICATE, 1, 0xff_ffff, 0, b"x"), "an absurd length"),
    ];
    for (record, why) in rows {
        assert_eq!(server_flight().add_untrusted(&record), Err(Discard::Handshake), "{why}");
    }
    let from_client = whole(kind::CERTIFICATE, 1, b"x");
    let mut reassembly = Reassembly::new(Expect::Client { certificate: false }, 1);
    assert_eq!(reassembly.add_untrusted(&from_client), Err(Discard::Handshake), "nobody asked for one");
}

#[test]
fn what_was_taken_is_a_duplicate_when_it_comes_again() {
    let mut flight = server_flight();
    let hello = whole(kind::SERVER_HELLO, 0, b"hello");
    flight.add_untrusted(&hello).unwrap();
    assert_eq!(flight.add_untrusted(&hello), Err(Discard::Duplicate));
    flight.take().unwrap();
    assert_eq!(flight.add_untrusted(&hello), Err(Discard::Duplicate));
}

#[test]
fn planted_drafts_never_occupy_more_than_the_budget_and_a_genuine_flight_outlives_them() {
    for expect in [Expect::Client { certificate: false }, Expect::Client { certificate: true }] {
        let mut reassembly = Reassembly::new(expect, 1);
        for round in 0..2000_usize {
            let length = 1001 + round % 4000;
            let planted = fragment(kind::CLIENT_HELLO, 1, length, round % 7 * 100, &[round as u8; 300]);
            let _ = reassembly.add_untrusted(&planted);
            let occupied: usize = reassembly.drafts.iter().map(Draft::cost).sum();
            assert!(occupied <= expect.budget(), "{occupied} bytes in round {round}");
        }
        reassembly.add_untrusted(&fragment(kind::CLIENT_HELLO, 1, 1000, 0, &[1; 500])).unwrap();
        reassembly.add_untrusted(&fragment(kind::CLIENT_HELLO, 1, 900, 0, &[2; 500])).unwrap();
        reassembly.add_untrusted(&fragment(kind::CLIENT_HELLO, 1, 1000, 500, &[1; 500])).unwrap();
        assert_eq!(reassembly.take().unwrap().body, [1; 1000]);
    }
}

#[test]
fn a_message_longer_than_a_record_is_cut_in_as_few_as_hold_it() {
    let message = Message { kind: kind::CERTIFICATE, sequence: 2, body: vec![7; 20_000] };
    let records = message.to_record_bodies(MAX_PLAINTEXT);
    assert_eq!(records.len(), 2);
    let mut again = Reassembly { last: Some(kind::SERVER_HELLO), ..Reassembly::new(Expect::Server, 2) };
    for record in &records {
        assert!(record.len() <= MAX_PLAINTEXT);
        again.add_untrusted(record).unwrap();
    }
    assert_eq!(again.take(), Some(message));
}

#[test]
fn a_second_different_verify_request_says_that_the_cookie_was_refused_until_the_server_goes_on() {
    let mut flight = server_flight();
    flight.add_untrusted(&whole(kind::HELLO_VERIFY_REQUEST, 0, b"one")).unwrap();
    flight.take().unwrap();
    assert_eq!(flight.add_untrusted(&whole(kind::HELLO_VERIFY_REQUEST, 0, b"one")), Err(Discard::Duplicate));
    assert!(!flight.cookie_was_refused());
    assert_eq!(flight.add_untrusted(&whole(kind::HELLO_VERIFY_REQUEST, 0, b"two")), Err(Discard::Duplicate));
    assert!(flight.cookie_was_refused());
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 1, b"hello")).unwrap();
    flight.take().unwrap();
    assert!(!flight.cookie_was_refused());
}

#[test]
fn what_came_before_a_verify_request_answers_another_hello() {
    let mut flight = server_flight();
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 1, b"stale")).unwrap();
    flight.add_untrusted(&fragment(kind::CERTIFICATE, 2, 9, 0, b"stale")).unwrap();
    flight.add_untrusted(&whole(kind::HELLO_VERIFY_REQUEST, 0, b"cookie")).unwrap();
    assert_eq!(bodies(&mut flight), [b"cookie"]);
    flight.add_untrusted(&whole(kind::SERVER_HELLO, 1, b"fresh")).unwrap();
    assert_eq!(bodies(&mut flight), [b"fresh"]);
}

#[test]
fn a_datagram_of_tiny_fragments_costs_little() {
    use std::time::{Duration, Instant};
    const COUNT: usize = 65_507 / (MESSAGE_HEADER + 1);
    let kinds = [
        (Expect::Server, kind::CERTIFICATE),
        (Expect::Client { certificate: true }, kind::CLIENT_KEY_EXCHANGE),
        (Expect::Client { certificate: false }, kind::CLIENT_KEY_EXCHANGE),
    ];
    // Of message n's fragment: the message_seq, and how much the message is shorter than the longest. All are
    // of one message, or of messages that all differ, or of some.
    type Choice = fn(usize) -> (usize, usize);
    let choices: [Choice; 3] = [|_| (1, 0), |n| (1 + n % 9, n % 4000), |n| (1 + n % 2, n / 200)];
    for ((expect, kind), choose) in kinds.into_iter().flat_map(|kind| choices.map(|choose| (kind, choose))) {
        let byte = |n: usize| {
            let (sequence, shorter) = choose(n);
            let length = expect.longest_message() - shorter;
            // Every other byte, from the end.
            fragment(kind, sequence as u16, length, length - 1 - 2 * n % length, b"x")
        };
        let body: Vec<u8> = (0..COUNT).flat_map(byte).collect();
        let cost = || {
            let begin = Instant::now();
            let _ = Reassembly::new(expect, 0).add_untrusted(&body);
            begin.elapsed()
        };
        let least = (0..5).map(|_| cost()).min();
        assert!(least < Some(Duration::from_millis(2)), "{least:?} of {expect:?}");
    }
}

#[test]
fn a_message_in_too_many_pieces_is_begun_anew() {
    let mut flight = server_flight();
    let message: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    let piece =
        |at: usize, length: usize| fragment(kind::SERVER_HELLO, 0, 1000, at, &message[at..at + length]);
    let outcomes: Vec<_> = (0..300).map(|n| flight.add_untrusted(&piece(2 * n, 1))).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Discard::Overflow)).count(), 1);
    for at in (0..1000).step_by(100) {
        flight.add_untrusted(&piece(at, 100)).unwrap();
    }
    assert_eq!(bodies(&mut flight), std::slice::from_ref(&message));
}
