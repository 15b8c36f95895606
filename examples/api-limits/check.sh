#!/usr/bin/env bash
# Plans by API key, costs, live feeds, a trial; then two instances on one Redis, what operators do
# there, and Redis gone.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
check_file "$here/fleet.yaml"
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

burst() { # burst KEY N [URL]: how many of N calls were let through
  local good=0
  for _ in $(seq "$2"); do
    ask "${3:-$url}" -H "X-API-Key: $1"
    if [ "$status" = 200 ]; then good=$((good + 1)); fi
  done
  echo "$good"
}
ask "$url" -H 'X-API-Key: ann-example-key'
expect "free: the first call says what is left" "$status $(header x-ratelimit-limit) $(header x-ratelimit-remaining)" "200 3 2"
expect "of both windows in the IETF fields" "$(header ratelimit-policy)" '*"burst";q=3;w=4*"hour";q=100;w=3600*'
ask "http://$web/api/search?q=dumas" -H 'X-API-Key: ann-example-key'
expect "a search costs two" "$status $(header x-ratelimit-remaining)" "200 0"
ask "$url" -H 'X-API-Key: ann-example-key'
expect "over the limit within four seconds: refused" "$status $(header content-type)" "429 application/problem+json*"
wait=$(header retry-after)
expect "with a time to come back" "$wait" "[1-4]"
sleep "$wait"
ask "$url" -H 'X-API-Key: ann-example-key'
expect "which is exact" "$status" 200

# Two keys of one owner are one quota: 12 by one, then 12 by the other, 20 in all.
expect "pro: the first key's 12 calls pass" "$(burst bob-example-key 12)" 12
expect "the second key has what the first left" "$(burst bob-second-example-key 12)" 8

# A trial: counted, not enforced.
for n in 1 2 3 4; do ask "http://$web/covers/$n.svg"; done
expect "shadow: the fourth cover of two is served" "$status $(header ratelimit-policy)" "200 "
limits() { "$SATCHEL" limits "$@"; }
number() { # number JSON-PATH...: of the document on stdin
  python3 -c '
import json, sys
at = json.load(sys.stdin)
for step in sys.argv[1:]:
    if isinstance(at, list) and "=" in step:
        name, value = step.split("=")
        at = next(one for one in at if one[name] == value)
    else:
        at = at[int(step) if isinstance(at, list) else step]
print(at)' "$@"
}
expect "and would have been refused" \
  "$(limits --admin "$admin" | number counts policy=covers shadow_refused)" 2

# One feed at a time.
feed() { curl -sN --max-time 1 -o /dev/null -w '%{http_code}' "http://$web/api/events" -H "X-API-Key: $1" || true; }
sleep 4 # ann's window
start feed curl -sN "http://$web/api/events" -H 'X-API-Key: ann-example-key'
feed_pid=$pid
end=$((SECONDS + 10))
until grep -q hello "$work/feed.log" || [ $SECONDS -ge $end ]; do sleep 0.05; done
expect "a second live feed is refused" "$(feed ann-example-key)" 429
kill "$feed_pid" && wait "$feed_pid" 2>/dev/null || true
end=$((SECONDS + 10))
until [ "$(feed ann-example-key)" = 200 ] || [ $SECONDS -ge $end ]; do sleep 0.5; done
expect "when the first has ended there is room" $((SECONDS < end)) 1

if ! command -v redis-server >/dev/null; then
  echo "  skipped the rest: redis-server is not installed (deploy/install-packages.sh --test)"
  exit 0
fi
read -r web1 admin1 web2 admin2 < <(free_ports 4)
start_redis
start_instance one "$web1" "$admin1" "$here/fleet.yaml"
start_instance two "$web2" "$admin2" "$here/fleet.yaml"
one=http://127.0.0.1:$web1/api/books two=http://127.0.0.1:$web2/api/books
in_all=$(($(burst bob-example-key 12 "$one") + $(burst bob-second-example-key 12 "$two")))
expect "two instances: 20 of 24 calls in all" "$in_all" 20

# What operators see and do, at any instance.
expect "limits show: what is left to bob" \
  "$(limits show bob-example-key --admin "127.0.0.1:$admin2" | number identities policy=api limits name=burst remaining)" 0
limits off --policy api --admin "127.0.0.1:$admin1" >/dev/null
until_status() { # until_status URL KEY STATUS: what it is in the end
  end=$((SECONDS + 5))
  ask "$1" -H "X-API-Key: $2"
  until [ "$status" = "$3" ] || [ $SECONDS -ge $end ]; do ask "$1" -H "X-API-Key: $2"; done
  echo "$status"
}
expect "limits off at one: the other lets bob in" "$(until_status "$two" bob-example-key 200)" 200
limits on --policy api --admin "127.0.0.1:$admin1" >/dev/null
expect "limits on: it refuses again" "$(until_status "$two" bob-example-key 429)" 429
limits reset bob-example-key --admin "127.0.0.1:$admin1" >/dev/null
expect "limits reset: bob begins anew everywhere" "$(until_status "$two" bob-example-key 200)" 200

# Redis gone: reading goes on within each instance's share, changes wait.
{ kill -KILL "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
ask "$one" -H 'X-API-Key: ann-example-key'
expect "Redis gone: a share of the limit stays" "$status $(header x-ratelimit-limit)" "200 *"
expect "and no more than the limit" "$(burst ann-example-key 6 "$one")" "[012]"
ask "$one/7" -X DELETE -H 'X-API-Key: bob-example-key'
expect "a change that can't be counted is refused" "$status $(header content-type)" "503 application/problem+json*"
