//! A [`Config`] made into an OpenSSL context, with the mandatory options and why.

use crate::alpn;
use crate::config::{Config, Profile, Refusal, Version};
use crate::desk::Desk;
use crate::ffi;
use crate::identity::Identity;
use crate::ocsp;
use crate::psk::{self, Psk};
use crate::raw_key::Types;
use crate::reassembly::Expect;
use crate::resumption::{self, Earlier};
use crate::retired::Retired;
use crate::srtp;
use crate::suites::{self, Authentication};
use crate::trust::{self, Trust};
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion, StatusType,
};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::X509;
use std::net::IpAddr;

/// Fast curves first. A short list keeps the hello small.
const DEFAULT_GROUPS: &str = "X25519:P-256:P-384:P-521";

/// SSL_OP_NO_ENCRYPT_THEN_MAC, which the crate lacks.
const NO_ENCRYPT_THEN_MAC: SslOptions = SslOptions::from_bits_retain(1 << 19);

/// Certificates, keys, trust and parameters: what sessions are made from. Immutable, and shared by
/// any number of them.
pub struct Context {
    ssl: SslContext,
    config: Config,
    suites: Vec<ffi::Suite>,
    identities: Vec<Identity>,
    trust: Trust,
    /// See [`resumption`].
    policy: [u8; 32],
    retired: Retired,
}

/// Whom a client wants to talk to: the name that the certificate must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// A host name, sent to the server too (RFC 6066 section 3).
    Dns(String),
    /// An IP address, which is never sent.
    Address(IpAddr),
}

impl PeerName {
    /// Reads a host name or the text form of an IP address, with or without a scope.
    pub fn parse(name: &str) -> PeerName {
        let bare = name.split('%').next().unwrap_or(name);
        match bare.parse() {
            Ok(address) => PeerName::Address(address),
            // A trailing dot is DNS notation for "absolute" and no part of the name (RFC 6066).
            Err(_) => PeerName::Dns(name.strip_suffix('.').unwrap_or(name).to_owned()),
        }
    }

    /// The host name, if it is one.
    pub fn host(&self) -> Option<&str> {
        match self {
            PeerName::Dns(host) => Some(host),
            PeerName::Address(_) => None,
        }
    }

    /// Whether a certificate can be for it. To OpenSSL the empty name and one that begins with a
    /// dot are patterns, for any name and for any below it (X509_VERIFY_PARAM_set1_host(3)).
    pub fn is_certifiable(&self) -> bool {
        const LONGEST: usize = 253;
        match self {
            PeerName::Dns(host) => {
                !host.is_empty() && host.len() <= LONGEST && !host.starts_with('.') && !host.contains('\0')
            }
            PeerName::Address(_) => true,
        }
    }
}

impl Context {
    /// Makes a context.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of the option that cannot be.
    pub fn new(config: Config) -> Result<Context, Refusal> {
        ffi::init();
        ffi::clear_errors();
        let identities = Identity::read_all(&config)?;
        let mut builder = mandatory(&config).map_err(|e| unexpected(&e))?;
        lists(&mut builder, &config)?;
        for identity in &identities {
            install(&mut builder, identity)?;
        }
        if config.key_log {
            builder.set_keylog_callback(|ssl, line| Desk::of(ssl).papers().key_log.push(line.to_owned()));
        }
        if let Some(psk) = &config.psk {
            psk.check()?;
            psk::install(&mut builder);
        }
        if let Some(hint) = &config.psk_identity_hint {
            psk::hint(&mut builder, hint)
                .map_err(|_| Refusal::new("psk_identity_hint", "must be at most 256 bytes without a NUL"))?;
        }
        alpn::install(&mut builder, &config.alpn_protocols)?;
        srtp::install(&mut builder, &config.srtp_profiles)?;
        ocsp::check(&config, &identities)?;
        if config.ocsp_response.is_some() {
            ocsp::install(&mut builder).map_err(|e| unexpected(&e))?;
        }
        let trust = Trust::read(&config)?;
        for root in trust.roots() {
            builder.add_client_ca(root).map_err(|e| unexpected(&e))?;
        }
        let ssl = builder.build();
        let suites = ffi::supported_suites(&ssl).map_err(|e| unexpected(&e))?;
        // DTLS 1.3 would take those of TLS 1.3, whatever `ciphers` says: they serve no handshake here.
        let suites: Vec<_> = suites.into_iter().filter(|suite| suite.version != "TLSv1.3").collect();
        if suites.is_empty() {
            return Err(Refusal::new(
                "ciphers",
                "leaves no cipher suite that DTLS 1.2 can use here: see `openssl ciphers -s -v LIST`; \
                 a suite below the security level needs '@SECLEVEL=0' in the list",
            ));
        }
        ffi::clear_errors();
        let policy = resumption::policy(&config, &identities, &trust, &suites);
        Ok(Context { ssl, config, suites, identities, trust, policy, retired: Retired::default() })
    }

    /// Whether servers can be made of this context.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] where it has neither a certificate nor pre-shared keys, or a certificate that no
    /// handshake could use, or where peers are to be verified and nothing is trusted, or judged and asked
    /// for nothing.
    pub fn check_server(&self) -> Result<(), Refusal> {
        if self.identities.is_empty() && self.config.psk.is_none() {
            let sentence =
                "is missing: a server needs a certificate and its key, a key alone, or options.psk";
            return Err(Refusal::new("cert", sentence));
        }
        if let Some(refusal) = self.identities.iter().find_map(Identity::server_refusal) {
            return Err(refusal);
        }
        let proofs: Vec<_> = self.identities.iter().filter_map(Identity::authentication).collect();
        let usable = |suite: &ffi::Suite| suites::is_usable(&suite.name, self.config.psk.as_ref(), &proofs);
        if !self.suites.iter().any(usable) {
            let sentence = match (self.config.psk.is_some(), proofs.first()) {
                (true, _) => "leaves no cipher suite that what is given in psk and cert can serve",
                (_, Some(Authentication::Ecdsa)) => {
                    "leaves no cipher suite that this ECDSA certificate can serve"
                }
                _ => "leaves no cipher suite that this RSA certificate can serve",
            };
            return Err(Refusal::new("ciphers", sentence));
        }
        if self.config.request_cert {
            self.trust.store()?;
            return Ok(());
        }
        // Whoever gives one of these to a server means to let in nobody else.
        let judges = [
            ("verify", self.config.ask_peer),
            ("fingerprints", self.trust.pins().is_some()),
            ("raw_public_keys", self.trust.raw_keys().is_some()),
        ];
        match judges.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Refusal::new(
                option,
                "would keep nobody out of a server that asks for no certificate: add requestCert = true",
            )),
            None => Ok(()),
        }
    }

    /// Whether clients can be made of this context.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] where servers are to be verified and nothing is trusted, or where the pre-shared
    /// keys are those of a server.
    pub fn check_client(&self) -> Result<(), Refusal> {
        if let Some(Psk::Table(_)) = self.config.psk {
            let sentence = "must be { identity = …, key = … } or a function for a client: \
                            a table of identities is a server's";
            return Err(Refusal::new("psk", sentence));
        }
        let shows_certificate = |suite: &ffi::Suite| !suites::uses_psk(&suite.name);
        if self.suites.iter().any(shows_certificate) && self.config.reject_unauthorized {
            self.trust.store()?;
        }
        Ok(())
    }

    /// What it was made of.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What all its sessions rest on, for none to be resumed under other rules.
    pub(crate) fn policy(&self) -> &[u8; 32] {
        &self.policy
    }

    /// What its sessions leave behind when their handshakes are complete.
    pub(crate) fn retired(&self) -> &Retired {
        &self.retired
    }

    /// What a server of this context expects to hear.
    pub(crate) fn expect_from_client(&self) -> Expect {
        Expect::Client { certificate: self.config.request_cert }
    }

    /// What it takes for proof of who its peers are.
    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The certificate chains that it may present, leaf first.
    pub(crate) fn chains(&self) -> Vec<Vec<X509>> {
        self.identities.iter().map(Identity::chain).collect()
    }

    /// Whether it has a key without a certificate, to present as it is.
    pub(crate) fn has_bare_key(&self) -> bool {
        self.identities.iter().any(|identity| identity.leaf.is_none())
    }

    /// Whether a client has anything to present to a server that asks.
    pub(crate) fn can_present_itself(&self, ssl: &SslRef) -> bool {
        let fits = |identity: &Identity| identity.leaf.is_some() || ffi::raw_key::is_asked_for(ssl);
        self.identities.iter().any(fits)
    }

    /// A fresh OpenSSL session, about to accept.
    pub(crate) fn server_ssl(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = self.fresh_ssl()?;
        let types = Types::of_server(&self.config);
        ffi::raw_key::set_certificate_types(&mut ssl, types.own, types.peer)?;
        ssl.set_accept_state();
        if self.config.request_cert {
            self.verify(&mut ssl, SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        Ok(ssl)
    }

    /// A fresh OpenSSL session, about to connect to `name` and to resume an earlier session, if there is one.
    pub(crate) fn client_ssl(&self, name: &PeerName, earlier: Option<&Earlier>) -> Result<Ssl, ErrorStack> {
        let mut ssl = self.fresh_ssl()?;
        let types = Types::of_client(&self.config);
        ffi::raw_key::set_certificate_types(&mut ssl, types.peer, types.own)?;
        ssl.set_connect_state();
        match name {
            PeerName::Dns(host) => {
                ssl.set_hostname(host)?;
                let param = ssl.param_mut();
                param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                param.set_host(host)?;
            }
            PeerName::Address(address) => ssl.param_mut().set_ip(*address)?,
        }
        if self.config.request_ocsp || self.config.require_ocsp {
            ssl.set_status_type(StatusType::OCSP)?;
        }
        self.verify(&mut ssl, SslVerifyMode::PEER);
        if let Some(earlier) = earlier {
            earlier.offer(&mut ssl);
        }
        Ok(ssl)
    }

    fn fresh_ssl(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.ssl)?;
        Desk::set_up(&mut ssl);
        ssl.set_mtu(self.config.mtu.bytes())?;
        ffi::set_first_timeout(&mut ssl, self.config.retransmit_timeout_ms);
        Ok(ssl)
    }

    /// Whether a peer is judged by more than OpenSSL's verification.
    fn judges_itself(&self) -> bool {
        self.config.ask_peer || self.trust.judges_itself()
    }

    fn verify(&self, ssl: &mut SslRef, strict: SslVerifyMode) {
        if let Ok(store) = self.trust.store() {
            ffi::set_verify_store(ssl, store);
        }
        match (self.config.reject_unauthorized, self.judges_itself()) {
            (true, false) => ssl.set_verify(strict),
            // Somebody without a certificate is refused by OpenSSL, all others are judged later.
            (true, true) => trust::verify_and_go_on(ssl, strict),
            (false, _) => trust::verify_and_go_on(ssl, SslVerifyMode::PEER),
        }
    }
}

/// What every context has, whatever the user wants.
fn mandatory(config: &Config) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::dtls())?;
    // The MTU is told, never asked of the BIO, which knows none: OpenSSL would fall back to 256.
    let mut options = SslOptions::NO_QUERY_MTU;
    // Renegotiation is a source of attacks and of no use here (RFC 7925 section 17).
    options |= SslOptions::NO_RENEGOTIATION;
    options |= SslOptions::NO_COMPRESSION;
    // With encrypt-then-MAC one forged record ends a session: OpenSSL treats its bad MAC as fatal
    // instead of dropping it. Only CBC suites have it, and nobody gets one unasked.
    options |= NO_ENCRYPT_THEN_MAC;
    // The server's order, but for peers that put ChaCha20 first: they have no AES in hardware.
    options |= SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::PRIORITIZE_CHACHA;
    if config.session_timeout_s == 0 {
        options |= SslOptions::NO_TICKET;
    }
    builder.set_options(options);
    resume(&mut builder, config);
    // Gives the 16 KiB buffers back between records, which idle sessions are most of their life.
    builder.set_mode(SslMode::RELEASE_BUFFERS);
    // The gate has judged the cookie before a session exists: DTLSv1_listen only wants to hear it.
    builder.set_cookie_verify_cb(|_, _| true);
    // For peers whose only forward-secret PSK suites are the DHE ones (RFC 5487).
    ffi::choose_dh_group(&mut builder);
    if config.profile == Profile::Iot {
        ffi::allow_ccm8(&mut builder);
    }
    if let Some(length) = config.max_fragment_length {
        ffi::ask_for_fragment_length(&mut builder, length.code());
    }
    ffi::set_max_certificate_list(&mut builder, Expect::Server.longest_message());
    builder.set_min_proto_version(Some(ssl_version(config.min_version)))?;
    builder.set_max_proto_version(Some(ssl_version(config.max_version)))?;
    Ok(builder)
}

/// How a server remembers its sessions: in tickets that their clients keep; for those who take none under
/// an id, which OpenSSL keeps, or the user.
fn resume(builder: &mut SslContextBuilder, config: &Config) {
    // A session is 1 KB and its client's certificate.
    const MOST_CACHED: i32 = 10_000;
    let mode = match config.session_timeout_s {
        0 => SslSessionCacheMode::OFF,
        _ if config.session_cache => SslSessionCacheMode::SERVER | SslSessionCacheMode::NO_INTERNAL,
        _ => SslSessionCacheMode::SERVER,
    };
    builder.set_session_cache_mode(mode);
    builder.set_session_cache_size(MOST_CACHED);
    ffi::set_lifetime(builder, config.session_timeout_s);
    ffi::use_ticket_keys(builder);
    if config.session_cache {
        ffi::use_session_on_desk(builder);
    }
}

fn ssl_version(version: Version) -> SslVersion {
    match version {
        Version::Dtls12 => SslVersion::DTLS1_2,
    }
}

/// The three lists in OpenSSL's own notation.
fn lists(builder: &mut SslContextBuilder, config: &Config) -> Result<(), Refusal> {
    let refuse = |option, list: &str, manual| {
        let sentence =
            format!("is no list that OpenSSL understands: '{}' (see {manual})", list.escape_default());
        Refusal::new(option, sentence)
    };
    let ciphers = config.ciphers.clone().unwrap_or_else(|| suites::default_list(config));
    builder
        .set_cipher_list(&format!("{ciphers}{}", suites::NEVER))
        .map_err(|_| refuse("ciphers", &ciphers, "openssl-ciphers(1)"))?;
    let groups = config.groups.as_deref().unwrap_or(DEFAULT_GROUPS);
    builder.set_groups_list(groups).map_err(|_| refuse("groups", groups, "SSL_CTX_set1_groups_list(3)"))?;
    if let Some(sigalgs) = &config.sigalgs {
        builder
            .set_sigalgs_list(sigalgs)
            .map_err(|_| refuse("sigalgs", sigalgs, "SSL_CTX_set1_sigalgs_list(3)"))?;
    }
    Ok(())
}

fn install(builder: &mut SslContextBuilder, identity: &Identity) -> Result<(), Refusal> {
    let refuse = |error: ErrorStack| {
        let reason = error.errors().first().and_then(|e| e.reason()).unwrap_or("no reason given");
        Refusal::new("cert", format!("is refused by OpenSSL: {reason}"))
    };
    if let Some(leaf) = &identity.leaf {
        builder.set_certificate(leaf).map_err(refuse)?;
    }
    builder.set_private_key(&identity.key).map_err(refuse)?;
    for certificate in &identity.intermediates {
        ffi::add_chain_certificate(builder, certificate).map_err(refuse)?;
    }
    Ok(())
}

/// What can only fail for want of memory, or where OpenSSL was built without what we need.
pub(crate) fn unexpected(error: &ErrorStack) -> Refusal {
    Refusal::new("context", format!("cannot be made: {error}"))
}
