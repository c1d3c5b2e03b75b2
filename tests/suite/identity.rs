//! Who is believed, who is refused, and in which words; and which options are refused beforehand.

use crate::pair::certificates::{self, authority, issue, trusted, Issued, Template};
use crate::pair::dice::Trying;
use crate::pair::{Pair, Setup, Side, BOTH};
use dtls_core::config::Version;
use dtls_core::context::PeerName;
use dtls_core::{Config, Context, Name, Output, Session};
use openssl::symm::Cipher;
use std::rc::Rc;

/// The pair after everything has been said.
fn meet(setup: Setup) -> Pair {
    let mut pair = setup.pair();
    pair.run(10_000);
    pair
}

fn served_by(identity: &Issued) -> Setup {
    let mut setup = Setup::default();
    setup.server.cert = vec![identity.cert_pem()];
    setup.server.key = vec![identity.key_pem()];
    setup
}

fn with_client(identity: &Issued) -> Setup {
    let mut setup = Setup::mutual();
    setup.client.cert = vec![identity.cert_pem()];
    setup.client.key = vec![identity.key_pem()];
    setup
}

fn named(name: &'static str) -> Issued {
    trusted(name, &certificates::ecdsa())
}

fn dated(valid: (i64, i64)) -> Issued {
    issue(&Template { valid, ..Template::default() }, &certificates::ecdsa(), Some(authority()))
}

fn self_signed() -> Issued {
    issue(&Template::default(), &certificates::ecdsa(), None)
}

fn wrong_in_every_way() -> Issued {
    issue(
        &Template { name: "other.test", valid: (-30, -1), ..Template::default() },
        &certificates::ecdsa(),
        None,
    )
}

/// Servers that no client should talk to.
fn impostors() -> Vec<(Issued, &'static str, Name)> {
    vec![
        (self_signed(), "server.test", Name::UnknownCa),
        (named("other.test"), "server.test", Name::CertificateName),
        (named("server.test"), "192.0.2.7", Name::CertificateName),
        (named("192.0.2.8"), "192.0.2.7", Name::CertificateName),
        (named("192.0.2.7"), "server.test", Name::CertificateName),
        (named("*.example.test"), "a.b.example.test", Name::CertificateName),
        (named("*.example.test"), "example.test", Name::CertificateName),
        // Nobody owns a whole top-level domain.
        (named("*.test"), "any.test", Name::CertificateName),
        (dated((-30, -1)), "server.test", Name::CertificateTime),
        (dated((1, 30)), "server.test", Name::CertificateTime),
        // Of several faults the first is told, whether it ends the handshake or not.
        (wrong_in_every_way(), "server.test", Name::UnknownCa),
    ]
}

#[test]
fn a_client_refuses_an_impostor_and_never_connects() {
    for (identity, name, failure) in impostors() {
        let _trying = Trying(format!("{name}: {failure:?}"));
        let pair = meet(Setup { name, ..served_by(&identity) });
        assert_eq!((pair.client.failure(), pair.client.connected()), (Some(failure), 0));
        pair.assert_both_know(Side::Client);
    }
}

#[test]
fn a_client_that_does_not_reject_connects_and_knows_what_was_wrong() {
    for (identity, name, failure) in impostors() {
        let _trying = Trying(format!("{name}: {failure:?}"));
        let mut setup = Setup { name, ..served_by(&identity) };
        setup.client.reject_unauthorized = false;
        let mut pair = meet(setup);
        pair.converse();
        let verdict = pair.client.session().established().unwrap().verification.clone();
        assert_eq!(verdict.unwrap().unwrap_err().name, failure);
    }
}

#[test]
fn a_client_accepts_the_server_it_asked_for() {
    let rows = [
        ("server.test", "server.test"),
        ("server.test", "SERVER.test"),
        ("server.test", "server.test."),
        ("*.example.test", "any.example.test"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8:0:0::7"),
        ("fe80::1", "fe80::1%eth0"),
    ];
    for (certified, asked) in rows {
        let _trying = Trying(format!("{certified} for {asked}"));
        let mut pair = meet(Setup { name: asked, ..served_by(&named(certified)) });
        pair.converse();
        let established = pair.client.session().established().unwrap();
        assert_eq!(established.verification, Some(Ok(())));
        assert_eq!(established.protocol, "DTLSv1.2");
        assert!(!established.chain.is_empty());
    }
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused_before_anything_is_sent() {
    let context = Rc::new(Context::new(Setup::default().client).unwrap());
    let deadlines = Setup::default().deadlines;
    let long = "long.".repeat(60);
    for (name, why) in [
        ("", "OpenSSL checks no name where it is empty"),
        (".", "likewise, once its dot is gone"),
        (".server.test", "OpenSSL takes any name below it"),
        ("server.test\0.other.test", "C reads no further than the NUL"),
        (&long, "longer than a name in DNS"),
    ] {
        let _trying = Trying(why);
        let made = Session::client(&context, PeerName::parse(name), &deadlines.into(), 0);
        assert_eq!(made.err().map(|error| error.name), Some(Name::Handshake));
        assert!(openssl::error::ErrorStack::get().errors().is_empty());
    }
}

#[test]
fn a_server_that_asks_for_no_certificate_has_no_verdict() {
    let mut pair = meet(Setup::default());
    let established = pair.server.session().established().unwrap();
    assert_eq!(established.verification, None);
    assert!(established.chain.is_empty());
}

#[test]
fn a_server_accepts_a_client_certificate_of_any_kind_and_refuses_a_strangers() {
    let keys = [certificates::ecdsa(), certificates::rsa(), certificates::ed25519()];
    for key in &keys {
        let _trying = Trying(format!("{:?}", key.id()));
        let mut pair = meet(with_client(&trusted("client.test", key)));
        pair.converse();
        let established = pair.server.session().established().unwrap();
        assert_eq!(established.verification, Some(Ok(())));
        assert!(!established.chain.is_empty());
    }
    let rows = [(self_signed(), Name::UnknownCa), (dated((-9, -1)), Name::CertificateTime)];
    for (identity, failure) in rows {
        let pair = meet(with_client(&identity));
        assert_eq!((pair.server.failure(), pair.server.connected()), (Some(failure), 0));
        // DTLS 1.2: the server decides before its Finished, so the client has not connected either.
        pair.assert_both_know(Side::Server);
    }
}

#[test]
fn a_server_that_does_not_reject_tells_strangers_and_the_absent_from_the_trusted() {
    let mut absent = Setup::mutual();
    absent.client.cert.clear();
    absent.client.key.clear();
    let rows = [
        (with_client(certificates::client()), None),
        (with_client(&self_signed()), Some(Name::UnknownCa)),
        (absent, Some(Name::NoCertificate)),
    ];
    for (mut setup, expected) in rows {
        let _trying = Trying(format!("{expected:?}"));
        setup.server.reject_unauthorized = false;
        let mut pair = meet(setup);
        pair.converse();
        let verdict = pair.server.session().established().unwrap().verification.clone().unwrap();
        assert_eq!(verdict.err().map(|error| error.name), expected);
    }
}

#[test]
fn a_chain_is_sent_whole_and_a_missing_link_is_an_unknown_ca() {
    let key = certificates::ecdsa();
    let intermediate =
        issue(&Template { name: "CA 2", ca: true, ..Template::default() }, &key, Some(authority()));
    let leaf = issue(&Template::default(), &certificates::ecdsa(), Some(&intermediate));
    let mut setup = served_by(&leaf);
    let missing = setup.clone();
    setup.server.cert = vec![[leaf.cert_pem(), intermediate.cert_pem()].concat()];
    meet(setup).converse();
    assert_eq!(meet(missing).client.failure(), Some(Name::UnknownCa));
}

#[test]
fn of_two_certificates_the_one_is_served_that_the_client_can_use() {
    let rows =
        [("ECDHE-ECDSA-AES128-GCM-SHA256", 408), ("ECDHE-RSA-AES128-GCM-SHA256", 6), ("ECDHE+AESGCM", 408)];
    for (ciphers, key_type) in rows {
        let _trying = Trying(ciphers);
        let (ecdsa, rsa) = (certificates::server(), certificates::rsa_server());
        let mut setup = Setup::default();
        setup.server.cert = vec![ecdsa.cert_pem(), rsa.cert_pem()];
        setup.server.key = vec![ecdsa.key_pem(), rsa.key_pem()];
        setup.client.ciphers = Some(ciphers.into());
        let mut pair = meet(setup);
        pair.converse();
        let established = pair.client.session().established().unwrap();
        let key = established.chain[0].public_key().unwrap();
        assert_eq!(key.id().as_raw(), key_type);
    }
}

#[test]
fn ends_without_a_common_suite_both_learn_it() {
    let mut setup = Setup::default();
    setup.client.ciphers = Some("ECDHE-RSA-AES128-GCM-SHA256".into());
    let pair = meet(setup);
    assert_eq!(pair.server.failure(), Some(Name::NoCipher));
    assert_eq!(pair.client.failure(), Some(Name::NoCipher));
    pair.assert_both_know(Side::Server);
}

#[test]
fn the_default_suites_are_forward_secret_and_authenticated() {
    let mut pair = meet(Setup::default());
    for side in BOTH {
        let cipher = pair.end(side).session().established().unwrap().cipher;
        assert_eq!(cipher.name, "ECDHE-ECDSA-AES128-GCM-SHA256");
        assert_eq!(cipher.standard_name, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
    }
}

#[test]
fn a_handler_can_look_at_both_ends_when_they_connect() {
    let mut pair = Setup::mutual().pair();
    assert!(pair.run_until(|pair| pair.client.said.contains(&Output::Connected)));
    for side in BOTH {
        assert!(pair.end(side).session().established().is_some());
    }
}

fn refusal(config: Config) -> String {
    match Context::new(config).and_then(|context| context.check_server()) {
        Ok(()) => panic!("it was accepted"),
        Err(refusal) => refusal.to_string(),
    }
}

/// A server's options with one of them changed.
fn changed(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Setup::default().server;
    change(&mut config);
    config
}

fn encrypted(passphrase: &[u8]) -> Vec<u8> {
    let key = &certificates::server().key;
    key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase).unwrap()
}

#[test]
fn options_that_cannot_be_are_refused_in_a_sentence_that_names_them() {
    let text = |text: &str| vec![text.as_bytes().to_vec()];
    let ed25519 = trusted("server.test", &certificates::ed25519());
    let certifier = issue(&Template { signs: false, ..Template::default() }, &certificates::ecdsa(), None);
    let rsa = certificates::rsa_server();
    let rows: Vec<(Config, &str)> = vec![
        (changed(|c| c.key.clear()), "key: is missing"),
        (changed(|c| (c.cert.clear(), c.key.clear()).0), "cert: is missing"),
        (changed(|c| c.cert.push(rsa.cert_pem())), "key: must pair with cert: 1 keys for 2 certificates"),
        (changed(|c| c.cert = text("garbage")), "cert: is not a certificate in PEM"),
        (changed(|c| c.cert = text("")), "cert: is not a certificate in PEM"),
        (changed(|c| c.cert = vec![vec![0; 9]]), "cert: is not a certificate in PEM"),
        (changed(|c| c.cert = vec![c.key[0].clone()]), "cert: is not a certificate in PEM"),
        (
            changed(|c| c.cert = text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
            "cert: is not a certificate in PEM",
        ),
        (changed(|c| c.key = text("server.pem")), "key: is not a private key in PEM"),
        (changed(|c| c.key = vec![c.cert[0].clone()]), "key: is not a private key in PEM"),
        (changed(|c| c.key = vec![rsa.key_pem()]), "key: does not belong to the certificate"),
        (changed(|c| c.key = vec![named("x").key_pem()]), "key: does not belong to the certificate"),
        (changed(|c| c.key = vec![encrypted(b"secret")]), "passphrase: is missing"),
        (
            changed(|c| {
                c.key = vec![encrypted(b"secret")];
                c.passphrase = Some(b"guess".to_vec());
            }),
            "passphrase: does not open the private key",
        ),
        (
            changed(|c| {
                c.key = vec![encrypted(b"secret")];
                c.passphrase = Some(Vec::new());
            }),
            "passphrase: does not open the private key",
        ),
        (
            changed(|c| {
                c.cert = vec![ed25519.cert_pem()];
                c.key = vec![ed25519.key_pem()];
            }),
            "key: is an Ed25519 key, which OpenSSL before 4.1 cannot use on a DTLS 1.2 server",
        ),
        (
            changed(|c| {
                c.cert = vec![certifier.cert_pem()];
                c.key = vec![certifier.key_pem()];
            }),
            "cert: is for a key that may not sign",
        ),
        (changed(|c| c.ca = Some(Vec::new())), "ca: is an empty list"),
        (changed(|c| c.ca = Some(text("/etc/ssl/cert.pem"))), "ca: is not a certificate in PEM"),
        (changed(|c| c.ciphers = Some("nonsense".into())), "ciphers: is no list that OpenSSL understands"),
        (changed(|c| c.ciphers = Some("PSK-AES128-CCM8".into())), "ciphers: leaves no cipher suite"),
        (changed(|c| c.ciphers = Some("ECDHE-ECDSA-AES128-CCM8".into())), "ciphers: leaves no cipher suite"),
        (changed(|c| c.ciphers = Some("eNULL:@SECLEVEL=0".into())), "ciphers: "),
        (changed(|c| c.ciphers = Some("AECDH:ADH:@SECLEVEL=0".into())), "ciphers: "),
        (
            changed(|c| c.ciphers = Some("ECDHE-RSA-AES128-GCM-SHA256".into())),
            "ciphers: leaves no cipher suite that this ECDSA certificate can serve",
        ),
        (
            changed(|c| {
                c.cert = vec![rsa.cert_pem()];
                c.key = vec![rsa.key_pem()];
                c.ciphers = Some("ECDHE-ECDSA-AES128-GCM-SHA256".into());
            }),
            "ciphers: leaves no cipher suite that this RSA certificate can serve",
        ),
        (changed(|c| c.groups = Some("P-999".into())), "groups: is no list that OpenSSL understands"),
        (changed(|c| c.sigalgs = Some("MD2+DSA".into())), "sigalgs: is no list that OpenSSL understands"),
    ];
    for (config, expected) in rows {
        let refusal = refusal(config);
        assert!(refusal.starts_with(expected), "{refusal} instead of {expected}");
        assert!(openssl::error::ErrorStack::get().errors().is_empty(), "an error is left behind: {expected}");
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase() {
    let config = changed(|c| {
        c.key = vec![encrypted(b"secret")];
        c.passphrase = Some(b"secret".to_vec());
    });
    meet(Setup { server: config, ..Setup::default() }).converse();
}

#[test]
fn an_ed25519_key_is_refused_to_servers_alone() {
    let identity = trusted("client.test", &certificates::ed25519());
    let setup = with_client(&identity);
    Context::new(setup.client).unwrap().check_client().unwrap();
}

#[test]
fn versions_that_are_not_spoken_are_refused_with_the_reason() {
    assert_eq!(Version::parse("min_version", "DTLSv1.2"), Ok(Version::Dtls12));
    for (name, reason) in [
        ("DTLSv1", "RFC 8996"),
        ("DTLSv1.0", "RFC 8996"),
        ("DTLSv1.3", "does not have it"),
        ("TLSv1.2", "must be 'DTLSv1.2', got 'TLSv1.2'"),
        ("", "must be 'DTLSv1.2', got ''"),
    ] {
        let refusal = Version::parse("min_version", name).unwrap_err();
        assert_eq!(refusal.option, "min_version");
        assert!(refusal.sentence.contains(reason), "{refusal}");
    }
}

#[test]
fn without_a_ca_the_system_is_trusted_or_its_lack_is_told() {
    let config = Config { ca: None, ..Config::default() };
    match Context::new(config).unwrap().check_client() {
        Ok(()) => {}
        Err(refusal) => assert!(refusal.to_string().starts_with("ca: is missing, and this system has no")),
    }
    // Whatever the system trusts, it is not the CA of these tests.
    let mut setup = Setup::default();
    setup.client.ca = None;
    assert_eq!(meet(setup).client.failure(), Some(Name::UnknownCa));
}

#[test]
fn a_certificate_made_on_the_spot_serves_whoever_trusts_it() {
    let names = ["made.test".to_owned(), "192.0.2.9".to_owned()];
    let made = dtls_core::certificate::generate(&names, 7).unwrap();
    for name in ["made.test", "192.0.2.9"] {
        let mut setup = Setup { name, ..Setup::default() };
        setup.server.cert = vec![made.cert.clone()];
        setup.server.key = vec![made.key.clone()];
        setup.client.ca = Some(vec![made.cert.clone()]);
        let mut pair = meet(setup);
        pair.converse();
        let shown = pair.client.session().established().unwrap().chain[0].clone();
        let fingerprint = dtls_core::fingerprint::Fingerprint::of(&shown).unwrap().to_string();
        assert_eq!(fingerprint, made.fingerprint256);
    }
}
