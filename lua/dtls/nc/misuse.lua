--- Wrong use, and everything else that ends the program: one sentence, one status.

local misuse = {}

--- What the program ends with.
misuse.SUCCESS, misuse.REFUSED, misuse.WRONG, misuse.TIMEOUT = 0, 1, 2, 3

-- How options of the library are called here.
local spelling = {
  cert = '-c', key = '-k', ca = '-C', psk = '--psk', fingerprints = '--fingerprint', ALPNProtocols = '--alpn',
  ciphers = '--ciphers', mtu = '--mtu', keylog = '--keylog', servername = '--servername',
  localPort = '--source-port', session = '--resume', host = 'HOST', port = 'PORT',
}

--- Raises a sentence about what the user has asked for, which `misuse.call` returns.
function misuse.raise(format, ...)
  error({ sentence = format:format(...) }, 0)
end

-- The library's own sentence about an option, in this program's words.
local function translate(err)
  local option, rest = err:match('options%.(%a+) (.*)')
  if not option then return nil end
  if option == 'passphrase' then return '-k is encrypted: decrypt it with `openssl pkey` first' end
  rest = rest:gsub(', got .*', ''):gsub(": pass the text itself, not a file's name", '')
  rest = rest:gsub(': pass the .-, not a file.*', ''):gsub('the certificate in cert', 'the certificate of -c')
  return (spelling[option] or option) .. ' ' .. rest
end

--- Calls `fn(...)`. Returns what it returns; or nil and a sentence, where the user has asked for what
--- cannot be.
function misuse.call(fn, ...)
  local count, given = select('#', ...), { ... }
  local results
  local finished, err = pcall(function () results = { fn(unpack(given, 1, count)) } end)
  if finished then return unpack(results, 1, 4) end
  if type(err) == 'table' and err.sentence then return nil, err.sentence end
  local sentence = translate(tostring(err))
  if sentence then return nil, sentence end
  -- A fault of this program's own.
  error(err, 0)
end

--- The status that an error of this name ends with.
function misuse.statusOf(name)
  return name == 'ETIMEDOUT' and misuse.TIMEOUT or misuse.REFUSED
end

return misuse
