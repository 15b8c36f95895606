#!/usr/bin/env bash
# Satchel beside nginx, Varnish and HAProxy: installs them, builds the bench's own programs and,
# where it is missing, the release binary, then measures. Options: tests/bench/compare.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

"$root/deploy/install-packages.sh" --bench --build

tools="$root/build/bench-tools"
mkdir -p "$tools"
for name in origin_server limit_server load_client; do
  binary="$tools/$name"
  if [ "$here/$name.cc" -nt "$binary" ] || [ "$here/wire.h" -nt "$binary" ]; then
    g++ -I "$here/../.." -std=c++23 -O2 -Wall -Wextra -Wconversion -o "$binary" "$here/$name.cc" -lssl -lcrypto
  fi
done

# --satchel PATH, or a run without Satchel, needs no build.
build=yes
previous=
for argument in "$@"; do
  case "$argument" in
    --satchel | --satchel=* | -h | --help) build=no ;;
  esac
  if [ "$previous" = --targets ] || [[ "$argument" == --targets=* ]]; then
    [[ "$argument" == *satchel* ]] || build=no
  fi
  previous=$argument
done
if [ "$build" = yes ]; then
  [ -f "$root/build/bench-release/build.ninja" ] ||
    cmake -S "$root" --preset release -B "$root/build/bench-release" -DSATCHEL_TESTS=OFF >/dev/null
  cmake --build "$root/build/bench-release" --target satchel -j2 >&2 | tail -n 3
fi

export SATCHEL_BINARY="${SATCHEL_BINARY:-$root/build/bench-release/bin/satchel}"
# No exec: the Python program ends what it started when this script is told to end.
python3 -B "$here/compare.py" --bin-dir "$tools" "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' TERM INT HUP
wait "$child" || status=$?
wait "$child" 2>/dev/null || true
exit "${status:-0}"
