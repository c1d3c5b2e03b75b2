#!/usr/bin/env bash
# Lays the module into a Luvit project: the Lua files, which are a lit package, into DIR/deps/dtls, and the
# native part beside it, since Luvit looks for `dtls_core` where it has found `dtls`. What an earlier call has
# laid is replaced, all of it.
#
# `lit make`, which packs an application into one executable, takes packages from deps/ and files from libs/.
# A native part that somebody has moved to DIR/libs is therefore replaced there.
#
#   tools/luvit-deps.sh DIR

set -euo pipefail

refuse() {
  echo "dtls: $1." >&2
  exit 1
}

project=${1-}
[[ -n $project ]] || refuse 'which project? make luvit-deps DIR=path/to/project'
[[ -e $project ]] || refuse "there is no $project: DIR is the project, in which deps/ is made"
[[ -d $project ]] || refuse "$project is not a directory: DIR is the project, in which deps/ is made"
project=$(cd -- "$project" && pwd)
[[ ${project##*/} != deps ]] || refuse "$project is a deps/ itself: DIR is the project that it is of"
deps=$project/deps
[[ ! -e $deps || -d $deps ]] || refuse "$deps is in the way, and is not a directory"
native=$deps
[[ ! -e $project/libs/dtls_core.so ]] || native=$project/libs

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
"${MAKE:-make}" lib

mkdir -p -- "$deps"
new=$(mktemp -d -- "$deps/.dtls.XXXXXX") || refuse "$deps cannot be written to"
trap 'rm -rf -- "$new"' EXIT
cp -R lua/dtls "$new/dtls"
cp lua/package.lua "$new/dtls/package.lua"
cp build/dtls_core.so "$new/dtls_core.so"
chmod -R u+w,go+rX -- "$new"
# The native part is renamed into place: a program that is running may have the old file mapped.
mv -f -- "$new/dtls_core.so" "$native/dtls_core.so"
rm -rf -- "$deps/dtls"
mv -- "$new/dtls" "$deps/dtls"

echo "dtls: laid dtls/ into $deps, dtls_core.so into $native"
