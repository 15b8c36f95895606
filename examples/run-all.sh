#!/usr/bin/env bash
# Runs the check.sh of every example (and of deploy/) against the real binary.
#
#   examples/run-all.sh [NAME...]     all of them and the quickstart's tour, or the named ones
#
# SATCHEL names the binary; without it the release build is used. The last line counts the checks.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
SATCHEL=${SATCHEL:-$root/build/release/bin/satchel}
export SATCHEL
if [ ! -x "$SATCHEL" ]; then
  echo "run-all.sh: no binary at $SATCHEL (set SATCHEL)" >&2
  exit 2
fi

scripts=()
if [ $# -gt 0 ]; then
  for name in "$@"; do
    script=$root/examples/$name/check.sh
    if [ ! -f "$script" ]; then
      echo "run-all.sh: there is no example \"$name\"; see examples/README.md" >&2
      exit 2
    fi
    scripts+=("$script")
  done
else
  scripts=("$root"/examples/*/check.sh "$root/deploy/check.sh")
fi

passed=0
failed=0
for script in "${scripts[@]}"; do
  basename "$(dirname "$script")"
  output=$(bash "$script" </dev/null 2>&1)
  code=$?
  printf '%s\n' "$output" | grep -v '^checks: ' || true
  good=$(printf '%s\n' "$output" | grep -c '^  ok ' || true)
  bad=$(printf '%s\n' "$output" | grep -c '^  FAILED ' || true)
  # What the shell itself complains of (a name that is not set, a command that is not there) may
  # have left a check without its sense.
  if complaints=$(printf '%s\n' "$output" | grep -E '\.sh: line [0-9]+: '); then
    echo "  FAILED  the script: $(printf '%s\n' "$complaints" | head -n 1)"
    bad=$((bad + 1))
  fi
  # A script that ended early without naming a failure is one.
  if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
    echo "  FAILED  $(basename "$(dirname "$script")")/check.sh ended with exit code $code"
    bad=1
  fi
  passed=$((passed + good))
  failed=$((failed + bad))
done
# The tour checks itself; it stops at the first step that does not show what it says.
if [ $# -eq 0 ]; then
  echo quickstart
  state=$(mktemp -d)
  output=$("$root/examples/quickstart.sh" --binary "$SATCHEL" --demo-only --state "$state" </dev/null 2>&1)
  code=$?
  rm -rf "$state"
  good=$(printf '%s\n' "$output" | grep -c '^   ok ' || true)
  passed=$((passed + good))
  if [ "$code" -eq 0 ]; then
    echo "  ok      $good checks of the tour"
  else
    printf '%s\n' "$output" | tail -n 25
    echo "  FAILED  the tour ended with exit code $code"
    failed=$((failed + 1))
  fi
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
