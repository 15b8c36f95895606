#!/usr/bin/env bash
# What a sidecar must do in a pod: start before the app, reload, and leave without losing a request.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
read -r port1 port2 port3 < <(free_ports 3)
web=127.0.0.1:$port1 admin=127.0.0.1:$port2 shop=127.0.0.1:$port3
cp "$here/rules.yaml" "$work/rules.yaml"
start satchel env LISTEN="$web" ADMIN="$admin" APP="$shop" "$SATCHEL" run -c "$work/rules.yaml"
satchel=$pid
wait_for "http://$admin/readyz"
ok "it is ready before the app runs, as a native sidecar must be"
if "$SATCHEL" healthcheck --admin "$admin" && "$SATCHEL" healthcheck --admin "$admin" --ready; then
  ok "satchel healthcheck, which the probes call, says so too"
else
  no "satchel healthcheck"
fi
ask "http://$web/api/books/1"
expect "without the app: 502 with a reason" "$status $(header content-type)" "502 application/problem+json*"

start shop python3 -B "$examples/bookshop/bookshop.py" --port "$port3" --db "$work/shop.db"
wait_for "http://$shop/healthz"
ask "http://$web/api/books/1"
expect "with the app: its answer" "$status" 200
ask "http://$web/api/books/1"
expect "then a hit" "$(header cache-status)" "*hit*"
ask "http://$web/healthz"
ask "http://$web/healthz"
expect "the probe path is never a hit" "$status $(header cache-status)" "200 *fwd=*"

# A broken file keeps the last good one running; a good one takes over. The cache survives both.
loaded() { curl -sS "http://$admin/metrics" | grep -c "^satchel_config_reload_success $1\$" || true; }
wait_loaded() {
  local end=$((SECONDS + 10))
  until [ "$(loaded "$1")" = 1 ] || [ $SECONDS -ge $end ]; do sleep 0.05; done
  expect "$2" "$(loaded "$1")" 1
}
sed 's/cache: false/cachee: false/' "$here/rules.yaml" >"$work/rules.yaml"
kill -HUP "$satchel"
wait_loaded 0 "SIGHUP with a mistake in the file: the metric says so"
ask "http://$web/api/books/1"
expect "and it goes on serving" "$status $(header cache-status)" "200 *hit*"
cp "$here/rules.yaml" "$work/rules.yaml"
kill -HUP "$satchel"
wait_loaded 1 "SIGHUP with the mistake mended: loaded"
ask "http://$web/api/books/1"
expect "the cache is still warm" "$status $(header cache-status)" "200 *hit*"

# SIGTERM while a slow answer is on its way: it arrives whole, then the process ends with 0.
curl -sS -o "$work/late.json" -w '%{http_code}' "http://$web/api/books/2" >"$work/late.txt" &
late=$!
end=$((SECONDS + 5))
until [ "$(origin_calls 'GET /api/books/2')" = 1 ] || [ $SECONDS -ge $end ]; do sleep 0.01; done
kill -TERM "$satchel"
wait "$late" || true
expect "SIGTERM: the request in flight is answered" "$(cat "$work/late.txt")" 200
if wait "$satchel"; then ok "and the exit code is 0"; else no "exit code $?"; fi
