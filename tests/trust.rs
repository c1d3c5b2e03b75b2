//! What may be taken for proof of who a peer is, beside a chain that leads to a trusted CA.

mod pair;

use dtls_core::fingerprint::Fingerprint;
use dtls_core::{Answer, Config, Context, Name, Question};
use openssl::x509::X509;
use pair::certificates::{self, issue, Issued, Template};
use pair::dice::Trying;
use pair::{Pair, Setup, Side};

/// The pair after everything has been said.
fn meet(setup: Setup) -> Pair {
    let mut pair = setup.pair();
    pair.run(10_000);
    pair
}

/// Somebody whom no CA knows, under another name, and too late.
fn stranger() -> Issued {
    let template = Template { name: "other.test", valid: (-30, -1), ..Template::default() };
    issue(&template, &certificates::ecdsa(), None)
}

fn fingerprint(cert: &X509) -> String {
    Fingerprint::of(cert).unwrap().to_string()
}

/// A stranger serves a client that knows these fingerprints and trusts no CA.
fn pinned(server: &Issued, pins: &[String]) -> Setup {
    let mut setup = Setup::default();
    setup.server.cert = vec![server.cert_pem()];
    setup.server.key = vec![server.key_pem()];
    setup.client.ca = None;
    setup.client.fingerprints = Some(pins.to_vec());
    setup
}

/// What is wrong with a configuration.
#[track_caller]
fn refusal(config: Config) -> String {
    Context::new(config).map(drop).expect_err("it was accepted").to_string()
}

mod fingerprints {
    use super::*;

    #[test]
    fn a_server_is_accepted_by_its_fingerprint_whatever_else_is_wrong_with_it() {
        let server = stranger();
        let shown = fingerprint(&server.cert);
        let another = fingerprint(&stranger().cert);
        let rows = [
            vec![shown.clone()],
            vec![shown.to_lowercase()],
            vec![shown.replace(':', "")],
            vec![format!("sha-256 {shown}")],
            vec![format!(" SHA-256  {shown}\n")],
            vec![another, shown],
        ];
        for pins in rows {
            let _trying = Trying(format!("{pins:?}"));
            let mut pair = meet(pinned(&server, &pins));
            pair.converse();
            assert_eq!(pair.client.session().established().unwrap().verification, Some(Ok(())));
        }
    }

    #[test]
    fn a_server_with_another_is_refused_even_where_a_ca_would_have_it() {
        let mut setup = pinned(certificates::server(), &[fingerprint(&stranger().cert)]);
        setup.client.ca = Setup::default().client.ca;
        let pair = meet(setup);
        assert_eq!(pair.client.failure(), Some(Name::Fingerprint));
        assert_eq!(pair.server.failure(), Some(Name::Certificate));
        pair.assert_both_know(Side::Client);
        let (_, error) = pair.client.end().unwrap();
        let shown = fingerprint(&certificates::server().cert);
        assert!(error.unwrap().to_string().contains(&shown), "it says which it has");
    }

    #[test]
    fn a_ca_that_is_known_by_fingerprint_does_not_vouch_for_others() {
        let pair = meet(pinned(certificates::server(), &[fingerprint(&certificates::authority().cert)]));
        assert_eq!(pair.client.failure(), Some(Name::Fingerprint));
    }

    #[test]
    fn a_client_is_accepted_or_refused_likewise() {
        let mut setup = Setup::mutual();
        let client = stranger();
        setup.client.cert = vec![client.cert_pem()];
        setup.client.key = vec![client.key_pem()];
        setup.server.ca = None;
        setup.server.fingerprints = Some(vec![fingerprint(&client.cert)]);
        let mut pair = meet(setup.clone());
        pair.converse();
        assert_eq!(pair.server.session().established().unwrap().verification, Some(Ok(())));

        setup.server.fingerprints = Some(vec![fingerprint(&stranger().cert)]);
        let pair = meet(setup.clone());
        assert_eq!(pair.server.failure(), Some(Name::Fingerprint));
        pair.assert_both_know(Side::Server);

        (setup.client.cert, setup.client.key) = (vec![], vec![]);
        let pair = meet(setup);
        assert_eq!(
            (pair.server.failure(), pair.client.failure()),
            (Some(Name::NoCertificate), Some(Name::NoCertificate))
        );
        pair.assert_both_know(Side::Server);
    }

    #[test]
    fn who_does_not_reject_is_told() {
        let mut setup = pinned(certificates::server(), &[fingerprint(&stranger().cert)]);
        setup.client.reject_unauthorized = false;
        let mut pair = meet(setup);
        pair.converse();
        let verification = pair.client.session().established().unwrap().verification.clone();
        assert_eq!(verification.unwrap().unwrap_err().name, Name::Fingerprint);
    }

    #[test]
    fn a_hook_sees_the_verdict_and_has_the_last_word() {
        for (known, welcome) in [(false, true), (true, false)] {
            let server = stranger();
            let pin = if known { fingerprint(&server.cert) } else { fingerprint(&stranger().cert) };
            let mut setup = pinned(&server, &[pin]);
            setup.client.ask_peer = true;
            let mut pair = setup.pair();
            pair.client.hook = Some(Box::new(move |question| {
                let Question::Peer(presented) = question else { panic!("{question:?}") };
                let fault = presented.verdict.as_ref().err().map(|error| error.name);
                assert_eq!(fault, (!known).then_some(Name::Fingerprint));
                Answer::Peer(if welcome { Ok(()) } else { Err(None) })
            }));
            pair.run(10_000);
            assert_eq!(pair.client.failure(), (!welcome).then_some(Name::Denied));
            assert_eq!(pair.client.connected(), usize::from(welcome));
        }
    }

    #[test]
    fn what_is_none_is_refused_beforehand() {
        let good = fingerprint(&certificates::server().cert);
        let bad = [
            "".to_owned(),
            "AB:CD".to_owned(),
            good[1..].to_owned(),
            good[..good.len() - 1].to_owned(),
            format!("{good}:"),
            format!("{good}:00"),
            good.replacen(':', "", 1),
            good.replace(':', " "),
            format!("G{}", &good[1..]),
            format!("é{}", &good[2..]),
            format!("+{}", &good[1..]),
            format!("sha-1 {good}"),
            "sha-256".to_owned(),
        ];
        for text in bad {
            let _trying = Trying(text.clone());
            let sentence = refusal(Config { fingerprints: Some(vec![text]), ..Config::default() });
            assert!(sentence.contains("is no SHA-256 fingerprint"), "{sentence}");
        }
        let sentence = refusal(Config { fingerprints: Some(vec![]), ..Config::default() });
        assert!(sentence.contains("empty list"), "{sentence}");
    }
}

mod revocation_lists {
    use super::*;
    use pair::revocation::crl;

    /// A CA under the one that everybody trusts, and a server of its.
    fn branch() -> (Issued, Issued) {
        let ca = Template { name: "Branch CA", ca: true, ..Template::default() };
        let ca = issue(&ca, &certificates::ecdsa(), Some(certificates::authority()));
        let server = issue(&Template::default(), &certificates::ecdsa(), Some(&ca));
        (ca, server)
    }

    fn with_lists(lists: &[Vec<u8>]) -> Setup {
        let mut setup = Setup::default();
        setup.client.crl = Some(lists.to_vec());
        setup
    }

    #[test]
    fn a_certificate_that_was_revoked_is_refused_and_both_ends_say_so() {
        let authority = certificates::authority();
        let other = certificates::trusted("server.test", &certificates::ecdsa());
        let mut pair = meet(with_lists(&[crl(authority, &[&other.cert], (-1, 1))]));
        pair.converse();

        let list = crl(authority, &[&other.cert, &certificates::server().cert], (-1, 1));
        let pair = meet(with_lists(&[list]));
        assert_eq!(
            (pair.client.failure(), pair.server.failure()),
            (Some(Name::CertificateRevoked), Some(Name::CertificateRevoked))
        );
        pair.assert_both_know(Side::Client);
    }

    #[test]
    fn a_client_is_refused_likewise() {
        let mut setup = Setup::mutual();
        let list = crl(certificates::authority(), &[&certificates::client().cert], (-1, 1));
        setup.server.crl = Some(vec![list]);
        let pair = meet(setup);
        assert_eq!(pair.server.failure(), Some(Name::CertificateRevoked));
        pair.assert_both_know(Side::Server);
    }

    #[test]
    fn who_does_not_reject_is_told() {
        let list = crl(certificates::authority(), &[&certificates::server().cert], (-1, 1));
        let mut setup = with_lists(&[list]);
        setup.client.reject_unauthorized = false;
        let mut pair = meet(setup);
        pair.converse();
        let verification = pair.client.session().established().unwrap().verification.clone();
        assert_eq!(verification.unwrap().unwrap_err().name, Name::CertificateRevoked);
    }

    #[test]
    fn every_ca_of_a_chain_needs_a_list_that_is_valid_now() {
        let authority = certificates::authority();
        let (ca, server) = branch();
        let top = crl(authority, &[], (-1, 1));
        let good = crl(&ca, &[], (-1, 1));
        // Somebody who calls himself like the CA.
        let impostor = Issued { key: certificates::ecdsa(), ..ca.clone() };
        let rows: Vec<(Vec<Vec<u8>>, Result<(), &str>)> = vec![
            (vec![top.clone(), good.clone()], Ok(())),
            (vec![[top.clone(), good.clone()].concat()], Ok(())),
            (vec![top.clone()], Err("there is no CRL")),
            (vec![good.clone()], Err("there is no CRL")),
            (vec![top.clone(), crl(&ca, &[], (-9, -1))], Err("is out of date")),
            (vec![top.clone(), crl(&ca, &[], (1, 9))], Err("is not valid yet")),
            (vec![top.clone(), crl(&impostor, &[], (-1, 1))], Err("is no good")),
            (vec![crl(authority, &[&ca.cert], (-1, 1)), good], Err("has been revoked")),
        ];
        for (lists, expected) in rows {
            let mut setup = with_lists(&lists);
            setup.server.cert = vec![[server.cert_pem(), ca.cert_pem()].concat()];
            setup.server.key = vec![server.key_pem()];
            let mut pair = meet(setup);
            match expected {
                Ok(()) => pair.converse(),
                Err(words) => {
                    let sentence = pair.client.end().unwrap().1.unwrap().to_string();
                    assert!(sentence.contains(words), "{sentence}, not {words}");
                    assert_eq!(pair.client.failure(), pair.server.failure(), "{sentence}");
                    pair.assert_both_know(Side::Client);
                }
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_beforehand() {
        let good = crl(certificates::authority(), &[], (-1, 1));
        let broken = String::from_utf8(good.clone()).unwrap().replace("MI", "AA").into_bytes();
        for text in [b"crl.pem".to_vec(), certificates::authority().cert_pem(), broken, vec![0xff]] {
            let sentence = refusal(Config { crl: Some(vec![text]), ..Config::default() });
            assert!(sentence.starts_with("crl: is not a CRL in PEM"), "{sentence}");
        }
        let sentence = refusal(Config { crl: Some(vec![]), ..Config::default() });
        assert!(sentence.starts_with("crl: is an empty list"), "{sentence}");
        let pins = Some(vec![fingerprint(&certificates::server().cert)]);
        let sentence = refusal(Config { crl: Some(vec![good]), fingerprints: pins, ..Config::default() });
        assert!(sentence.starts_with("crl: says nothing beside fingerprints"), "{sentence}");
    }
}
