#!/usr/bin/env bash
# Builds the echo servers of others, each for itself: one that cannot be built is left out of the comparison.

set -uo pipefail
cd "$(dirname "$0")" || exit

missing() {
  echo "dtls: $1 cannot be built here, and is left out." >&2
}

for package in dimpl-echo webrtc-echo; do
  cargo build --release --locked --target-dir target --package "$package" || missing "$package"
done

venv=../target/venv
{ [[ -x $venv/bin/python ]] || python3 -m venv "$venv"; } &&
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt ||
  missing 'pyOpenSSL, or what draws the plots'
