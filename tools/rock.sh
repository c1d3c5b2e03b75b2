#!/usr/bin/env bash
# Packs build/dtls-scm-1.src.rock, from which `luarocks install` builds the module anywhere: the files of this
# checkout as they are, but for the benchmarks. It takes no network.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

rock=dtls-scm-1
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# What git knows; in an unpacked rock, which has no .git, all but what was built.
list() {
  if [[ -e .git ]]; then
    git ls-files
  else
    find . \( -path ./build -o -path ./target -o -path ./lua_modules \) -prune -o -type f -print
  fi | grep -vE '^(\./)?(bench|\.ci)/' | while IFS= read -r file; do
    # Git knows files, too, that have been removed since.
    [[ ! -e $file ]] || printf '%s\n' "$file"
  done
}

mkdir "$scratch/$rock"
list | tar -cf - -T - | tar -xf - -C "$scratch/$rock"
# Where it is while it is packed; whoever installs the rock finds it beside the rockspec.
sed "s|^source = .*|source = { url = 'file://$scratch/$rock.tar.gz', dir = '$rock' }|" "$rock.rockspec" \
  >"$scratch/$rock.rockspec"

mkdir -p build
root=$PWD
cd -- "$scratch"
tar -czf "$rock.tar.gz" "$rock"
luarocks --lua-version 5.1 pack "$rock.rockspec" >/dev/null
mv -f -- "$rock.src.rock" "$root/build/$rock.src.rock"
echo "dtls: packed build/$rock.src.rock"
