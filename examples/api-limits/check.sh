#!/usr/bin/env bash
# Plans by API key: no key, a wrong key, each plan's limit, the way back in, one owner with two keys.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
start_shop
read -r port1 port2 < <(free_ports 2)
web=127.0.0.1:$port1 admin=127.0.0.1:$port2
start satchel env LISTEN="$web" APP="$shop" ADMIN="$admin" "$SATCHEL" run -c "$here/rules.yaml"
wait_for "http://$admin/readyz"
url=http://$web/api/books

ask "$url"
expect "no key: 401 with a reason" "$status $(header content-type)" "401 application/problem+json*"
ask "$url" -H 'X-API-Key: guessed'
expect "an unknown key is no key" "$status" 401
ask "http://$web/covers/1.svg"
expect "outside /api nothing is limited" "$status $(header ratelimit-policy)" "200 "

burst() { # burst KEY N: how many of N calls were let through
  local good=0
  for _ in $(seq "$2"); do
    ask "$url" -H "X-API-Key: $1"
    if [ "$status" = 200 ]; then good=$((good + 1)); fi
  done
  echo "$good"
}
ask "$url" -H 'X-API-Key: ann-example-key'
expect "free: the first call says what is left" "$status $(header x-ratelimit-limit) $(header x-ratelimit-remaining)" "200 3 2"
expect "in the IETF fields too" "$(header ratelimit-policy)" '*"burst";q=3;w=4*'
ask "$url" -H 'X-API-Key: ann-example-key'
ask "$url" -H 'X-API-Key: ann-example-key'
ask "$url" -H 'X-API-Key: ann-example-key'
expect "the fourth within four seconds is refused" "$status $(header content-type)" "429 application/problem+json*"
wait=$(header retry-after)
expect "with a time to come back" "$wait" "[1-4]"
sleep "$wait"
ask "$url" -H 'X-API-Key: ann-example-key'
expect "which is exact" "$status" 200

# Two keys of one owner are one quota: 12 by one, then 12 by the other, 20 in all.
burst bob-example-key 12 >"$work/first.txt"
burst bob-second-example-key 12 >"$work/second.txt"
expect "pro: the first key's 12 calls pass" "$(cat "$work/first.txt")" 12
expect "the second key has what the first left" "$(cat "$work/second.txt")" 8
