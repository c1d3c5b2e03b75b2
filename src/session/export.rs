//! Keys for others, out of a session's own (RFC 5705).

use super::{Session, Stage};
use crate::error::{Error, Name};
use crate::srtp;
use zeroize::Zeroizing;

/// The longest label that every version can take (RFC 8446 section 7.1: 255 bytes with its prefix).
const LONGEST_LABEL: usize = 249;
/// What the two bytes of its length can say.
const LONGEST_CONTEXT: usize = 0xffff;
/// As much as anybody needs.
const MOST_MATERIAL: usize = 0xffff;

impl Session {
    /// Derives `length` bytes that both ends get by the same label and context, and nobody else.
    /// An empty context is another than none (RFC 5705 section 4; in DTLS 1.3 it is the same).
    ///
    /// # Errors
    ///
    /// [`Name::Invalid`] for a length that is not from 1 to 65535, for a label that is not ASCII (RFC
    /// 5246 section 5), empty, longer than 249 bytes or TLS's own, and for a context longer than 65535
    /// bytes; [`Name::NotConnected`] before the handshake is complete and from the end on;
    /// [`Name::NoExtendedMasterSecret`] where the session has none (RFC 7627 section 5.4: what is
    /// exported is then not bound to this handshake) and the configuration does not waive it.
    pub fn export_keying_material(
        &mut self,
        length: usize,
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let invalid = |sentence: &str| Err(Error::new(Name::Invalid, sentence));
        if !(1..=MOST_MATERIAL).contains(&length) {
            return invalid("the length must be from 1 to 65535 bytes");
        }
        let label = match std::str::from_utf8(label) {
            Ok(text) if text.is_ascii() && (1..=LONGEST_LABEL).contains(&text.len()) => text,
            _ => return invalid("the label must be 1 to 249 characters of ASCII"),
        };
        if context.is_some_and(|context| context.len() > LONGEST_CONTEXT) {
            return invalid("the context must be at most 65535 bytes");
        }
        self.require_extended_master_secret()?;
        let state = self.state();
        let engine = self.engine.as_mut().ok_or_else(|| Error::not_connected(state))?;
        let mut material = Zeroizing::new(vec![0; length]);
        engine.export(&mut material, label, context)?;
        Ok(material)
    }

    /// The SRTP keys of both ends (RFC 5764 section 4.2).
    ///
    /// # Errors
    ///
    /// As [`export_keying_material`](Session::export_keying_material), and [`Name::NoSrtp`] where no
    /// protection profile was agreed on.
    pub fn srtp_keys(&mut self) -> Result<srtp::Keys, Error> {
        self.require_open()?;
        let none = || Error::new(Name::NoSrtp, "the two ends have agreed on no SRTP protection profile");
        let profile = self.established.as_ref().and_then(|known| known.srtp_profile).ok_or_else(none)?;
        let material =
            self.export_keying_material(profile.material_length(), srtp::LABEL.as_bytes(), None)?;
        profile.cut(&material).ok_or_else(none)
    }

    fn require_open(&self) -> Result<(), Error> {
        let open = self.stage == Stage::Open;
        open.then_some(()).ok_or_else(|| Error::not_connected(self.state()))
    }

    fn require_extended_master_secret(&self) -> Result<(), Error> {
        self.require_open()?;
        let has_it = self.established.as_ref().is_some_and(|known| known.extended_master_secret);
        if has_it || self.context.config().export_without_ems {
            return Ok(());
        }
        let sentence =
            "the session has no extended master secret (RFC 7627), which binds exported keys to it";
        Err(Error::new(Name::NoExtendedMasterSecret, sentence))
    }
}
