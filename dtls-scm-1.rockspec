rockspec_format = '3.0'
package = 'dtls'
version = 'scm-1'

-- The checkout itself: `luarocks make` reads no source from here, and `make rock` puts its own.
source = { url = 'git+file://.' }

description = {
  summary = 'DTLS 1.2 for Luvit and LuaJIT',
  detailed = [[
Secure datagrams: DTLS 1.2 clients and servers over UDP, on the libuv event loop
that Luvit and luv share, with the names of Luvit's tls and dgram. The protocol
is OpenSSL's, linked in statically; building it takes Rust, a C compiler, make
and perl.]],
  license = 'MIT OR Apache-2.0',
  labels = { 'dtls', 'udp', 'tls', 'network', 'security', 'luvit', 'openssl' },
}

supported_platforms = { 'unix' }

-- luv is missing here on purpose. The event loop is the host's: Luvit has luv built in, a distribution
-- packages it, and a second copy from LuaRocks would be a second loop that nobody runs.
dependencies = { 'lua ~> 5.1' }

build = {
  type = 'command',
  -- `types/` is the native module for editors; the rest of what they show stands in the Lua files.
  copy_directories = { 'doc', 'types' },
  -- LuaRocks exports a CC of its own. Cargo would see the compiler change and build OpenSSL again.
  -- It takes no overrides for platforms: GNU make is found under either name, the Makefile gives macOS's
  -- .dylib the name that Lua looks for, and build.rs has its linker leave Lua's functions to the host.
  build_command = [[
    make=$(command -v gmake || command -v make)
    "$make" --version 2>/dev/null | grep -q GNU || { echo 'dtls: GNU make was not found: install it.' >&2; exit 1; }
    unset CC
    "$make" lib]],
  install = {
    -- The file keeps its name, so it is built under the one that `require('dtls_core')` looks for.
    lib = { 'build/dtls_core.so' },
    bin = { 'bin/dtls-nc' },
    lua = {
      ['dtls'] = 'lua/dtls/init.lua',
      ['dtls.address'] = 'lua/dtls/address.lua',
      ['dtls.admission'] = 'lua/dtls/admission.lua',
      ['dtls.arrival'] = 'lua/dtls/arrival.lua',
      ['dtls.batch'] = 'lua/dtls/batch.lua',
      ['dtls.candidates'] = 'lua/dtls/candidates.lua',
      ['dtls.alarm'] = 'lua/dtls/alarm.lua',
      ['dtls.certificate'] = 'lua/dtls/certificate.lua',
      ['dtls.client'] = 'lua/dtls/client.lua',
      ['dtls.coro'] = 'lua/dtls/coro.lua',
      ['dtls.coro_server'] = 'lua/dtls/coro_server.lua',
      ['dtls.coro_session'] = 'lua/dtls/coro_session.lua',
      ['dtls.cookies'] = 'lua/dtls/cookies.lua',
      ['dtls.deadlines'] = 'lua/dtls/deadlines.lua',
      ['dtls.dial'] = 'lua/dtls/dial.lua',
      ['dtls.drain'] = 'lua/dtls/drain.lua',
      ['dtls.emitter'] = 'lua/dtls/emitter.lua',
      ['dtls.endpoint'] = 'lua/dtls/endpoint.lua',
      ['dtls.forward'] = 'lua/dtls/forward.lua',
      ['dtls.guard'] = 'lua/dtls/guard.lua',
      ['dtls.heap'] = 'lua/dtls/heap.lua',
      ['dtls.interpreted'] = 'lua/dtls/interpreted.lua',
      ['dtls.keepalive'] = 'lua/dtls/keepalive.lua',
      ['dtls.keylog'] = 'lua/dtls/keylog.lua',
      ['dtls.keys'] = 'lua/dtls/keys.lua',
      ['dtls.line'] = 'lua/dtls/line.lua',
      ['dtls.log'] = 'lua/dtls/log.lua',
      ['dtls.loop'] = 'lua/dtls/loop.lua',
      ['dtls.nc.client'] = 'lua/dtls/nc/client.lua',
      ['dtls.nc.cutter'] = 'lua/dtls/nc/cutter.lua',
      ['dtls.nc.exec'] = 'lua/dtls/nc/exec.lua',
      ['dtls.nc.help'] = 'lua/dtls/nc/help.lua',
      ['dtls.nc.input'] = 'lua/dtls/nc/input.lua',
      ['dtls.nc.main'] = 'lua/dtls/nc/main.lua',
      ['dtls.nc.misuse'] = 'lua/dtls/nc/misuse.lua',
      ['dtls.nc.options'] = 'lua/dtls/nc/options.lua',
      ['dtls.nc.outbox'] = 'lua/dtls/nc/outbox.lua',
      ['dtls.nc.output'] = 'lua/dtls/nc/output.lua',
      ['dtls.nc.peer'] = 'lua/dtls/nc/peer.lua',
      ['dtls.nc.pump'] = 'lua/dtls/nc/pump.lua',
      ['dtls.nc.report'] = 'lua/dtls/nc/report.lua',
      ['dtls.nc.resolve'] = 'lua/dtls/nc/resolve.lua',
      ['dtls.nc.resume'] = 'lua/dtls/nc/resume.lua',
      ['dtls.nc.server'] = 'lua/dtls/nc/server.lua',
      ['dtls.nc.settings'] = 'lua/dtls/nc/settings.lua',
      ['dtls.nc.signals'] = 'lua/dtls/nc/signals.lua',
      ['dtls.options'] = 'lua/dtls/options.lua',
      ['dtls.metrics'] = 'lua/dtls/metrics.lua',
      ['dtls.peer_socket'] = 'lua/dtls/peer_socket.lua',
      ['dtls.payload'] = 'lua/dtls/payload.lua',
      ['dtls.peers'] = 'lua/dtls/peers.lua',
      ['dtls.places'] = 'lua/dtls/places.lua',
      ['dtls.question'] = 'lua/dtls/question.lua',
      ['dtls.resumption'] = 'lua/dtls/resumption.lua',
      ['dtls.roam'] = 'lua/dtls/roam.lua',
      ['dtls.server'] = 'lua/dtls/server.lua',
      ['dtls.session'] = 'lua/dtls/session.lua',
      ['dtls.sni'] = 'lua/dtls/sni.lua',
      ['dtls.stats'] = 'lua/dtls/stats.lua',
      ['dtls.sockets'] = 'lua/dtls/sockets.lua',
      ['dtls.timeout'] = 'lua/dtls/timeout.lua',
      ['dtls.trace'] = 'lua/dtls/trace.lua',
      ['dtls.turns'] = 'lua/dtls/turns.lua',
      ['dtls.types'] = 'lua/dtls/types.lua',
      ['dtls.udp'] = 'lua/dtls/udp.lua',
      ['dtls.wait'] = 'lua/dtls/wait.lua',
      ['dtls.watch'] = 'lua/dtls/watch.lua',
    },
  },
}

-- Not of the type 'busted', which would start plain Lua on some systems, and wants busted as a rock.
test = {
  type = 'command',
  command = [[
    command -v busted >/dev/null || { echo 'dtls: busted was not found: `make deps` installs what the specs need.' >&2; exit 1; }
    make -s lib && busted --lua=luajit]],
}
