#!/usr/bin/env bash
# The whole bookshop behind Satchel: what is kept, what is not, what a change does, what a crash does.
source "$(dirname "$0")/../lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

check_file "$here/rules.yaml"
start_shop
shop_pid=$pid
read -r port1 port2 < <(free_ports 2)
web=127.0.0.1:$port1 admin=127.0.0.1:$port2
start satchel env LISTEN="$web" SHOP="$shop" ADMIN="$admin" "$SATCHEL" run -c "$here/rules.yaml"
wait_for "http://$admin/readyz"

ask "http://$web/api/books/7"
expect "a book is fetched" "$status $(header cache-status)" "200 *fwd=uri-miss*"
etag=$(header etag)
ask "http://$web/api/books/7"
expect "then it is a hit with an age" "$status $(header cache-status) $(header age)" "200 *hit* [0-9]*"
expect "the app was asked once" "$(origin_calls 'GET /api/books/7')" 1
ask "http://$web/api/books/7" -H "If-None-Match: $etag"
expect "a client that has it gets 304" "$status" 304

ask "http://$web/api/books/7" -H 'Cache-Control: no-cache' -H 'Pragma: no-cache'
expect "a browser's reload is still a hit" "$status $(header cache-status)" "200 *hit*"

ask "http://$web/api/books/7" -H 'Accept-Language: de'
expect "another language is another variant" "$status $(header content-language)" "200 de"
ask "http://$web/api/books/7" -H 'Accept-Language: de'
expect "kept beside the first" "$(header content-language) $(header cache-status)" "de *hit*"
ask "http://$web/api/books/7"
expect "which is still there" "$(header content-language) $(header cache-status)" "en *hit*"

ask -I "http://$web/api/books/7"
expect "HEAD is answered from the stored GET" "$status $(header cache-status)" "200 *hit*"
ask "http://$web/api/books/7" -r 0-9
expect "so is a range" "$status $(header content-range) $(wc -c <"$work/.body")" "206 bytes 0-9/* 10"

ask -X PUT "http://$web/api/books/7" -H 'Content-Type: application/json' -d '{"price_cents": 4242}'
expect "a change goes to the app" "$status" 200
ask "http://$web/api/books/7"
expect "and the old answer is gone" "$(body)" '*"price_cents": 4242*'

ask "http://$web/covers/9.svg"
ask "http://$web/covers/9.svg"
expect "a cover is kept by its rule" "$(header cache-status)" "*hit*"
ask "http://$web/api/account" -H 'X-Customer: ann'
ask "http://$web/api/account" -H 'X-Customer: bob'
expect "one customer never sees another's account" "$(body)" '*"bob"*'
ask "http://$web/api/books/31337"
ask "http://$web/api/books/31337"
expect "a missing book is missing" "$status" 404

ask "http://$web/api/search?q=dumas"
expect "search wants a key" "$status" 401
ask "http://$web/api/search?q=dumas" -H 'X-API-Key: check'
expect "and answers with one" "$status" 200

# The feed passes at once: the first event is here long before the stream ends.
exec 5< <(curl -sSN --max-time 10 "http://$web/api/events" 2>/dev/null)
feed=$!
read -r -t 5 event <&5 || event=
kill "$feed" 2>/dev/null || true
exec 5<&-
expect "the event feed streams" "$event" "event: hello"

ask "http://$web/api/bestsellers"
{ kill -KILL "$shop_pid" && wait "$shop_pid"; } 2>/dev/null || true
ask "http://$web/api/books/7"
expect "with the app gone, a stored book is still served" "$status" 200
ask "http://$web/api/books/8"
expect "and one that was never asked for is a 502" "$status $(header content-type)" "502 application/problem+json*"
