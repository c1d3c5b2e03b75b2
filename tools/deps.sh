#!/usr/bin/env bash
# Installs the Debian packages that are missing; without the right to, names them and fails.
# Touches no network when nothing is missing.
#
#   tools/deps.sh demo   what it takes to build the module and run it
#   tools/deps.sh test   that, and what the specs and the lints use
#   tools/deps.sh bench  what it takes to build the module and measure it

set -euo pipefail

demo=(luajit lua-luv luarocks lua5.1 gcc libc6-dev make perl)
test=(
  "${demo[@]}"
  lua-busted lua-check
  openssl gnutls-bin libcoap3-bin          # peers of other makers
  tshark iproute2 iptables                 # to watch the wire and to trouble it
  faketime libfaketime python3 curl
)
bench=("${demo[@]}" openssl python3 python3-venv util-linux)

case ${1-} in
  demo) wanted=("${demo[@]}") ;;
  test) wanted=("${test[@]}") ;;
  bench) wanted=("${bench[@]}") ;;
  *) echo "usage: $0 demo|test|bench" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "dtls: this system is not Debian's; it needs the equals of: ${wanted[*]}." >&2
  exit 0 # whatever is not there will say so itself
fi

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID)); then
  echo "dtls: these Debian packages are missing; as root: apt-get install ${missing[*]}" >&2
  exit 1
fi

# Nobody is there to answer: tshark, for one, asks who may capture.
export DEBIAN_FRONTEND=noninteractive
exec </dev/null
apt-get -qq update
apt-get -qq install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "${missing[@]}"
