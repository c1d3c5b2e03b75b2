--- The places of a server: which peers have one, which handshakes are under way, by age, and how many of each
--- are a host's. What the limits are for, and who yields to whom: admission.lua.
---
--- Nothing here depends on how many sessions there are: the lines of handshakes are linked lists, what is
--- kept of a host is kept while it has sessions. Only the clocks of the rate outlive them, for a second or
--- two.

local Line = require('dtls/line')
local address = require('dtls/address')
local interpreted = require('dtls/interpreted')

--- The limits where the user sets none.
local DEFAULTS = {
  maxSessions = 100 * 1000,
  maxSessionsPerHost = 1000,
  maxHandshakes = 10 * 1000,
  maxHandshakeRate = 0,
}

--- How long a second's worth of handshakes is remembered, and of how many hosts: whoever has more of them is
--- not kept by a limit on each.
local SECOND, MOST_CLOCKS = 1000, 65536

--- A session that counts has `_host`, where it has a place, and `_line`, while its handshake is under way.
--- @class (private) dtls.Places
--- @field limits table<string, integer> by the names of the options
--- @field places integer how many peers have one
--- @field newcomers dtls.Line handshakes that have a place, by age
--- @field restarts dtls.Line those of peers whose place is that of their old session
--- @field hosts table<string, dtls.Line> the newcomers of each host that has places, and how many it has
--- @field clocks table<string, number> until when each host has used up its rate
--- @field earlier table<string, number> those of hosts that were not heard of lately
local Places = {}
Places.__index = Places

--- @param given table<string, integer> limits by the names of the options, each may be missing
function Places.new(given)
  local self = setmetatable({
    limits = {}, places = 0, begun = 0,
    newcomers = Line.new('_older', '_newer'), restarts = Line.new('_older', '_newer'),
    hosts = {}, clocks = {}, earlier = {}, clockCount = 0, turnedAt = 0,
  }, Places)
  self:set(DEFAULTS)
  self:set(given)
  return self
end

--- Changes the limits that are given.
function Places:set(given)
  for name in pairs(DEFAULTS) do self.limits[name] = given[name] or self.limits[name] end
end
interpreted(Places.set)

-- The rate is a clock for each host, which each handshake sets ahead by its share of a second, and which may
-- be ahead of time by a second: a bucket of a second's worth (GCRA, ITU-T I.371). One that was set a second
-- ago has no more to say, so dropping those not set since the last but one turn of a second forgets nothing.
local function clockOf(self, host, now)
  return math.max(self.clocks[host] or self.earlier[host] or now, now)
end

local function setClock(self, host, now)
  local clock = clockOf(self, host, now) + SECOND / self.limits.maxHandshakeRate
  self.clockCount = self.clockCount + 1
  if now - self.turnedAt >= SECOND or self.clockCount > MOST_CLOCKS then
    self.earlier, self.clocks = self.clocks, {}
    self.turnedAt, self.clockCount = now, 1
  end
  self.clocks[host] = clock
end

--- Which limit keeps a host from beginning a handshake; nil where none does, though others may have to yield.
--- @param host string as `address.host` names it
--- @param known boolean whether it is that of a peer which has a session
--- @param now integer
--- @return string? limit the name of the option
function Places:refusal(host, known, now)
  local rate = self.limits.maxHandshakeRate
  -- A little more than it: a second may not divide evenly.
  if rate > 0 and clockOf(self, host, now) - now > SECOND - SECOND / rate + 0.001 then
    return 'maxHandshakeRate'
  end
  if not known then return self:full(host) end
end

--- Which limit has no place for one more peer of a host, not even if handshakes yield.
--- @return string? limit
function Places:full(host)
  local limits, there = self.limits, self.hosts[host]
  if there and not there.first and there.places >= limits.maxSessionsPerHost then
    return 'maxSessionsPerHost'
  end
  if self.places >= limits.maxSessions and not self.newcomers.first then return 'maxSessions' end
end

-- The one of two that came first.
local function elder(one, other)
  if not (one and other) then return one or other end
  return one._begun < other._begun and one or other
end

--- A handshake that has to yield for a limit to be kept, when so many places and handshakes more are taken.
--- @param host string? one whose limit counts
--- @return dtls.Session?
function Places:surplus(host, places, handshakes)
  local limits, there = self.limits, self.hosts[host]
  if there and there.first and there.places + places > limits.maxSessionsPerHost then return there.first end
  if self.newcomers.first and self.places + places > limits.maxSessions then return self.newcomers.first end
  if self.newcomers.count + self.restarts.count + handshakes > limits.maxHandshakes then
    return elder(self.newcomers.first, self.restarts.first)
  end
end

local function takePlace(self, session, host)
  local there = self.hosts[host]
  if not there then
    there = Line.new('_hostOlder', '_hostNewer')
    there.name, there.places = host, 0
    self.hosts[host] = there
  end
  there.places = there.places + 1
  self.places = self.places + 1
  session._host = there
end

local function leavePlace(self, session)
  local there = session._host
  there.places = there.places - 1
  self.places = self.places - 1
  session._host = nil
  if there.places == 0 then self.hosts[there.name] = nil end
end

local function leaveLine(self, session)
  if not session._line then return end
  session._line:leave(session)
  if session._line == self.newcomers then session._host:leave(session) end
  session._line = nil
end

local function joinLine(self, session)
  self.begun = self.begun + 1
  session._begun = self.begun
  session._line = session._host and self.newcomers or self.restarts
  session._line:join(session)
  if session._host then session._host:join(session) end
end

-- Counts a session to a host from now on. No limit keeps it from that.
local function move(self, session, host)
  local underWay = session._line
  leaveLine(self, session)
  if session._host then leavePlace(self, session) end
  takePlace(self, session, host)
  if underWay then joinLine(self, session) end
end

--- Counts a handshake that begins.
--- @param host string
--- @param known boolean
function Places:begin(session, host, known, now)
  if not known then takePlace(self, session, host) end
  joinLine(self, session)
  if self.limits.maxHandshakeRate > 0 then setClock(self, host, now) end
end

--- The handshake is complete. `older` is the session that it replaces, if there is one.
function Places:establish(session, older)
  leaveLine(self, session)
  if older then self:inherit(older, session) end
end

--- Gives a place to a session that has none.
function Places:settle(session, host)
  if not session._host then move(self, session, host) end
end

--- Gives the place of one session to another of the same peer that has none. It counts to the host where that
--- one has begun: the peer may have moved there in between.
function Places:inherit(from, to)
  if not from._host or to._host then return end
  self:leave(from)
  move(self, to, address.host(to._ip))
end

--- Counts a session no more.
function Places:leave(session)
  leaveLine(self, session)
  if session._host then leavePlace(self, session) end
end

return Places
