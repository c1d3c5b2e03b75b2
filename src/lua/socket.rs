//! Sockets for Lua, as numbers: what cannot be made is `nil, errno`, which luv has the words for.

use crate::socket::{self, Terms};
use mlua::prelude::*;
use mlua::MultiValue;
use std::os::fd::{IntoRawFd, RawFd};

pub fn register(lua: &Lua, module: &LuaTable) -> LuaResult<()> {
    module.set("shares_ports", socket::SHARES)?;
    module.set("bind_socket", lua.create_function(bind)?)?;
    module.set("keep_socket", lua.create_function(|_, fd: RawFd| Ok(socket::keep_to_user(fd).is_ok()))?)?;
    module.set("take_datagram", lua.create_function(take)?)?;
    module.set(
        "discard_socket",
        lua.create_function(|_, fd: RawFd| {
            socket::discard(fd);
            Ok(())
        })?,
    )
}

fn bind(lua: &Lua, given: LuaTable) -> LuaResult<MultiValue> {
    let Some(terms) = read(&given)? else {
        return (LuaNil, libc::EINVAL).into_lua_multi(lua);
    };
    match socket::open(&terms) {
        Ok(made) => made.into_raw_fd().into_lua_multi(lua),
        Err(error) => (LuaNil, error.raw_os_error().unwrap_or(libc::EIO)).into_lua_multi(lua),
    }
}

/// `None` where an address is none, or has a scope that no interface has.
fn read(given: &LuaTable) -> LuaResult<Option<Terms>> {
    let is = |option: &str| LuaResult::Ok(given.get::<Option<bool>>(option)?.unwrap_or(false));
    let Some(local) = socket::read_address(&given.get::<String>("ip")?, given.get("port")?) else {
        return Ok(None);
    };
    let mut peer = None;
    if let Some(ip) = given.get::<Option<String>>("peer_ip")? {
        peer = socket::read_address(&ip, given.get("peer_port")?);
        if peer.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(Terms {
        local,
        peer,
        shared: is("shared")?,
        ipv6_only: is("ipv6_only")?,
        ttl: given.get("ttl")?,
        recv_buffer_size: given.get("recv_buffer_size")?,
        send_buffer_size: given.get("send_buffer_size")?,
    }))
}

fn take(lua: &Lua, fd: RawFd) -> LuaResult<MultiValue> {
    match socket::take(fd) {
        Some((datagram, ip, port)) => {
            (lua.create_string(datagram)?, ip.to_string(), port).into_lua_multi(lua)
        }
        None => LuaNil.into_lua_multi(lua),
    }
}
