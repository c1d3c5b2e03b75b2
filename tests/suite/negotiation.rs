//! What the two ends agree on beside a cipher suite, and what becomes of a handshake where they do not.

use crate::pair::certificates::{self, issue, Issued, Template};
use crate::pair::forge::{record, records};
use crate::pair::raw::{self, Raw};
use crate::pair::{Pair, Setup, Side, BOTH};
use dtls_core::config::FragmentLength;
use dtls_core::context::PeerName;
use dtls_core::srtp::Profile;
use dtls_core::{Context, Deadlines, Name, Output, Session};
use openssl::ssl::{AlpnError, SslContextBuilder, SslOptions};
use std::rc::Rc;

fn list(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client of ours that trusts the usual server.
fn client_of(setup: Setup) -> Session {
    let context = Rc::new(Context::new(setup.client).unwrap());
    let deadlines = Deadlines { handshake_ms: 30_000, idle_ms: 0 };
    Session::client(&context, PeerName::parse(setup.name), &deadlines.into(), 0).unwrap()
}

/// An OpenSSL server that has the usual certificate, and is otherwise what `configure` makes of it.
fn raw_server(configure: impl FnOnce(&mut SslContextBuilder)) -> Raw {
    let context = raw::context(|builder| {
        builder.set_certificate(&certificates::server().cert).unwrap();
        builder.set_private_key(&certificates::server().key).unwrap();
        configure(builder);
    });
    Raw::server(&context, 1200)
}

/// Why a session says that it ended.
fn failure(said: &[Output]) -> Option<Name> {
    said.iter().find_map(|output| match output {
        Output::Closed(_, Some(error)) => Some(error.name),
        _ => None,
    })
}

fn speaking(client: &[&str], server: &[&str]) -> Setup {
    let mut setup = Setup::default();
    setup.client.alpn_protocols = list(client);
    setup.server.alpn_protocols = list(server);
    setup
}

fn protocols(pair: &mut Pair) -> [Option<Vec<u8>>; 2] {
    BOTH.map(|side| pair.end(side).session().established().unwrap().alpn_protocol.clone())
}

#[test]
fn the_server_takes_the_first_of_its_own_protocols_that_is_offered() {
    let mut pair = speaking(&["x", "mqtt", "coap"], &["coap", "mqtt"]).pair();
    pair.connect();
    assert_eq!(protocols(&mut pair), [Some(b"coap".to_vec()), Some(b"coap".to_vec())]);
    pair.converse();
}

#[test]
fn who_has_no_protocols_agrees_on_none() {
    for (client, server) in [(&["coap"][..], &[][..]), (&[], &["coap"])] {
        let mut pair = speaking(client, server).pair();
        pair.connect();
        assert_eq!(protocols(&mut pair), [None, None]);
    }
}

#[test]
fn a_server_refuses_a_client_that_offers_others_alone() {
    let mut pair = speaking(&["mqtt"], &["coap"]).pair();
    pair.run(5_000);
    for end in [&pair.client, &pair.server] {
        assert_eq!(end.failure(), Some(Name::ApplicationProtocol));
    }
    pair.assert_both_know(Side::Server);
}

#[test]
fn names_may_hold_any_bytes_up_to_255() {
    let long = "\u{0}\u{7f}é".repeat(60) + &"x".repeat(15);
    assert_eq!(long.len(), 255);
    let mut pair = speaking(&["x", &long], &[&long]).pair();
    pair.connect();
    assert_eq!(protocols(&mut pair), [Some(long.clone().into_bytes()), Some(long.into_bytes())]);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for (names, sentence) in [
        (vec![vec![]], "must hold names of 1 to 255 bytes, got one of 0"),
        (vec![vec![b'x'; 256]], "must hold names of 1 to 255 bytes, got one of 256"),
        (vec![vec![b'x'; 127]; 17], "must fit 2048 bytes together, got 2176"),
    ] {
        let mut setup = Setup::default();
        setup.client.alpn_protocols = names;
        let refusal = Context::new(setup.client).err().unwrap();
        assert_eq!((refusal.option, refusal.sentence.as_str()), ("alpn_protocols", sentence));
    }
}

#[test]
fn the_context_of_a_host_brings_its_own_protocols() {
    let mut setup = Setup { ask_server_name: true, ..speaking(&["coap"], &["mqtt"]) };
    let host = Rc::new(Context::new(speaking(&[], &["coap"]).server).unwrap());
    setup.client.alpn_protocols = list(&["coap"]);
    let mut pair = setup.pair();
    pair.server.hook = Some(Box::new(move |_| dtls_core::Answer::Context(Some(host.clone()))));
    pair.connect();
    assert_eq!(protocols(&mut pair), [Some(b"coap".to_vec()), Some(b"coap".to_vec())]);
}

#[test]
fn a_server_that_chooses_what_was_not_offered_is_refused() {
    let mut session = client_of(speaking(&["coap"], &[]));
    let mut raw = raw_server(|builder| builder.set_alpn_select_callback(|_, _| Ok(b"mqtt")));
    let said = raw.talk(&mut session);
    assert_eq!(failure(&said), Some(Name::Handshake), "{said:?}");
}

#[test]
fn a_server_without_a_word_for_it_is_no_worse_than_one_that_has_none() {
    let mut session = client_of(speaking(&["coap"], &[]));
    let mut raw = raw_server(|builder| builder.set_alpn_select_callback(|_, _| Err(AlpnError::NOACK)));
    assert_eq!(raw.talk(&mut session), [Output::Connected]);
    assert_eq!(session.established().unwrap().alpn_protocol, None);
}

/// SSL_OP_NO_EXTENDED_MASTER_SECRET, which the crate lacks.
const NO_EXTENDED_MASTER_SECRET: SslOptions = SslOptions::from_bits_retain(1);

const LABEL: &[u8] = b"EXPERIMENTAL test";

fn export(pair: &mut Pair, side: Side, length: usize, label: &[u8], context: Option<&[u8]>) -> Vec<u8> {
    pair.end(side).session().export_keying_material(length, label, context).unwrap().to_vec()
}

#[test]
fn both_ends_export_the_same_and_other_arguments_give_something_else() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let longest = vec![7; 0xffff];
    let mut seen = Vec::new();
    for (label, context) in [
        (LABEL, None),
        (LABEL, Some(&b""[..])),
        (LABEL, Some(b"x")),
        (LABEL, Some(b"x\0")),
        (LABEL, Some(&longest)),
        (b"EXPERIMENTAL tesT", None),
        (&[b'x'; 249], None),
    ] {
        let [client, server] = BOTH.map(|side| export(&mut pair, side, 32, label, context));
        assert_eq!(client, server);
        assert!(!seen.contains(&client), "{label:?} with {context:?}");
        seen.push(client);
    }
    assert_eq!(export(&mut pair, Side::Client, 0xffff, LABEL, None)[..32], seen[0]);
    assert_eq!(export(&mut pair, Side::Client, 1, LABEL, None)[..], seen[0][..1]);
    pair.converse();
}

#[test]
fn what_cannot_be_exported_is_refused_and_the_session_goes_on() {
    let mut pair = Setup::default().pair();
    pair.connect();
    let (long_label, long_context) = (vec![b'x'; 250], vec![0; 0x10000]);
    for side in BOTH {
        for (length, label, context) in [
            (0, LABEL, None),
            (0x10000, LABEL, None),
            (usize::MAX, LABEL, None),
            (32, b"", None),
            (32, &long_label, None),
            (32, "ü".as_bytes(), None),
            (32, b"\xff", None),
            (32, LABEL, Some(&long_context[..])),
            // TLS has other uses for these.
            (32, b"client finished", None),
            (32, b"server finished", None),
            (32, b"master secret", None),
            (32, b"extended master secret", None),
            (32, b"key expansion", None),
        ] {
            let error = pair.end(side).session().export_keying_material(length, label, context).unwrap_err();
            assert_eq!(error.name, Name::Invalid, "{length}, {label:?}");
        }
    }
    pair.converse();
    pair.assert_unharmed();
}

#[test]
fn nothing_is_exported_before_the_handshake_is_complete_or_after_the_end() {
    let name = |session: &mut Session| session.export_keying_material(32, LABEL, None).unwrap_err().name;
    let keys = |session: &mut Session| session.srtp_keys().err().unwrap().name;
    let mut pair = with_profiles(&[FIRST], &[FIRST]).pair();
    while pair.client.connected() + pair.server.connected() < 2 {
        for side in BOTH {
            let Some(session) = &mut pair.end(side).session else { continue };
            if session.state() != "open" {
                assert_eq!((name(session), keys(session)), (Name::NotConnected, Name::NotConnected));
            }
        }
        assert!(pair.step());
    }
    // The client has said goodbye, and waits for the answer.
    pair.close(Side::Client);
    let client = pair.client.session();
    assert_eq!((name(client), keys(client)), (Name::NotConnected, Name::NotConnected));
    client.destroy();
    assert_eq!((name(client), keys(client)), (Name::NotConnected, Name::NotConnected));
}

/// A server that has never heard of RFC 7627, and our client connected to it.
fn without_extended_master_secret(setup: Setup) -> Session {
    let mut session = client_of(setup);
    let mut raw = raw_server(|builder| {
        builder.set_options(NO_EXTENDED_MASTER_SECRET);
        builder.set_tlsext_use_srtp(FIRST).unwrap();
    });
    assert_eq!(raw.talk(&mut session), [Output::Connected]);
    session
}

#[test]
fn without_extended_master_secret_nothing_is_exported_unless_the_user_wants_it() {
    let mut session = without_extended_master_secret(with_profiles(&[FIRST], &[]));
    assert!(!session.established().unwrap().extended_master_secret);
    let error = session.export_keying_material(32, LABEL, None).unwrap_err();
    assert_eq!(error.name, Name::NoExtendedMasterSecret);
    assert_eq!(session.srtp_keys().err().unwrap().name, Name::NoExtendedMasterSecret);
    session.send(b"but it can be talked to").unwrap();

    let mut setup = with_profiles(&[FIRST], &[]);
    setup.client.export_without_ems = true;
    let mut session = without_extended_master_secret(setup);
    assert_eq!(session.export_keying_material(32, LABEL, None).unwrap().len(), 32);
    session.srtp_keys().unwrap();
}

#[test]
fn a_client_without_extended_master_secret_is_told_from_one_that_has_it() {
    for (options, has_it) in [(NO_EXTENDED_MASTER_SECRET, false), (SslOptions::empty(), true)] {
        let client = raw::context(|builder| {
            builder.set_options(options);
        });
        let mut raw = Raw::client(&client, 1200);
        let mut session = raw.meet(&Rc::new(Context::new(Setup::default().server).unwrap()));
        assert_eq!(raw.talk(&mut session), [Output::Connected]);
        assert_eq!(session.established().unwrap().extended_master_secret, has_it);
        assert_eq!(session.export_keying_material(32, LABEL, None).is_ok(), has_it);
    }
}

const FIRST: &str = "SRTP_AES128_CM_SHA1_80";

fn with_profiles(client: &[&str], server: &[&str]) -> Setup {
    let profiles =
        |names: &[&str]| names.iter().map(|name| Profile::parse(name.as_bytes()).unwrap()).collect();
    let mut setup = Setup::default();
    setup.client.srtp_profiles = profiles(client);
    setup.server.srtp_profiles = profiles(server);
    setup
}

#[test]
fn the_servers_order_of_srtp_profiles_counts_and_both_ends_have_the_same_keys() {
    for (profile, key, salt) in [
        (FIRST, 16, 14),
        ("SRTP_AES128_CM_SHA1_32", 16, 14),
        ("SRTP_AEAD_AES_128_GCM", 16, 12),
        ("SRTP_AEAD_AES_256_GCM", 32, 12),
    ] {
        let all = [FIRST, "SRTP_AES128_CM_SHA1_32", "SRTP_AEAD_AES_128_GCM", "SRTP_AEAD_AES_256_GCM"];
        let others: Vec<_> = all.into_iter().filter(|name| *name != profile).collect();
        let mut pair = with_profiles(&all, &[&[profile], &others[..]].concat()).pair();
        pair.connect();
        let [client, server] = BOTH.map(|side| pair.end(side).session().srtp_keys().unwrap());
        assert_eq!((client.profile.name, server.profile.name), (profile, profile));
        assert_eq!(client.client_key, server.client_key);
        assert_eq!(client.server_key, server.server_key);
        assert_eq!(client.client_salt, server.client_salt);
        assert_eq!(client.server_salt, server.server_salt);
        let material = [&client.client_key, &client.server_key, &client.client_salt, &client.server_salt];
        assert_eq!(material.map(|part| part.len()), [key, key, salt, salt]);
        let material = material.map(|part| &part[..]).concat();
        assert_eq!(export(&mut pair, Side::Server, material.len(), b"EXTRACTOR-dtls_srtp", None), material);
    }
}

#[test]
fn without_a_common_profile_the_session_has_no_srtp_keys_and_goes_on() {
    for (client, server) in [(&[][..], &[FIRST][..]), (&[FIRST], &[]), (&[FIRST], &["SRTP_AEAD_AES_128_GCM"])]
    {
        let mut pair = with_profiles(client, server).pair();
        pair.connect();
        for side in BOTH {
            let session = pair.end(side).session();
            assert_eq!(session.established().unwrap().srtp_profile, None);
            assert_eq!(session.srtp_keys().err().unwrap().name, Name::NoSrtp);
        }
        pair.converse();
    }
}

#[test]
fn a_profile_is_named_once() {
    let refusal = Context::new(with_profiles(&[FIRST, FIRST], &[]).client).err().unwrap();
    assert_eq!(refusal.to_string(), format!("srtp_profiles: names {FIRST} twice"));
}

/// Identities whose chains are longer than any record, let alone a short one.
fn with_long_chains(mut setup: Setup) -> Setup {
    let key = certificates::ecdsa();
    let template = |name, ca| Template { name, ca, padding: 2000, ..Template::default() };
    let middle = issue(&template("Middle", true), &key, Some(certificates::authority()));
    let chain = |leaf: Issued| vec![[leaf.cert_pem(), middle.cert_pem()].concat()];
    setup.server.cert = chain(issue(&template("server.test", false), &key, Some(&middle)));
    setup.server.key = vec![middle.key_pem()];
    setup.client.cert = chain(issue(&template("client.test", false), &key, Some(&middle)));
    setup.client.key = vec![middle.key_pem()];
    setup
}

#[test]
fn a_client_that_wants_short_records_gets_and_sends_none_longer() {
    for most in [512, 1024, 2048, 4096] {
        for long in [false, true] {
            let mut setup = if long { with_long_chains(Setup::mutual()) } else { Setup::default() };
            setup.client.max_fragment_length = Some(FragmentLength::new(most).unwrap());
            let most = most as usize;
            let mut pair = setup.with_mtu(4096).pair();
            pair.connect();
            pair.converse();
            for side in BOTH {
                let established = pair.end(side).session().established().unwrap();
                assert_eq!(established.max_message, most);
                assert!((most - 100..=most).contains(&established.max_payload));
                let error = pair.send(side, &vec![7; most + 1]).unwrap_err();
                assert_eq!(error.name, Name::MessageTooBig);
                pair.send(side, &vec![7; most]).unwrap();
            }
            pair.run(50);
            for side in BOTH {
                assert_eq!(pair.end(side).messages().pop(), Some(&vec![7; most][..]));
                // The first hello comes before anything is agreed on. Sealed records are a little longer.
                for record in pair.end(side).sent.iter().flat_map(|sent| records(sent)) {
                    assert!(record.body.len() <= most + if record.epoch > 0 { 40 } else { 0 });
                }
            }
            pair.converse();
            pair.assert_unharmed();
        }
    }
}

#[test]
fn a_server_does_not_ask_for_short_records() {
    let mut setup = Setup::default();
    setup.server.max_fragment_length = Some(FragmentLength::new(512).unwrap());
    let mut pair = setup.pair();
    pair.connect();
    for side in BOTH {
        assert_eq!(pair.end(side).session().established().unwrap().max_message, 16_384);
    }
}

#[test]
fn only_the_four_lengths_that_can_be_asked_for_are_accepted() {
    for bytes in [0, 1, 256, 511, 513, 8192, 16_384, u32::MAX] {
        let refusal = FragmentLength::new(bytes).unwrap_err().to_string();
        let sentence = format!("max_fragment_length: must be 512, 1024, 2048 or 4096 bytes, got {bytes}");
        assert_eq!(refusal, sentence);
    }
}

#[test]
fn a_forged_record_longer_than_was_agreed_on_does_no_harm() {
    for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    {
        let mut setup = Setup::with_suite(suite);
        setup.client.max_fragment_length = Some(FragmentLength::new(512).unwrap());
        let mut pair = setup.pair();
        pair.connect();
        for side in BOTH {
            for (number, length) in (500..900).chain([1024, 4096, 16_384, 18_432]).enumerate() {
                pair.deliver(side, &record(23, 1, 1000 + number as u64, &vec![1; length]));
            }
        }
        pair.converse();
        pair.assert_unharmed();
    }
}

#[test]
fn peers_that_may_speak_any_version_are_met_at_1_2() {
    let mut session = client_of(Setup::default());
    assert_eq!(raw_server(|_| {}).talk(&mut session), [Output::Connected]);
    assert_eq!(session.established().unwrap().protocol, "DTLSv1.2");
    let mut raw = Raw::client(&raw::context(|_| {}), 1200);
    let mut session = raw.meet(&Rc::new(Context::new(Setup::default().server).unwrap()));
    assert_eq!(raw.talk(&mut session), [Output::Connected]);
    assert_eq!(session.established().unwrap().protocol, "DTLSv1.2");
}
