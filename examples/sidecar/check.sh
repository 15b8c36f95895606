#!/usr/bin/env bash
# What a sidecar must do in a pod: start before the app, reload, and leave without losing a request.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
read -r port1 port2 port3 < <(free_ports 3)
web=127.0.0.1:$port1 admin=127.0.0.1:$port2 shop=127.0.0.1:$port3
mkdir -p "$work/rules/..1"
cp "$here/rules.yaml" "$work/rules/..1/rules.yaml"
ln -s ..1 "$work/rules/..data"
ln -s ..data/rules.yaml "$work/rules/rules.yaml"
start satchel env LISTEN="$web" ADMIN="$admin" APP="$shop" "$SATCHEL" run -c "$work/rules/rules.yaml"
satchel=$pid
wait_for "http://$admin/readyz"
ok "it is ready before the app runs, as a native sidecar must be"
if "$SATCHEL" healthcheck --admin "$admin" >/dev/null && "$SATCHEL" healthcheck --admin "$admin" --ready >/dev/null; then
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

# New rules arrive as Kubernetes brings them: a new folder, and a link that is swapped. A broken file
# keeps the last good one running; a good one takes over. The cache survives both.
metric() { curl -sS "http://$admin/metrics" | sed -n "s/^$1 //p"; }
wait_metric() { # wait_metric NAME VALUE WHAT
  local end=$((SECONDS + 10))
  until [ "$(metric "$1")" = "$2" ] || [ $SECONDS -ge $end ]; do sleep 0.05; done
  expect "$3" "$(metric "$1")" "$2"
}
bring() { # bring NAME SED-EXPRESSION
  mkdir "$work/rules/$1"
  sed "$2" "$here/rules.yaml" >"$work/rules/$1/rules.yaml"
  ln -s "$1" "$work/rules/..new"
  mv -T "$work/rules/..new" "$work/rules/..data"
}
bring ..2 's/cache: false/cachee: false/'
wait_metric satchel_config_last_reload_successful 0 "new rules with a mistake: the metric says so"
ask "http://$web/api/books/1"
expect "and it goes on serving" "$status $(header cache-status)" "200 *hit*"
bring ..3 's/sie: 10m/sie: 20m/'
wait_metric satchel_config_last_reload_successful 1 "the mistake mended: loaded"
generation=$(metric satchel_config_generation)
kill -HUP "$satchel"
wait_metric satchel_config_generation $((generation + 1)) "SIGHUP reads the file again"
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
