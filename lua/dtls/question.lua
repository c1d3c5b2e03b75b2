--- The first law's other half: what the core asks, the user's hooks answer, at once or later.
---
--- A hook is called as `hook(about, session, done)`. It answers in one of three ways:
---
--- - what it returns is the answer, `nil` included: no such key, no such host, not welcome;
--- - it names its third parameter, returns nothing (or `nil`), and calls `done(answer)` when it likes. One
---   that takes its arguments as `...` waits for `done` where it returns nothing at all: an explicit `nil`
---   is its answer;
--- - it yields, and what it returns when it has been resumed is the answer. (It runs in a coroutine
---   of its own.)
---
--- One that throws, answers nonsense, or returns luv's `nil, err`, fails that handshake and nothing else,
--- with EHOOK. (From `verify` that is a refusal and its reason.) Of several answers the first counts, and
--- none does when the handshake is over. What it throws then is a `'warning'`, also with EHOOK.
---
--- A server's hook meets a session that nobody else has met. It may listen for its `'close'` and end it; its
--- failure is the server's `'clientError'`, which comes before that, and never its own `'error'`.

local certificate = require('dtls/certificate')
local log = require('dtls/log')
local loop = require('dtls/loop')
local options = require('dtls/options')
local turns = require('dtls/turns')

local question = {}

local function mustBe(words, value) return ('must answer %s, got %s'):format(words, type(value)) end

-- How each kind is asked and answered:
-- hook     the user's function, and the option it was given as;
-- show     what it gets to see, where that is not what the core says;
-- reasons  whether a second value says why the first is none, rather than that the hook has failed;
-- answer   gives the core the answer; returns what is wrong with it, where it is none.
local kinds = {}

local function hookOf(option)
  return function (session) return session._context.hooks[option], option end
end

kinds.psk_identity = {
  hook = hookOf('psk'),
  answer = function (core, number, key)
    if key ~= nil and type(key) ~= 'string' then
      return mustBe('a key as a string, or nil where the identity is unknown', key)
    end
    core:answer_psk_identity(number, loop.now(), key)
  end,
}

kinds.psk_hint = {
  hook = hookOf('psk'),
  answer = function (core, number, pair)
    local fits = type(pair) == 'table' and type(pair.identity) == 'string' and type(pair.key) == 'string'
    if pair ~= nil and not fits then
      return mustBe('a table { identity = …, key = … } of strings, or nil', pair)
    end
    core:answer_psk_hint(number, loop.now(), pair and pair.identity, pair and pair.key)
  end,
}

kinds.peer = {
  hook = hookOf('verify'),
  show = certificate.presented,
  reasons = true,
  answer = function (core, number, welcome, reason)
    if welcome ~= nil and type(welcome) ~= 'boolean' then return mustBe('true or false', welcome) end
    if reason ~= nil and type(reason) ~= 'string' then return mustBe('a reason that is a string', reason) end
    core:answer_peer(number, loop.now(), welcome or false, reason)
  end,
}

kinds.ocsp_response = {
  hook = hookOf('ocspResponse'),
  show = certificate.statusRequest,
  answer = function (core, number, responses)
    if responses == nil then responses = {} end
    responses = options.asList(responses)
    if not options.isListOfStrings(responses) then
      return mustBe('an OCSP response in DER, a list of them, or nil for none', responses)
    end
    core:answer_ocsp_response(number, loop.now(), responses)
  end,
}

kinds.cached_session = {
  hook = function (session) return session._context.hooks.sessionCache.get, 'sessionCache.get' end,
  answer = function (core, number, data)
    if data ~= nil and type(data) ~= 'string' then
      return mustBe('what sessionCache.set was given for that id, or nil where there is nothing', data)
    end
    core:answer_cached_session(number, loop.now(), data)
  end,
}

kinds.server_name = {
  hook = function (session) return session._endpoint._sni, 'sni' end,
  answer = function (core, number, context, _, session)
    if context ~= nil then
      local fits = type(context) == 'table' and type(context.core) == 'userdata'
      if not fits then return mustBe('a context, as dtls.createContext makes, or nil for none', context) end
      local ready, option, sentence = context.core:check_server()
      if not ready then
        local name = options.publicName(option)
        return ('answered a context that cannot serve: options.%s %s'):format(name, sentence)
      end
    end
    core:answer_server_name(number, loop.now(), context and context.core)
    session._context = context or session._context
  end,
}

-- Whether a hook that has returned `count` values, the first of them nil, will answer later.
local function answersLater(hook, count)
  local PARAMETERS = 3
  local info = debug.getinfo(hook, 'u')
  -- Plain Lua 5.1 does not say what parameters a function has.
  if not info.nparams or (info.isvararg and info.nparams < PARAMETERS) then return count == 0 end
  return info.nparams >= PARAMETERS and count <= 1
end

-- LuaJIT can yield out of a pcall. In plain Lua a hook that throws after it has yielded throws at whoever
-- resumed it, and the handshake ends by its deadline.
local protected = jit and pcall or function (fn, ...) return true, fn(...) end

--- The text of an error, which may be anything.
function question.textOf(err)
  local finished, text = pcall(tostring, err)
  return finished and text or type(err)
end

--- Tells of an error that no handshake is left to be failed with, from the loop.
function question.warn(session, sentence)
  local warning = 'EHOOK: ' .. sentence
  if log.warn then log.warn('%s', warning) end
  loop.defer(function ()
    if session._isServer then
      if not session._endpoint._closed then session._endpoint:emit('warning', warning, 'EHOOK') end
    elseif session._state ~= 'closed' then
      session:emit('warning', warning, 'EHOOK')
    end
  end)
end

--- Calls `fn(a, b, c)` in a coroutine of its own, where it may yield, and when it has ended
--- `conclude(finished, …)` with what it returned or threw.
function question.start(conclude, fn, a, b, c)
  local finished, err = coroutine.resume(coroutine.create(function () conclude(protected(fn, a, b, c)) end))
  if not finished then conclude(false, err) end
end

--- Asks the user what the core asks, in `session`'s name, from within a drain. Never throws.
--- `goOn(endpoint, session)` is called when the answer comes after that.
function question.ask(session, number, kind, about, goOn)
  local how, core = kinds[kind], session._core
  local hook, option = how.hook(session)
  local asking, answered = true, false

  local function isOver() return session._core ~= core end

  -- Every path gives the core something, or the handshake would wait for its deadline.
  local function give(failure, value, more)
    if isOver() then return end
    if not failure then
      local finished, fault = pcall(how.answer, core, number, value, more, session)
      if not finished then fault = 'failed: ' .. question.textOf(fault) end
      failure = fault and ('the %s hook %s'):format(option, fault)
    end
    if failure then core:answer_failed(number, loop.now(), failure) end
    -- In its own drain, which goes on by itself, the answer is part of that.
    if not asking then goOn(session._endpoint, session) end
  end

  local function settle(failure, value, more)
    if answered or isOver() then
      if failure then
        question.warn(session, failure .. (answered and ', after its answer' or ', after the end'))
      elseif log.debug then
        log.debug('the %s hook answered twice, or after the end', option)
      end
      return
    end
    answered = true
    -- What comes later comes from the loop: handlers run neither in the hook's coroutine nor in the midst
    -- of whoever calls `done`.
    if asking then give(failure, value, more) else turns.add(give, failure, value, more) end
  end

  local function fail(err)
    settle(('the %s hook failed: %s'):format(option, question.textOf(err)))
  end

  local function done(value, more)
    if value == nil and more ~= nil and not how.reasons then return fail(more) end
    settle(nil, value, more)
  end

  local function conclude(finished, ...)
    local first, second = ...
    if not finished then
      fail(first)
    elseif not answered and (first ~= nil or not answersLater(hook, select('#', ...))) then
      done(first, second)
    end
  end

  local shown = about
  if how.show then shown = how.show(about) end
  question.start(conclude, hook, shown, session, done)
  asking = false
end

return question
