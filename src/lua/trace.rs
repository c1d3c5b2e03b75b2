//! An event of a trace as the table that `lua/dtls/trace.lua` documents.

use crate::trace::{Alert, Event, Header, Message};
use mlua::prelude::*;

/// Makes the table.
pub(super) fn table(lua: &Lua, event: &Event) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("direction", event.direction.as_str())?;
    table.set("flight", event.flight)?;
    table.set("datagram", event.datagram)?;
    table.set("record", record(lua, &event.record)?)?;
    let messages: LuaResult<Vec<_>> = event.messages.iter().map(|each| message(lua, each)).collect();
    table.set("messages", messages?)?;
    table.set("alert", event.alert.map(|each| alert(lua, each)).transpose()?)?;
    table.set("dropped", event.dropped.map(|cause| cause.as_str()))?;
    Ok(table)
}

fn record(lua: &Lua, header: &Header) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("type", header.kind.as_str())?;
    table.set("epoch", header.epoch)?;
    table.set("sequence", header.sequence)?;
    table.set("length", header.length)?;
    Ok(table)
}

fn message(lua: &Lua, message: &Message) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("type", message.kind)?;
    if let Some(part) = message.part {
        table.set("sequence", part.sequence)?;
        table.set("length", part.length)?;
        table.set("fragmentOffset", part.fragment_offset)?;
        table.set("fragmentLength", part.fragment_length)?;
        table.set("retransmission", part.retransmission)?;
    }
    Ok(table)
}

fn alert(lua: &Lua, alert: Alert) -> LuaResult<LuaTable> {
    let table = lua.create_table()?;
    table.set("level", alert.level_name())?;
    table.set("description", alert.description)?;
    table.set("name", alert.name())?;
    Ok(table)
}
