//! Records sealed by hand, with the keys of a session: what a peer may send that keeps to no rule.

use super::{forge, Pair, Side};
use dtls_core::record::{DTLS_1_2, HANDSHAKE, HEADER};
use dtls_core::Output;
use hmac::{Hmac, KeyInit, Mac};
use openssl::symm::{encrypt_aead, Cipher};
use sha2::Sha256;

/// The suite of sessions that it knows: their client must have `key_log`.
pub const SUITE: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";

const FINISHED: u8 = 20;
const KEY: usize = 16;
const SALT: usize = 4;
const TAG: usize = 16;
/// Where a hello has its random: behind the headers of record and message, and the version.
const RANDOM: std::ops::Range<usize> = HEADER + 14..HEADER + 46;

/// Seals as one end of a session does (RFC 5288 section 3).
pub struct Sealer {
    key: Vec<u8>,
    salt: Vec<u8>,
    /// The number of its next record.
    pub number: u64,
}

impl Sealer {
    /// Takes that end's keys, as soon as its client has them. It numbers its records from `number` on.
    pub fn of(pair: &Pair, side: Side, number: u64) -> Sealer {
        let line = pair.client.said.iter().find_map(|output| match output {
            Output::KeyLog(line) => Some(line.clone()),
            _ => None,
        });
        let line = line.expect("the client has no secret yet");
        let words: Vec<&str> = line.split(' ').collect();
        let hello = pair.server.sent.iter().find(|sent| forge::message_kind(sent) == Some(2)).unwrap();
        let seed = [b"key expansion", &hello[RANDOM], &from_hex(words[1])].concat();
        let block = prf(&from_hex(words[2]), &seed, 2 * (KEY + SALT));
        let (keys, salts) = block.split_at(2 * KEY);
        let index = usize::from(side == Side::Server);
        Sealer {
            key: keys[index * KEY..][..KEY].to_vec(),
            salt: salts[index * SALT..][..SALT].to_vec(),
            number,
        }
    }

    /// A record of epoch 1.
    pub fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Vec<u8> {
        let place = [&[0, 1][..], &self.number.to_be_bytes()[2..]].concat();
        self.number += 1;
        let length = (plaintext.len() as u16).to_be_bytes();
        let about = [&place[..], &[kind], &DTLS_1_2, &length].concat();
        let nonce = [&self.salt[..], &place].concat();
        let mut tag = [0; TAG];
        let sealed =
            encrypt_aead(Cipher::aes_128_gcm(), &self.key, Some(&nonce), &about, plaintext, &mut tag)
                .unwrap();
        let number = u64::from_be_bytes(place.clone().try_into().unwrap()) & forge::LAST_NUMBER;
        forge::record(kind, 1, number, &[place, sealed, tag.to_vec()].concat())
    }

    /// A Finished. What it says nobody checks when the handshake is over.
    pub fn finished(&mut self) -> Vec<u8> {
        self.seal(HANDSHAKE, &forge::fragment(FINISHED, 3, 12, 0, &[7; 12]))
    }
}

/// The PRF of TLS 1.2 with SHA-256 (RFC 5246 section 5).
fn prf(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    };
    let mut chain = hash(&[seed]);
    let mut out = Vec::new();
    while out.len() < length {
        out.extend(hash(&[&chain, seed]));
        chain = hash(&[&chain]);
    }
    out.truncate(length);
    out
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
