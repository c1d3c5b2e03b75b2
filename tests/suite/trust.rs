//! What may be taken for proof of who a peer is, beside a chain that leads to a trusted CA.

use crate::pair::certificates::{self, issue, Issued, Template};
use crate::pair::dice::Trying;
use crate::pair::{forge, Delivery, Pair, Sent, Setup, Side, Weather};
use dtls_core::fingerprint::Fingerprint;
use dtls_core::ocsp::Staple;
use dtls_core::record::HANDSHAKE;
use dtls_core::{Answer, Config, Context, Name, Question};
use openssl::x509::X509;
use std::rc::Rc;

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

/// Puts other records in the place of a message of the server's.
fn instead_of(kind: u8, make: impl Fn(u16) -> Vec<Vec<u8>> + 'static) -> Weather {
    Box::new(move |sent: &Sent| {
        let mut out = Vec::new();
        for record in forge::records(sent.bytes) {
            let that = record.kind == HANDSHAKE && record.epoch == 0 && record.body[0] == kind;
            if that && sent.to == Side::Client {
                out.extend(make(u16::from_be_bytes([record.body[4], record.body[5]])));
            } else {
                out.push(record.whole.to_vec());
            }
        }
        let deliver = |bytes| Delivery { to: sent.to, after: 1, bytes };
        out.into_iter().map(deliver).collect()
    })
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
    use crate::pair::revocation::crl;

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
        let rows = [
            (vec![top.clone(), good.clone()], None),
            (vec![[top.clone(), good.clone()].concat()], None),
            (vec![top.clone()], Some("there is no CRL")),
            (vec![good.clone()], Some("there is no CRL")),
            (vec![top.clone(), crl(&ca, &[], (-9, -1))], Some("is out of date")),
            (vec![top.clone(), crl(&ca, &[], (1, 9))], Some("is not valid yet")),
            (vec![top.clone(), crl(&impostor, &[], (-1, 1))], Some("is no good")),
            (vec![crl(authority, &[&ca.cert], (-1, 1)), good], Some("has been revoked")),
        ];
        for (lists, expected) in rows {
            let mut setup = with_lists(&lists);
            setup.server.cert = vec![[server.cert_pem(), ca.cert_pem()].concat()];
            setup.server.key = vec![server.key_pem()];
            let mut pair = meet(setup);
            match expected {
                None => pair.converse(),
                Some(words) => {
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

mod stapling {
    use super::*;
    use crate::pair::revocation::{no_answer, Answer as Response, Status};

    /// CertificateStatus, RFC 6066 section 8.
    const CERTIFICATE_STATUS: u8 = 22;

    fn good() -> Vec<u8> {
        about_the_server(&Response::default(), certificates::authority())
    }

    /// What this signer says of the usual server.
    fn about_the_server(response: &Response, signer: &Issued) -> Vec<u8> {
        response.about(&certificates::server().cert, certificates::authority(), signer)
    }

    /// A server with this response for a client that wants one.
    fn stapled(response: Option<Vec<u8>>) -> Setup {
        let mut setup = Setup::default();
        setup.server.ocsp_response = response.map(|der| Staple::Given(vec![der]));
        setup.client.request_ocsp = true;
        setup
    }

    fn required(response: Option<Vec<u8>>) -> Setup {
        let mut setup = stapled(response);
        setup.client.require_ocsp = true;
        setup
    }

    fn responder(template: &Template, issuer: Option<&Issued>) -> Issued {
        issue(&Template { name: "Responder", ..template.clone() }, &certificates::ecdsa(), issuer)
    }

    /// One that a server staples and a client does not believe.
    fn doubtful() -> Vec<u8> {
        about_the_server(
            &Response { status: Status::Unknown, ..Response::default() },
            certificates::authority(),
        )
    }

    /// What the CA says of another server.
    fn of_somebody_else() -> Vec<u8> {
        let other = certificates::trusted("server.test", &certificates::ecdsa());
        Response::default().about(&other.cert, certificates::authority(), certificates::authority())
    }

    /// Refused with this name at both ends.
    #[track_caller]
    fn refused(setup: Setup, name: Name) {
        let pair = meet(setup);
        assert_eq!((pair.client.failure(), pair.server.failure()), (Some(name), Some(name)));
        pair.assert_both_know(Side::Client);
    }

    #[test]
    fn a_good_response_is_verified_and_shown() {
        let delegate =
            responder(&Template { responder: true, ..Template::default() }, Some(certificates::authority()));
        let delegated = Response { certificates: vec![delegate.cert.clone()], ..Response::default() };
        let unlimited = Response { valid: (0, None), ..Response::default() };
        let sha256 = Response { sha256: true, ..Response::default() };
        let rows = [
            good(),
            about_the_server(&sha256, certificates::authority()),
            about_the_server(&delegated, &delegate),
            about_the_server(&unlimited, certificates::authority()),
        ];
        for response in rows {
            let mut pair = meet(required(Some(response.clone())));
            pair.converse();
            let established = pair.client.session().established().unwrap();
            assert_eq!(established.verification, Some(Ok(())));
            assert_eq!(established.ocsp_response.as_ref(), Some(&response));
            assert_eq!(pair.server.session().established().unwrap().ocsp_response, None);
        }
    }

    #[test]
    fn a_certificate_that_was_revoked_is_refused_and_both_ends_say_so() {
        let revoked = Response { status: Status::Revoked, ..Response::default() };
        let response = about_the_server(&revoked, certificates::authority());
        refused(stapled(Some(response.clone())), Name::CertificateRevoked);
        // Nobody sends what nobody asks for.
        let mut setup = stapled(Some(response));
        setup.client.request_ocsp = false;
        meet(setup).converse();
    }

    #[test]
    fn a_session_whose_response_spoke_against_the_server_is_not_kept() {
        let revoked = Response { status: Status::Revoked, ..Response::default() };
        let revoked = about_the_server(&revoked, certificates::authority());
        // A resumed session brings no response: it would pass for one whose server is in order.
        for setup in [stapled(Some(revoked)), stapled(Some(doubtful())), required(None)] {
            let mut anybody = setup.clone();
            anybody.client.reject_unauthorized = false;
            let mut welcomed = setup;
            welcomed.client.ask_peer = true;
            for setup in [anybody, welcomed] {
                let mut pair = setup.pair();
                pair.client.hook = Some(Box::new(|_| Answer::Peer(Ok(()))));
                pair.connect();
                assert!(pair.client.session().established().unwrap().kept.is_none());
            }
        }
        let mut pair = meet(required(Some(good())));
        pair.converse();
        assert!(pair.client.session().established().unwrap().kept.is_some());
    }

    #[test]
    fn a_response_that_cannot_be_believed_is_refused() {
        let authority = certificates::authority();
        let says = |status, valid| Response { status, valid, ..Response::default() };
        let with =
            |signer: &Issued| Response { certificates: vec![signer.cert.clone()], ..Response::default() };
        let stranger = responder(&Template { responder: true, ..Template::default() }, None);
        let impostor = Issued { key: certificates::ecdsa(), ..authority.clone() };
        // Issued by the CA, as every server is, but not to sign responses.
        let sibling = responder(&Template::default(), Some(authority));
        let rows = [
            ("expired", about_the_server(&says(Status::Good, (-9, Some(-1))), authority)),
            ("not valid yet", about_the_server(&says(Status::Good, (1, Some(9))), authority)),
            ("old, and valid for ever", about_the_server(&says(Status::Good, (-2, None)), authority)),
            ("revoked, and expired", about_the_server(&says(Status::Revoked, (-9, Some(-1))), authority)),
            ("unknown", about_the_server(&says(Status::Unknown, (-1, Some(1))), authority)),
            ("of a stranger", about_the_server(&with(&stranger), &stranger)),
            ("of a stranger who hides", about_the_server(&Response::default(), &stranger)),
            ("of an impostor", about_the_server(&Response::default(), &impostor)),
            ("of a server", about_the_server(&with(&sibling), &sibling)),
            // The same name and serial number under another key, which our server does not notice.
            (
                "about another certificate",
                Response::default().about(&certificates::server().cert, &impostor, authority),
            ),
        ];
        for (what, response) in rows {
            let _trying = Trying(what.to_owned());
            refused(stapled(Some(response)), Name::OcspResponse);
        }
    }

    #[test]
    fn a_response_that_is_missing_counts_only_where_one_is_required() {
        let mut pair = meet(stapled(None));
        pair.converse();
        assert_eq!(pair.client.session().established().unwrap().ocsp_response, None);
        refused(required(None), Name::OcspResponse);
    }

    #[test]
    fn who_does_not_reject_is_told() {
        let revoked = Response { status: Status::Revoked, ..Response::default() };
        for (response, name) in [
            (Some(about_the_server(&revoked, certificates::authority())), Name::CertificateRevoked),
            (Some(doubtful()), Name::OcspResponse),
            (None, Name::OcspResponse),
        ] {
            let mut setup = required(response);
            setup.client.reject_unauthorized = false;
            let mut pair = meet(setup);
            pair.converse();
            let verification = pair.client.session().established().unwrap().verification.clone();
            assert_eq!(verification.unwrap().unwrap_err().name, name);
        }
    }

    #[test]
    fn a_chain_that_does_not_verify_is_not_saved_by_a_good_response() {
        let mut setup = required(Some(good()));
        setup.name = "other.test";
        let pair = meet(setup);
        assert_eq!(pair.client.failure(), Some(Name::CertificateName));
    }

    #[test]
    fn a_verify_hook_sees_the_response_and_the_verdict() {
        let mut setup = stapled(Some(doubtful()));
        setup.client.ask_peer = true;
        let shown = match &setup.server.ocsp_response {
            Some(Staple::Given(responses)) => responses.first().cloned(),
            _ => None,
        };
        let mut pair = setup.pair();
        pair.client.hook = Some(Box::new(move |question| {
            let Question::Peer(presented) = question else { panic!("{question:?}") };
            assert_eq!(presented.ocsp_response, shown);
            assert_eq!(presented.verdict.as_ref().unwrap_err().name, Name::OcspResponse);
            Answer::Peer(Ok(()))
        }));
        pair.connect();
    }

    #[test]
    fn a_hook_is_asked_when_a_client_wants_a_response_and_at_no_other_time() {
        let mut setup = required(None);
        setup.server.ocsp_response = Some(Staple::Ask);
        let mut pair = setup.clone().pair();
        let asked = |pair: &Pair| !pair.server.questions().is_empty();
        assert!(pair.run_until(asked));
        let (number, question) = pair.server.questions().pop().unwrap();
        let Question::OcspResponse(request) = question else { panic!("{question:?}") };
        assert_eq!(request.server_name.as_deref(), Some("server.test"));
        assert_eq!(request.chains, [[certificates::server().cert.clone()]]);
        pair.run(5_000);
        assert!(pair.answer(Side::Server, number, Answer::OcspResponse(vec![good()])));
        pair.connect();
        pair.converse();

        (setup.client.request_ocsp, setup.client.require_ocsp) = (false, false);
        let mut pair = meet(setup);
        pair.converse();
        assert!(pair.server.questions().is_empty());
    }

    #[test]
    fn a_hook_may_have_none_and_its_nonsense_costs_one_handshake() {
        let asking = |answer: Vec<Vec<u8>>| {
            let mut setup = stapled(None);
            setup.server.ocsp_response = Some(Staple::Ask);
            let mut pair = setup.pair();
            pair.server.hook = Some(Box::new(move |_| Answer::OcspResponse(answer.clone())));
            pair.run(5_000);
            pair
        };
        asking(vec![]).converse();
        let trailing = [good(), vec![0]].concat();
        for nonsense in [vec![], b"nonsense".to_vec(), trailing, long(9_000), no_answer(), of_somebody_else()]
        {
            let pair = asking(vec![good(), nonsense]);
            assert_eq!(pair.server.failure(), Some(Name::Hook));
            pair.assert_both_know(Side::Server);
        }
    }

    #[test]
    fn the_response_is_that_of_the_host_that_the_client_wants() {
        let mut setup = Setup { ask_server_name: true, ..required(Some(good())) };
        let config = setup.server.clone();
        setup.server.ocsp_response = Some(Staple::Given(vec![doubtful()]));
        let mut pair = setup.pair();
        pair.server.hook =
            Some(Box::new(move |_| Answer::Context(Some(Rc::new(Context::new(config.clone()).unwrap())))));
        pair.connect();
    }

    /// A good response with so many bytes of certificates that nobody needs.
    fn long(bytes: usize) -> Vec<u8> {
        let template = Template { padding: bytes, ..Template::default() };
        let ballast = issue(&template, &certificates::ecdsa(), None);
        let response = Response { certificates: vec![ballast.cert], ..Response::default() };
        about_the_server(&response, certificates::authority())
    }

    #[test]
    fn a_long_response_goes_out_in_many_datagrams() {
        let response = long(6_000);
        let mut pair = meet(required(Some(response.clone())).with_mtu(512));
        pair.converse();
        assert_eq!(pair.client.session().established().unwrap().ocsp_response, Some(response));
    }

    #[test]
    fn what_is_no_response_ends_the_handshake() {
        let body = |der: &[u8]| {
            let mut body = vec![1];
            body.extend_from_slice(&(der.len() as u32).to_be_bytes()[1..]);
            body.extend_from_slice(der);
            body
        };
        let huge = long(10_000);
        let rows = [
            ("garbage", body(b"garbage"), Name::OcspResponse),
            ("a certificate", body(&certificates::server().cert.to_der().unwrap()), Name::OcspResponse),
            ("another response", body(&no_answer()), Name::OcspResponse),
            ("of length nothing", body(b""), Name::Handshake),
            ("nothing", vec![], Name::Handshake),
            ("a huge one", body(&huge), Name::Handshake),
        ];
        for (what, body, name) in rows {
            let _trying = Trying(what.to_owned());
            let make = move |sequence: u16| {
                let part = |(index, bytes): (usize, &[u8])| {
                    let fragment =
                        forge::fragment(CERTIFICATE_STATUS, sequence, body.len(), index * 1000, bytes);
                    forge::record(HANDSHAKE, 0, 100 + index as u64, &fragment)
                };
                match body.len() {
                    0 => vec![part((0, &[]))],
                    _ => body.chunks(1000).enumerate().map(part).collect(),
                }
            };
            let mut pair = stapled(Some(good())).pair_in(instead_of(CERTIFICATE_STATUS, make));
            pair.run(10_000);
            assert_eq!(pair.client.failure(), Some(name), "{}", pair.story());
            pair.assert_both_know(Side::Client);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_beforehand() {
        let serving = |der: &[u8]| Config {
            ocsp_response: Some(Staple::Given(vec![der.to_vec()])),
            ..Setup::default().server
        };
        for der in [&b"x"[..], &good()[1..], &[good(), vec![0]].concat()] {
            let sentence = refusal(serving(der));
            assert_eq!(sentence, "ocsp_response: is not an OCSP response in DER");
        }
        let sentence = refusal(serving(&long(9_000)));
        assert!(sentence.starts_with("ocsp_response: is longer than 16380 bytes"), "{sentence}");
        assert_eq!(refusal(serving(&no_answer())), "ocsp_response: is an OCSP response without an answer");
        let sentence = refusal(serving(&of_somebody_else()));
        assert_eq!(sentence, "ocsp_response: is about none of the certificates in cert");
        let nothing = Config { ocsp_response: Some(Staple::Given(vec![])), ..Setup::default().server };
        assert_eq!(refusal(nothing), "ocsp_response: is an empty list");
        let sentence = refusal(Config { ocsp_response: Some(Staple::Ask), ..Config::default() });
        assert!(sentence.starts_with("ocsp_response: needs a certificate"), "{sentence}");
        let pins = Some(vec![fingerprint(&certificates::server().cert)]);
        let sentence = refusal(Config { require_ocsp: true, fingerprints: pins, ..Config::default() });
        assert!(sentence.starts_with("require_ocsp: says nothing beside fingerprints"), "{sentence}");
    }

    #[test]
    fn of_several_responses_the_one_about_the_presented_certificate_is_stapled() {
        let rsa = certificates::rsa_server();
        let about_rsa =
            Response::default().about(&rsa.cert, certificates::authority(), certificates::authority());
        let responses = [about_rsa, good()];
        for (suite, expected) in
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"].iter().zip(&responses)
        {
            let mut setup = required(None);
            setup.server.cert.push(rsa.cert_pem());
            setup.server.key.push(rsa.key_pem());
            setup.server.ocsp_response = Some(Staple::Given(responses.to_vec()));
            setup.client.ciphers = Some((*suite).to_owned());
            let mut pair = meet(setup);
            pair.converse();
            assert_eq!(pair.client.session().established().unwrap().ocsp_response.as_ref(), Some(expected));
        }
    }

    #[test]
    fn a_certificate_without_a_response_is_presented_without_one() {
        let rsa = certificates::rsa_server();
        let mut setup = stapled(Some(good()));
        setup.server.cert.push(rsa.cert_pem());
        setup.server.key.push(rsa.key_pem());
        setup.client.ciphers = Some("ECDHE-RSA-AES128-GCM-SHA256".to_owned());
        meet(setup).converse();
    }
}

mod raw_public_keys {
    use super::*;
    use crate::pair::certificates::{ecdsa, Key};

    const CERTIFICATE: u8 = 11;

    fn public(key: &Key) -> Vec<u8> {
        key.public_key_to_pem().unwrap()
    }

    fn private(key: &Key) -> Vec<u8> {
        key.private_key_to_pem_pkcs8().unwrap()
    }

    /// A server that has nothing but this key, for a client that knows these and no CA.
    fn served_by(key: &Key, known: &[Vec<u8>]) -> Setup {
        let mut setup = Setup::default();
        (setup.server.cert, setup.server.key) = (vec![], vec![private(key)]);
        (setup.client.ca, setup.client.raw_public_keys) = (None, Some(known.to_vec()));
        setup
    }

    /// A client that has nothing but this key, for a server that knows these and no CA.
    fn with_client(key: &Key, known: &[Vec<u8>]) -> Setup {
        let mut setup = Setup::default();
        setup.client.key = vec![private(key)];
        setup.server.request_cert = true;
        (setup.server.ca, setup.server.raw_public_keys) = (None, Some(known.to_vec()));
        setup
    }

    #[track_caller]
    fn refused(setup: Setup, refuser: Side, names: (Name, Name)) -> Pair {
        let pair = meet(setup);
        assert_eq!((pair.client.failure(), pair.server.failure()), (Some(names.0), Some(names.1)));
        pair.assert_both_know(refuser);
        pair
    }

    #[test]
    fn a_server_is_known_by_its_key_alone() {
        for key in [ecdsa(), certificates::rsa()] {
            let mut pair = meet(served_by(&key, &[public(&ecdsa()), public(&key)]));
            pair.converse();
            let established = pair.client.session().established().unwrap();
            assert_eq!(established.verification, Some(Ok(())));
            assert_eq!(established.public_key, Some(public(&key)));
            assert!(established.chain.is_empty());
        }
        refused(served_by(&ecdsa(), &[public(&ecdsa())]), Side::Client, (Name::PublicKey, Name::Certificate));
    }

    #[test]
    fn a_client_is_known_by_its_key_alone() {
        for key in [ecdsa(), certificates::rsa(), certificates::ed25519()] {
            let mut pair = meet(with_client(&key, &[public(&key)]));
            pair.converse();
            let established = pair.server.session().established().unwrap();
            assert_eq!(established.verification, Some(Ok(())));
            assert_eq!(established.public_key, Some(public(&key)));
        }
        refused(
            with_client(&ecdsa(), &[public(&ecdsa())]),
            Side::Server,
            (Name::Certificate, Name::PublicKey),
        );
    }

    #[test]
    fn two_peers_need_no_certificate_between_them() {
        let (server, client) = (ecdsa(), ecdsa());
        let mut setup = with_client(&client, &[public(&client)]);
        (setup.server.cert, setup.server.key) = (vec![], vec![private(&server)]);
        (setup.client.ca, setup.client.raw_public_keys) = (None, Some(vec![public(&server)]));
        let mut pair = meet(setup.with_mtu(256));
        pair.converse();
    }

    #[test]
    fn who_has_none_is_refused() {
        let mut setup = with_client(&ecdsa(), &[public(&ecdsa())]);
        setup.client.key = vec![];
        refused(setup, Side::Server, (Name::NoCertificate, Name::NoCertificate));
    }

    #[test]
    fn a_port_serves_clients_of_both_kinds() {
        let server = certificates::server();
        let mut raw = Setup::default();
        (raw.client.ca, raw.client.raw_public_keys) = (None, Some(vec![public(&server.key)]));
        let mut both = raw.clone();
        both.client.ca = Setup::default().client.ca;
        for (setup, chain) in [(Setup::default(), 1), (raw, 0), (both, 1)] {
            let mut pair = meet(setup);
            pair.converse();
            let established = pair.client.session().established().unwrap();
            assert_eq!(established.verification, Some(Ok(())));
            assert_eq!(established.chain.len(), chain);
            assert_eq!(established.public_key, Some(public(&server.key)));
        }
    }

    #[test]
    fn a_server_asks_for_either_where_it_knows_either() {
        let key = ecdsa();
        let mut raw = with_client(&key, &[public(&key)]);
        raw.server.ca = Setup::default().server.ca;
        let mut certified = Setup::mutual();
        certified.server.raw_public_keys = raw.server.raw_public_keys.clone();
        for setup in [raw, certified] {
            let mut pair = meet(setup);
            pair.converse();
            assert_eq!(pair.server.session().established().unwrap().verification, Some(Ok(())));
        }
    }

    #[test]
    fn peers_of_different_kinds_cannot_meet() {
        // The client does not say that it takes raw keys, so the server has nothing for it.
        let mut setup = served_by(&ecdsa(), &[]);
        (setup.client.ca, setup.client.raw_public_keys) = (Setup::default().client.ca, None);
        let pair = refused(setup, Side::Server, (Name::NoCipher, Name::NoCipher));
        let sentence = pair.server.end().unwrap().1.unwrap().sentence;
        assert!(sentence.contains("takes no raw public key"), "{sentence}");
        // A certificate is no raw key, even of a key that is known.
        let mut setup = Setup::mutual();
        setup.server.ca = None;
        setup.server.raw_public_keys = Some(vec![public(&certificates::client().key)]);
        refused(setup, Side::Server, (Name::Certificate, Name::PublicKey));
    }

    #[test]
    fn a_client_with_a_key_has_nothing_for_a_server_that_wants_a_certificate() {
        let mut setup = with_client(&ecdsa(), &[]);
        (setup.server.ca, setup.server.raw_public_keys) = (Setup::default().server.ca, None);
        refused(setup, Side::Server, (Name::NoCertificate, Name::NoCertificate));
    }

    #[test]
    fn who_does_not_reject_is_told() {
        let mut setup = served_by(&ecdsa(), &[public(&ecdsa())]);
        setup.client.reject_unauthorized = false;
        let mut pair = meet(setup);
        pair.converse();
        let verification = pair.client.session().established().unwrap().verification.clone();
        assert_eq!(verification.unwrap().unwrap_err().name, Name::PublicKey);
    }

    #[test]
    fn a_hook_sees_the_key_and_has_the_last_word() {
        let key = ecdsa();
        for setup in [served_by(&key, &[]), with_client(&key, &[])] {
            let side = if setup.client.raw_public_keys.is_some() { Side::Client } else { Side::Server };
            let mut setup = setup;
            (setup.client.ask_peer, setup.server.ask_peer) = (side == Side::Client, side == Side::Server);
            let mut pair = setup.pair();
            let expected = public(&key);
            pair.end(side).hook = Some(Box::new(move |question| {
                let Question::Peer(presented) = question else { panic!("{question:?}") };
                assert_eq!(presented.public_key.as_ref(), Some(&expected));
                assert_eq!(presented.verdict.as_ref().unwrap_err().name, Name::PublicKey);
                Answer::Peer(Ok(()))
            }));
            pair.connect();
            pair.converse();
        }
    }

    #[test]
    fn who_shows_the_key_of_somebody_else_cannot_prove_it() {
        let known = ecdsa();
        let der = known.public_key_to_der().unwrap();
        let rows = [
            ("the key of somebody else", der.clone(), Name::Handshake),
            ("a key with something behind it", [der, vec![0]].concat(), Name::Handshake),
            ("a certificate", certificates::server().cert.to_der().unwrap(), Name::Handshake),
            ("garbage", vec![1; 90], Name::Handshake),
            ("nothing", vec![], Name::Handshake),
        ];
        for (what, shown, name) in rows {
            let _trying = Trying(what.to_owned());
            let mut body = (shown.len() as u32).to_be_bytes()[1..].to_vec();
            body.extend(shown);
            let weather = instead_of(CERTIFICATE, move |sequence| {
                vec![forge::message(CERTIFICATE, sequence, 100, &body)]
            });
            let mut pair = served_by(&ecdsa(), &[public(&known)]).pair_in(weather);
            pair.run(10_000);
            assert_eq!(pair.client.failure(), Some(name), "{}", pair.story());
            pair.assert_both_know(Side::Client);
        }
    }

    #[test]
    fn what_is_none_is_refused_beforehand() {
        let key = ecdsa();
        for text in [b"key.pem".to_vec(), private(&key), certificates::server().cert_pem(), vec![]] {
            let keys = Some(vec![public(&key), text]);
            let sentence = refusal(Config { raw_public_keys: keys, ..Config::default() });
            assert!(
                sentence.starts_with("raw_public_keys: holds what is not a public key in PEM"),
                "{sentence}"
            );
        }
        let sentence = refusal(Config { raw_public_keys: Some(vec![]), ..Config::default() });
        assert!(sentence.starts_with("raw_public_keys: is an empty list"), "{sentence}");
        // Nobody staples a response to a key.
        let config =
            Config { key: vec![private(&key)], ocsp_response: Some(Staple::Ask), ..Config::default() };
        assert!(refusal(config).starts_with("ocsp_response: needs a certificate"));
    }

    #[test]
    fn an_ed25519_key_is_for_clients_alone() {
        let config = Config { key: vec![private(&certificates::ed25519())], ..Config::default() };
        let sentence = Context::new(config).unwrap().check_server().unwrap_err().to_string();
        assert!(sentence.starts_with("key: is an Ed25519 key"), "{sentence}");
    }
}

mod resumption {
    use super::*;
    use crate::pair::certificates::ecdsa;
    use crate::pair::revocation::Answer as Response;
    use crate::pair::BOTH;
    use dtls_core::TicketKeys;

    /// Connects the client for the first time, and returns it as it comes back.
    fn returning(setup: Setup) -> Setup {
        let tickets = Some(TicketKeys::with_secrets(&[vec![7; 32]]).unwrap());
        let setup = Setup { tickets, ..setup };
        let mut pair = setup.clone().pair();
        pair.connect();
        pair.converse();
        let kept = pair.client.session().established().unwrap().kept.as_ref();
        let kept = kept.expect("the session cannot be resumed").bytes().to_vec();
        Setup { kept: Some(kept), ..setup }
    }

    /// Both ends know each other by fingerprint.
    fn pinned_both() -> Setup {
        let (server, client) = (stranger(), stranger());
        let mut setup = pinned(&server, &[fingerprint(&server.cert)]);
        setup.client.cert = vec![client.cert_pem()];
        setup.client.key = vec![client.key_pem()];
        setup.server.request_cert = true;
        setup.server.ca = None;
        setup.server.fingerprints = Some(vec![fingerprint(&client.cert)]);
        setup
    }

    /// Both ends know each other by their keys alone.
    fn raw_both() -> Setup {
        let mut setup = Setup::default();
        let ends = [&mut setup.server, &mut setup.client];
        let keys = [ecdsa(), ecdsa()];
        for (config, (own, other)) in ends.into_iter().zip([(&keys[0], &keys[1]), (&keys[1], &keys[0])]) {
            config.cert = vec![];
            config.key = vec![own.private_key_to_pem_pkcs8().unwrap()];
            config.ca = None;
            config.raw_public_keys = Some(vec![other.public_key_to_pem().unwrap()]);
        }
        setup.server.request_cert = true;
        setup
    }

    /// The client wants an OCSP response, which only a full handshake brings.
    fn stapled() -> Setup {
        let authority = certificates::authority();
        let response = Response::default().about(&certificates::server().cert, authority, authority);
        let mut setup = Setup::mutual();
        setup.server.ocsp_response = Some(Staple::Given(vec![response]));
        setup.client.require_ocsp = true;
        setup
    }

    #[test]
    fn a_resumed_peer_is_known_as_it_was_the_first_time() {
        for setup in [pinned_both(), raw_both(), stapled()] {
            let mut first = meet(setup.clone());
            let shown: Vec<_> =
                BOTH.map(|side| first.end(side).session().established().unwrap().public_key.clone()).into();
            let mut pair = returning(setup).pair();
            pair.connect();
            pair.converse();
            for (side, public_key) in BOTH.into_iter().zip(shown) {
                let established = pair.end(side).session().established().unwrap();
                assert!(established.resumed);
                assert_eq!(established.verification, Some(Ok(())));
                assert_eq!(established.public_key, public_key);
            }
        }
    }

    #[test]
    fn a_peer_that_is_known_no_more_is_not_let_in_by_its_session() {
        let mut pins = returning(pinned_both());
        pins.server.fingerprints = Some(vec![fingerprint(&stranger().cert)]);
        let mut raw = returning(raw_both());
        raw.server.raw_public_keys = Some(vec![ecdsa().public_key_to_pem().unwrap()]);
        for (setup, name) in [(pins, Name::Fingerprint), (raw, Name::PublicKey)] {
            let pair = meet(setup);
            assert_eq!((pair.server.failure(), pair.server.connected()), (Some(name), 0));
            pair.assert_both_know(Side::Server);
        }
    }
}
