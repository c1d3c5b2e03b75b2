#!/usr/bin/env bash
# Runs every test and ends with the totals on a line of their own, `N passed, N failed`, with
# `, N skipped` when any were.
#
#   tools/test.sh           what `make test` runs
#   tools/test.sh --check   `make check` as well

set -uo pipefail
cd "$(dirname "$0")/.." || exit

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Ends with the totals, and with the status they deserve.
finish() {
  local skips=''
  ((skipped == 0)) || skips=", $skipped skipped"
  printf '\n%s passed, %s failed%s\n' "$passed" "$failed" "$skips"
  exit $((failed > 0))
}

# Counts a failure that nobody else reports.
fail() {
  echo "dtls: $1" >&2
  failed=$((failed + 1))
}

# Runs a command in sight and into the log. One that hangs is ended, along with the peers it started, so
# that it counts as failed.
run() {
  printf '\n== %s\n' "$*"
  timeout --kill-after=10 900 "$@" </dev/null 2>&1 | tee "$log"
  return "${PIPESTATUS[0]}"
}

# A step without totals of its own: counted only when it fails.
step() {
  run "$@" && return
  fail "\`$*\` failed"
  return 1
}

# cargo prints a line of totals for each test binary, busted one in all.
cargo_totals='^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored;'
busted_totals='^([0-9]+) success(es)? / ([0-9]+) failures? / ([0-9]+) errors? / ([0-9]+) pending '

# A step that prints totals. A runner that crashed, before they were printed or after, has not passed.
suite() {
  run "$@"
  local status=$? before=$failed totals=0 line
  while IFS= read -r line; do
    if [[ $line =~ $cargo_totals ]]; then
      passed=$((passed + BASH_REMATCH[1]))
      failed=$((failed + BASH_REMATCH[2]))
      skipped=$((skipped + BASH_REMATCH[3]))
    elif [[ $line =~ $busted_totals ]]; then
      passed=$((passed + BASH_REMATCH[1]))
      failed=$((failed + BASH_REMATCH[3] + BASH_REMATCH[4]))
      skipped=$((skipped + BASH_REMATCH[5]))
    else
      continue
    fi
    totals=1
  done <"$log"
  if ((totals == 0)); then
    fail "\`$*\` printed no totals (status $status)"
  elif ((status != 0 && failed == before)); then
    fail "\`$*\` reported no failure, yet ended with status $status"
  fi
}

step make deps || finish
[[ ${1-} != --check ]] || step make check
step make build || finish

suite cargo test --release --locked --no-default-features --features vendored --no-fail-fast

# busted would start plain Lua on Debian.
busted=$(command -v busted)
suite luajit "$busted" -o plainTerminal
# By the way that other systems take: one datagram a call.
suite env DTLS_TRANSPORT=libuv luajit "$busted" -o plainTerminal

# Once more, with a collector that stops the world at every step: what is held only by luck gets collected
# in the middle of things. Interpreted, because compiled code can then do nothing but leave its trace to
# collect, for ever. File by file, because each stop takes as long as there is something to look through.
# Not those of spec/programs, which only look at other processes.
for spec in spec/*_spec.lua; do
  suite env SAVAGE_GC=1 luajit -joff "$busted" -o plainTerminal "$spec"
done

finish
