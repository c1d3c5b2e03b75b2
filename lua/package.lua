--- The lit package that lua/dtls is in a project's deps/: `make luvit-deps` puts this file there.

return {
  -- Without an author, since nobody has claimed one: lit knows a package in deps/ by any name, and publishes
  -- none that is private.
  name = 'dtls',
  version = '0.1.0',
  private = true,
  description = 'DTLS 1.2 over UDP: what tls gives over TCP',
  license = 'MIT OR Apache-2.0',
  tags = { 'dtls', 'udp', 'tls', 'network', 'security' },
  -- Whose Emitter our objects are. The native part, dtls_core.so, lies beside this
  -- package, not in it.
  dependencies = { 'luvit/core@2.0.0' },
  files = { '**.lua' },
}
