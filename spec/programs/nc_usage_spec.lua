-- dtls-nc asked for what cannot be: one sentence, one status. And how it is installed.

local helper = require('spec.helper')
local lfs = require('lfs')
local nc = require('spec.support.nc')
local pki = require('spec.support.pki')
local program = require('spec.support.program')

setup(function () program.need('setpriv', 'openssl', 'lua5.1') end)

teardown(pki.remove)

after_each(nc.stopAll)

-- A word that stands for a file, which is made when it is needed.
local function fileOf(word)
  if word == 'NOPEM' then return pki.write('nopem.txt', 'this is no PEM\n') end
  if word == 'CERT' then return pki.identity('server').certPath end
  if word == 'KEY' then return pki.identity('server').keyPath end
  if word == 'OTHERKEY' then return pki.identity('client').keyPath end
  return word
end

local function run(line, environment)
  local arguments = { 'bin/dtls-nc' }
  for word in line:gmatch('%S+') do arguments[#arguments + 1] = fileOf(word == "''" and '' or word) end
  local child = program.start('luajit', arguments, helper.merge(nc.environment, environment))
  child:waitForEnd()
  return child
end

local ONE_SENTENCE = '^dtls%-nc: [^\n]+\n$'

-- What is asked for, and a part of the answer.
local wrong = {
  { '', 'HOST and PORT are missing' },
  { 'localhost', 'PORT is missing' },
  { '-l', 'PORT is missing' },
  { 'localhost 5684 more', 'one word too many: "more"' },
  { "'' 5684", 'HOST must not be empty' },
  { 'localhost 0', 'PORT must be a number from 1 to 65535' },
  { 'localhost 65536', 'PORT must be a number from 1 to 65535' },
  { 'localhost coaps', 'PORT must be a number from 1 to 65535' },
  { '-l 65536', 'PORT must be a number from 0 to 65535' },
  { '--frobnicate localhost 5684', 'no option --frobnicate' },
  { '-z localhost 5684', 'no option -z' },
  { '-vz localhost 5684', 'no option -z' },
  { 'localhost 5684 -w', '-w needs a value' },
  { 'localhost 5684 --psk', '--psk needs a value' },
  { '--insecure=1 localhost 5684', '--insecure takes no value' },
  { '-c CERT -c CERT localhost 5684', '-c is given twice' },
  { '-w soon localhost 5684', '-w must be a number of seconds' },
  { '-w 0 localhost 5684', '-w must be a number of seconds' },
  { '-w 1e9 localhost 5684', '-w must be a number of seconds' },
  { '-q long localhost 5684', '-q must be a number of seconds' },
  { '--mtu 100 localhost 5684', '--mtu must be a number of bytes from 256 to 4096' },
  { '--mtu 9000 localhost 5684', '--mtu must be a number of bytes from 256 to 4096' },
  { '--source-port 0 localhost 5684', '--source-port must be a number from 1 to 65535' },
  { '-c nowhere.pem localhost 5684', '-c cannot be read: nowhere.pem' },
  { '-c spec localhost 5684', '-c cannot be read: spec' },
  { '-C nowhere.pem localhost 5684', '-C cannot be read: nowhere.pem' },
  { '-C NOPEM localhost 5684', '-C is not a certificate in PEM' },
  { '-c NOPEM -k KEY localhost 5684', '-c is not a certificate in PEM' },
  { '-c CERT -k NOPEM localhost 5684', '-k is not a private key in PEM' },
  { '-c CERT -k OTHERKEY localhost 5684', '-k does not belong to the certificate of -c' },
  { '-c CERT localhost 5684', 'holds no private key: give -k FILE' },
  { '-k KEY localhost 5684', '-k needs its certificate' },
  { '--psk identity localhost 5684', '--psk must be ID:HEX' },
  { '--psk :00ff localhost 5684', '--psk must be ID:HEX' },
  { '--psk identity:0g localhost 5684', 'an even number of hexadecimal digits' },
  { '--psk identity:012 localhost 5684', 'an even number of hexadecimal digits' },
  { '--psk identity: localhost 5684', 'an even number of hexadecimal digits' },
  { '--psk identity:@nowhere localhost 5684', '--psk cannot be read: nowhere' },
  { '--psk a:00 --psk b:00 localhost 5684', 'a client has one --psk' },
  { '--fingerprint AB:CD localhost 5684', 'no SHA-256 fingerprint' },
  { '--ciphers NONSENSE localhost 5684', '--ciphers ' },
  { '--ciphers NULL-SHA -l 5684', '--ciphers ' },
  { '--alpn coap,,http localhost 5684', '--alpn must be names' },
  { '--keylog /nowhere/keys localhost 5684', '--keylog cannot be written: ENOENT' },
  { '--resume NOPEM localhost 5684', 'holds no session' },
  { '-4 ::1 5684', '-4 excludes ::1' },
  { '-6 127.0.0.1 5684', '-6 excludes 127.0.0.1' },
  { '-4 -l ::1 5684', '-4 excludes ::1' },
  { '-4 -6 localhost 5684', '-4 and -6 contradict each other' },
  { '--insecure --fingerprint 00 localhost 5684', '--insecure and --fingerprint contradict each other' },
  { '--insecure -C CERT localhost 5684', '--insecure and -C contradict each other' },
  { '-l --echo --exec cat 5684', '--echo and --exec contradict each other' },
  { '--echo localhost 5684', '--echo is for servers' },
  { '-l --resume kept 5684', '--resume is for clients' },
  { '-l --servername a.test 5684', '--servername is for clients' },
  { '-l --source-port 5684 5684', '--source-port is for clients' },
  { '-l --insecure 5684', 'a server that asks for no certificates' },
}

-- What cannot be had, though there is nothing wrong with asking.
local refused = {
  { 'nowhere.invalid 5684', 'there is no address for the host "nowhere.invalid"' },
  { '-4 nowhere.invalid 5684', 'there is no IPv4 address for the host "nowhere.invalid"' },
  { '-l nowhere.invalid 5684', 'there is no address for the host "nowhere.invalid"' },
  { '-l 203.0.113.1 5684', 'EADDRNOTAVAIL: ' },
  { '-c CERT -k KEY -l 203.0.113.1 5684', 'EADDRNOTAVAIL: ' },
}

describe('dtls-nc used wrongly', function ()
  for _, row in ipairs(wrong) do
    it(('says %q to `dtls-nc %s`'):format(row[2], row[1]), function ()
      local child = run(row[1])
      assert.matches(ONE_SENTENCE, child.output)
      assert.is_truthy(child.output:find(row[2], 1, true), child.output)
      assert.equal(2, child.status)
    end)
  end

  it('does not print a key that it has been given', function ()
    assert.is_nil(run('--psk 00112233445566778899aabbccddeeff localhost 5684').output:find('0011'))
  end)
end)

describe('dtls-nc refused', function ()
  for _, row in ipairs(refused) do
    it(('says %q to `dtls-nc %s`'):format(row[2], row[1]), function ()
      local child = run(row[1])
      assert.matches(ONE_SENTENCE, child.output)
      assert.is_truthy(child.output:find(row[2], 1, true), child.output)
      assert.equal(1, child.status)
    end)
  end

  it('says that a port is taken', function ()
    local _, port = nc.server()
    local second = run('-l 127.0.0.1 ' .. port)
    assert.equal(1, second.status)
    assert.matches('^dtls%-nc: EADDRINUSE: [^\n]*\n$', second.output)
  end)

  it('says that nobody listens', function ()
    local child = run('localhost ' .. program.freePort())
    assert.equal(1, child.status)
    assert.matches('^dtls%-nc: ECONNREFUSED: nobody listens on localhost port %d+\n$', child.output)
  end)

  it('says how a certificate that nobody vouches for can be trusted', function ()
    local _, port = nc.server()
    local child = run('localhost ' .. port)
    assert.equal(1, child.status)
    assert.matches('^dtls%-nc: EUNKNOWNCA: [^\n]*%-C [^\n]*%-%-fingerprint [^\n]*%-%-insecure [^\n]*\n$',
      child.output)
  end)

  it('takes no other certificate than that with the fingerprint', function ()
    local _, port = nc.server()
    local child = run(('--fingerprint %s localhost %s'):format(('ab'):rep(32), port))
    assert.equal(1, child.status)
    assert.matches('^dtls%-nc: EFINGERPRINT: [^\n]*\n$', child.output)
  end)
end)

describe('dtls-nc --help', function ()
  it('fits a screen of 24 lines and 80 columns', function ()
    local child = run('--help')
    assert.equal(0, child.status)
    local count = 0
    for line in child.output:gmatch('([^\n]*)\n') do
      count = count + 1
      assert.is_true(#line <= 80, line)
    end
    -- The prompt needs the last one.
    assert.is_true(count <= 23, count .. ' lines')
  end)

  it('names every option that there is', function ()
    local text = run('--help').output
    for name in helper.read('lua/dtls/nc/options.lua'):gmatch("'(%-%-?[%w-]+)'") do
      local isAlias = ({ ['--listen'] = 1, ['--cert'] = 1, ['--key'] = 1, ['--ca'] = 1, ['--timeout'] = 1,
        ['--verbose'] = 1, ['-h'] = 1, ['--help'] = 1 })[name]
      assert.is_truthy(isAlias or text:find(name, 1, true), name)
    end
  end)

  it('leaves --version to say which OpenSSL it is', function ()
    assert.matches('^dtls%-nc %d%S*, OpenSSL 3%.[^\n]*\n$', run('--version').output)
  end)
end)

describe('dtls-nc installed', function ()
  local tree = lfs.currentdir() .. '/lua_modules'
  local wrapper, script = tree .. '/bin/dtls-nc', tree .. '/lib/luarocks/rocks-5.1/dtls/scm-1/bin/dtls-nc'

  -- Whoever has installed it has set nothing, and is anywhere.
  local function installed(file, ...)
    local command = 'cd / && unset LUA_PATH LUA_CPATH && exec "$@"'
    return program.start('sh', { '-c', command, 'sh', file, ... }, { NO_COLOR = '', DTLS_LOG = '' })
  end

  it('runs as LuaRocks has wrapped it', function ()
    if not lfs.attributes(wrapper) then return pending('`make build` has not been run') end
    local server = installed(wrapper, '-l', '--echo', '127.0.0.1', 0)
    local port, fingerprint = nc.ready(server)
    local client = installed(wrapper, '-q', '0.1', '--fingerprint', fingerprint, '127.0.0.1', port)
    assert.equal(0, nc.say(client, 'hello\n'):waitForEnd())
    assert.equal('hello\n', client.output)
    assert.equal(0, nc.interrupt(server))
  end)

  for _, interpreter in ipairs({ 'lua5.1', 'luajit' }) do
    it('runs under ' .. interpreter, function ()
      if not lfs.attributes(wrapper) then return pending('`make build` has not been run') end
      local function start(...)
        return program.start(interpreter, { script, ... }, {
          LUA_PATH = ('%s/share/lua/5.1/?.lua;;'):format(tree),
          LUA_CPATH = ('%s/lib/lua/5.1/?.so;;'):format(tree),
        })
      end
      local server = start('-l', '-v', '--echo', '127.0.0.1', 0)
      local port, fingerprint = nc.ready(server)
      local said = nc.lines(64 * 1024, 4)
      local client = start('-q', '0.2', '--fingerprint', fingerprint, '127.0.0.1', port)
      assert.equal(0, nc.say(client, said):waitForEnd())
      assert.is_true(said == client.output)
      local distrustful = start('127.0.0.1', port)
      assert.equal(1, distrustful:waitForEnd())
      assert.matches('^dtls%-nc: EUNKNOWNCA', distrustful.output)
      assert.equal(2, start('--frobnicate'):waitForEnd())
      assert.equal(0, nc.interrupt(server))
    end)
  end

  it('runs where there is no `arg` and the loop runs already, as inside Luvit', function ()
    local host = [[
      local uv = require('luv')
      package.preload.uv, package.loaded.luv, arg = function () return uv end, nil, nil
      process = { argv = { [0] = 'luvit', 'bin/dtls-nc', unpack({ ... }) } }
      coroutine.wrap(function () dofile('bin/dtls-nc') end)()
      uv.run()
      os.exit(99)]]
    local path = pki.write('host.lua', host)
    local function start(...) return program.start('luajit', { path, ... }, nc.environment) end
    local server = start('-l', '--echo', '127.0.0.1', 0)
    local port, fingerprint = nc.ready(server)
    local client = start('-q', '0.1', '--fingerprint', fingerprint, '127.0.0.1', port)
    assert.equal(0, nc.say(client, 'hello\n'):waitForEnd())
    assert.equal('hello\n', client.output)
    assert.equal(2, start('--frobnicate'):waitForEnd())
    assert.equal(0, nc.interrupt(server))
  end)

  it('says in a sentence that luv or its own parts are missing', function ()
    for pattern, environment in pairs({
      ['luv, the event loop, was not found'] = {
        LUA_PATH = 'lua/?.lua;lua/?/init.lua', LUA_CPATH = 'build/?.so',
      },
      ['its native part, dtls_core, was not found'] = { LUA_CPATH = package.cpath:gsub('build/%?%.so', '') },
      ['its modules were not found'] = { LUA_PATH = '/nowhere/?.lua' },
    }) do
      local child = run('localhost 5684', environment)
      assert.matches(ONE_SENTENCE, child.output)
      assert.is_truthy(child.output:find(pattern, 1, true), child.output)
      assert.equal(1, child.status)
    end
  end)
end)
