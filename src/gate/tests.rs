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

fn challenge(gate: &mut Gate, datagram: &[u8], address: IpAddr, port: u16, now: u64) -> Vec<u8> {
    match gate.examine_untrusted(datagram, address, port, now) {
        Verdict::Challenge { reply, .. } => reply,
        other => panic!("expected a challenge, got {other:?}"),
    }
}

fn cookie_for(gate: &mut Gate, now: u64) -> Vec<u8> {
    let reply = challenge(gate, &hello(1, 0, b""), HERE, 1000, now);
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
    let reply = challenge(&mut gate, &datagram, HERE, 1000, NOW);
    let (record, rest) = Record::split_first_untrusted(&reply).unwrap();
    assert_eq!((record.sequence, record.body[0], rest.len()), (5, 3, 0));
    assert!(reply.len() <= datagram.len(), "{} > {}", reply.len(), datagram.len());
}

#[test]
fn a_cookie_is_bound_to_address_port_hello_and_every_one_of_its_bytes() {
    let mut gate = Gate::random(NOW);
    let cookie = cookie_for(&mut gate, NOW);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    challenge(&mut gate, &hello(1, 1, &cookie), elsewhere, 1000, NOW);
    challenge(&mut gate, &hello(1, 1, &cookie), HERE, 1001, NOW);
    challenge(&mut gate, &hello(2, 1, &cookie), HERE, 1000, NOW);
    for at in 0..COOKIE {
        let mut forged = cookie.clone();
        forged[at] ^= 1;
        challenge(&mut gate, &hello(1, 1, &forged), HERE, 1000, NOW);
    }
    challenge(&mut gate, &hello(1, 1, &cookie[..COOKIE - 1]), HERE, 1000, NOW);
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
        challenge(&mut gate, &hello(1, 1, &cookie), HERE, 1000, NOW + age);
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
    challenge(&mut before, &hello(1, 1, &cookie), HERE, 1000, NOW);
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
    assert!(challenge(&mut gate, &datagram, HERE, 1000, NOW).len() < datagram.len());
}
