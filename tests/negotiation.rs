//! What the two ends agree on beside a cipher suite, and what becomes of a handshake where they do not.

mod pair;

use dtls_core::context::PeerName;
use dtls_core::{Context, Deadlines, Name, Output, Session};
use openssl::ssl::{AlpnError, SslContextBuilder};
use pair::certificates;
use pair::raw::{self, Raw};
use pair::{Pair, Setup, Side, BOTH};
use std::rc::Rc;

fn list(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A client of ours that trusts the usual server.
fn client_of(setup: Setup) -> Session {
    let context = Rc::new(Context::new(setup.client).unwrap());
    let deadlines = Deadlines { handshake_ms: 30_000, idle_ms: 0 };
    Session::client(&context, PeerName::parse(setup.name), deadlines, 0).unwrap()
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
