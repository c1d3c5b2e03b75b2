--- Sessions that are resumed, and who keeps what of them.

local options = require('dtls/options')
local question = require('dtls/question')

local resumption = {}

--- The ring that an endpoint's tickets are sealed with; nil for no tickets. Raises where a secret
--- cannot be.
--- @return dtls_core.TicketKeys?
function resumption.ring(caller, context, given)
  if given == false then return nil end
  local ring, option, sentence = context.core:ticket_keys(options.asList(given))
  if not ring then options.refuse(caller, option, sentence) end
  return ring
end

--- Gives a new session to the user who keeps them. What goes wrong there costs nothing but its
--- resumption: it is a warning of the endpoint's.
function resumption.keep(session, id, data)
  question.start(function (finished, err)
    if finished then return end
    question.warn(session, 'the sessionCache.set hook failed: ' .. question.textOf(err))
  end, session._context.hooks.sessionCache.set, id, data, session)
end

return resumption
