--- What passes on the loopback interface, as tshark reads it.

local helper = require('spec.helper')
local pki = require('spec.support.pki')
local program = require('spec.support.program')
local uv = helper.uv

local FIELDS = {
  'udp.srcport', 'udp.dstport', 'udp.length', 'dtls.record.content_type', 'dtls.record.epoch',
  'dtls.record.sequence_number', 'dtls.handshake.type', '_ws.malformed', 'data.data',
}
local UDP_HEADER = 8

--- A capture of one UDP port.
--- @class spec.Wire
--- @field tshark spec.Program
--- @field port integer
--- @field read integer how much of its output has been handed out
local Wire = {}
Wire.__index = Wire

--- One datagram as it was seen.
--- @class spec.Packet
--- @field from integer its source port
--- @field fromServer boolean
--- @field length integer bytes of UDP payload
--- @field records { kind: integer, epoch: integer, number: integer }[]
--- @field messages integer[] the types of its plaintext handshake messages
--- @field malformed boolean
--- @field data string what lies in it in plaintext, where it could be read

local function numbers(text)
  local list = {}
  for number in text:gmatch('%d+') do list[#list + 1] = tonumber(number) end
  return list
end

local function packet(line, port)
  local fields = {}
  for field in (line .. '\t'):gmatch('([^\t]*)\t') do fields[#fields + 1] = field end
  local kinds, epochs, sequence = numbers(fields[4]), numbers(fields[5]), numbers(fields[6])
  local records = {}
  for index, kind in ipairs(kinds) do
    records[index] = { kind = kind, epoch = epochs[index], number = sequence[index] }
  end
  return {
    from = tonumber(fields[1]),
    fromServer = tonumber(fields[1]) == port,
    length = tonumber(fields[3]) - UDP_HEADER,
    records = records,
    messages = numbers(fields[7]),
    malformed = fields[8] ~= '',
    data = fields[9]:gsub('%x%x', function (byte) return string.char(tonumber(byte, 16)) end),
  }
end

--- Begins to watch `port`, or returns nil and why it cannot. `keylog` is the path of a key log, with
--- which sealed records are read.
--- @return spec.Wire|nil, string?
function Wire.watch(port, keylog)
  if not program.exists('tshark') then return nil, 'tshark is not installed' end
  -- It ends by itself, should nobody be left to end it.
  local args = {
    '-l', '-n', '-i', 'lo', '-f', 'udp port ' .. port, '-d', 'udp.port==' .. port .. ',dtls',
    '-a', 'duration:60', '-T', 'fields',
  }
  if keylog then
    args[#args + 1] = '-o'
    args[#args + 1] = 'tls.keylog_file:' .. keylog
  end
  for _, field in ipairs(FIELDS) do
    args[#args + 1] = '-e'
    args[#args + 1] = field
  end
  -- Its temporary file goes where the certificates do, to be removed with them.
  local tshark = program.start('tshark', args, { TMPDIR = pki.path('.') })
  local self = setmetatable({ tshark = tshark, port = port, read = 0 }, Wire)
  local ready, err = pcall(function ()
    tshark:waitFor('Capturing on')
    self:packets()
  end)
  if ready then return self end
  tshark:stop()
  return nil, 'tshark cannot capture here: ' .. err
end

--- What has been seen since the last call, up to now.
--- @return spec.Packet[]
function Wire:packets()
  -- When a datagram sent now has shown up, so has all that was sent before.
  local probe, timer = uv.new_udp(), uv.new_timer()
  assert(probe:bind('127.0.0.1', 0))
  local mark = probe:getsockname().port
  timer:start(0, 50, function () probe:try_send('probe', '127.0.0.1', self.port) end)
  local seen, err = pcall(self.tshark.waitFor, self.tshark, '\n' .. mark .. '\t%d+\t[^\n]*\n', 10000)
  timer:close()
  probe:close()
  if not seen then error(err, 2) end
  local list = {}
  for line in self.tshark.output:sub(self.read + 1):gmatch('(%d+\t%d+\t[^\n]*)\n') do
    local each = packet(line, self.port)
    if each.records[1] then list[#list + 1] = each end
  end
  self.read = #self.tshark.output
  return list
end

--- Ends the capture in good order.
function Wire:stop()
  self.tshark:kill('sigint')
  self.tshark:waitForEnd(10000)
  self.tshark:stop()
end

return Wire
