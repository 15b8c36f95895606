#!/usr/bin/env bash
# Runs the smallest configuration, as a file and as flags, before a real app.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
start_shop

try() {
  ask "http://$web/api/books/$2"
  expect "$1: the first answer comes from the app" "$status $(header cache-status)" "200 *fwd=uri-miss*"
  first=$(body)
  ask "http://$web/api/books/$2"
  expect "$1: the second comes from the cache" "$status $(header cache-status)" "200 *hit*"
  same "$1: byte for byte the same" "$(body)" "$first"
  ask "http://$web/api/account"
  ask "http://$web/api/account"
  expect "$1: what the app calls private is not kept" "$(header cache-status)" "*fwd=*"
  ask "http://$admin/readyz"
  expect "$1: ready" "$status" 200
}

# The three lines, with this machine's free ports put in.
read -r port1 port2 < <(free_ports 2)
sed -e "s/0\.0\.0\.0:8080/127.0.0.1:$port1/" -e "s/127\.0\.0\.1:3000/$shop/" "$here/rules.yaml" \
  >"$work/rules.yaml"
echo "admin: {address: \"127.0.0.1:$port2\"}" >>"$work/rules.yaml"
web=127.0.0.1:$port1 admin=127.0.0.1:$port2
start file "$SATCHEL" run -c "$work/rules.yaml"
wait_for "http://$admin/readyz"
try "file" 7
kill -TERM "$pid"
if wait "$pid"; then ok "file: SIGTERM ends it with exit code 0"; else no "file: SIGTERM ended it with exit code $?"; fi

# No file at all.
read -r port1 port2 < <(free_ports 2)
web=127.0.0.1:$port1 admin=127.0.0.1:$port2
start flags "$SATCHEL" run --listen "$web" --upstream "$shop" --admin "$admin"
wait_for "http://$admin/readyz"
try "flags" 8
