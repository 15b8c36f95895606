#!/usr/bin/env bash
# Two instances, one private Redis: a shared answer, a warm start, a shared limit, and Redis hung and gone.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
if ! command -v redis-server >/dev/null; then
  echo "  skipped the rest: redis-server is not installed (deploy/install-packages.sh --test)"
  exit 0
fi

start_shop
read -r web1 admin1 web2 admin2 < <(free_ports 4)
start_redis
start_instance one "$web1" "$admin1" "$here/rules.yaml"
start_instance two "$web2" "$admin2" "$here/rules.yaml"
one=http://127.0.0.1:$web1 two=http://127.0.0.1:$web2

ask "$one/api/books/1" -H 'Host: shop.example'
expect "what front.txt lists is in memory before anybody asks" "$status $(header cache-status)" "200 *hit*/l1*"
ask "$two/api/books/2" -H 'Host: shop.example'
expect "in the second instance too" "$status $(header cache-status)" "200 *hit*/l1*"
expect "and the app was asked once" "$(origin_calls 'GET /api/books/2')" 1
expect "satchel warm says that it is so" \
  "$("$SATCHEL" warm --admin "127.0.0.1:$admin1" --quiet --file "$here/front.txt")" "2 request(s), *2 fresh"

# The host is part of the key, and a client would use one name for both instances.
records() { redis-cli -u "$redis_url" --scan --pattern 'satchel:3:*' | grep -vc ':lock$' || true; }
before=$(records)
ask "$one/api/books/7" -H 'Host: shop.example'
expect "the first instance fetches" "$status $(header cache-status)" "200 *fwd=uri-miss*"
first=$(body)
# Writing to Redis happens behind the answer: wait for the record, then ask the other instance.
end=$((SECONDS + 5))
until [ "$(records)" -gt "$before" ] || [ $SECONDS -ge $end ]; do sleep 0.02; done
ask "$two/api/books/7" -H 'Host: shop.example'
expect "the second answers from Redis" "$status $(header cache-status)" "200 *hit*"
same "byte for byte the same" "$(body)" "$first"
expect "the app was asked once" "$(origin_calls 'GET /api/books/7')" 1

admitted=0
for n in 1 2 3 4 5 6 7 8; do
  if [ $((n % 2)) = 1 ]; then base=$one; else base=$two; fi
  ask "$base/api/search?q=dumas" -H 'X-API-Key: ann'
  if [ "$status" = 200 ]; then admitted=$((admitted + 1)); fi
done
expect "8 calls in turn, 6 are let through in all" "$admitted" 6
expect "the rest are refused with a time to come back" "$status $(header retry-after)" "429 [1-9]*"

kill -STOP "$redis_pid"
failures=0
for n in $(seq 20); do
  ask "$one/api/books/$n"
  [ "$status" = 200 ] || failures=$((failures + 1))
done
kill -CONT "$redis_pid"
expect "Redis hung: 20 requests, none fails" "$failures" 0

# What Satchel itself added, from its access log: the whole time without the app's. The first few
# wait for the deadline of 20 ms, then the breaker opens and nobody waits.
logged() { grep -c "\"host\":\"127.0.0.1:$web1\".*\"target\":\"/api/books/" "$work/one.log" || true; }
end=$((SECONDS + 10))
until [ "$(logged)" -ge 20 ] || [ $SECONDS -ge $end ]; do sleep 0.05; done
added=$(python3 - "$work/one.log" "127.0.0.1:$web1" <<'PYTHON'
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[1]) if line.startswith("{")]
print(statistics.median(line["duration_us"] - line["upstream_us"] for line in lines
                        if line["host"] == sys.argv[2] and line["target"].startswith("/api/books/")) / 1000)
PYTHON
)
expect_less "and half of them lost less than 20 ms on it" "$added" 20

{ kill -KILL "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
ask "$one/api/books/30"
expect "Redis gone: a new book is fetched" "$status" 200
ask "$one/api/books/30"
expect "and kept in memory" "$(header cache-status)" "*hit*"
ask "$one/api/search?q=hugo" -H 'X-API-Key: bob'
expect "limits are counted in the instance" "$status" 200
ask "http://127.0.0.1:$admin1/readyz"
expect "and it stays ready" "$status" 200
