//! The only module that names mlua: arguments in, tuples out, `luaopen_dtls_core`.
//!
//! What users cause returns `nil, option, sentence` (a refusal) or `nil, err, name` (a failure); a
//! Lua error raised from here is a bug in `lua/dtls/`. `types/dtls_core.lua` says what each
//! function takes and returns.

use crate::certificate;
use crate::config::Refusal;
use crate::context::{Context, PeerName};
use crate::desk::PskPair;
use crate::error::Error;
use crate::gate::{Gate, Pass, Verdict};
use crate::output::Output;
use crate::question::Answer;
use crate::resumption::{self, Earlier};
use crate::session::{Deadlines, Session, Terms, Totals};
use crate::srtp;
use crate::ticket::TicketKeys;
use crate::trail::Trail;
use bytes::Bytes;
use mlua::prelude::*;
use mlua::{MultiValue, UserData, UserDataMethods};
use std::rc::Rc;
use zeroize::Zeroizing;

mod config;
mod show;
mod socket;
mod stats;
mod stray;
mod trace;

/// Opens the module: `require('dtls_core')`.
#[mlua::lua_module(name = "dtls_core")]
fn open(lua: &Lua) -> LuaResult<LuaTable> {
    crate::ffi::init();
    let module = lua.create_table()?;
    module.set("version", env!("CARGO_PKG_VERSION"))?;
    module.set("openssl_version", crate::openssl_version())?;
    module.set("kinds", KINDS)?;
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
    Ok(module)
}

struct LuaContext(Rc<Context>);
struct LuaGate(Gate);
struct LuaSession(Session);
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
    or_refusal(lua, made.map(LuaGate))
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
            or_failure(lua, made.map(LuaSession))
        });
        type Connect = (String, LuaTable, u64);
        methods.add_method("connect", |lua, this, (name, terms, now): Connect| {
            let made = Session::client(&this.0, PeerName::parse(&name), &read_terms(&terms)?, now);
            or_failure(lua, made.map(LuaSession))
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
        methods.add_method_mut("examine", |lua, this, (datagram, ip, port, wall_seconds): Examine| {
            let address = ip.to_str()?.parse().map_err(LuaError::external)?;
            match this.0.examine_untrusted(&datagram.as_bytes(), address, port, wall_seconds) {
                Verdict::Challenge { reply, stale } => {
                    ("challenge", lua.create_string(reply)?, stale).into_lua_multi(lua)
                }
                Verdict::Admit(pass) => ("admit", lua.create_string(pass.to_bytes())?).into_lua_multi(lua),
                Verdict::Discard(cause) => ("discard", cause.as_str()).into_lua_multi(lua),
            }
        });
        methods.add_method_mut("set_secrets", |lua, this, secrets: Vec<LuaString>| {
            or_refusal(lua, this.0.set_secrets(&to_bytes(secrets)).map(|()| true))
        });
        methods.add_method_mut("spend", |_, this, (pass, wall_seconds): (LuaString, u64)| {
            Ok(this.0.spend(read_pass(&pass)?, wall_seconds))
        });
        methods.add_method_mut("is_spent", |_, this, (pass, wall_seconds): (LuaString, u64)| {
            Ok(this.0.is_spent(read_pass(&pass)?, wall_seconds))
        });
    }
}

fn read_pass(pass: &LuaString) -> LuaResult<Pass> {
    Pass::from_bytes(&pass.as_bytes()).ok_or_else(|| LuaError::runtime("not what examine returned"))
}

impl UserData for LuaSession {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("receive", |_, this, (datagram, now): (LuaString, u64)| {
            Ok(this.0.receive_untrusted(&datagram.as_bytes(), now).map(|cause| cause.as_str()))
        });
        methods.add_method_mut("send", |lua, this, message: LuaString| {
            or_failure(lua, this.0.send(&message.as_bytes()).map(Datagram))
        });
        methods.add_method_mut("close", |_, this, now: u64| {
            this.0.close(now);
            Ok(())
        });
        methods.add_method_mut("destroy", |_, this, ()| {
            this.0.destroy();
            Ok(())
        });
        methods.add_method_mut("forget", |_, this, ()| {
            this.0.forget();
            Ok(())
        });
        methods.add_method_mut("expire", |_, this, now: u64| {
            this.0.expire(now);
            Ok(())
        });
        methods.add_method_mut("poll", |lua, this, ()| poll(lua, &mut this.0));
        methods.add_method_mut("take_trace", |lua, this, ()| {
            this.0.take_trace().map(|event| trace::table(lua, &event)).transpose()
        });
        methods.add_method_mut("receive_stray", |_, this, (datagram, now): (LuaString, u64)| {
            Ok(stray::outcome(this.0.receive_stray_untrusted(&datagram.as_bytes(), now)))
        });
        methods.add_method("newest", |_, this, ()| Ok(this.0.newest()));
        methods.add_method("goes_before", |_, this, pass: LuaString| {
            Ok(this.0.goes_before(&read_pass(&pass)?.random))
        });
        methods.add_method_mut("lower_mtu", |_, this, refused: usize| Ok(this.0.lower_mtu(refused)));
        methods.add_method_mut("set_mtu", |_, this, bytes: u32| Ok(this.0.set_mtu(bytes)));
        methods.add_method("heard_at", |_, this, ()| Ok(this.0.heard_at()));
        methods.add_method_mut("give_up", |_, this, (sentence, now): (String, u64)| {
            this.0.give_up(&sentence, now);
            Ok(())
        });
        answers(methods);
        type Export = (usize, LuaString, Option<LuaString>);
        methods.add_method_mut("export_keying_material", |lua, this, (length, label, context): Export| {
            let context = context.as_ref().map(LuaString::as_bytes);
            let made = this.0.export_keying_material(length, &label.as_bytes(), context.as_deref());
            or_failure(lua, made.map(Secret))
        });
        methods.add_method_mut("srtp_keys", |lua, this, ()| or_failure(lua, this.0.srtp_keys()));
        methods.add_method("stats", |lua, this, ()| stats::session(lua, this.0.counts()));
        methods.add_method("established", |lua, this, ()| {
            this.0.established().map(|established| show::established(lua, established)).transpose()
        });
    }
}

/// One method for each kind of question. Each says whether the answer was taken.
fn answers<M: UserDataMethods<LuaSession>>(methods: &mut M) {
    type Context = (u32, u64, Option<LuaUserDataRef<LuaContext>>);
    methods.add_method_mut("answer_server_name", |_, this, (number, now, context): Context| {
        Ok(this.0.answer(number, Answer::Context(context.map(|context| context.0.clone())), now))
    });
    methods.add_method_mut(
        "answer_psk_identity",
        |_, this, (number, now, key): (u32, u64, Option<LuaString>)| {
            Ok(this.0.answer(number, Answer::Key(key.map(|key| key.as_bytes().to_vec())), now))
        },
    );
    type Pair = (u32, u64, Option<LuaString>, Option<LuaString>);
    methods.add_method_mut("answer_psk_hint", |_, this, (number, now, identity, key): Pair| {
        let pair = identity.zip(key).map(|(identity, key)| PskPair {
            identity: identity.as_bytes().to_vec(),
            key: key.as_bytes().to_vec().into(),
        });
        Ok(this.0.answer(number, Answer::Psk(pair), now))
    });
    type Responses = (u32, u64, Vec<LuaString>);
    methods.add_method_mut("answer_ocsp_response", |_, this, (number, now, responses): Responses| {
        Ok(this.0.answer(number, Answer::OcspResponse(to_bytes(responses)), now))
    });
    methods.add_method_mut(
        "answer_cached_session",
        |_, this, (number, now, kept): (u32, u64, Option<LuaString>)| {
            let kept = kept.map(|kept| kept.as_bytes().to_vec());
            Ok(this.0.answer(number, Answer::CachedSession(kept), now))
        },
    );
    type Peer = (u32, u64, bool, Option<LuaString>);
    methods.add_method_mut("answer_peer", |_, this, (number, now, welcome, reason): Peer| {
        let reason = reason.map(|reason| reason.to_string_lossy());
        let answer = if welcome { Ok(()) } else { Err(reason) };
        Ok(this.0.answer(number, Answer::Peer(answer), now))
    });
    methods.add_method_mut("answer_failed", |_, this, (number, now, sentence): (u32, u64, LuaString)| {
        Ok(this.0.answer(number, Answer::Failed(sentence.to_string_lossy()), now))
    });
}

/// What `poll` says, as its place in the module's list `kinds`. A string would be made anew each time: three
/// allocations for the collector and a protected call, twice for every message.
#[derive(Clone, Copy)]
enum Kind {
    Transmit = 1,
    Connected,
    Message,
    Question,
    KeyLog,
    Session,
    Trail,
    Closed,
    Timeout,
}

const KINDS: [&str; Kind::Timeout as usize] =
    ["transmit", "connected", "message", "question", "keylog", "session", "trail", "closed", "timeout"];

fn poll(lua: &Lua, session: &mut Session) -> LuaResult<MultiValue> {
    match session.poll() {
        Output::Transmit(datagram) => {
            (Kind::Transmit as u8, lua.create_string(datagram)?).into_lua_multi(lua)
        }
        Output::Connected => (Kind::Connected as u8).into_lua_multi(lua),
        Output::Message(message) => (Kind::Message as u8, lua.create_string(message)?).into_lua_multi(lua),
        Output::Question(number, asked) => {
            let (kind, about) = show::question(lua, asked)?;
            (Kind::Question as u8, number, kind, about).into_lua_multi(lua)
        }
        Output::KeyLog(line) => (Kind::KeyLog as u8, line).into_lua_multi(lua),
        Output::Session(id, kept) => {
            let (id, kept) = (lua.create_string(id)?, lua.create_string(kept.bytes())?);
            (Kind::Session as u8, id, kept).into_lua_multi(lua)
        }
        Output::Trail(trail) => (Kind::Trail as u8, trail.map(Trail::key)).into_lua_multi(lua),
        Output::Closed(reason, None) => (Kind::Closed as u8, reason.as_str()).into_lua_multi(lua),
        Output::Closed(reason, Some(error)) => {
            let (sentence, name) = (error.to_string(), error.name.as_str());
            (Kind::Closed as u8, reason.as_str(), sentence, name).into_lua_multi(lua)
        }
        Output::Timeout(at) => (Kind::Timeout as u8, at).into_lua_multi(lua),
    }
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
