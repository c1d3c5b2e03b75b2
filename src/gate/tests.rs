use super::*;
use crate::record::{Record, DTLS_1_2};
use std::net::{Ipv4Addr, Ipv6Addr};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const NOW: u64 = 1_800_000_000;

/// A ClientHello datagram as a client would send it, with this random byte and cookie.
fn hello(random: u8, message_sequence: u8, cookie: &[u8]) -> Vec<u8> {
    let mut body = vec![0xfe, 0xfd];
    body.extend_from_slice(&[random; 32]);
    body.push(0);
    body.push(cookie.len() as u8);
    body.extend_from_slice(cookie);
    body.extend_from_slice(&[0, 2, 0xc0, 0x2b, 1, 0]);
    let length = [0, 0, body.len() as u8];
    let mut message = vec![1];
    message.extend_from_slice(&length);
    message.extend_from_slice(&[0, message_sequence, 0, 0, 0]);
    message.extend_from_slice(&length);
    message.extend_from_slice(&body);
    record::plaintext(HANDSHAKE, DTLS_1_2, 5, &message)
}

fn challenged(gate: &mut Gate, datagram: &[u8], address: IpAddr, port: u16, now: u64) -> Vec<u8> {
    match gate.examine_untrusted(datagram, address, port, now) {
        Verdict::Challenge { reply, .. } => reply,
        other => panic!("expected a challenge, got {other:?}"),
    }
}

fn cookie_for(gate: &mut Gate, now: u64) -> Vec<u8> {
    let reply = challenged(gate, &hello(1, 0, b""), HERE, 1000, now);
    reply[reply.len() - COOKIE..].to_vec()
}

fn admits(gate: &mut Gate, datagram: &[u8], address: IpAddr, now: u64) -> bool {
    matches!(gate.examine_untrusted(datagram, address, 1000, now), Verdict::Admit(_))
}

#[test]
fn a_hello_is_let_in_once() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    let Verdict::Admit(pass) = gate.examine_untrusted(&hello(1, 1, &cookie), HERE, 1000, NOW) else {
        panic!("refused");
    };
    assert_eq!(pass.random, [1; 32]);
    assert_eq!(Pass::from_bytes(&pass.to_bytes()), Some(pass));
    assert!(gate.spend(pass, NOW));
    // Also with another cookie, which anybody who sees the answers can have for the same hello.
    let later = cookie_for(&mut gate, NOW + WINDOW);
    let Verdict::Admit(again) = gate.examine_untrusted(&hello(1, 1, &later), HERE, 1000, NOW + WINDOW) else {
        panic!("refused");
    };
    assert!(gate.is_spent(again, NOW + WINDOW));
    assert!(!gate.spend(again, NOW + WINDOW));
}

#[test]
fn a_returned_cookie_admits() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    assert!(admits(&mut gate, &hello(1, 1, &cookie), HERE, NOW));
}

#[test]
fn the_answer_repeats_the_record_number_and_is_never_larger_than_the_hello() {
    let mut gate = Gate::random(NOW);
    let datagram = hello(1, 0, b"");
    let reply = challenged(&mut gate, &datagram, HERE, 1000, NOW);
    let (record, rest) = Record::split_first_untrusted(&reply).unwrap();
    assert_eq!((record.sequence, record.body[0], rest.len()), (5, 3, 0));
    assert!(reply.len() <= datagram.len(), "{} > {}", reply.len(), datagram.len());
}

#[test]
fn a_cookie_is_bound_to_address_port_hello_and_every_one_of_its_bytes() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    challenged(&mut gate, &hello(1, 1, &cookie), elsewhere, 1000, NOW);
    challenged(&mut gate, &hello(1, 1, &cookie), HERE, 1001, NOW);
    challenged(&mut gate, &hello(2, 1, &cookie), HERE, 1000, NOW);
    for at in 0..COOKIE {
        let mut forged = cookie.clone();
        forged[at] ^= 1;
        challenged(&mut gate, &hello(1, 1, &forged), HERE, 1000, NOW);
    }
    challenged(&mut gate, &hello(1, 1, &cookie[..COOKIE - 1]), HERE, 1000, NOW);
}

#[test]
fn a_mapped_address_is_the_address_it_maps() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
    assert!(admits(&mut gate, &hello(1, 1, &cookie), mapped, NOW));
}

#[test]
fn a_cookie_lives_for_a_window_at_least_and_two_at_most() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    for age in [0, 55, 59, 60] {
        let datagram = hello(1, 1, &cookie);
        assert!(admits(&mut gate, &datagram, HERE, NOW + age), "{age} s");
    }
    for age in [120, 256 * WINDOW] {
        challenged(&mut gate, &hello(1, 1, &cookie), HERE, 1000, NOW + age);
    }
}

#[test]
fn a_random_secret_is_replaced_hourly_and_its_predecessor_accepted() {
    let mut gate = Gate::random(NOW);
    let late = NOW + WINDOW * WINDOWS_PER_SECRET - 1;
    let cookie = cookie_for(&mut gate, late);
    let datagram = hello(1, 1, &cookie);
    assert!(admits(&mut gate, &datagram, HERE, late + 1));
    assert_eq!(gate.secrets.len(), 2);
    assert_ne!(cookie_for(&mut gate, late + 1)[1..], cookie[1..]);
}

#[test]
fn hosts_that_share_a_secret_accept_each_others_cookies_and_the_previous_secret_too() {
    let (old, new) = (vec![1; 16], vec![2; 16]);
    let mut before = Gate::with_secrets(std::slice::from_ref(&old)).unwrap();
    let mut after = Gate::with_secrets(&[new, old]).unwrap();
    let cookie = cookie_for(&mut before, NOW);
    assert!(admits(&mut after, &hello(1, 1, &cookie), HERE, NOW));
    let cookie = cookie_for(&mut after, NOW);
    challenged(&mut before, &hello(1, 1, &cookie), HERE, 1000, NOW);
}

#[test]
fn a_secret_that_could_be_guessed_is_refused() {
    assert!(Gate::with_secrets(&[]).is_err());
    let refusal = Gate::with_secrets(&[vec![0; 15]]).err().unwrap();
    assert!(refusal.to_string().contains("at least 16 bytes"), "{refusal}");
}

#[test]
fn an_address_that_cannot_be_answered_is_ignored() {
    let mut gate = Gate::random(NOW);
    for (address, port) in [
        (HERE, 0),
        (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)), 1000),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1000),
        (IpAddr::V4(Ipv4Addr::BROADCAST), 1000),
        (IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)), 1000),
    ] {
        let verdict = gate.examine_untrusted(&hello(1, 0, b""), address, port, NOW);
        assert_eq!(verdict, Verdict::Discard(Discard::Address), "{address}");
    }
}

#[test]
fn whatever_is_no_hello_is_discarded() {
    let mut gate = Gate::random(NOW);
    let good = hello(1, 0, b"");
    for cut in 0..good.len() {
        let verdict = gate.examine_untrusted(&good[..cut], HERE, 1000, NOW);
        assert!(matches!(verdict, Verdict::Discard(_)), "cut at {cut}");
    }
    for (at, value, why) in [
        (0, 23, "application data"),
        (4, 1, "epoch 1"),
        (13, 2, "a ServerHello"),
        (18, 2, "message_seq 2"),
        (21, 1, "not the first fragment"),
        (24, 255, "fragment longer than the message"),
        (59, 33, "session id of 33 bytes"),
        (60, 255, "cookie that leads out"),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        let verdict = gate.examine_untrusted(&bad, HERE, 1000, NOW);
        assert_eq!(verdict, Verdict::Discard(Discard::NotHello), "{why}");
    }
}

#[test]
fn the_shortest_readable_hello_is_answered_with_less() {
    let mut gate = Gate::random(NOW);
    // The first fragment of a longer hello, cut right behind its (empty) cookie.
    let mut body = vec![1, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 36, 0xfe, 0xfd];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0]);
    let datagram = record::plaintext(HANDSHAKE, DTLS_1_2, 0, &body);
    assert_eq!(datagram.len(), LEAST_HELLO);
    assert!(challenged(&mut gate, &datagram, HERE, 1000, NOW).len() < datagram.len());
}

#[test]
fn secrets_that_are_replaced_leave_cookies_good_that_peers_are_on_their_way_with() {
    let secret = |byte: u8| vec![byte; LEAST_SECRET];
    let mut gate = Gate::random(NOW);
    let random = cookie_for(&mut gate, NOW);
    gate.set_secrets(&[secret(1)]).unwrap();
    let first = cookie_for(&mut gate, NOW);
    gate.set_secrets(&[secret(2), secret(1)]).unwrap();
    let second = cookie_for(&mut gate, NOW);
    assert_ne!(first, second);
    let mut alike = Gate::with_secrets(&[secret(2)]).unwrap();
    assert_eq!(second, cookie_for(&mut alike, NOW), "the newest signs");
    let good = |gate: &mut Gate| {
        [&random, &first, &second].map(|cookie| admits(gate, &hello(1, 1, cookie), HERE, NOW))
    };
    assert_eq!(good(&mut gate), [false, true, true]);
    gate.set_secrets(&[secret(2)]).unwrap();
    assert_eq!(good(&mut gate), [false, false, true]);
    for refused in [vec![], vec![vec![3; LEAST_SECRET - 1]]] {
        assert!(gate.set_secrets(&refused).is_err());
    }
    assert_eq!(good(&mut gate), [false, false, true]);
    // Random ones nobody could have kept in the list.
    let mut gate = Gate::random(NOW);
    let random = cookie_for(&mut gate, NOW);
    gate.set_secrets(&[secret(1)]).unwrap();
    assert!(admits(&mut gate, &hello(1, 1, &random), HERE, NOW));
    // They are changed no more.
    let hours_later = NOW + 5 * WINDOWS_PER_SECRET * WINDOW;
    let later = cookie_for(&mut gate, hours_later);
    assert_eq!(later, cookie_for(&mut Gate::with_secrets(&[secret(1)]).unwrap(), hours_later));
}

#[test]
fn a_hello_shows_to_another_scheme_what_its_cookies_are_to_be_bound_to() {
    let first = hello(1, 0, b"");
    let Ok(shown) = read_untrusted(&first, HERE, 1000) else { panic!("no hello") };
    assert_eq!((shown.record_sequence, shown.cookie, shown.returns_cookie()), (5, &b""[..], false));
    let second = hello(1, 1, b"from elsewhere");
    let Ok(again) = read_untrusted(&second, HERE, 1000) else { panic!("no hello") };
    assert_eq!((again.cookie, again.returns_cookie()), (&b"from elsewhere"[..], true));
    assert_eq!(shown.fixed, again.fixed);
    assert_eq!(shown.fixed, [&[0xfe, 0xfd][..], &[1; 32], &[0]].concat());
    // OpenSSL would not go on from these.
    for datagram in [hello(1, 0, b"from elsewhere"), hello(1, 1, b"")] {
        assert!(!read_untrusted(&datagram, HERE, 1000).unwrap().returns_cookie());
    }
    assert_eq!(read_untrusted(&first, HERE, 0), Err(Discard::Address));
    assert_eq!(read_untrusted(&first[..20], HERE, 1000), Err(Discard::Malformed));
}

#[test]
fn a_cookie_of_any_kind_is_sent_where_it_makes_no_answer_too_long() {
    for length in [1, 20, COOKIE] {
        let cookie = vec![b'c'; length];
        let reply = challenge(5, &cookie).unwrap();
        assert!(reply.len() <= LEAST_HELLO, "{length} bytes");
        let (record, rest) = Record::split_first_untrusted(&reply).unwrap();
        assert_eq!((record.sequence, rest.len()), (5, 0));
        let body = length as u8 + 3;
        let expected =
            [&[3, 0, 0, body, 0, 0, 0, 0, 0, 0, 0, body, 0xfe, 0xff, length as u8][..], &cookie].concat();
        assert_eq!(record.body, expected);
    }
    for length in [0, COOKIE + 1, 255, 256] {
        assert_eq!(challenge(5, &vec![b'c'; length]), None, "{length} bytes");
    }
}

#[test]
fn a_hello_goes_by_the_same_pass_whoever_has_made_its_cookie() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    let datagram = hello(1, 1, &cookie);
    let Verdict::Admit(pass) = gate.examine_untrusted(&datagram, HERE, 1000, NOW) else { panic!("refused") };
    let fixed = read_untrusted(&datagram, HERE, 1000).unwrap().fixed;
    assert_eq!(gate.pass(fixed, HERE, 1000), Some(pass));
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped());
    assert_eq!(gate.pass(fixed, mapped, 1000), Some(pass));
    assert_ne!(gate.pass(fixed, HERE, 1001), Some(pass));
    assert_eq!(gate.pass(&fixed[..33], HERE, 1000), None);
}
