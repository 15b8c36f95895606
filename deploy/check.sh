#!/usr/bin/env bash
# Checks what stands in deploy/ against the real binary: the rules inside the manifests, the Redis
# sample with its minimal user, the unit, the monitoring files. SATCHEL names the binary.
source "$(dirname "$0")/../examples/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)

# The text of `rules.yaml: |` in a ConfigMap.
rules_of() {
  awk '/^  rules\.yaml: \|$/ { inside = 1; next } inside && /^[^ ]|^  [^ ]/ { exit } inside { sub(/^    /, ""); print }' "$1"
}
mkdir -p "$work/secrets"
printf 'change-me\n' >"$work/secrets/redis-password"
printf 'a-token-for-the-check\n' >"$work/secrets/admin-token"

for manifest in "$here"/kubernetes/*.yaml; do
  name=$(basename "$manifest" .yaml)
  rules_of "$manifest" | sed "s|/run/secrets/satchel|$work/secrets|g" >"$work/$name-rules.yaml"
  check_file "$work/$name-rules.yaml"
done
check_file "$here/compose/rules.yaml"

plain() { sed -E -e 's/\$\{[A-Z_]+:-([^}]*)\}/\1/g' -e 's/ *#.*//' -e '/^ *$/d' "$1"; }
same "the sidecar's ConfigMap holds the rules of examples/sidecar" \
  "$(plain "$work/sidecar-rules.yaml")" "$(plain "$examples/sidecar/rules.yaml")"

if /usr/bin/python3 -c 'import yaml' 2>/dev/null; then
  for file in "$here"/*/*.yaml; do
    if /usr/bin/python3 -c 'import sys, yaml; assert all(yaml.safe_load_all(open(sys.argv[1])))' "$file"; then
      ok "$(basename "$(dirname "$file")")/$(basename "$file") is YAML"
    else
      no "$(basename "$(dirname "$file")")/$(basename "$file") is not YAML"
    fi
  done
else
  echo "  skipped parsing the manifests: python3-yaml is not installed"
fi

if command -v systemd-analyze >/dev/null; then
  sed "s|/usr/bin/satchel|$(realpath "$SATCHEL")|" "$here/systemd/satchel.service" >"$work/satchel.service"
  if systemd-analyze verify --man=no "$work/satchel.service" >"$work/unit.txt" 2>&1; then
    ok "systemd-analyze verify satchel.service"
  else
    no "systemd-analyze verify satchel.service"
    cat "$work/unit.txt"
  fi
else
  echo "  skipped the unit: systemd-analyze is not installed"
fi

if ! command -v redis-server >/dev/null; then
  echo "  skipped the Redis sample: redis-server is not installed (deploy/install-packages.sh --test)"
  exit 0
fi

# The sample configuration, with its user doing everything Satchel does and nothing refused.
start_shop
read -r redis_port port1 port2 port3 port4 < <(free_ports 5)
{ cat "$here/redis/users.acl"; echo 'user checker on nopass ~* &* +@all'; } >"$work/users.acl"
sed -e "s|^aclfile .*|aclfile $work/users.acl|" -e "s|^dir .*|dir $work|" -e "s|^port .*|port $redis_port|" \
  -e 's|^bind .*|bind 127.0.0.1|' "$here/redis/redis.conf" >"$work/redis.conf"
start redis redis-server "$work/redis.conf"
as_checker() { redis-cli -p "$redis_port" --user checker --pass x --no-auth-warning "$@" 2>&1; }
until_true() { local end=$((SECONDS + 10)); until "$@" || [ $SECONDS -ge $end ]; do sleep 0.05; done; }
answers() { [ "$(as_checker ping)" = PONG ]; }
until_true answers
expect "redis-server starts with redis.conf" "$(as_checker ping)" PONG
expect "a client without a user is turned away" "$(redis-cli -p "$redis_port" ping 2>&1)" "NOAUTH*"

sed -e "s|\"0.0.0.0:8080\"|\"127.0.0.1:$port1\"|" -e "s|\"0.0.0.0:9901\"|\"127.0.0.1:$port2\"|" \
  -e "s|dns:bookshop.default.svc.cluster.local:80|$shop|" "$work/front-proxy-rules.yaml" >"$work/one.yaml"
sed -e "s|127.0.0.1:$port1|127.0.0.1:$port3|" -e "s|127.0.0.1:$port2|127.0.0.1:$port4|" "$work/one.yaml" >"$work/two.yaml"
export REDIS_URL="redis://satchel@127.0.0.1:$redis_port/0"
start one "$SATCHEL" run -c "$work/one.yaml"
start two "$SATCHEL" run -c "$work/two.yaml"
wait_for "http://127.0.0.1:$port2/readyz"
wait_for "http://127.0.0.1:$port4/readyz"

stored() { [ "$(as_checker dbsize)" != 0 ]; }
ask "http://127.0.0.1:$port1/api/books/7" -H 'Host: shop.example' -H 'X-API-Key: ann'
expect "front proxy: an answer" "$status" 200
until_true stored
ask "http://127.0.0.1:$port3/api/books/7" -H 'Host: shop.example' -H 'X-API-Key: bob'
expect "the other replica has it from Redis" "$status $(header cache-status)" "200 *hit*"
expect "limits are counted there too" "$(as_checker --scan --pattern 'satchel:rl:*' | wc -l | awk '{ print ($1 > 0) }')" 1
ask -X PUT "http://127.0.0.1:$port1/api/books/7" -d '{"price_cents": 4321}' -H 'Host: shop.example' -H 'X-API-Key: ann'
ask "http://127.0.0.1:$port1/api/books/7" -H 'Host: shop.example' -H 'X-API-Key: ann'
expect "a change is seen" "$(body)" '*4321*'
same "Redis refused nothing to this user" "$(as_checker acl log)" ""

ask "http://127.0.0.1:$port2/metrics"
expect "metrics want the token" "$status" 401
ask "http://127.0.0.1:$port2/metrics" -H 'Authorization: Bearer a-token-for-the-check'
expect "and come with it" "$status" 200

# Every metric the dashboard and the alerts ask for is there under that name.
cp "$work/.body" "$work/metrics.txt"
missing=''
for metric in $(grep -ohE '\<(satchel|process)_[a-z0-9_]+' "$here/monitoring/dashboard.json" "$here/monitoring/alerts.yaml" | sort -u); do
  grep -qE "^${metric}[ {]" "$work/metrics.txt" || missing+=" $metric"
done
same "all metrics of the dashboard and the alerts exist" "${missing# }" ""
# Its queries as a rule file, for promtool; fails unless it is JSON.
if python3 - "$here/monitoring/dashboard.json" >"$work/dashboard-rules.yaml" <<'PYTHON'
import json, sys
queries = [t["expr"] for p in json.load(open(sys.argv[1]))["panels"] for t in p.get("targets", [])]
print("groups:\n- name: dashboard\n  rules:")
for number, query in enumerate(queries):
    query = query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
    print(f"  - record: panel_query_{number}\n    expr: {json.dumps(query)}")
PYTHON
then ok "dashboard.json is JSON"; else no "dashboard.json is not JSON"; fi
if command -v promtool >/dev/null; then
  if promtool check rules "$work/dashboard-rules.yaml" >"$work/promtool.txt" 2>&1; then
    ok "promtool check: the queries of the dashboard"
  else
    no "promtool check: the queries of the dashboard"
    cat "$work/promtool.txt"
  fi
  if promtool check rules "$here/monitoring/alerts.yaml" >"$work/promtool.txt" 2>&1; then
    ok "promtool check rules alerts.yaml"
  else
    no "promtool check rules alerts.yaml"
    cat "$work/promtool.txt"
  fi
  if promtool check metrics <"$work/metrics.txt" >"$work/promtool.txt" 2>&1; then
    ok "promtool check metrics"
  else
    no "promtool check metrics"
    cat "$work/promtool.txt"
  fi
fi
