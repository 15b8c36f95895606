#!/usr/bin/env bash
# From a bare Debian 12 to Satchel in front of a slow bookshop, with a short tour of what it does.
#
#   examples/quickstart.sh             install what is missing, build, tour, then stay up (Ctrl-C ends it)
#   examples/quickstart.sh --demo-only the same, but ends after the tour (also: --no-wait)
#   examples/quickstart.sh --stop      ends what an earlier quickstart left running
#
#   --redis URL    use this Redis as the shared tier, e.g. redis://127.0.0.1:6379/0 (none is needed)
#   --port N       the port of the shop behind Satchel (default 8080; a busy one is replaced)
#   --binary FILE  use this satchel instead of installing and building
#   --state DIR    keep pid files, logs and the database there (default: build/quickstart)
#
# Every step of the tour is checked: the exit code is 0 only when the tour showed what it says.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
state=$root/build/quickstart

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; }

redis=''
port=8080
binary=''
stay=yes
action=run
needs_value() {
  if [ $# -lt 2 ] || [ -z "$2" ]; then
    echo "quickstart: $1 needs a value" >&2
    exit 2
  fi
}
while [ $# -gt 0 ]; do
  case "$1" in
    --redis) needs_value "$@"; redis=$2; shift ;;
    --port) needs_value "$@"; port=$2; shift ;;
    --binary) needs_value "$@"; binary=$2; shift ;;
    --state) needs_value "$@"; state=$2; shift ;;
    --no-wait | --demo-only) stay=no ;;
    --stop) action=stop ;;
    -h | --help) usage; exit 0 ;;
    *) echo "quickstart: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
mkdir -p "$state"
state=$(cd "$state" && pwd)
pid_file=$state/quickstart.pid
logs=${state#"$PWD"/} # as it is shown
case "$port" in
  '' | *[!0-9]*) echo "quickstart: --port wants a number" >&2; exit 2 ;;
esac
case "$redis" in
  '' | redis://* | unix://*) ;;
  *) echo "quickstart: --redis wants a URL such as redis://127.0.0.1:6379/0" >&2; exit 2 ;;
esac
case "$redis" in
  *[\"\\\$]* | *[[:space:]]*) echo "quickstart: --redis has a character that a URL cannot have" >&2; exit 2 ;;
esac

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' dim='' green='' red='' plain=''
fi
say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "${red}quickstart: $*${plain}" >&2
  exit 1
}

# --- processes -----------------------------------------------------------------------------------

# A process is named by its id and its start time, so that a reused id is never mistaken for ours.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }
remember() { printf '%s %s\n' "$2" "$(started_at "$2")" >"$state/$1.pid"; }
alive() { # alive FILE: prints the id when that very process still runs
  local id when
  [ -r "$1" ] || return 1
  read -r id when <"$1" || return 1
  case "$id" in '' | *[!0-9]*) return 1 ;; esac
  [ -n "$when" ] && [ "$(started_at "$id")" = "$when" ] && printf '%s\n' "$id"
}
end_process() { # end_process FILE SECONDS
  local id end=$((SECONDS + $2))
  if id=$(alive "$1"); then
    kill -TERM "$id" 2>/dev/null || true
    while alive "$1" >/dev/null && [ $SECONDS -lt "$end" ]; do sleep 0.05; done
    if alive "$1" >/dev/null; then kill -KILL "$id" 2>/dev/null || true; fi
  fi
  rm -f "$1"
}
end_all() {
  end_process "$state/satchel.pid" 15
  end_process "$state/bookshop.pid" 5
}

if [ "$action" = stop ]; then
  found=no
  for name in quickstart satchel bookshop; do
    if alive "$state/$name.pid" >/dev/null; then found=yes; fi
  done
  # The script ends its children itself; what is left without it is ended here.
  end_process "$pid_file" 25
  end_all
  if [ $found = yes ]; then say "Stopped."; else say "Nothing was running."; fi
  exit 0
fi

if alive "$pid_file" >/dev/null; then
  die "is already running$([ -r "$state/url" ] && printf ' at %s' "$(cat "$state/url")"); examples/quickstart.sh --stop ends it"
fi
end_all
remember quickstart $$

leave() {
  local code=$?
  trap '' INT TERM
  end_all
  rm -f "$pid_file" "$state/url"
  exit $code
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- install and build ---------------------------------------------------------------------------

say "${bold}Satchel quickstart${plain}"
tools=()
if [ -z "$binary" ]; then tools+=(--build --runtime); fi
if ! command -v curl >/dev/null || ! command -v python3 >/dev/null; then tools+=(--example); fi
if [ ${#tools[@]} -gt 0 ]; then "$root/deploy/install-packages.sh" "${tools[@]}"; fi

if [ -z "$binary" ]; then
  binary=$root/build/release/bin/satchel
  say "  build     release, with $(nproc) jobs; the first time takes some minutes (log: $logs/build.log)"
  build() {
    cd "$root" && cmake --preset release -DSATCHEL_TESTS=OFF -DSATCHEL_BENCHMARKS=OFF &&
      cmake --build --preset release --target satchel --parallel "$(nproc)"
  }
  progress() { # on a terminal: how far the build is, in one line
    local line
    while IFS= read -r line; do
      case "$line" in
        \[*/*\]*) if [ -t 1 ]; then printf '\r            %s ' "${line%%]*}]"; fi ;;
      esac
    done
    if [ -t 1 ]; then printf '\r\e[K'; fi
  }
  if ! (build) 2>&1 | tee "$state/build.log" | progress; then
    tail -n 30 "$state/build.log" >&2
    die "the build failed; the whole log is in $logs/build.log"
  fi
fi
[ -x "$binary" ] || die "there is no program at $binary"
say "  satchel   $("$binary" --version | head -n 1)"

# --- start ---------------------------------------------------------------------------------------

is_free() {
  python3 - "$1" <<'PYTHON'
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    s.bind(("127.0.0.1", int(sys.argv[1])))
    s.listen()
except (OSError, OverflowError):
    sys.exit(1)
PYTHON
}
pick() { # pick WANTED WHAT: sets $picked
  picked=$1
  until is_free "$picked"; do
    picked=$((picked + 1))
    if [ $picked -gt $(($1 + 200)) ] || [ $picked -gt 65535 ]; then die "found no free port from $1 on for $2"; fi
  done
  if [ "$picked" != "$1" ]; then say "  port      $1 is busy: $2 uses $picked instead"; fi
}
pick 3000 "the bookshop"; shop=127.0.0.1:$picked
pick "$port" "Satchel"; web=127.0.0.1:$picked
pick 9901 "the admin listener"; admin=127.0.0.1:$picked

# The rules are the bookshop example's; with --redis the shared tier is added to its stores.
if [ -n "$redis" ]; then
  awk -v url="$redis" '{ print } /^  l1: / { print "  l2: {redis: \"" url "\", prefix: quickstart-'"$$"'}" }' \
    "$root/examples/bookshop/rules.yaml" >"$state/rules.yaml"
else
  cp "$root/examples/bookshop/rules.yaml" "$state/rules.yaml"
fi

wait_for() { # wait_for URL NAME
  local end=$((SECONDS + 20))
  until curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; do
    if [ $SECONDS -ge $end ] || ! alive "$state/$2.pid" >/dev/null; then
      tail -n 20 "$state/$2.log" >&2
      die "$2 did not come up (log: $logs/$2.log)"
    fi
    sleep 0.05
  done
}
start_satchel() {
  LISTEN=$web SHOP=$shop ADMIN=$admin "$binary" run -c "$state/rules.yaml" \
    >>"$state/satchel.log" 2>&1 </dev/null &
  remember satchel $!
  wait_for "http://$admin/readyz" satchel
}

rm -f "$state"/books.db* "$state"/*.log.old "$state/satchel.log"
python3 -B "$root/examples/bookshop/bookshop.py" --host "${shop%:*}" --port "${shop#*:}" --db "$state/books.db" --min-query-ms 400 \
  >"$state/bookshop.log" 2>&1 </dev/null &
remember bookshop $!
wait_for "http://$shop/healthz" bookshop
start_satchel
printf 'http://%s/\n' "$web" >"$state/url"
if [ -n "$redis" ]; then
  # Satchel runs without its Redis; here the point is to see it at work.
  end=$((SECONDS + 5))
  until curl -sS --max-time 2 "http://$admin/metrics" | grep -q '^satchel_redis_connections_up [1-9]'; do
    [ $SECONDS -lt $end ] || die "no Redis answers there (log: $logs/satchel.log)"
    sleep 0.05
  done
fi
say "  bookshop  http://$shop   a small shop with a slow database on disk"
say "  satchel   http://$web   in front of it, with examples/bookshop/rules.yaml"
say "  admin     http://$admin   health, metrics, status"
if [ -n "$redis" ]; then say "  redis     $(printf '%s' "$redis" | sed 's|//[^@/]*@|//|')"; fi

# --- the tour ------------------------------------------------------------------------------------

step=0
title() { step=$((step + 1)); printf '\n%s\n' "${bold}$step. $*${plain}"; }
shown() { # the command as one would type it
  local word line=''
  for word in "$@"; do
    case "$word" in
      *[!A-Za-z0-9_.,:/=@%+-]*) line+=" '${word//\'/\'\\\'\'}'" ;;
      *) line+=" $word" ;;
    esac
  done
  printf '   $%s\n' "$line"
}
request() { # the request itself; sets $status and $seconds, head and body are kept
  local out
  out=$(curl -sS --max-time 20 -D "$state/head" -o "$state/body" -w '%{http_code} %{time_total}' "$@") ||
    die "curl could not do: $*"
  status=${out% *}
  seconds=${out#* }
}
try() { # try FIELDS CURL-ARGUMENTS...: shows the command, its status line, the named fields, its time
  local fields=$1
  shift
  shown curl -i "$@"
  request "$@"
  printf '%s' "$dim"
  tr -d '\r' <"$state/head" | head -n 1 | sed 's/^/     /'
  tr -d '\r' <"$state/head" | grep -iE "^($fields):" | sed 's/^/     /' || true
  printf '     (%s s)%s\n' "$seconds" "$plain"
}
header() { tr -d '\r' <"$state/head" | sed -n "s/^$1: *//Ip" | tail -n 1; }
good() { printf '   %s\n' "${green}ok${plain} $*"; }
must() { # must WHAT ACTUAL PATTERN
  # shellcheck disable=SC2053
  if [[ $2 == $3 ]]; then good "$1"; else
    say "   the answer was:" >&2
    sed 's/^/     /' "$state/head" >&2
    die "step $step did not show it: $1 (expected $3, got ${2:-nothing})"
  fi
}
calls() { # how often the shop itself saw this request
  curl -sS --max-time 5 "http://$shop/stats" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["by_request"].get(sys.argv[1], 0))' "$1"
}
seen='Cache-Status|Age|Cache-Control'

title "Miss: nobody asked for this book before, so the shop is asked, and it is slow"
try "$seen" "http://$web/api/books/7"
must "Satchel went to the shop" "$status $(header cache-status)" "200 *fwd=uri-miss*"
etag=$(header etag)
slow=$seconds

title "Hit: the same book again, from memory"
try "$seen" "http://$web/api/books/7"
must "no trip to the shop" "$status $(header cache-status) $(calls 'GET /api/books/7')" "200 *hit* 1"
say "   ${dim}($seconds s, and $slow s when the shop was asked)${plain}"

title "304: a client that has this version already gets no body"
try "Cache-Status|ETag" "http://$web/api/books/7" -H "If-None-Match: $etag"
must "Satchel answered it alone" "$status $(calls 'GET /api/books/7')" "304 1"

title "A change: writing through Satchel drops the stored book"
try "Cache-Status" -X PUT "http://$web/api/books/7" -H 'Content-Type: application/json' -d '{"price_cents": 1234}'
must "the shop took it" "$status" 200
try "$seen" "http://$web/api/books/7"
must "the next reader gets the new price" "$status $(cat "$state/body")" '200 *"price_cents": 1234*'

title "Stale while it is refreshed: the bestsellers may be 2 s old, and 60 s more while somebody looks anew"
try "$seen" "http://$web/api/bestsellers"
must "first the shop is asked" "$status $(calls 'GET /api/bestsellers')" "200 1"
say "   ${dim}(three seconds later)${plain}"
sleep 3
try "$seen" "http://$web/api/bestsellers"
must "the old list came at once, age and all" "$status $(header age) $(header cache-status)" "200 [3-9] *hit*stale-while-revalidate*"
end=$((SECONDS + 5))
until request "http://$web/api/bestsellers" && [ "$(header age)" -le 2 ] || [ $SECONDS -ge $end ]; do sleep 0.05; done
try "$seen" "http://$web/api/bestsellers"
must "a moment later there is a fresh one" "$status $(header age) $(header cache-status)" "200 [0-2] *hit*"
must "and for it the shop was asked once" "$(calls 'GET /api/bestsellers')" 2

title "A herd: 100 clients ask for one cold book at the same moment"
mkdir -p "$state/herd"
rm -f "$state"/herd/*
shown curl -sZ --parallel-immediate --parallel-max 100 -o /dev/null -w '%{http_code}\n' "http://$web/api/books/42#[1-100]"
herd=$(curl -sZ --no-progress-meter --max-time 20 --parallel-immediate --parallel-max 100 -o "$state/herd/#1" \
  -w '%{http_code}\n' "http://$web/api/books/42#[1-100]" | sort | uniq -c | sed 's/^ *//')
printf '     %s\n' "$dim$herd$plain"
must "100 answers" "$herd" "100 200"
must "all the same" "$(cat "$state"/herd/* | sort -u | wc -l)" 1
shown curl "http://$shop/stats"
must "and the shop's database was asked once" "$(calls 'GET /api/books/42')" 1

title "A live feed passes through as it happens"
shown curl -N "http://$web/api/events"
exec 5< <(curl -sSN --max-time 20 "http://$web/api/events" 2>/dev/null)
feed=$!
read -r -t 5 event <&5 || event='nothing within 5 s'
must "the first event is here while the stream goes on" "$event" "event: hello"
request -X PUT "http://$web/api/books/8" -H 'Content-Type: application/json' -d '{"price_cents": 799}'
change='nothing within 5 s'
while read -r -t 5 line <&5; do case "$line" in *changed*) change=$line; break ;; esac; done
must "somebody changes a price, and the feed says so" "$change" "event: changed"
kill "$feed" 2>/dev/null || true
exec 5<&-

title "A limit: search wants an API key, and a reader may call it 5 times in 4 seconds"
try "WWW-Authenticate|Content-Type" "http://$web/api/search?q=dumas"
must "no key, no answer" "$status" 401
for n in 1 2 3 4 5; do
  request "http://$web/api/search?q=dumas" -H 'X-API-Key: ann'
  [ "$status" = 200 ] || die "step $step: call $n of 5 answered $status"
done
say "   ${dim}(five calls with the key, then the sixth)${plain}"
try "Retry-After|RateLimit.*|X-RateLimit.*|Content-Type" "http://$web/api/search?q=dumas" -H 'X-API-Key: ann'
must "the sixth is told when to come back" "$status $(header retry-after)" "429 [1-4]"
wait=$(header retry-after)
say "   ${dim}(exactly $wait s later)${plain}"
sleep "$wait"
try "RateLimit.*|X-RateLimit.*" "http://$web/api/search?q=dumas" -H 'X-API-Key: ann'
must "and then it works" "$status" 200

title "Numbers for Prometheus"
shown curl -s "http://$admin/metrics"
request "http://$admin/metrics"
must "the admin listener answers" "$status" 200
lines=$(grep -E '^(satchel_requests_total|satchel_l1_(bytes|objects)|satchel_fills_followed_total|satchel_rate_limit_checks_total|satchel_upstream_requests_total)[{ ]' "$state/body" | grep -v ' 0$' || true)
printf '%s\n' "$lines" | head -n 12 | sed "s/^/     $dim/; s/\$/$plain/"
must "hits are counted" "$lines" '*satchel_requests_total{*hit*} [1-9]*'

if [ -n "$redis" ]; then
  title "Redis: a restart empties the memory, not the shared tier"
  end_process "$state/satchel.pid" 15
  start_satchel
  try "$seen" "http://$web/api/books/42"
  must "the answer came from Redis" "$status $(header cache-status) $(calls 'GET /api/books/42')" "200 *hit* 1"
fi

printf '\n%s\n' "${green}All $step steps showed what they promise.${plain}"
[ "$stay" = yes ] || exit 0

cat <<TEXT

${bold}It stays up. Things to try${plain}
  http://$web/                 the shop in a browser: click a book twice, ask 30 times at once
  curl -i http://$web/api/books/9
  curl -i http://$web/api/books/9 -H 'Accept-Language: de'
  curl -i 'http://$web/api/search?q=sea' -H 'X-API-Key: you'
  curl -N http://$web/api/events
  curl -s http://$shop/stats        how often the shop itself was asked
  curl -s http://$admin/status
  tail -f $logs/satchel.log   one JSON line per request

The rules are in examples/bookshop/rules.yaml. Ctrl-C ends it, or examples/quickstart.sh --stop.
TEXT

# Stays in the foreground, with a terminal or without, until it is told to end or a process is lost.
while :; do
  for name in satchel bookshop; do
    alive "$state/$name.pid" >/dev/null || die "$name has ended (log: $logs/$name.log)"
  done
  sleep 1 &
  wait $! || true
done
