//! A private key and the certificate chain that goes with it, read from PEM.

use crate::config::{Config, Refusal};
use crate::ffi;
use crate::suites::Authentication;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::{X509KeyUsage, X509};

/// Who we are: a key, and the chain that says whose it is. Without a chain it is a raw public key (RFC 7250).
pub struct Identity {
    /// The certificate of `key`, if it has one.
    pub leaf: Option<X509>,
    /// The certificates that lead from the leaf towards a root.
    pub intermediates: Vec<X509>,
    /// The private key.
    pub key: PKey<Private>,
}

impl Identity {
    /// Reads the identities of a configuration: each `cert` with the `key` at its place, or keys alone.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of `cert`, `key` or `passphrase`.
    pub fn read_all(config: &Config) -> Result<Vec<Identity>, Refusal> {
        match (config.cert.len(), config.key.len()) {
            (0, 0) => return Ok(Vec::new()),
            (_, 0) => return Err(Refusal::new("key", "is missing: a certificate needs its private key")),
            (0, _) if !ffi::raw_key::AVAILABLE => {
                let sentence = "is missing: to present a key alone, as a raw public key, takes OpenSSL 3.2";
                return Err(Refusal::new("cert", sentence));
            }
            (0, _) => {
                let passphrase = config.passphrase.as_deref();
                let bare = |pem: &Vec<u8>| {
                    Ok(Identity { leaf: None, intermediates: Vec::new(), key: read_key(pem, passphrase)? })
                };
                return config.key.iter().map(bare).collect();
            }
            (certs, keys) if certs != keys => {
                return Err(Refusal::new(
                    "key",
                    format!("must pair with cert: {keys} keys for {certs} certificates"),
                ))
            }
            _ => {}
        }
        let passphrase = config.passphrase.as_deref();
        config.cert.iter().zip(&config.key).map(|(cert, key)| Identity::read(cert, key, passphrase)).collect()
    }

    fn read(cert: &[u8], key: &[u8], passphrase: Option<&[u8]>) -> Result<Identity, Refusal> {
        let mut chain = read_certificates("cert", cert)?.into_iter();
        let leaf = chain.next().ok_or_else(|| Refusal::new("cert", "holds no certificate"))?;
        let key = read_key(key, passphrase)?;
        let matches = leaf.public_key().is_ok_and(|public| public.public_eq(&key));
        ffi::clear_errors();
        if !matches {
            return Err(Refusal::new("key", "does not belong to the certificate in cert"));
        }
        Ok(Identity { leaf: Some(leaf), intermediates: chain.collect(), key })
    }

    /// The whole chain, leaf first; empty where there is none.
    pub fn chain(&self) -> Vec<X509> {
        self.leaf.iter().chain(&self.intermediates).cloned().collect()
    }

    /// Why this identity cannot serve DTLS 1.2, where it cannot.
    ///
    /// OpenSSL before 4.1 never selects an Ed25519 or Ed448 certificate on a DTLS server: it asks
    /// whether the version is TLS 1.2 and gets "no" for DTLS 1.2 (`ssl_set_masks`), so every
    /// handshake would end with "no shared cipher". Clients are free to use one.
    pub fn server_refusal(&self) -> Option<Refusal> {
        let name = match self.key.id() {
            Id::ED25519 => "Ed25519",
            Id::ED448 => "Ed448",
            // ECDHE-ECDSA signs with it, so OpenSSL passes over a certificate that forbids that.
            Id::EC if !self.may_sign() => {
                let sentence = "is for a key that may not sign (its keyUsage lacks digitalSignature), \
                                so no handshake would find a shared cipher";
                return Some(Refusal::new("cert", sentence));
            }
            _ => return None,
        };
        let sentence = format!(
            "is an {name} key, which OpenSSL before 4.1 cannot use on a DTLS 1.2 server \
             (no handshake would find a shared cipher): use an ECDSA or RSA key"
        );
        Some(Refusal::new("key", sentence))
    }

    /// Whether the leaf's keyUsage, if it has one, lets its key sign (RFC 5280 section 4.2.1.3).
    fn may_sign(&self) -> bool {
        let usage = self.leaf.as_ref().and_then(|leaf| leaf.key_usage());
        usage.is_none_or(|usage| usage.contains(X509KeyUsage::DIGITAL_SIGNATURE))
    }

    /// What cipher suites this key can prove a server's identity in.
    pub fn authentication(&self) -> Option<Authentication> {
        match self.key.id() {
            Id::RSA | Id::RSA_PSS => Some(Authentication::Rsa),
            Id::EC => Some(Authentication::Ecdsa),
            _ => None,
        }
    }
}

/// Reads every certificate of a PEM text.
pub fn read_certificates(option: &'static str, pem: &[u8]) -> Result<Vec<X509>, Refusal> {
    let certificates = X509::stack_from_pem(pem);
    ffi::clear_errors();
    match certificates {
        Ok(list) if !list.is_empty() => Ok(list),
        _ => Err(Refusal::new(option, "is not a certificate in PEM (\"-----BEGIN CERTIFICATE-----\"): pass the text itself, not a file's name")),
    }
}

fn read_key(pem: &[u8], passphrase: Option<&[u8]>) -> Result<PKey<Private>, Refusal> {
    // The callback is asked only for an encrypted key. Without it OpenSSL would ask the terminal.
    let mut asked = false;
    let key = PKey::private_key_from_pem_callback(pem, |buffer| {
        asked = true;
        let secret = passphrase.unwrap_or_default();
        let length = secret.len().min(buffer.len());
        buffer[..length].copy_from_slice(&secret[..length]);
        Ok(length)
    });
    ffi::clear_errors();
    key.map_err(|_| match (asked, passphrase) {
        (true, None) => Refusal::new("passphrase", "is missing: the private key is encrypted"),
        (true, Some(_)) => Refusal::new("passphrase", "does not open the private key"),
        (false, _) => Refusal::new("key", "is not a private key in PEM (\"-----BEGIN PRIVATE KEY-----\"): pass the text itself, not a file's name"),
    })
}
