//! What the core has to show, as tables: questions, peers, and what a handshake has come to.

use crate::certificate::Description;
use crate::established::Established;
use crate::question::{Presented, Question, StatusRequest};
use mlua::prelude::*;
use openssl::x509::X509;

/// A question as its kind and what it is about.
pub(super) fn question(lua: &Lua, question: Question) -> LuaResult<(&'static str, LuaValue)> {
    Ok(match question {
        Question::ServerName(name) => ("server_name", name.into_lua(lua)?),
        Question::CachedSession(id) => ("cached_session", LuaValue::String(lua.create_string(id)?)),
        Question::PskIdentity(identity) => ("psk_identity", LuaValue::String(lua.create_string(identity)?)),
        Question::PskHint(None) => ("psk_hint", LuaNil),
        Question::PskHint(Some(hint)) => ("psk_hint", LuaValue::String(lua.create_string(hint)?)),
        Question::OcspResponse(request) => ("ocsp_response", LuaValue::Table(show_request(lua, &request)?)),
        Question::Peer(presented) => ("peer", LuaValue::Table(show_peer(lua, &presented)?)),
    })
}

/// What a client wants the status of, as a table.
fn show_request(lua: &Lua, request: &StatusRequest) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("server_name", request.server_name.as_deref())?;
    let chains: LuaResult<Vec<_>> = request.chains.iter().map(|chain| describe_all(lua, chain)).collect();
    table.set("chains", chains?)?;
    Ok(table)
}

/// What a peer has presented, as a table.
fn show_peer(lua: &Lua, presented: &Presented) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("authorized", presented.verdict.is_ok())?;
    if let Err(error) = &presented.verdict {
        table.set("authorization_error", error.to_string())?;
        table.set("name", error.name.as_str())?;
    }
    set_bytes(lua, &table, "public_key", presented.public_key.as_deref())?;
    set_bytes(lua, &table, "ocsp_response", presented.ocsp_response.as_deref())?;
    table.set("resumed", presented.resumed)?;
    table.set("chain", describe_all(lua, &presented.chain)?)?;
    Ok(table)
}

/// What every session is told of its handshake: whether the peer is authorized and why not, the server's name, the
/// application protocol, the SRTP profile.
type Verdict<'a> = (bool, Option<String>, Option<&'a str>, Option<LuaString>, Option<&'static str>);

/// The part of what a handshake has shown that is wanted of every session.
pub(super) fn verdict<'a>(lua: &Lua, established: &'a Established) -> LuaResult<Verdict<'a>> {
    let refusal = established.verification.as_ref().and_then(|verified| verified.as_ref().err());
    Ok((
        established.is_authorized(),
        refusal.map(ToString::to_string),
        established.server_name.as_deref(),
        established.alpn_protocol.as_ref().map(|protocol| lua.create_string(protocol)).transpose()?,
        established.srtp_profile.map(|profile| profile.name),
    ))
}

/// All that a handshake has shown, as a table.
pub(super) fn established(lua: &Lua, established: &Established) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("protocol", established.protocol)?;
    table.set("cipher", established.cipher.name)?;
    table.set("cipher_standard_name", established.cipher.standard_name)?;
    table.set("max_payload", established.max_payload)?;
    table.set("chain", describe_all(lua, &established.chain)?)?;
    set_bytes(lua, &table, "public_key", established.public_key.as_deref())?;
    set_bytes(lua, &table, "ocsp_response", established.ocsp_response.as_deref())?;
    set_bytes(lua, &table, "psk_identity", established.psk_identity.as_deref())?;
    table.set("extended_master_secret", established.extended_master_secret)?;
    table.set("resumed", established.resumed)?;
    if let Some(kept) = &established.kept {
        table.set("session", lua.create_string(kept.bytes())?)?;
    }
    Ok(table)
}

/// Sets a field to bytes, which are no text, where there are any.
fn set_bytes(lua: &Lua, table: &LuaTable, field: &str, bytes: Option<&[u8]>) -> LuaResult<()> {
    table.set(field, bytes.map(|bytes| lua.create_string(bytes)).transpose()?)
}

fn describe_all(lua: &Lua, chain: &[X509]) -> LuaResult<LuaTable> {
    // Without a gap: the first is the peer's own, or there is none.
    let described = chain.iter().map_while(|certificate| Description::of(certificate).ok());
    let tables: LuaResult<Vec<_>> = described.map(|certificate| describe(lua, &certificate)).collect();
    lua.create_sequence_from(tables?)
}

fn describe(lua: &Lua, certificate: &Description) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    let name = |attributes: &[(String, String)]| lua.create_table_from(attributes.iter().cloned());
    table.set("subject", name(&certificate.subject)?)?;
    table.set("issuer", name(&certificate.issuer)?)?;
    table.set("subject_alt_name", certificate.subject_alt_name.clone())?;
    table.set("serial_number", certificate.serial_number.as_str())?;
    table.set("valid_from", certificate.valid_from.as_str())?;
    table.set("valid_to", certificate.valid_to.as_str())?;
    table.set("fingerprint256", certificate.fingerprint256.as_str())?;
    table.set("pem", lua.create_string(&certificate.pem)?)?;
    table.set("der", lua.create_string(&certificate.der)?)?;
    Ok(table)
}
