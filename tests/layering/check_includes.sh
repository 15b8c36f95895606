#!/usr/bin/env bash
# Checks the direction of every include against the map of the source:
#
#   cache <- rules <- proxy,  and inside proxy/:  net <- {http1, redis} <- the rest
#
# usage: check_includes.sh ROOT      prints file:line for each fault; exit 1 if there is one
set -euo pipefail
root=${1:?usage: check_includes.sh ROOT}
cd "$root"

folders=()
for folder in cache rules proxy tests; do
  [ ! -d "$folder" ] || folders+=("$folder")
done
[ ${#folders[@]} -gt 0 ] || { echo "no source folders under the root" >&2; exit 2; }

find "${folders[@]}" \( -name '*.h' -o -name '*.cc' \) -type f -print0 | sort -z |
  xargs -0 -r awk '
    function layer(path) {
      if (path ~ /^cache\//) return "cache"
      if (path ~ /^rules\//) return "rules"
      if (path ~ /^proxy\/net\//) return "net"
      if (path ~ /^proxy\/http1\//) return "http1"
      if (path ~ /^proxy\/redis\//) return "redis"
      if (path ~ /^proxy\//) return "proxy"
      if (path ~ /^tests\/cache\//) return "cache_tests"
      if (path ~ /^tests\/rules\//) return "rules_tests"
      if (path ~ /^tests\/(support|integration)\//) return "outside_tests"
      if (path ~ /^tests\//) return "tests"
      return ""
    }
    function fault(text) {
      printf "%s:%d: %s\n", FILENAME, FNR, text
      faults++
    }
    # Headers of libraries and of the system that a layer must not know, with the reason.
    function forbid(layers, pattern, why,   i, n, names) {
      n = split(layers, names, " ")
      for (i = 1; i <= n; i++) {
        banned[names[i], ++count[names[i]]] = pattern
        reason[names[i], count[names[i]]] = why
      }
    }
    BEGIN {
      sees["cache"] = "cache"
      sees["rules"] = "cache rules"
      sees["net"] = "cache net"
      sees["http1"] = "cache net http1"
      sees["redis"] = "cache rules net redis"
      sees["proxy"] = "cache rules net http1 redis proxy"
      sees["cache_tests"] = "cache cache_tests"
      sees["rules_tests"] = "cache rules rules_tests"
      sees["outside_tests"] = "outside_tests"  # the finished binary, from outside
      sees["tests"] = "cache rules net http1 redis proxy cache_tests rules_tests outside_tests tests"
      for (from in sees) {
        n = split(sees[from], names, " ")
        for (i = 1; i <= n; i++) allowed[from, names[i]] = 1
      }
      sockets = "^(sys/(socket|epoll|eventfd|un|select|timerfd)|netinet/.*|arpa/inet|netdb|poll|net/if)[.]h$"
      forbid("cache rules", sockets, "this folder knows no sockets")
      forbid("cache rules", "^event2?(/|[.]h)", "this folder knows no libevent")
      forbid("cache rules", "^openssl/", "this folder knows no TLS")
      forbid("cache rules", "^(spdlog|prometheus)/", "this folder knows no logging and no metrics")
      forbid("cache rules", "^(fstream|filesystem)$", "this folder knows no files")
      forbid("rules", "^(thread|pthread[.]h)$", "this folder knows no threads")
      forbid("cache net http1 redis proxy", "^yaml-cpp/", "YAML is known to rules/ alone")
      forbid("cache rules net http1 proxy", "^hiredis/", "hiredis is known to proxy/redis/ alone")
      forbid("cache rules net redis proxy", "^llhttp", "llhttp is known to proxy/http1/ alone")
    }
    FNR == 1 { from = layer(FILENAME) }
    /^[ \t]*#[ \t]*include[ \t]*["<]/ {
      line = $0
      sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
      quote = substr(line, 1, 1)
      path = substr(line, 2)
      if (quote == "<") sub(/>.*$/, "", path)
      else sub(/".*$/, "", path)
      to = layer(path)
      if (quote == "<") {
        if (to != "" && from != "") fault("our own header in angle brackets: <" path ">")
        for (i = 1; i <= count[from]; i++)
          if (path ~ banned[from, i]) fault("<" path ">: " reason[from, i])
        next
      }
      if (to == "") {
        fault("\"" path "\": write the full path from the root")
      } else if (path ~ /(^|\/)\.\.?\//) {
        fault("\"" path "\": a path from the root has no dots")
      } else if (!((from, to) in allowed)) {
        fault("\"" path "\": " from " must not know " to)
      }
      next
    }
    # Time is a parameter of policy and of rules.
    (from == "cache" || from == "rules") && !/^[ \t]*(\/\/|\*)/ &&
        /(system_clock|steady_clock|high_resolution_clock)::now *\(|clock_gettime *\(|gettimeofday *\(/ {
      fault(from " reads the clock; take the time as a parameter")
    }
    END { if (faults > 0) exit 1 }
  ' || exit 1
