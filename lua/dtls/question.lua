--- The first law's other half: what the core asks, the user's hooks answer, at once or later.
---
--- A hook is called as `hook(about, session, done)`. It answers in one of three ways:
---
--- - what it returns is the answer;
--- - it names its third parameter, returns nothing, and calls `done(answer)` some time later;
--- - it yields, and what it returns when it has been resumed is the answer. (It runs in a coroutine
---   of its own.)
---
--- One that throws, or answers nonsense, fails that handshake and nothing else, with EHOOK. Of several
--- answers the first counts, and none does when the handshake is over.

local certificate = require('dtls/certificate')
local log = require('dtls/log')
local loop = require('dtls/loop')

local question = {}

-- How each kind is asked and answered:
-- hook     the user's function, and the option it was given as;
-- show     what it gets to see, where that is not what the core says;
-- answer   gives the core the answer; returns what an answer must be, where it is none.
local kinds = {}

local function hookOf(option)
  return function (session) return session._context.hooks[option], option end
end

kinds.psk_identity = {
  hook = hookOf('psk'),
  answer = function (core, number, key)
    if key ~= nil and type(key) ~= 'string' then
      return 'a key as a string, or nil where the identity is unknown'
    end
    core:answer_psk_identity(number, loop.now(), key)
  end,
}

kinds.psk_hint = {
  hook = hookOf('psk'),
  answer = function (core, number, pair)
    local fits = type(pair) == 'table' and type(pair.identity) == 'string' and type(pair.key) == 'string'
    if pair ~= nil and not fits then return 'a table { identity = …, key = … } of strings, or nil' end
    core:answer_psk_hint(number, loop.now(), pair and pair.identity, pair and pair.key)
  end,
}

kinds.peer = {
  hook = hookOf('verify'),
  show = certificate.presented,
  answer = function (core, number, welcome, reason)
    if welcome ~= nil and type(welcome) ~= 'boolean' then return 'true or false' end
    if reason ~= nil and type(reason) ~= 'string' then return 'a reason that is a string' end
    core:answer_peer(number, loop.now(), welcome or false, reason)
  end,
}

kinds.cached_session = {
  hook = function (session) return session._context.hooks.sessionCache.get, 'sessionCache.get' end,
  answer = function (core, number, data)
    if data ~= nil and type(data) ~= 'string' then
      return 'what sessionCache.set was given for that id, or nil where there is nothing'
    end
    core:answer_cached_session(number, loop.now(), data)
  end,
}

kinds.server_name = {
  hook = function (session) return session._endpoint._sni, 'sni' end,
  answer = function (core, number, context, _, session)
    if context ~= nil then
      local fits = type(context) == 'table' and type(context.core) == 'userdata'
      if not fits then return 'a context, as dtls.createContext makes, or nil for none' end
      local ready, option, sentence = context.core:check_server()
      if not ready then return ('a context for servers: options.%s %s'):format(option, sentence) end
      session._context = context
    end
    core:answer_server_name(number, loop.now(), context and context.core)
  end,
}

-- Whether a hook that has returned `count` values, the first of them nil, will answer later.
local function answersLater(hook, count)
  local PARAMETERS = 3
  local info = debug.getinfo(hook, 'u')
  -- Plain Lua 5.1 does not say what parameters a function has.
  if not info.nparams or (info.isvararg and info.nparams < PARAMETERS) then return count == 0 end
  return info.nparams >= PARAMETERS
end

-- LuaJIT can yield out of a pcall. In plain Lua a hook that throws after it has yielded throws at whoever
-- resumed it, and the handshake ends by its deadline.
local protected = jit and pcall or function (fn, ...) return true, fn(...) end

--- Calls `fn(a, b, c)` in a coroutine of its own, where it may yield, and when it has ended
--- `conclude(finished, …)` with what it returned or threw.
function question.start(conclude, fn, a, b, c)
  local finished, err = coroutine.resume(coroutine.create(function () conclude(protected(fn, a, b, c)) end))
  if not finished then conclude(false, err) end
end

--- Asks the user what the core asks, in `session`'s name. Never throws. `goOn(endpoint, session)` is called
--- when there is an answer.
function question.ask(session, number, kind, about, goOn)
  local how, core = kinds[kind], session._core
  local hook, option = how.hook(session)
  local answered = false

  local function settle(answer, ...)
    -- Another core: the session has gone on to the next address of its host.
    if answered or session._core ~= core then
      if log.debug then log.debug('the %s hook answered twice, or after the end', option) end
      return
    end
    answered = true
    local wanted = answer(core, number, ...)
    if wanted then
      local sentence = ('the %s hook must answer %s, got %s'):format(option, wanted, type((...)))
      core:answer_failed(number, loop.now(), sentence)
    end
    goOn(session._endpoint, session)
  end

  local function done(value, more)
    settle(function (...) return how.answer(...) end, value, more, session)
  end

  local function fail(err)
    settle(function ()
      core:answer_failed(number, loop.now(), ('the %s hook failed: %s'):format(option, tostring(err)))
    end)
  end

  local function conclude(finished, ...)
    local first, second = ...
    if not finished then
      fail(first)
    elseif first ~= nil or not answersLater(hook, select('#', ...)) then
      done(first, second)
    end
  end

  local shown = about
  if how.show then shown = how.show(about) end
  question.start(conclude, hook, shown, session, done)
end

return question
