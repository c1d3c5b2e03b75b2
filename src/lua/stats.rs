//! Counters on their way to Lua.

use crate::session::{Counts, Totals};
use mlua::prelude::*;

/// What one session has counted.
pub(super) fn session(lua: &Lua, counts: &Counts) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("datagrams_in", counts.datagrams_in)?;
    table.set("bytes_in", counts.bytes_in)?;
    table.set("datagrams_out", counts.datagrams_out)?;
    table.set("bytes_out", counts.bytes_out)?;
    table.set("messages_in", counts.messages_in)?;
    table.set("message_bytes_in", counts.message_bytes_in)?;
    table.set("messages_out", counts.messages_out)?;
    table.set("message_bytes_out", counts.message_bytes_out)?;
    table.set("retransmissions", counts.retransmissions)?;
    table.set("round_trip_ms", counts.round_trip_ms)?;
    let drops = counts.drops.iter().map(|&(cause, count)| (cause.as_str(), count));
    table.set("drops", lua.create_table_from(drops)?)?;
    Ok(table)
}

/// What the sessions of an endpoint have counted together.
pub(super) fn totals(lua: &Lua, totals: &Totals) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("datagrams_in", totals.datagrams_in.get())?;
    table.set("bytes_in", totals.bytes_in.get())?;
    table.set("datagrams_out", totals.datagrams_out.get())?;
    table.set("bytes_out", totals.bytes_out.get())?;
    table.set("challenges", totals.challenges.get())?;
    table.set("stale", totals.stale.get())?;
    table.set("messages_in", totals.messages_in.get())?;
    table.set("message_bytes_in", totals.message_bytes_in.get())?;
    table.set("messages_out", totals.messages_out.get())?;
    table.set("message_bytes_out", totals.message_bytes_out.get())?;
    table.set("retransmissions", totals.retransmissions.get())?;
    table.set("round_trips", totals.round_trips.get())?;
    table.set("round_trip_sum_ms", totals.round_trip_sum_ms.get())?;
    Ok(table)
}
