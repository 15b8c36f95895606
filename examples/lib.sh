# shellcheck shell=bash
# Sourced by the check.sh of each example: starts the example for real, asks it, and says what held.
#
# Needs bash, curl and python3. SATCHEL names the binary (default: the release build, else the one
# on the PATH). Everything started here is ended when the script ends, whatever the reason.
set -euo pipefail

examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${SATCHEL:-}" ]; then
  SATCHEL=$examples/../build/release/bin/satchel
  [ -x "$SATCHEL" ] || SATCHEL=$(command -v satchel || true)
fi
if [ ! -x "$SATCHEL" ]; then
  echo "no satchel binary: build it (cmake --preset release && cmake --build --preset release), or set SATCHEL" >&2
  exit 2
fi

work=$(mktemp -d)
started=()
passed=0
failed=0
pid='' shop='' redis_pid='' redis_url='' status='' # set by start, start_shop, start_redis and ask

finish() {
  local code=$? pid end log
  for pid in "${started[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
    kill -CONT "$pid" 2>/dev/null || true
  done
  # What does not end by itself within 15 s is a fault, and is not left behind.
  end=$((SECONDS + 15))
  for pid in "${started[@]}"; do
    while kill -0 "$pid" 2>/dev/null && [ $SECONDS -lt $end ]; do sleep 0.05; done
    if kill -KILL "$pid" 2>/dev/null; then no "process $pid did not end on SIGTERM"; fi
    wait "$pid" 2>/dev/null || true
  done
  if [ "$code" -ne 0 ] || [ "$failed" -ne 0 ]; then
    for log in "$work"/*.log; do
      [ -s "$log" ] || continue
      echo "--- last lines of $(basename "$log")"
      tail -n 15 "$log"
    done
  fi
  rm -rf "$work"
  echo "checks: $passed passed, $failed failed"
  [ "$code" -eq 0 ] && [ "$failed" -eq 0 ] || exit 1
}
trap finish EXIT
trap 'exit 130' INT TERM

ok() { passed=$((passed + 1)); echo "  ok      $*"; }
no() { failed=$((failed + 1)); echo "  FAILED  $*"; }

# free_ports N: N ports of the loopback interface that nobody listens on, on one line. Below the range
# from which the system takes ports for outgoing connections, which could be gone a moment later.
free_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10240, 32000)))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
PYTHON
}

# start NAME COMMAND...: runs it in the background; its output goes to $work/NAME.log, its pid to $pid.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  pid=$!
  started+=("$pid")
}

# wait_for URL: until it answers 2xx, at most 15 s.
wait_for() {
  local end=$((SECONDS + 15))
  until curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; do
    if [ $SECONDS -ge $end ]; then
      no "nothing answered at $1 within 15 s"
      exit 1
    fi
    sleep 0.05
  done
}

# start_shop [NAME]: the bookshop with an empty database; sets $shop (host:port).
start_shop() {
  local name=${1:-shop} port
  read -r port < <(free_ports 1)
  start "$name" python3 -B "$examples/bookshop/bookshop.py" --port "$port" --db "$work/$name.db"
  shop=127.0.0.1:$port
  wait_for "http://$shop/healthz"
}

# start_redis: a private Redis that keeps nothing; sets $redis_pid and $redis_url.
start_redis() {
  local port end=$((SECONDS + 10))
  read -r port < <(free_ports 1)
  start redis redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no --dir "$work"
  redis_pid=$pid redis_url=redis://127.0.0.1:$port/0
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || [ $SECONDS -ge $end ]; do sleep 0.05; done
}

# start_instance NAME WEB-PORT ADMIN-PORT RULES: one Satchel of several before the shop, on that Redis.
start_instance() {
  start "$1" env LISTEN="127.0.0.1:$2" ADMIN="127.0.0.1:$3" APP="$shop" REDIS_URL="$redis_url" \
    "$SATCHEL" run -c "$4"
  wait_for "http://127.0.0.1:$3/readyz"
}

# ask CURL-ARGUMENTS...: one request. Sets $status; header NAME and body read the answer.
ask() {
  status=$(curl -sS --max-time 20 -D "$work/.head" -o "$work/.body" -w '%{http_code}' "$@") || status=000
}
header() { tr -d '\r' <"$work/.head" | sed -n "s/^$1: *//Ip" | tail -n 1; }
body() { cat "$work/.body"; }

# expect WHAT ACTUAL PATTERN: PATTERN is a shell pattern.
expect() {
  # shellcheck disable=SC2053
  if [[ $2 == $3 ]]; then ok "$1"; else no "$1: expected $3, got ${2:-nothing}"; fi
}
# same WHAT ACTUAL EXPECTED: to the letter.
same() {
  if [ "$2" = "$3" ]; then ok "$1"; else no "$1: expected $3, got ${2:-nothing}"; fi
}
# expect_less WHAT A B: numbers, A < B.
expect_less() {
  if awk -v a="$2" -v b="$3" 'BEGIN { exit !(a < b) }'; then ok "$1"; else no "$1: $2 is not below $3"; fi
}

# origin_calls REQUEST: how often the shop itself saw it, e.g. origin_calls 'GET /api/books/7'.
origin_calls() {
  curl -sS "http://$shop/stats" | python3 -c '
import json, sys
print(json.load(sys.stdin)["by_request"].get(sys.argv[1], 0))' "$1"
}

# check_file FILE: satchel check finds nothing wrong with it.
check_file() {
  if "$SATCHEL" check "$1" >"$work/check.txt" 2>&1; then
    ok "satchel check $(basename "$1")"
  else
    no "satchel check $(basename "$1")"
    cat "$work/check.txt"
  fi
}
