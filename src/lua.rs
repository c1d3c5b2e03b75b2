//! The only module that names mlua: arguments in, tuples out, `luaopen_dtls_core`.
//!
//! What users cause returns `nil, option, sentence` (a refusal) or `nil, err, name` (a failure); a
//! Lua error raised from here is a bug in `lua/dtls/`. `types/dtls_core.lua` says what each
//! function takes and returns.

use crate::certificate;
use crate::config::Refusal;
use crate::context::{Context, PeerName};
use crate::error::Error;
use crate::gate::{self, Gate, Pass, Verdict};
use crate::link::Link;
use crate::resumption::{self, Earlier};
use crate::session::{Deadlines, Session, Terms, Totals};
use crate::srtp;
use crate::ticket::TicketKeys;
use bytes::Bytes;
use mlua::prelude::*;
use mlua::{MultiValue, UserData, UserDataMethods};
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use zeroize::Zeroizing;

mod config;
mod session;
mod show;
mod socket;
mod stats;
mod stray;
mod trace;
#[cfg(batches)]
mod transport;

/// Opens the module: `require('dtls_core')`.
#[mlua::lua_module(name = "dtls_core", skip_memory_check)]
fn open(lua: &Lua) -> LuaResult<LuaTable> {
    crate::ffi::init();
    let module = lua.create_table()?;
    module.set("version", env!("CARGO_PKG_VERSION"))?;
    module.set("openssl_version", crate::openssl_version())?;
    module.set("kinds", session::KINDS)?;
    module.set("context", lua.create_function(context)?)?;
    module.set("gate", lua.create_function(gate)?)?;
    module.set("generate_certificate", lua.create_function(generate_certificate)?)?;
    module.set("totals", lua.create_function(|_, ()| Ok(LuaTotals(Rc::default())))?)?;
    module.set("claim", lua.create_function(stray::claim)?)?;
    module.set("is_answerable", lua.create_function(stray::is_answerable)?)?;
    module.set("is_session", lua.create_function(is_session)?)?;
    module.set(
        "trim_heap",
        lua.create_function(|_, ()| {
            crate::trim_heap();
            Ok(())
        })?,
    )?;
    socket::register(lua, &module)?;
    #[cfg(batches)]
    transport::register(lua, &module)?;
    Ok(module)
}

struct LuaContext(Rc<Context>);
struct LuaGate(Rc<RefCell<Gate>>);
struct LuaSession(Rc<Link>);
struct LuaTicketKeys(TicketKeys);
struct LuaEarlier(Earlier);
struct LuaTotals(Rc<Totals>);

fn context(lua: &Lua, options: LuaTable) -> LuaResult<MultiValue> {
    let made = match config::read(&options)? {
        Ok(config) => Context::new(config),
        Err(refusal) => Err(refusal),
    };
    or_refusal(lua, made.map(|context| LuaContext(Rc::new(context))))
}

fn gate(lua: &Lua, (wall_seconds, secrets): (u64, Option<Vec<LuaString>>)) -> LuaResult<MultiValue> {
    let made = match secrets {
        Some(secrets) => Gate::with_secrets(&to_bytes(secrets)),
        None => Ok(Gate::random(wall_seconds)),
    };
    or_refusal(lua, made.map(|gate| LuaGate(Rc::new(RefCell::new(gate)))))
}

fn generate_certificate(lua: &Lua, (names, days): (Vec<String>, u32)) -> LuaResult<MultiValue> {
    match certificate::generate(&names, days) {
        Ok(made) => {
            let (cert, key) = (lua.create_string(made.cert)?, lua.create_string(made.key)?);
            (cert, key, made.fingerprint256).into_lua_multi(lua)
        }
        Err(error) => (LuaNil, error.to_string()).into_lua_multi(lua),
    }
}

fn is_session(_: &Lua, bytes: LuaString) -> LuaResult<bool> {
    Ok(resumption::is_kept(&bytes.as_bytes()))
}

impl UserData for LuaContext {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("check_server", |lua, this, ()| {
            or_refusal(lua, this.0.check_server().map(|()| true))
        });
        methods.add_method("check_client", |lua, this, ()| {
            or_refusal(lua, this.0.check_client().map(|()| true))
        });
        type Accept = (LuaString, LuaTable, u64);
        methods.add_method("accept", |lua, this, (datagram, terms, now): Accept| {
            let made = Session::server(&this.0, &datagram.as_bytes(), &read_terms(&terms)?, now);
            or_failure(lua, made.map(LuaSession::new))
        });
        type Connect = (String, LuaTable, u64);
        methods.add_method("connect", |lua, this, (name, terms, now): Connect| {
            let made = Session::client(&this.0, PeerName::parse(&name), &read_terms(&terms)?, now);
            or_failure(lua, made.map(LuaSession::new))
        });
        methods.add_method("earlier", |lua, this, (name, kept): (String, LuaString)| {
            let earlier = this.0.earlier(&PeerName::parse(&name), &kept.as_bytes());
            or_failure(lua, earlier.map(LuaEarlier))
        });
        methods.add_method("ticket_keys", |lua, this, secrets: Option<Vec<LuaString>>| {
            let made = match secrets {
                Some(secrets) => TicketKeys::with_secrets(&to_bytes(secrets)),
                None => Ok(TicketKeys::random(this.0.config().session_timeout_s.into())),
            };
            or_refusal(lua, made.map(LuaTicketKeys))
        });
    }
}

impl UserData for LuaEarlier {}

impl UserData for LuaTotals {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("read", |lua, this, ()| stats::totals(lua, &this.0));
    }
}

impl UserData for LuaTicketKeys {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("set", |lua, this, secrets: Vec<LuaString>| {
            or_refusal(lua, this.0.set_secrets(&to_bytes(secrets)).map(|()| true))
        });
    }
}

fn read_terms(terms: &LuaTable) -> LuaResult<Terms> {
    let is = |option: &str| LuaResult::Ok(terms.get::<Option<bool>>(option)?.unwrap_or(false));
    Ok(Terms {
        deadlines: Deadlines { handshake_ms: terms.get("handshake_ms")?, idle_ms: terms.get("idle_ms")? },
        spent_ms: terms.get::<Option<u64>>("spent_ms")?.unwrap_or(0),
        linger_ms: terms.get::<Option<u64>>("linger_ms")?.unwrap_or(Terms::LINGER_MS),
        mtu: terms.get("mtu")?,
        refuse_oversize: is("refuse_oversize")?,
        ask_server_name: is("ask_server_name")?,
        trace: is("trace")?,
        roams: is("roams")?,
        tickets: terms.get::<Option<LuaUserDataRef<LuaTicketKeys>>>("tickets")?.map(|keys| keys.0.clone()),
        earlier: terms.get::<Option<LuaUserDataRef<LuaEarlier>>>("earlier")?.map(|earlier| earlier.0.clone()),
        totals: terms.get::<LuaUserDataRef<LuaTotals>>("totals")?.0.clone(),
    })
}

impl UserData for LuaGate {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        type Examine = (LuaString, LuaString, u16, u64);
        methods.add_method("examine", |lua, this, (datagram, ip, port, wall_seconds): Examine| {
            let address = read_address(&ip)?;
            match this.0.borrow_mut().examine_untrusted(&datagram.as_bytes(), address, port, wall_seconds) {
                Verdict::Challenge { reply, stale } => {
                    ("challenge", lua.create_string(reply)?, stale).into_lua_multi(lua)
                }
                Verdict::Admit(pass) => ("admit", lua.create_string(pass.to_bytes())?).into_lua_multi(lua),
                Verdict::Discard(cause) => ("discard", cause.as_str()).into_lua_multi(lua),
            }
        });
        // For cookies of another kind.
        type Inspect = (LuaString, LuaString, u16);
        methods.add_method("inspect", |lua, _, (datagram, ip, port): Inspect| {
            match gate::read_untrusted(&datagram.as_bytes(), read_address(&ip)?, port) {
                Ok(hello) => {
                    let (fixed, cookie) = (lua.create_string(hello.fixed)?, lua.create_string(hello.cookie)?);
                    (fixed, hello.record_sequence, cookie, hello.returns_cookie()).into_lua_multi(lua)
                }
                Err(cause) => (LuaNil, cause.as_str()).into_lua_multi(lua),
            }
        });
        methods.add_method("challenge", |lua, _, (record_sequence, cookie): (u64, LuaString)| {
            gate::challenge(record_sequence, &cookie.as_bytes())
                .map(|reply| lua.create_string(reply))
                .transpose()
        });
        methods.add_method("pass", |lua, this, (fixed, ip, port): (LuaString, LuaString, u16)| {
            let pass = this.0.borrow().pass(&fixed.as_bytes(), read_address(&ip)?, port);
            let pass = pass.ok_or_else(|| LuaError::runtime("not what inspect returned"))?;
            lua.create_string(pass.to_bytes())
        });
        methods.add_method("set_secrets", |lua, this, secrets: Vec<LuaString>| {
            or_refusal(lua, this.0.borrow_mut().set_secrets(&to_bytes(secrets)).map(|()| true))
        });
        methods.add_method("spend", |_, this, (pass, wall_seconds): (LuaString, u64)| {
            Ok(this.0.borrow_mut().spend(read_pass(&pass)?, wall_seconds))
        });
        methods.add_method("is_spent", |_, this, (pass, wall_seconds): (LuaString, u64)| {
            Ok(this.0.borrow_mut().is_spent(read_pass(&pass)?, wall_seconds))
        });
    }
}

fn read_address(ip: &LuaString) -> LuaResult<IpAddr> {
    ip.to_str()?.parse().map_err(LuaError::external)
}

fn read_pass(pass: &LuaString) -> LuaResult<Pass> {
    Pass::from_bytes(&pass.as_bytes()).ok_or_else(|| LuaError::runtime("not what examine or pass returned"))
}

fn or_refusal(lua: &Lua, outcome: Result<impl IntoLua, Refusal>) -> LuaResult<MultiValue> {
    match outcome {
        Ok(value) => value.into_lua_multi(lua),
        Err(refusal) => (LuaNil, refusal.option, refusal.sentence).into_lua_multi(lua),
    }
}

fn or_failure(lua: &Lua, outcome: Result<impl IntoLua, Error>) -> LuaResult<MultiValue> {
    match outcome {
        Ok(value) => value.into_lua_multi(lua),
        Err(error) => (LuaNil, error.to_string(), error.name.as_str()).into_lua_multi(lua),
    }
}

/// Bytes on their way to Lua.
struct Datagram(Bytes);

impl IntoLua for Datagram {
    fn into_lua(self, lua: &Lua) -> LuaResult<LuaValue> {
        lua.create_string(self.0).map(LuaValue::String)
    }
}

/// Key material on its way to Lua.
struct Secret(Zeroizing<Vec<u8>>);

impl IntoLua for Secret {
    fn into_lua(self, lua: &Lua) -> LuaResult<LuaValue> {
        lua.create_string(&self.0[..]).map(LuaValue::String)
    }
}

impl IntoLua for srtp::Keys {
    fn into_lua(self, lua: &Lua) -> LuaResult<LuaValue> {
        let table = lua.create_table()?;
        table.set("profile", self.profile.name)?;
        table.set("client_key", Secret(self.client_key))?;
        table.set("client_salt", Secret(self.client_salt))?;
        table.set("server_key", Secret(self.server_key))?;
        table.set("server_salt", Secret(self.server_salt))?;
        Ok(LuaValue::Table(table))
    }
}

fn to_bytes(strings: Vec<LuaString>) -> Vec<Vec<u8>> {
    strings.iter().map(|string| string.as_bytes().to_vec()).collect()
}
