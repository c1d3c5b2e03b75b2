//! Datagrams from unknown addresses that may be a session's.

use crate::discard::Discard;
use crate::gate;
use crate::session::Stray;
use crate::trail::{self, Trail};
use mlua::prelude::*;

/// The number of a datagram's first record and the key of its trail, if it claims to be a session's.
pub(super) fn claim(_: &Lua, datagram: LuaString) -> LuaResult<(Option<u64>, Option<u64>)> {
    let bytes = datagram.as_bytes();
    let Some(record) = trail::claim_untrusted(&bytes) else { return Ok((None, None)) };
    Ok((Some(record.sequence), Trail::of_untrusted(&record).map(Trail::key)))
}

/// Whether anything can be sent to an address.
pub(super) fn is_answerable(_: &Lua, (ip, port): (LuaString, u16)) -> LuaResult<bool> {
    Ok(gate::is_answerable(super::read_address(&ip)?, port))
}

/// What Lua is told of a try: `newer` or `older`, and a cause, or nothing.
pub(super) fn outcome(stray: Option<Stray>) -> (Option<&'static str>, Option<&'static str>) {
    let found = stray.map(|stray| if stray.newer { "newer" } else { "older" });
    (found, stray.and_then(|stray| stray.dropped).map(Discard::as_str))
}
