--- The sessions that a record from an unknown address may be of, as roam.lua looks for them: by the trail
--- that their peers' records leave, and where they leave none, by number and host.

local address = require('dtls/address')

-- How many sessions may bear one trail.
local MOST_OF_A_TRAIL = 4

-- How many are likely at most, of how many that are compared.
local MOST_LIKELY, MOST_LOOKS = 8, 64

-- How far a record's number may be behind the newest: as far as replays can be told.
local WINDOW = 64

-- Puts sessions on other hosts behind all of the same one: more than numbers can differ.
local ELSEWHERE = 2 ^ 48

--- @class (private) dtls.Candidates
--- @field private trails table<integer, dtls.Session> the oldest of those with a trail; the others follow as
---   `_sameTrail`
--- @field private trackless dtls.Session[] those without
--- @field private hosts table<string, dtls.Session[]> the same by the peer's host
--- @field private dice integer where the last look began
local Candidates = {}
Candidates.__index = Candidates

function Candidates.new()
  return setmetatable({ trails = {}, trackless = {}, hosts = {}, dice = 1 }, Candidates)
end

-- Lists whose members know their place in them, as `session[place]`.

local function append(list, session, place)
  list[#list + 1] = session
  session[place] = #list
end

local function take(list, session, place)
  local at, last = session[place], list[#list]
  list[at], last[place] = last, at
  list[#list], session[place] = nil, nil
end

local function enterHost(self, session)
  local host = address.host(session._ip)
  local list = self.hosts[host]
  if not list then
    list = {}
    self.hosts[host] = list
  end
  session._roamHost = host
  append(list, session, '_roamHostPlace')
end

local function leaveHost(self, session)
  local host = session._roamHost
  local list = self.hosts[host]
  take(list, session, '_roamHostPlace')
  if not list[1] then self.hosts[host] = nil end
  session._roamHost = nil
end

-- Says whether there was room.
local function enterTrail(self, session, trail)
  local last, count = self.trails[trail], 1
  if not last then
    self.trails[trail] = session
  else
    while last._sameTrail do last, count = last._sameTrail, count + 1 end
    if count == MOST_OF_A_TRAIL then return false end
    last._sameTrail = session
  end
  session._trail = trail
  return true
end

local function leaveTrail(self, session)
  local before, each = nil, self.trails[session._trail]
  while each ~= session do before, each = each, each._sameTrail end
  local after = session._sameTrail
  if before then before._sameTrail = after else self.trails[session._trail] = after end
  session._trail, session._sameTrail = nil, nil
end

--- Enters an established session by the trail of its peer's records, nil where there is none. The second time
--- it changes that.
--- @param session dtls.Session
--- @param trail integer?
function Candidates:enter(session, trail)
  self:leave(session)
  if trail and enterTrail(self, session, trail) then return end
  append(self.trackless, session, '_tracklessPlace')
  enterHost(self, session)
end

--- Takes a session out, if it is in.
function Candidates:leave(session)
  if session._trail then
    leaveTrail(self, session)
  elseif session._roamHost then
    take(self.trackless, session, '_tracklessPlace')
    leaveHost(self, session)
  end
end

--- Notes that a session's peer has another address.
function Candidates:move(session)
  if not session._roamHost then return end
  leaveHost(self, session)
  enterHost(self, session)
end

--- The first session with a trail; the others follow as `_sameTrail`.
--- @return dtls.Session?
function Candidates:ofTrail(trail)
  return self.trails[trail]
end

-- Enters a session into a list of no more than the likely ones, nearest first.
local function rank(best, distances, session, distance)
  local at = #best + 1
  if at > MOST_LIKELY then
    at = MOST_LIKELY
    if distances[at] <= distance then return end
  end
  while at > 1 and distances[at - 1] > distance do
    best[at], distances[at] = best[at - 1], distances[at - 1]
    at = at - 1
  end
  best[at], distances[at] = session, distance
end

-- The trackless sessions that a record from a host may be of, and nil where there is none.
local function possible(self, host)
  local list = self.trackless
  if #list > MOST_LOOKS then return self.hosts[host] end
  return list[1] and list
end

--- Whether there is any trackless session that a record from an address may be of.
function Candidates:hasTrackless(ip)
  return self.trackless[1] ~= nil and possible(self, address.host(ip)) ~= nil
end

--- The trackless sessions that are likeliest to have been sent a record of this number from a host, the
--- likeliest first. There may be others at the next call.
--- @param number integer
--- @param ip string
--- @return dtls.Session[]
function Candidates:likeliest(number, ip)
  local best, distances = {}, {}
  local host = address.host(ip)
  local list = possible(self, host) or best
  -- The "minimal standard" generator: the user's own is left alone.
  self.dice = self.dice * 16807 % (2 ^ 31 - 1)
  for index = self.dice, self.dice + math.min(#list, MOST_LOOKS) - 1 do
    local session = list[index % #list + 1]
    local newest = session._core:newest()
    if newest and number > newest - WINDOW then
      local distance = math.abs(number - newest)
      if session._roamHost ~= host then distance = distance + ELSEWHERE end
      rank(best, distances, session, distance)
    end
  end
  return best
end

return Candidates
