--- A session kept in a file, to be resumed by a later run: `--resume`.

local core = require('dtls_core')
local misuse = require('dtls/nc/misuse')
local uv = require('dtls/loop').uv

local resume = {}

-- Whoever reads the file can read the session, and those that resume it.
local MODE = tonumber('600', 8)

--- The session in a file; nil where there is no such file yet. Raises misuse where it is something else.
--- @param path string
--- @return string?
function resume.read(path)
  local _, _, missing = uv.fs_stat(path)
  if missing == 'ENOENT' then return nil end
  local file, err = io.open(path, 'rb')
  if not file then misuse.raise('--resume cannot be read: %s', err) end
  local text = file:read('*a')
  file:close()
  if not text or not core.is_session(text) then misuse.raise('--resume %s holds no session', path) end
  return text
end

--- Keeps a session: the file is there as a whole, for its owner alone, or as it was.
--- @return true|nil, string?
function resume.write(path, text)
  local draft = path .. '.new'
  uv.fs_unlink(draft)
  local file, err = uv.fs_open(draft, 'wx', MODE)
  if not file then return nil, err end
  local written
  written, err = uv.fs_write(file, text, 0)
  -- Where the disk is full a part may be there.
  if written and written < #text then
    written, err = nil, ('ENOSPC: there was room for %d of %d bytes: %s'):format(written, #text, draft)
  end
  uv.fs_close(file)
  if written then written, err = uv.fs_rename(draft, path) end
  if written then return true end
  uv.fs_unlink(draft)
  return nil, err
end

return resume
