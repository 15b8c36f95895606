#!/usr/bin/env bash
# Plants each kind of violation in a small tree and expects check_includes.sh to name file and
# line; then expects silence for a tree in order.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

reset() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/cache/http "$tree"/rules "$tree"/proxy/{net,http1,redis} \
    "$tree"/tests/{cache,integration}
  printf '#pragma once\n#include <vector>\n' >"$tree/cache/http/headers.h"
  printf '#include "cache/http/headers.h"\n// never ::now( here: steady_clock::now() is for others\n' \
    >"$tree/rules/rule.cc"
  printf '#include <event2/event.h>\n#include "cache/http/headers.h"\n' >"$tree/proxy/net/loop.cc"
  printf '#include <llhttp.h>\n#include "proxy/net/loop.h"\n' >"$tree/proxy/http1/parser.cc"
  printf '#include <hiredis/read.h>\n#include "rules/rule.h"\n' >"$tree/proxy/redis/resp.cc"
  printf '#include "tests/support/origin.h"\n#include <hiredis/hiredis.h>\n' \
    >"$tree/tests/integration/a_test.cc"
  printf '#include "cache/http/headers.h"\n#include <thread>\n' >"$tree/tests/cache/b_test.cc"
  printf '#include "proxy/http1/parser.h"\n#include "proxy/redis/resp.h"\n' >"$tree/proxy/worker.cc"
}

# planted FILE LINE INCLUDE: the line is put at the end of FILE, as line LINE.
planted() {
  local file=$1 number=$2 text=$3 output status
  reset
  printf '%s\n' "$text" >>"$tree/$file"
  output=$("$here/check_includes.sh" "$tree" 2>&1)
  status=$?
  if [ $status -ne 1 ] || [[ $output != "$file:$number: "* ]]; then
    echo "not found: '$text' in $file:$number (exit $status, output: $output)"
    failures=$((failures + 1))
  fi
}

reset
if ! output=$("$here/check_includes.sh" "$tree" 2>&1) || [ -n "$output" ]; then
  echo "a tree in order was refused: $output"
  failures=$((failures + 1))
fi

planted cache/http/headers.h 3 '#include "proxy/worker.h"'
planted cache/http/headers.h 3 '#include "rules/rule.h"'
planted cache/http/headers.h 3 '  #  include "rules/rule.h"  // indented'
planted cache/http/headers.h 3 '#include <event2/event.h>'
planted cache/http/headers.h 3 '#include <sys/socket.h>'
planted cache/http/headers.h 3 '#include "headers.h"'
planted cache/http/headers.h 3 '#include "cache/../proxy/worker.h"'
planted cache/http/headers.h 3 '#include <cache/http/fields.h>'
planted cache/http/headers.h 3 '#include <spdlog/spdlog.h>'
planted cache/http/headers.h 3 'auto t = std::chrono::steady_clock::now();'
planted rules/rule.cc 3 '#include "proxy/net/loop.h"'
planted rules/rule.cc 3 '#include <thread>'
planted proxy/net/loop.cc 3 '#include "proxy/http1/parser.h"'
planted proxy/net/loop.cc 3 '#include "proxy/worker.h"'
planted proxy/net/loop.cc 3 '#include "rules/rule.h"'
planted proxy/net/loop.cc 3 '#include <llhttp.h>'
planted proxy/http1/parser.cc 3 '#include "proxy/redis/resp.h"'
planted proxy/http1/parser.cc 3 '#include "rules/rule.h"'
planted proxy/redis/resp.cc 3 '#include "proxy/http1/parser.h"'
planted proxy/worker.cc 3 '#include <hiredis/hiredis.h>'
planted proxy/worker.cc 3 '#include <yaml-cpp/yaml.h>'
planted tests/integration/a_test.cc 3 '#include "proxy/worker.h"'
planted tests/cache/b_test.cc 3 '#include "proxy/net/loop.h"'

if [ $failures -gt 0 ]; then
  echo "$failures planted violations went unnoticed"
  exit 1
fi
