//! How much a message may hold: exact for every cipher suite, and whatever the path's MTU is.

use crate::pair::dice::Trying;
use crate::pair::forge::message_kind;
use crate::pair::{raw, Pair, Setup, Side, BOTH};
use dtls_core::config::Profile;
use dtls_core::{Config, Name};

/// The longest UDP payload of IPv4.
const MOST: u32 = 65_507;

/// What can be negotiated at all: with certificates of either kind, or with a pre-shared key.
fn suites() -> Vec<String> {
    let suites = raw::suites("ALL:COMPLEMENTOFALL:!aNULL:!eNULL:!kRSAPSK:!aDSS:!SRP");
    assert!(suites.len() > 70, "{suites:?}");
    suites
}

/// Both ends have this suite alone.
fn with_suite(suite: &str) -> Setup {
    let mut setup = Setup::with_suite(suite);
    if suite.contains("PSK") {
        for (config, psk) in
            [(&mut setup.server, Setup::psk().server), (&mut setup.client, Setup::psk().client)]
        {
            let ciphers = config.ciphers.take();
            *config = Config { ciphers, ..psk };
        }
    }
    setup
}

fn connected(setup: Setup) -> Pair {
    let mut pair = setup.pair();
    pair.connect();
    pair
}

/// The length of the datagram that carries a message of so many bytes.
fn datagram_of(pair: &mut Pair, side: Side, length: usize) -> usize {
    pair.end(side).session().send(&vec![1; length]).unwrap().len()
}

#[test]
fn a_message_of_the_greatest_payload_fits_the_mtu_and_one_byte_more_does_not() {
    for suite in suites() {
        let mut pair = connected(with_suite(&suite));
        assert_eq!(pair.client.session().established().unwrap().cipher.name, suite);
        for side in BOTH {
            // A hundred in a row, since what is padded has steps.
            for mtu in (256..356).chain([576, 1200, 1232, 1452, 1472, 4096, 8972, 16_000]) {
                let _trying = Trying(format!("{suite}, {side:?}, an mtu of {mtu}"));
                let payload = pair.end(side).session().set_mtu(mtu).unwrap();
                assert_eq!(pair.end(side).session().established().unwrap().max_payload, payload);
                assert!(
                    datagram_of(&mut pair, side, payload) <= mtu as usize,
                    "{payload} bytes are too many"
                );
                assert!(
                    datagram_of(&mut pair, side, payload + 1) > mtu as usize,
                    "{payload} are not the most"
                );
            }
            // Where the path takes more, a record does not.
            assert_eq!(pair.end(side).session().set_mtu(MOST), Some(16_384));
        }
        pair.send(Side::Client, b"heard").unwrap();
        pair.send(Side::Server, b"heard").unwrap();
    }
}

#[test]
fn a_negotiated_fragment_length_is_the_most_on_both_ends_and_one_byte_more_harms_nothing() {
    for most in [512, 1024, 2048, 4096] {
        let _trying = Trying(most);
        let mut setup = Setup::default();
        setup.client.max_fragment_length = Some(dtls_core::config::FragmentLength::new(most as u32).unwrap());
        let mut pair = connected(setup);
        for side in BOTH {
            assert_eq!(pair.end(side).session().set_mtu(MOST), Some(most));
            assert_eq!(pair.send(side, &vec![1; most + 1]).unwrap_err().name, Name::MessageTooBig);
            pair.send(side, &vec![1; most]).unwrap();
            pair.run(10);
            assert_eq!(pair.end(side.other()).messages().last().map(|message| message.len()), Some(most));
        }
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn a_message_above_the_greatest_payload_is_sent_or_refused_as_was_wanted() {
    for refuse_oversize in [false, true] {
        let mut pair = connected(Setup { refuse_oversize, ..Setup::default() });
        for side in BOTH {
            for mtu in [1200, 512, 9000] {
                let payload = pair.end(side).session().set_mtu(mtu).unwrap();
                pair.send(side, &vec![1; payload]).unwrap();
                let sent = pair.send(side, &vec![1; payload + 1]);
                let refusal = sent.err().map(|error| (error.name, error.to_string()));
                let sentence = format!(
                    "EMSGSIZE: a message of {} bytes makes a datagram of more than {mtu}, the path's MTU: \
                     {payload} is the most",
                    payload + 1
                );
                assert_eq!(refusal, refuse_oversize.then_some((Name::MessageTooBig, sentence)));
            }
        }
        pair.run(10);
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn an_mtu_that_is_told_before_or_during_the_handshake_holds_for_its_datagrams_and_then_for_messages() {
    for (mtu, of_handshake) in [(256, 256), (600, 600), (4096, 4096), (9000, 4096)] {
        for step in 0..6 {
            let _trying = Trying(format!("{mtu} after {step} ms"));
            let mut pair = Setup::mutual().pair();
            pair.run(step);
            let mut sent = [0, 0];
            for (index, side) in BOTH.into_iter().enumerate() {
                sent[index] = pair.end(side).sent.len();
                if let Some(session) = &mut pair.end(side).session {
                    session.set_mtu(mtu);
                }
            }
            pair.connect();
            for (index, side) in BOTH.into_iter().enumerate() {
                let end = pair.end(side);
                // The server's context has an mtu of its own, and gives it to a session that comes later.
                let told = end.session().set_mtu(mtu).is_some() && (side == Side::Client || step > 3);
                let longest = end.sent[sent[index]..].iter().map(Vec::len).max().unwrap_or(0);
                assert!(!told || longest <= of_handshake, "{longest} bytes from the {side:?}");
                assert_eq!(end.session().established().unwrap().max_payload, mtu as usize - 37);
            }
        }
    }
}

#[test]
fn a_client_that_knows_its_mtu_from_the_start_fragments_its_first_hello() {
    let mut setup = Setup::default();
    setup.client.ciphers = Some("ALL".into());
    let pair = Setup { mtu: Some(256), ..setup }.pair();
    let hellos = pair.client.sent.iter().filter(|sent| message_kind(sent) == Some(1));
    assert!(hellos.count() > 1 && pair.client.sent.iter().all(|sent| sent.len() <= 256));
}

#[test]
fn the_default_suites_of_both_profiles_are_among_them() {
    let all = suites();
    for profile in [Profile::General, Profile::Iot] {
        let mut setup = Setup::default();
        for config in [&mut setup.server, &mut setup.client] {
            config.profile = profile;
        }
        let pair = &mut connected(setup);
        let name = pair.client.session().established().unwrap().cipher.name;
        assert!(all.iter().any(|suite| suite == name), "{name}");
    }
}
