--- Where the secrets of sessions go, so that Wireshark can read what was captured of them: the
--- option `keylog`. A line is what NSS made the format of: `CLIENT_RANDOM`, the hello's random and
--- the master secret, in hexadecimal.

local log = require('dtls/log')
local options = require('dtls/options')
local uv = require('dtls/loop').uv

local keylog = {}

-- Whoever reads the file reads the sessions.
local MODE = tonumber('600', 8)

-- Opened for each line, which is one for each session: the file may be rotated, and no handle is kept.
local function append(path, text)
  local file, err = uv.fs_open(path, 'a', MODE)
  if not file then return nil, err end
  local written
  written, err = uv.fs_write(file, text, -1)
  uv.fs_close(file)
  if not written then return nil, err end
  return true
end

local function writer(caller, path)
  local writable, err = append(path, '')
  if not writable then options.raise('%s: options.keylog cannot be written: %s', caller, err) end
  return function (line)
    local added, failure = append(path, line .. '\n')
    if not added and log.error then log.error('the key log cannot be written: %s', failure) end
  end
end

--- The hook that the option stands for: itself; one that adds lines to the file of that path; with
--- `true` to the file that SSLKEYLOGFILE names in the environment. nil for none.
--- @param given? fun(line: string, session: dtls.Session)|string|boolean
--- @return fun(line: string, session: dtls.Session)?
function keylog.hook(caller, given)
  if given == true then
    given = os.getenv('SSLKEYLOGFILE')
    if given == '' then given = nil end
  end
  if type(given) == 'string' then return writer(caller, given) end
  return given or nil
end

return keylog
