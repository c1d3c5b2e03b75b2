use super::*;
use crate::record::{plaintext, APPLICATION_DATA, HEADER};

fn gcm() -> SealedShape {
    SealedShape::of_suite("ECDHE-ECDSA-AES128-GCM-SHA256")
}

/// A sealed record with a body of this length.
fn sealed(kind: u8, length: usize) -> Vec<u8> {
    let mut record = plaintext(kind, DTLS_1_2, 0, &vec![7; length]);
    record[4] = 1;
    record
}

/// A plaintext record with a whole handshake message.
fn message(kind: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let length = [0, 0, body.len() as u8];
    let header = [&[kind][..], &length, &[0, sequence, 0, 0, 0], &length].concat();
    plaintext(HANDSHAKE, DTLS_1_2, 0, &[header, body.to_vec()].concat())
}

fn admit(screen: &mut Screen, bytes: &[u8], phase: Phase) -> Admission {
    let (record, _) = Record::split_first_untrusted(bytes).unwrap();
    screen.admit_untrusted(&record, phase)
}

fn client() -> Screen {
    Screen::new(Expect::Server, 0)
}

#[test]
fn an_open_session_takes_sealed_records_of_possible_length_and_nothing_else() {
    let mut screen = client();
    screen.expect_sealed(gcm());
    let rows = [
        (sealed(APPLICATION_DATA, 24), Admission::Now, "application data"),
        (sealed(ALERT, 26), Admission::Now, "an alert"),
        (sealed(HANDSHAKE, 40), Admission::Now, "a repeated Finished"),
        (sealed(APPLICATION_DATA, 23), Admission::Discard(Discard::Short), "too short"),
        (message(2, 0, b"x"), Admission::Discard(Discard::Plaintext), "plaintext handshake"),
        (plaintext(ALERT, DTLS_1_2, 0, &[1, 0]), Admission::Discard(Discard::Plaintext), "plaintext alert"),
        (plaintext(24, DTLS_1_2, 0, &[1]), Admission::Discard(Discard::Malformed), "an unknown type"),
        (plaintext(ALERT, DTLS_1_2, 0, &[]), Admission::Discard(Discard::Malformed), "an empty body"),
    ];
    for (bytes, expected, why) in rows {
        assert_eq!(admit(&mut screen, &bytes, Phase::Open), expected, "{why}");
    }
    let mut later = sealed(APPLICATION_DATA, 40);
    later[4] = 2;
    assert_eq!(admit(&mut screen, &later, Phase::Open), Admission::Discard(Discard::Epoch));
}

/// Lets OpenSSL see the message that is due. Says whether there was one.
fn go_on(screen: &mut Screen) -> bool {
    let message = screen.take_message();
    message.iter().for_each(|message| screen.queue(message));
    message.is_some()
}

#[test]
fn messages_are_rebuilt_whole_and_numbered_anew() {
    let mut screen = client();
    let mut forged_number = message(2, 0, b"hello");
    forged_number[5..11].fill(0xff);
    assert_eq!(admit(&mut screen, &forged_number, Phase::Plaintext), Admission::Kept);
    assert_eq!(admit(&mut screen, &message(11, 1, b"chain"), Phase::Plaintext), Admission::Kept);
    for number in 0..2 {
        assert_eq!(screen.take(Phase::Plaintext), None, "nothing is ready before its time");
        assert!(go_on(&mut screen));
        let bytes = screen.take(Phase::Plaintext).unwrap();
        let (record, _) = Record::split_first_untrusted(&bytes).unwrap();
        assert_eq!((record.epoch, record.sequence), (0, number));
    }
    assert!(!go_on(&mut screen));
}

#[test]
fn a_message_longer_than_was_negotiated_is_cut() {
    let mut screen = client();
    screen.shorten_plaintext(112);
    admit(&mut screen, &message(2, 0, &[1; 250]), Phase::Plaintext);
    assert!(go_on(&mut screen));
    let lengths: Vec<usize> =
        std::iter::from_fn(|| screen.take(Phase::Plaintext)).map(|record| record.len() - HEADER).collect();
    assert_eq!(lengths, [112, 112, 62]);
}

#[test]
fn a_change_cipher_spec_is_offered_again_behind_every_message() {
    let mut screen = client();
    let change = plaintext(CHANGE_CIPHER_SPEC, DTLS_1_2, 0, &[1]);
    assert_eq!(admit(&mut screen, &change, Phase::Plaintext), Admission::Kept);
    let is_change = |record: Option<Vec<u8>>| record.map(|record| record[0]) == Some(CHANGE_CIPHER_SPEC);
    assert!(is_change(screen.take(Phase::Plaintext)));
    assert_eq!(screen.take(Phase::Plaintext), None);
    admit(&mut screen, &message(2, 0, b"hello"), Phase::Plaintext);
    go_on(&mut screen);
    assert!(!is_change(screen.take(Phase::Plaintext)));
    assert!(is_change(screen.take(Phase::Plaintext)));
}

#[test]
fn a_plaintext_alert_is_remembered_until_the_handshake_goes_on() {
    for (body, remembered) in [
        (&[2, 40][..], Some(40)),
        (&[1, 0], Some(0)),
        (&[2, 0], Some(0)),
        (&[1, 90], None),
        (&[2], None),
        (&[2, 40, 0], None),
        (&[3, 40], None),
    ] {
        let mut screen = client();
        let alert = plaintext(ALERT, DTLS_1_2, 0, body);
        assert!(matches!(admit(&mut screen, &alert, Phase::Plaintext), Admission::Discard(_)), "{body:?}");
        assert_eq!(screen.alert(), remembered, "{body:?}");
        admit(&mut screen, &message(2, 0, b"hello"), Phase::Plaintext);
        assert!(go_on(&mut screen));
        assert_eq!(screen.alert(), None);
    }
}

#[test]
fn sealed_records_that_come_too_early_are_held_and_released_in_order() {
    let mut screen = client();
    let early: Vec<Vec<u8>> = (30..40).map(|length| sealed(APPLICATION_DATA, length)).collect();
    for record in &early {
        assert_eq!(admit(&mut screen, record, Phase::Plaintext), Admission::Kept);
    }
    assert_eq!(screen.take(Phase::Finished), None, "application data waits for the Finished");
    let released: Vec<Vec<u8>> = std::iter::from_fn(|| screen.take(Phase::Open)).collect();
    assert_eq!(released, early);
}

#[test]
fn a_finished_displaces_early_application_data_and_not_the_reverse() {
    let mut screen = client();
    for _ in 0..HELD_RECORDS {
        admit(&mut screen, &sealed(APPLICATION_DATA, 30), Phase::Plaintext);
    }
    let overflow = Admission::Discard(Discard::Overflow);
    assert_eq!(admit(&mut screen, &sealed(APPLICATION_DATA, 30), Phase::Plaintext), overflow);
    assert_eq!(admit(&mut screen, &sealed(HANDSHAKE, 40), Phase::Plaintext), Admission::Kept);
    assert_eq!(screen.take(Phase::Finished), Some(sealed(HANDSHAKE, 40)));
}

#[test]
fn no_more_is_held_than_the_limits_say() {
    let mut screen = client();
    for round in 0..1000 {
        let kind = if round % 2 == 0 { HANDSHAKE } else { APPLICATION_DATA };
        admit(&mut screen, &sealed(kind, 24 + round % 7 * 1000), Phase::Plaintext);
        let bytes: usize = screen.held.iter().map(Vec::len).sum();
        assert_eq!(bytes, screen.held_bytes);
        assert!(bytes <= HELD_BYTES && screen.held.len() <= HELD_RECORDS);
    }
}

#[test]
fn what_cannot_be_genuine_is_let_go_once_the_suite_is_known() {
    let mut screen = client();
    for length in [1, 23, 24, 60] {
        admit(&mut screen, &sealed(HANDSHAKE, length), Phase::Plaintext);
    }
    screen.expect_sealed(gcm());
    let lengths: Vec<usize> =
        std::iter::from_fn(|| screen.take(Phase::Open)).map(|record| record.len() - HEADER).collect();
    assert_eq!((lengths, screen.held_bytes), (vec![24, 60], 0));
}
