--- Standard input, or a child's output, a chunk at a time: whoever has no room for more does not ask for it.

local loop = require('dtls/loop')
local uv = loop.uv

local CHUNK_BYTES = 64 * 1024

--- @class (private) dtls.nc.Input
--- @field private stream userdata? what it is, unless it is a file
--- @field private closed boolean?
local Input = {}
Input.__index = Input

local function open(kind)
  -- A terminal is opened once more by libuv, so that the shell's own stays as it is.
  if kind == 'tty' then return uv.new_tty(0, true) end
  local stream = (kind == 'pipe' and uv.new_pipe(false)) or (kind == 'tcp' and uv.new_tcp()) or nil
  if stream and not stream:open(0) then
    stream:close()
    return nil
  end
  return stream
end

--- Standard input. Nothing is read before `more` is called.
function Input.new()
  local kind = uv.guess_handle(0)
  local self = setmetatable({ kind = kind, stream = open(kind) }, Input)
  -- It is closed, or a socket of another kind.
  self.empty = not self.stream and kind ~= 'file'
  return self
end

--- What a stream of another kind brings, in the same way.
--- @param stream userdata
function Input.wrap(stream)
  return setmetatable({ stream = stream }, Input)
end

-- libuv reads without waiting, and whoever has the same pipe after us is not prepared for that.
local function giveBack(self)
  if self.kind == 'pipe' and not self.stream:is_closing() then self.stream:set_blocking(true) end
end

--- Reads on: `onChunk` is called once, with what there is, or nil at the end. Not to be called again before.
--- @param onChunk fun(chunk: string?)
function Input:more(onChunk)
  if self.closed then return end
  if self.empty then return loop.defer(onChunk, nil) end
  if not self.stream then
    uv.fs_read(0, CHUNK_BYTES, -1, function (_, chunk)
      if not self.closed then onChunk(chunk ~= '' and chunk or nil) end
    end)
    return
  end
  self.stream:read_start(function (_, chunk)
    -- A terminal in the midst of an interrupted read has nothing to say.
    if chunk == '' then return end
    self.stream:read_stop()
    onChunk(chunk)
  end)
end

--- Reads no more, whatever was asked for.
function Input:close()
  if self.closed then return end
  self.closed = true
  if not self.stream then return end
  giveBack(self)
  self.stream:close()
end

return Input
