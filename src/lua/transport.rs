//! A transport, as Lua has it: datagrams as strings with their senders as luv writes them, errors as numbers.

use super::{LuaGate, LuaSession, LuaTotals};
use crate::link::Posted;
use crate::socket::{read_address, write_ip};
use crate::transport::{Entry, Taken, Transport};
use mlua::prelude::*;
use mlua::{IntoLuaMulti, MultiValue, UserData, UserDataMethods};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

struct LuaTransport(Rc<RefCell<Transport>>);

/// What `take` says, as its place in the module's list `takings`.
#[derive(Clone, Copy)]
enum Taking {
    Message = 1,
    Stirred,
    Dropped,
    Admitted,
    Datagram,
}

const TAKINGS: [&str; Taking::Datagram as usize] = ["message", "stirred", "dropped", "admitted", "datagram"];

pub(super) fn register(lua: &Lua, module: &LuaTable) -> LuaResult<()> {
    module.set("takings", TAKINGS)?;
    module.set("transport", lua.create_function(transport)?)
}

fn transport(lua: &Lua, (fd, totals): (RawFd, LuaUserDataRef<LuaTotals>)) -> LuaResult<MultiValue> {
    match Transport::new(fd, totals.0.clone()) {
        Ok(made) => LuaTransport(Rc::new(RefCell::new(made))).into_lua_multi(lua),
        Err(error) => (LuaNil, number(&error)).into_lua_multi(lua),
    }
}

fn number(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Reads an address. That of an interface that is gone has no scope any more, as with libuv: the system says then
/// that nothing can be sent there.
fn address(ip: &LuaString, port: u16) -> LuaResult<SocketAddr> {
    let ip = ip.to_str()?;
    let bare = || ip.split('%').next().and_then(|ip| read_address(ip, port));
    read_address(&ip, port).or_else(bare).ok_or_else(|| LuaError::runtime("no address"))
}

/// `true`, or `nil` and the number of an error.
fn outcome<T: IntoLua>(outcome: io::Result<T>) -> (Option<T>, Option<i32>) {
    match outcome {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(number(&error))),
    }
}

impl UserData for LuaTransport {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("receive", |_, this, ()| Ok(outcome(this.0.borrow_mut().receive())));
        methods.add_method("take", take);
        type Send = (LuaString, LuaString, u16, bool);
        methods.add_method("send", |_, this, (datagram, ip, port, at_once): Send| {
            let (to, datagram) = (address(&ip, port)?, datagram.as_bytes());
            let mut transport = this.0.borrow_mut();
            let sent = if at_once { Transport::send_at_once } else { Transport::send };
            Ok(outcome(sent(&mut transport, to, &datagram).map(|()| true)))
        });
        methods.add_method("flush", |_, this, ()| Ok(this.0.borrow_mut().flush()));
        methods.add_method("take_refused", |lua, this, ()| {
            let Some(refused) = this.0.borrow_mut().take_refused() else {
                return Ok((None, None, None, None, None));
            };
            let datagram = lua.create_string(&refused.datagram)?;
            let (ip, port) = (write_ip(refused.to.ip()), refused.to.port());
            Ok((Some(datagram), Some(number(&refused.error)), Some(ip), Some(port), Some(refused.strange)))
        });
        methods.add_method("pause", |_, this, paused: bool| {
            this.0.borrow_mut().pause(paused);
            Ok(())
        });
        methods.add_method("connected", |_, this, ()| {
            this.0.borrow_mut().connected();
            Ok(())
        });
        methods.add_method("set_gate", |_, this, gate: Option<LuaUserDataRef<LuaGate>>| {
            this.0.borrow_mut().set_gate(gate.map(|gate| gate.0.clone()));
            Ok(())
        });
        type Place = (LuaString, u16, Option<LuaUserDataRef<LuaSession>>, Option<u32>, Option<LuaString>);
        methods.add_method("place", |_, this, (ip, port, session, number, target): Place| {
            let at = address(&ip, port)?;
            let to = target.map_or(Ok(at), |target| address(&target, port))?;
            let direct = session.zip(number).map(|(session, number)| (session.0.clone(), number, to));
            Ok(Transport::place(&this.0, at, direct))
        });
        methods.add_method("vacate", |_, this, (ip, port): (LuaString, u16)| {
            Ok(this.0.borrow_mut().vacate(address(&ip, port)?))
        });
        methods.add_method("close", |_, this, ()| {
            this.0.borrow_mut().close();
            Ok(())
        });
    }
}

type Five = (Option<u8>, LuaValue, LuaValue, LuaValue, LuaValue);

fn take(
    lua: &Lua,
    this: &LuaTransport,
    (now, wall, direct, welcomes): (u64, u64, bool, bool),
) -> LuaResult<Five> {
    let mut transport = this.0.borrow_mut();
    let Some(taken) = transport.take_untrusted(now, wall, direct, welcomes) else {
        return Ok((None, LuaNil, LuaNil, LuaNil, LuaNil));
    };
    let datagram = |entry: &Entry| -> LuaResult<(LuaValue, LuaValue, LuaValue)> {
        let bytes = lua.create_string(transport.bytes(entry))?;
        let ip = lua.create_string(write_ip(entry.from.ip()))?;
        Ok((LuaValue::String(bytes), LuaValue::String(ip), LuaValue::Integer(entry.from.port().into())))
    };
    let whole = |number: u32| LuaValue::Integer(number.into());
    Ok(match taken {
        Taken::Message(number, message, more) => {
            let message = LuaValue::String(lua.create_string(message)?);
            (Some(Taking::Message as u8), whole(number), message, LuaValue::Boolean(more), LuaNil)
        }
        Taken::Stirred(number) => (Some(Taking::Stirred as u8), whole(number), LuaNil, LuaNil, LuaNil),
        Taken::Dropped(number, cause, entry) => {
            let cause = LuaValue::String(lua.create_string(cause.as_str())?);
            let (bytes, ..) = datagram(&entry)?;
            (Some(Taking::Dropped as u8), whole(number), cause, bytes, LuaNil)
        }
        Taken::Admitted(pass, entry) => {
            let (bytes, ip, port) = datagram(&entry)?;
            let pass = LuaValue::String(lua.create_string(pass.to_bytes())?);
            (Some(Taking::Admitted as u8), bytes, ip, port, pass)
        }
        Taken::Other(entry) => {
            let (bytes, ip, port) = datagram(&entry)?;
            (Some(Taking::Datagram as u8), bytes, ip, port, LuaNil)
        }
    })
}

/// `true`; `nil, err, name` where the session cannot send; `false, errno, datagram` where the socket did not take
/// it; nothing where there is no way but Lua's.
pub(super) fn post(
    lua: &Lua,
    session: &LuaSession,
    message: &LuaString,
    at_once: bool,
) -> LuaResult<(Option<bool>, LuaValue, LuaValue)> {
    let string = |bytes: &[u8]| lua.create_string(bytes).map(LuaValue::String);
    Ok(match session.0.post(&message.as_bytes(), at_once) {
        Some(Posted::Sent) => (Some(true), LuaNil, LuaNil),
        Some(Posted::Failed(error)) => {
            (None, string(error.to_string().as_bytes())?, string(error.name.as_str().as_bytes())?)
        }
        Some(Posted::Refused(datagram, error)) => {
            (Some(false), LuaValue::Integer(number(&error).into()), string(&datagram)?)
        }
        None => (None, LuaNil, LuaNil),
    })
}
