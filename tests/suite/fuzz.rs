//! Genuine datagrams, changed at random: nothing panics, and nothing ends an established session.
//! The seeds are fixed, so a failure repeats.

use crate::pair::dice::{Dice, Trying};
use crate::pair::{clock, fair, Setup, BOTH};
use dtls_core::hello::Wishes;
use dtls_core::psk::{self, Psk};
use dtls_core::reassembly::{Expect, Reassembly};
use dtls_core::record::{Record, HANDSHAKE};
use dtls_core::{Answer, Gate, Question};

/// Every datagram of a few handshakes and conversations, both ways.
fn genuine() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for setup in [Setup::default(), Setup::mutual(), Setup::mutual().with_mtu(256), Setup::psk()] {
        let mut pair = setup.pair();
        pair.connect();
        pair.converse();
        all.append(&mut pair.client.sent);
        all.append(&mut pair.server.sent);
    }
    all
}

/// Bytes that mean something somewhere: types, versions, lengths and epochs at their limits.
const TELLING: [u8; 16] = [0, 1, 2, 3, 11, 12, 14, 16, 20, 21, 22, 23, 0x7f, 0x80, 0xfe, 0xff];

fn mutated(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[dice.below(corpus.len())].clone();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        // Mostly in the headers, where the decisions are made.
        let reach = if dice.percent(70) { 60.min(bytes.len()) } else { bytes.len() };
        let at = dice.below(reach);
        match dice.below(8) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = TELLING[dice.below(TELLING.len())],
            2 => bytes[at] = dice.roll() as u8,
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(..at)),
            5 => bytes.insert(at, TELLING[dice.below(TELLING.len())]),
            6 => bytes.extend_from_slice(&corpus[dice.below(corpus.len())]),
            _ => {
                let other = &corpus[dice.below(corpus.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
        }
    }
    bytes
}

#[test]
fn the_gate_and_the_parsers_survive_anything() {
    let corpus = genuine();
    let mut gate = Gate::random(clock::seconds());
    for seed in 0..100 {
        let _trying = Trying(format!("seed {seed}"));
        let mut dice = Dice::new(seed);
        let mut reassemblies = [
            Reassembly::new(Expect::Server, 0),
            Reassembly::new(Expect::Client { certificate: true }, 1),
            Reassembly::new(Expect::Client { certificate: false }, 1),
        ];
        for _ in 0..3_000 {
            let bytes = mutated(&mut dice, &corpus);
            let _ = gate.examine_untrusted(&bytes, crate::pair::ADDRESS, crate::pair::PORT, clock::seconds());
            let mut rest = &bytes[..];
            while let Some((record, behind)) = Record::split_first_untrusted(rest) {
                if record.kind == HANDSHAKE && record.epoch == 0 {
                    for reassembly in &mut reassemblies {
                        let _ = reassembly.add_untrusted(record.body);
                        while let Some(message) = reassembly.take() {
                            let wishes = Wishes::read_untrusted(&message.body);
                            assert!(wishes.session_id.len() < 256);
                            let _ = psk::identity_untrusted(&message.body);
                        }
                    }
                }
                rest = behind;
            }
        }
    }
}

/// Certificates one way and both, a key that is known, and one that is asked for.
fn variety(seed: u64) -> Setup {
    match seed % 4 {
        0 => Setup::default(),
        1 => Setup { ask_server_name: true, ..Setup::mutual() },
        2 => Setup::psk(),
        _ => {
            let mut setup = Setup::psk();
            setup.server.psk = Some(Psk::Ask);
            setup
        }
    }
}

/// What a user would answer who knows one key, and has one context.
fn answers(setup: &Setup) -> impl FnMut(&Question) -> Answer {
    let context = std::rc::Rc::new(dtls_core::Context::new(setup.server.clone()).unwrap());
    move |question| match question {
        Question::ServerName(_) => Answer::Context(Some(context.clone())),
        Question::PskIdentity(identity) => {
            Answer::Key((identity == b"device 1").then(|| b"sixteen bytes 16".to_vec()))
        }
        Question::OcspResponse(_) => Answer::OcspResponse(Vec::new()),
        Question::CachedSession(_) => Answer::CachedSession(None),
        Question::PskHint(_) => Answer::Psk(None),
        Question::Peer(_) => Answer::Peer(Ok(())),
    }
}

#[test]
fn established_sessions_survive_anything() {
    let corpus = genuine();
    for seed in 0..20 {
        let _trying = Trying(format!("seed {seed}"));
        let mut dice = Dice::new(seed);
        let setup = variety(seed);
        let hook = answers(&setup);
        let mut pair = setup.pair();
        pair.server.hook = Some(Box::new(hook));
        pair.connect();
        pair.converse();
        let mut corpus = corpus.clone();
        corpus.extend(pair.client.sent.iter().chain(&pair.server.sent).cloned());
        for round in 0..5_000 {
            let bytes = mutated(&mut dice, &corpus);
            BOTH.into_iter().for_each(|side| pair.deliver(side, &bytes));
            if round % 1_000 == 0 {
                pair.converse();
            }
        }
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn handshakes_end_once_whatever_comes_in_between() {
    let corpus = genuine();
    let (mut begun, mut completed) = (0, 0);
    for seed in 0..2_000 {
        let _trying = Trying(format!("seed {seed}"));
        let mut dice = Dice::new(seed);
        let mut setup = variety(seed);
        setup.deadlines.handshake_ms = 30_000;
        // A ticket is one message more in plaintext that may be forged.
        let plain = dice.percent(50);
        if plain {
            setup.tickets = None;
        }
        let hook = answers(&setup);
        let mut pair = setup.pair();
        pair.server.hook = Some(Box::new(hook));
        pair.run(dice.below(6) as u64);
        for _ in 0..20 {
            let bytes = mutated(&mut dice, &corpus);
            BOTH.into_iter().for_each(|side| pair.deliver(side, &bytes));
            if dice.percent(20) {
                pair.step();
            }
        }
        pair.weather = fair();
        pair.run(40_000);
        // An end is an end: none is left half open, and `end` sees that none ends twice.
        for side in BOTH {
            let end = pair.end(side);
            assert!(end.is_open() || end.session.is_none(), "{}", pair.story());
            pair.end(side).end();
        }
        if plain {
            begun += 1;
            completed += u64::from(pair.client.connected() == 1);
        }
        assert!(openssl::error::ErrorStack::get().errors().is_empty());
    }
    // Many of these are complete messages of another handshake, and nothing helps against them.
    assert!(completed > begun / 3, "only {completed} of {begun} completed");
}
