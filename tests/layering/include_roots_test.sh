#!/usr/bin/env bash
# Proves that the include roots of the targets make a forbidden include fail to compile.
# usage: include_roots_test.sh CXX ROOTS     ROOTS holds one folder per library target
set -uo pipefail
cxx=${1:?} roots=${2:?}
failures=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# sees TARGET HEADER yes|no: whether the target's include root leads to the header's folder.
sees() {
  local target=$1 header=$2 expected=$3 got=no
  printf '#if !__has_include("%s")\n#error not visible\n#endif\n' "$header" >"$scratch/probe.cc"
  if "$cxx" -fsyntax-only -I "$roots/$target" "$scratch/probe.cc" 2>/dev/null; then got=yes; fi
  if [ $got != "$expected" ]; then
    echo "$target sees $header: $got, expected $expected"
    failures=$((failures + 1))
  fi
}

# Each folder is known by its CMakeLists.txt or, inside proxy/, by a header that is always there.
sees satchel_cache cache/CMakeLists.txt yes
sees satchel_cache rules/CMakeLists.txt no
sees satchel_cache proxy/CMakeLists.txt no
sees satchel_rules cache/CMakeLists.txt yes
sees satchel_rules rules/CMakeLists.txt yes
sees satchel_rules proxy/CMakeLists.txt no
sees satchel_proxy rules/CMakeLists.txt yes
sees satchel_proxy proxy/CMakeLists.txt yes

# inner TARGET FOLDER yes|no: the same for a folder of proxy/, through any header in it.
inner() {
  local target=$1 folder=$2 expected=$3 header
  header=$(cd "$roots/satchel_proxy" && find -L "$folder" -name '*.h' 2>/dev/null | sort | head -n 1)
  [ -z "$header" ] || sees "$target" "$header" "$expected"
}
inner satchel_net proxy/net yes
inner satchel_net proxy/http1 no
inner satchel_net proxy/redis no
inner satchel_http1 proxy/net yes
inner satchel_http1 proxy/http1 yes
inner satchel_http1 proxy/redis no
inner satchel_redis proxy/net yes
inner satchel_redis proxy/redis yes
inner satchel_redis proxy/http1 no
sees satchel_net rules/CMakeLists.txt no
sees satchel_net proxy/CMakeLists.txt no
sees satchel_http1 rules/CMakeLists.txt no
sees satchel_redis rules/CMakeLists.txt yes
sees satchel_redis proxy/CMakeLists.txt no

[ $failures -eq 0 ]
