# dtls: DTLS 1.2 for Luvit and LuaJIT. `make help` lists what can be made.

# Passed to `cargo build`. For plain Lua 5.1 instead of LuaJIT:
#   make build CARGO_FLAGS='--no-default-features --features vendored,lua51'
CARGO_FLAGS ?=
# Passed to bench/run.py: --quick, --full, --rounds N.
BENCH_FLAGS ?=

TREE := $(CURDIR)/lua_modules
TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILT := $(TARGET)/release/libdtls_core.$(if $(filter Darwin,$(shell uname)),dylib,so)
LUAROCKS := luarocks --lua-version 5.1
ROCKSPEC := dtls-scm-1.rockspec

RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rust_is_new = cargo --version | awk -v least=$(RUST) '{ split($$2, is, "."); split(least, must, "."); \
  exit !(is[1] > must[1] || is[1] == must[1] && is[2] + 0 >= must[2] + 0) }'
# Whether OpenSSL is built, too.
VENDORED := $(if $(findstring no-default-features,$(CARGO_FLAGS)),$(findstring vendored,$(CARGO_FLAGS)),yes)

# Goals are made in the order they are written; the parallel work is cargo's.
.NOTPARALLEL:
.PHONY: help rust compilers lib build rock luvit-deps env deps deps-demo deps-bench demo test bench bench-core api check clean
# What `env` prints is for a shell to read, even when another make asks.
MAKEFLAGS += --no-print-directory

# $(call need,COMMAND,SENTENCE): a missing tool is one sentence, not a page of somebody else's errors.
need = @$(1) >/dev/null 2>&1 || { echo 'dtls: $(2).' >&2; exit 1; }

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What nobody installs along the way.
rust:
	$(call need,command -v cargo,cargo was not found: install Rust $(RUST) or newer)
	$(call need,cargo --version,cargo does not run: `cargo --version` says why)
	$(call need,$(rust_is_new),this Rust is too old: install $(RUST) or newer)

compilers: rust
	$(call need,command -v cc,cc was not found: OpenSSL and the Rust linker need a C compiler)
	$(if $(VENDORED),$(call need,perl -M5.10.0 -MIPC::Cmd -e 1,perl with its standard modules was not found: \
	  building OpenSSL needs it))

lib: compilers ## build the native part, build/dtls_core.so
	cargo build --release --locked $(CARGO_FLAGS)
	@mkdir -p build
# Renamed into place, and only when it differs: a running program may have the old file mapped.
	@cmp -s $(BUILT) build/dtls_core.so || \
	  { cp $(BUILT) build/dtls_core.so.new && mv -f build/dtls_core.so.new build/dtls_core.so; }

build: compilers ## build everything into ./lua_modules
	$(call need,command -v luarocks,luarocks was not found: install it or run `make deps-demo`)
	$(LUAROCKS) --tree lua_modules make $(ROCKSPEC)

rock: ## pack a source rock, build/dtls-scm-1.src.rock, for `luarocks install`
	$(call need,command -v luarocks,luarocks was not found: install it or run `make deps-demo`)
	@tools/rock.sh

# Given on the command line, it comes to the script through the environment, whatever is in it.
luvit-deps: ## lay everything into the deps/ of a Luvit project: DIR=path/to/project
	$(call need,[ '$(VENDORED)' ],Luvit exports the symbols of an OpenSSL of its own: leave CARGO_FLAGS out)
	+@MAKE='$(MAKE)' tools/luvit-deps.sh "$$DIR"

env: ## print what lets LuaJIT find ./lua_modules: eval "$(make -s env)"
	@echo "export LUA_PATH='$(TREE)/share/lua/5.1/?.lua;$(TREE)/share/lua/5.1/?/init.lua;;'"
	@echo "export LUA_CPATH='$(TREE)/lib/lua/5.1/?.so;;'"
	@echo "export PATH='$(TREE)/bin':\"\$$PATH\""

deps: ## install the Debian packages that building, testing and checking need
	@tools/deps.sh test

deps-demo: ## install the fewer packages that building and the demo need
	@tools/deps.sh demo

deps-bench: ## install the packages that building and measuring need
	@tools/deps.sh bench

demo: rust deps-demo build ## build, then run examples/demo.lua
	$(call need,command -v luajit,luajit was not found: install it)
	@eval "$$(make -s env)" && luajit examples/demo.lua

test: ## build, then run every test; the last line is the totals
	@tools/test.sh

BENCH := --locked --manifest-path bench/Cargo.toml

# In the module's own target directory, so that OpenSSL, the slow part, is built once for both.
bench: deps-bench build ## compare with yardsticks and with others: bench/results/
	cargo build --release $(BENCH) --target-dir $(TARGET)
	bench/peers/build.sh
	@eval "$$(make -s env)"; python=bench/target/venv/bin/python; [ -x "$$python" ] || python=python3; \
	  "$$python" bench/run.py $(BENCH_FLAGS)

# Not there: this builds the core without Lua, over the module of the same name.
bench-core: ## measure the core alone: seal, open, handshake, gate, screen
	cargo bench $(BENCH) --target-dir bench/target --package dtls-bench-core

api: ## write doc/api.md from the annotations in lua/dtls
	luajit tools/apidoc.lua

# Always --release, so that OpenSSL, the slow part, is built once for everything.
check: ## look for faults without running anything: formatting and lints
	cargo fmt --check
	cargo fmt --check --all --manifest-path bench/Cargo.toml
	cargo fmt --check --all --manifest-path bench/peers/Cargo.toml
	$(LUAROCKS) lint $(ROCKSPEC)
	luacheck --quiet $(wildcard lua spec examples bench tools bin/*)
	luajit tools/apidoc.lua --check
	cargo clippy --release --locked --all-targets --no-default-features --features vendored -- -D warnings
	cargo clippy --release --locked --all-targets -- -D warnings
	cargo clippy --release $(BENCH) --target-dir $(TARGET) --workspace --all-targets -- -D warnings

clean: ## remove everything that was built
	rm -rf build lua_modules $(TARGET) bench/target bench/peers/target
