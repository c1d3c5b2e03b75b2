--- Many clients at once, in a process of their own: `many.lua PORT COUNT KIND` connects COUNT sessions to a
--- server of 127.0.0.1 and prints how they fared when none is left to wait for. KIND is what they prove
--- themselves with: `psk`, `sni` or `verify`. They leave when a line is written to them.

local dtls = require('dtls')

local PORT, COUNT, KIND = tonumber(arg[1]), tonumber(arg[2]), arg[3]

local identity = dtls.generateCertificate()
local options = {
  psk = { psk = { identity = 'lamp-7', key = 'a key of 16 byte' } },
  sni = { rejectUnauthorized = false },
  verify = { rejectUnauthorized = false, cert = identity.cert, key = identity.key },
}
local context = dtls.createContext(options[KIND])

local sessions = {}
local connected, failed, causes = 0, 0, {}

local function note()
  if connected + failed < COUNT then return end
  print(('connected %d failed %d %s'):format(connected, failed, table.concat(causes, ', ')))
  io.stdout:flush()
end

for index = 1, COUNT do
  local session = dtls.connect({
    context = context, port = PORT, servername = 'localhost', handshakeTimeout = 60000,
  })
  session:on('secureConnection', function ()
    connected = connected + 1
    note()
  end)
  session:on('error', function (err)
    failed = failed + 1
    causes[#causes + 1] = err
    note()
  end)
  sessions[index] = session
end
print('started')
io.stdout:flush()

local stdin = dtls.uv.new_pipe()
stdin:open(0)
stdin:read_start(function ()
  stdin:close()
  for _, session in ipairs(sessions) do session:destroy() end
end)

dtls.uv.run()
