--- Cookies of the user's own making: two hooks in the place of the gate's secrets.
---
--- `src/gate.rs` says what a cookie is for. Here the user says what it is: `generateCookie(peer)` makes the
--- one that a hello is answered with, `verifyCookie(cookie, peer)` knows it again. All else about hellos is
--- the gate's, so that no scheme can get it wrong: nobody is answered who cannot be, no hook is asked about
--- what is no hello, a hello makes one session, and no answer is longer than the shortest hello.
---
--- `peer` is `{ ip, port, family, parameters }`. The parameters are what RFC 6347 section 4.2.1 wants cookies
--- bound to, as far as the first fragment of a hello is sure to hold it: client_version, random and
--- session_id, as they are on the wire. A client repeats them with its cookie, and begins no two handshakes
--- with the same.
---
--- **Anybody on the network has these hooks called**, with whatever they like for a cookie, as often as they
--- can send a hello. This makes them unlike `accept`, which is asked about addresses that are no forgery:
---
--- - They answer at once, and cannot yield: to wait would be to keep something of a stranger.
--- - What they throw does not come out of the loop, or one forged hello would end a program. It is a
---   `'warning'` with EHOOK, and so is an answer that is none, but there is no more than one in a second: a
---   counter tells how many hellos were dropped so. The peer will repeat its own.
--- - Only `true` lets a peer in. What is refused gets a fresh cookie, as a late one must.
---
--- On Linux the hellos of strangers are otherwise answered without a word to Lua (batch.lua). Who wants to be
--- asked about them has them all in Lua: a quarter more for each, and what the hooks take.

local address = require('dtls/address')
local core = require('dtls_core')
local loop = require('dtls/loop')
local options = require('dtls/options')
local question = require('dtls/question')

local WARNING_INTERVAL_MS = 1000

--- A gate by two hooks, with what is asked of one.
--- @class (private) dtls.Cookies
--- @field private core dtls_core.Gate it reads, writes and remembers; its secrets sign nothing
--- @field private hooks { generate: function, verify: function }
--- @field private quietUntil integer? when there may be a warning again
local Cookies = {}
Cookies.__index = Cookies

--- The hooks of checked options; nil where there are none. Raises where they cannot be.
--- @return { generate: function, verify: function }?
function Cookies.terms(caller, given)
  local generate, verify = given.generateCookie, given.verifyCookie
  if not (generate or verify) then return nil end
  if not (generate and verify) then
    local missing = generate and 'verifyCookie' or 'generateCookie'
    local other = generate and 'generateCookie' or 'verifyCookie'
    options.raise('%s: options.%s needs options.%s beside it', caller, other, missing)
  end
  if given.cookieSecret then
    options.raise('%s: options.cookieSecret is of the cookies that options.generateCookie replaces',
      caller)
  end
  return { generate = generate, verify = verify }
end

function Cookies.new(hooks)
  return setmetatable({ core = core.gate(os.time()), hooks = hooks }, Cookies)
end

-- Drops a hello over something that is wrong with a hook.
local function fail(self, option, fault)
  local warning
  local now = loop.now()
  if now >= (self.quietUntil or now) then
    self.quietUntil = now + WARNING_INTERVAL_MS
    warning = ('EHOOK: the %s hook %s'):format(option, fault)
  end
  return 'silence', 'hook', warning
end

-- What is wrong with what a hook has answered.
local function wrong(words, answer)
  local got = type(answer)
  if got == 'string' then got = ('a string of %d bytes'):format(#answer) end
  return ('must answer %s, got %s'):format(words, got)
end

--- Judges a datagram from an address that has no session, as `Gate:examine` does. The hooks may have done
--- anything to the endpoint.
--- @param data string
--- @param ip string
--- @param port integer
--- @return 'challenge'|'admit'|'discard'|'silence' verdict `silence`: it is a hello, and nobody is answered
--- @return string reply_or_pass_or_cause
--- @return boolean|string? more whether a challenge answers a cookie that is not accepted; a warning
function Cookies:examine(data, ip, port)
  local gate, hooks = self.core, self.hooks
  local parameters, number, cookie, returned = gate:inspect(data, ip, port)
  if not parameters then return 'discard', number end
  local plain = address.unmapped(ip)
  local peer = { ip = plain, port = port, family = address.family(plain), parameters = parameters }
  if returned then
    local finished, answer = pcall(hooks.verify, cookie, peer)
    if not finished then return fail(self, 'verifyCookie', 'failed: ' .. question.textOf(answer)) end
    if answer == true then return 'admit', gate:pass(parameters, ip, port) end
    if answer then return fail(self, 'verifyCookie', wrong('true or false', answer)) end
  end
  local finished, answer = pcall(hooks.generate, peer)
  if not finished then return fail(self, 'generateCookie', 'failed: ' .. question.textOf(answer)) end
  if not answer then return 'silence', 'cookie' end
  local reply = type(answer) == 'string' and gate:challenge(number, answer)
  if reply then return 'challenge', reply, cookie ~= '' end
  return fail(self, 'generateCookie', wrong('a string of 1 to 32 bytes, or nil for no answer', answer))
end

--- Notes that a hello has become a session, as `Gate:spend` does.
function Cookies:spend(pass, wallSeconds) return self.core:spend(pass, wallSeconds) end

--- Whether a hello has become a session before, as `Gate:is_spent` does.
function Cookies:is_spent(pass, wallSeconds) return self.core:is_spent(pass, wallSeconds) end

return Cookies
