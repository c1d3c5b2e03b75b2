//! A session, as Lua has it.

use super::{
    or_failure, read_pass, show, stats, stray, to_bytes, trace, Datagram, LuaContext, LuaSession, Secret,
};
use crate::desk::PskPair;
use crate::link::Link;
use crate::output::Output;
use crate::question::Answer;
use crate::session::Session;
use crate::trail::Trail;
use mlua::prelude::*;
use mlua::{MultiValue, UserData, UserDataMethods};
use std::cell::RefMut;
use std::rc::Rc;

impl LuaSession {
    pub(super) fn new(session: Session) -> LuaSession {
        LuaSession(Rc::new(Link::new(session)))
    }

    fn borrow_mut(&self) -> RefMut<'_, Session> {
        self.0.session.borrow_mut()
    }
}

impl UserData for LuaSession {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("receive", |_, this, (datagram, now): (LuaString, u64)| {
            Ok(this.borrow_mut().receive_untrusted(&datagram.as_bytes(), now).map(|cause| cause.as_str()))
        });
        methods.add_method("send", |lua, this, message: LuaString| {
            or_failure(lua, this.borrow_mut().send(&message.as_bytes()).map(Datagram))
        });
        #[cfg(not(batches))]
        methods.add_method("post", |_, _, _: LuaMultiValue| Ok(()));
        #[cfg(batches)]
        methods.add_method("post", |lua, this, (message, at_once): (LuaString, bool)| {
            super::transport::post(lua, this, &message, at_once)
        });
        methods.add_method("close", |_, this, now: u64| {
            this.borrow_mut().close(now);
            Ok(())
        });
        methods.add_method("destroy", |_, this, ()| {
            this.borrow_mut().destroy();
            Ok(())
        });
        methods.add_method("forget", |_, this, ()| {
            this.borrow_mut().forget();
            Ok(())
        });
        methods.add_method("expire", |_, this, now: u64| {
            this.borrow_mut().expire(now);
            Ok(())
        });
        methods.add_method("poll", |lua, this, ()| poll(lua, &mut this.borrow_mut()));
        methods.add_method("take_trace", |lua, this, ()| {
            this.borrow_mut().take_trace().map(|event| trace::table(lua, &event)).transpose()
        });
        methods.add_method("receive_stray", |_, this, (datagram, now): (LuaString, u64)| {
            Ok(stray::outcome(this.borrow_mut().receive_stray_untrusted(&datagram.as_bytes(), now)))
        });
        methods.add_method("newest", |_, this, ()| Ok(this.borrow_mut().newest()));
        methods.add_method("goes_before", |_, this, pass: LuaString| {
            Ok(this.borrow_mut().goes_before(&read_pass(&pass)?.random))
        });
        methods.add_method("lower_mtu", |_, this, refused: usize| Ok(this.borrow_mut().lower_mtu(refused)));
        methods.add_method("set_mtu", |_, this, bytes: u32| Ok(this.borrow_mut().set_mtu(bytes)));
        methods.add_method("heard_at", |_, this, ()| Ok(this.borrow_mut().heard_at()));
        methods.add_method("give_up", |_, this, (sentence, now): (String, u64)| {
            this.borrow_mut().give_up(&sentence, now);
            Ok(())
        });
        answers(methods);
        type Export = (usize, LuaString, Option<LuaString>);
        methods.add_method("export_keying_material", |lua, this, (length, label, context): Export| {
            let context = context.as_ref().map(LuaString::as_bytes);
            let made =
                this.borrow_mut().export_keying_material(length, &label.as_bytes(), context.as_deref());
            or_failure(lua, made.map(Secret))
        });
        methods.add_method("srtp_keys", |lua, this, ()| or_failure(lua, this.borrow_mut().srtp_keys()));
        methods.add_method("stats", |lua, this, ()| stats::session(lua, this.borrow_mut().counts()));
        methods.add_method("verdict", |lua, this, ()| {
            let session = this.borrow_mut();
            match session.established() {
                Some(established) => show::verdict(lua, established)?.into_lua_multi(lua),
                None => LuaNil.into_lua_multi(lua),
            }
        });
        methods.add_method("established", |lua, this, ()| {
            this.borrow_mut().established().map(|established| show::established(lua, established)).transpose()
        });
    }
}

/// One method for each kind of question. Each says whether the answer was taken.
fn answers<M: UserDataMethods<LuaSession>>(methods: &mut M) {
    type Context = (u32, u64, Option<LuaUserDataRef<LuaContext>>);
    methods.add_method("answer_server_name", |_, this, (number, now, context): Context| {
        Ok(this.borrow_mut().answer(number, Answer::Context(context.map(|context| context.0.clone())), now))
    });
    methods.add_method(
        "answer_psk_identity",
        |_, this, (number, now, key): (u32, u64, Option<LuaString>)| {
            Ok(this.borrow_mut().answer(number, Answer::Key(key.map(|key| key.as_bytes().to_vec())), now))
        },
    );
    type Pair = (u32, u64, Option<LuaString>, Option<LuaString>);
    methods.add_method("answer_psk_hint", |_, this, (number, now, identity, key): Pair| {
        let pair = identity.zip(key).map(|(identity, key)| PskPair {
            identity: identity.as_bytes().to_vec(),
            key: key.as_bytes().to_vec().into(),
        });
        Ok(this.borrow_mut().answer(number, Answer::Psk(pair), now))
    });
    type Responses = (u32, u64, Vec<LuaString>);
    methods.add_method("answer_ocsp_response", |_, this, (number, now, responses): Responses| {
        Ok(this.borrow_mut().answer(number, Answer::OcspResponse(to_bytes(responses)), now))
    });
    methods.add_method(
        "answer_cached_session",
        |_, this, (number, now, kept): (u32, u64, Option<LuaString>)| {
            let kept = kept.map(|kept| kept.as_bytes().to_vec());
            Ok(this.borrow_mut().answer(number, Answer::CachedSession(kept), now))
        },
    );
    type Peer = (u32, u64, bool, Option<LuaString>);
    methods.add_method("answer_peer", |_, this, (number, now, welcome, reason): Peer| {
        let reason = reason.map(|reason| reason.to_string_lossy());
        let answer = if welcome { Ok(()) } else { Err(reason) };
        Ok(this.borrow_mut().answer(number, Answer::Peer(answer), now))
    });
    methods.add_method("answer_failed", |_, this, (number, now, sentence): (u32, u64, LuaString)| {
        Ok(this.borrow_mut().answer(number, Answer::Failed(sentence.to_string_lossy()), now))
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

pub(super) const KINDS: [&str; Kind::Timeout as usize] =
    ["transmit", "connected", "message", "question", "keylog", "session", "trail", "closed", "timeout"];

fn poll(lua: &Lua, session: &mut Session) -> LuaResult<MultiValue> {
    match session.poll() {
        Output::Transmit(datagram) => {
            (Kind::Transmit as u8, lua.create_string(datagram)?).into_lua_multi(lua)
        }
        Output::Connected => (Kind::Connected as u8).into_lua_multi(lua),
        Output::Message(message) => (Kind::Message as u8, lua.create_string(message)?).into_lua_multi(lua),
        Output::Question(number, asked) => {
            let (kind, about) = show::question(lua, *asked)?;
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
