//! The core's spelling of the options, whose types `options.lua` has checked, as a [`Config`].

use super::to_bytes;
use crate::config::{Config, FragmentLength, Mtu, Profile, Refusal, Version};
use crate::desk::PskPair;
use crate::ocsp::Staple;
use crate::psk::Psk;
use crate::srtp;
use mlua::prelude::*;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Reads the core's spelling of the options, whose types `options.lua` has checked.
pub(super) fn read(options: &LuaTable) -> LuaResult<Result<Config, Refusal>> {
    let profile = options.get::<Option<String>>("profile")?.map(|name| Profile::parse(&name)).transpose();
    let default = match profile {
        Ok(profile) => Config::of_profile(profile.unwrap_or(Profile::General)),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mtu = options.get::<Option<u32>>("mtu")?.map_or(Ok(default.mtu), Mtu::new);
    let version = |option: &'static str, default| -> LuaResult<Result<Version, Refusal>> {
        let name = options.get::<Option<String>>(option)?;
        Ok(name.map_or(Ok(default), |name| Version::parse(option, &name)))
    };
    let (min, max) =
        (version("min_version", default.min_version)?, version("max_version", default.max_version)?);
    let (mtu, min_version, max_version) = match (mtu, min, max) {
        (Ok(mtu), Ok(min), Ok(max)) => (mtu, min, max),
        (Err(refusal), ..) | (_, Err(refusal), _) | (.., Err(refusal)) => return Ok(Err(refusal)),
    };
    let fragment_length = options.get::<Option<u32>>("max_fragment_length")?.map(FragmentLength::new);
    let max_fragment_length = match fragment_length.transpose() {
        Ok(length) => length,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let srtp_profiles = options.get::<Option<Vec<LuaString>>>("srtp_profiles")?.unwrap_or_default();
    let srtp_profiles =
        match srtp_profiles.iter().map(|name| srtp::Profile::parse(&name.as_bytes())).collect() {
            Ok(profiles) => profiles,
            Err(refusal) => return Ok(Err(refusal)),
        };
    let list = |option| LuaResult::Ok(options.get::<Option<Vec<LuaString>>>(option)?.map(to_bytes));
    let bytes = |option: &str| -> LuaResult<Option<Vec<u8>>> {
        Ok(options.get::<Option<LuaString>>(option)?.map(|text| text.as_bytes().to_vec()))
    };
    Ok(Ok(Config {
        cert: list("cert")?.unwrap_or_default(),
        key: list("key")?.unwrap_or_default(),
        passphrase: bytes("passphrase")?,
        ca: list("ca")?,
        crl: list("crl")?,
        fingerprints: options.get("fingerprints")?,
        request_cert: options.get::<Option<bool>>("request_cert")?.unwrap_or(default.request_cert),
        reject_unauthorized: options
            .get::<Option<bool>>("reject_unauthorized")?
            .unwrap_or(default.reject_unauthorized),
        ask_peer: options.get::<Option<bool>>("verify")?.unwrap_or(default.ask_peer),
        psk: psk(options.get("psk")?)?,
        psk_identity_hint: bytes("psk_identity_hint")?,
        hide_unknown_identity: options
            .get::<Option<bool>>("hide_unknown_identity")?
            .unwrap_or(default.hide_unknown_identity),
        raw_public_keys: list("raw_public_keys")?,
        ocsp_response: match options.get("ocsp_response")? {
            LuaValue::Boolean(true) => Some(Staple::Ask),
            _ => list("ocsp_response")?.map(Staple::Given),
        },
        request_ocsp: options.get::<Option<bool>>("request_ocsp")?.unwrap_or(default.request_ocsp),
        require_ocsp: options.get::<Option<bool>>("require_ocsp")?.unwrap_or(default.require_ocsp),
        profile: default.profile,
        min_version,
        max_version,
        ciphers: options.get("ciphers")?,
        groups: options.get("groups")?,
        sigalgs: options.get("sigalgs")?,
        alpn_protocols: list("alpn_protocols")?.unwrap_or_default(),
        srtp_profiles,
        export_without_ems: options
            .get::<Option<bool>>("export_without_ems")?
            .unwrap_or(default.export_without_ems),
        mtu,
        max_fragment_length,
        retransmit_timeout_ms: options
            .get::<Option<u32>>("retransmit_timeout")?
            .unwrap_or(default.retransmit_timeout_ms),
        key_log: options.get::<Option<bool>>("keylog")?.unwrap_or(default.key_log),
        session_timeout_s: options
            .get::<Option<u32>>("session_timeout")?
            .unwrap_or(default.session_timeout_s),
        session_cache: options.get::<Option<bool>>("session_cache")?.unwrap_or(default.session_cache),
    }))
}

/// Reads the keys: `true` to be asked, `{ identity, key }` by name, or a table of identities.
fn psk(value: LuaValue) -> LuaResult<Option<Psk>> {
    let LuaValue::Table(table) = value else {
        return Ok((value == LuaValue::Boolean(true)).then_some(Psk::Ask));
    };
    let mut keys = HashMap::new();
    for pair in table.pairs::<LuaString, LuaString>() {
        let (identity, key) = pair?;
        keys.insert(identity.as_bytes().to_vec(), Zeroizing::new(key.as_bytes().to_vec()));
    }
    let pair = match (keys.len(), keys.get(&b"identity"[..]), keys.get(&b"key"[..])) {
        (2, Some(identity), Some(key)) => Some(PskPair { identity: identity.to_vec(), key: key.clone() }),
        _ => None,
    };
    Ok(Some(pair.map_or(Psk::Table(keys), Psk::Pair)))
}
