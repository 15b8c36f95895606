#!/usr/bin/env bash
# Installs what is missing of the Debian 12 packages Satchel needs, and nothing else.
#
#   deploy/install-packages.sh GROUP...
#     --build     compiler, CMake, libraries
#     --test      GoogleTest, redis-server, curl, wget, openssl, python3, ccache
#     --lint      clang 19: clang-format, clang-tidy, libFuzzer
#     --bench     Google Benchmark, wrk, strace, valgrind, and the proxies measured against
#     --runtime   the shared libraries of the finished binary
#     --example   what the example app and its checks call: python3, curl
#     --list      prints the packages of the groups and stops
#
# Silent when nothing is missing. Uses sudo when not root. Services are never started by it.
set -euo pipefail

build=(cmake ninja-build g++ pkg-config libevent-dev libssl-dev libc-ares-dev node-llhttp
  libhiredis-dev libyaml-cpp-dev libre2-dev nlohmann-json3-dev libspdlog-dev libfmt-dev
  libcli11-dev prometheus-cpp-dev libzstd-dev libxxhash-dev)
tests=(cmake ninja-build g++ git ccache libgtest-dev libgmock-dev libbenchmark-dev redis-server redis-tools
  openssl curl wget ca-certificates python3 procps)
lint=(clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev)
bench=(libbenchmark-dev wrk nginx-light varnish haproxy procps python3 strace valgrind)
runtime=(libevent-core-2.1-7 libssl3 libc-ares2 libhiredis0.14 libyaml-cpp0.7 libre2-9
  libspdlog1.10 libfmt9 libprometheus-cpp-core1.0 libzstd1 ca-certificates)
example=(python3 curl)

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; }

wanted=()
list=no
[ $# -gt 0 ] || { usage >&2; exit 2; }
for argument in "$@"; do
  case "$argument" in
    --build) wanted+=("${build[@]}") ;;
    --test) wanted+=("${tests[@]}") ;;
    --lint) wanted+=("${lint[@]}") ;;
    --bench) wanted+=("${bench[@]}") ;;
    --runtime) wanted+=("${runtime[@]}") ;;
    --example) wanted+=("${example[@]}") ;;
    --list) list=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "install-packages.sh: unknown option $argument" >&2; usage >&2; exit 2 ;;
  esac
done

if [ "$list" = yes ]; then
  [ ${#wanted[@]} -eq 0 ] || printf '%s\n' "${wanted[@]}" | sort -u
  exit 0
fi

if ! command -v dpkg-query >/dev/null; then
  echo "install-packages.sh: not a Debian system; install the equivalents of these yourself:" >&2
  printf '%s\n' "${wanted[@]}" | sort -u >&2
  exit 1
fi

missing=()
while read -r package; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done < <(printf '%s\n' "${wanted[@]}" | sort -u)
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install-packages.sh: must be root (or have sudo) to install: ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

echo "Installing: ${missing[*]}" >&2
log=$(mktemp)

# While packages are unpacked, a policy file keeps their services from being started: the tests
# start private servers on free ports. A policy that is already there stays as it is.
policy=/usr/sbin/policy-rc.d
own_policy=no
cleanup() {
  [ "$own_policy" = no ] || "${as_root[@]}" rm -f "$policy"
  rm -f "$log"
}
trap cleanup EXIT
if [ ! -e "$policy" ]; then
  own_policy=yes
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 \
    -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1
}
# Without a package list from the network, one that is already here may still do.
apt update || true
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  tail -n 30 "$log" >&2
  echo "install-packages.sh: could not install: ${missing[*]}" >&2
  exit 1
fi

# Nor shall they start at the next boot because of us.
if [ -d /run/systemd/system ]; then
  for service in redis-server nginx varnish haproxy; do
    for package in "${missing[@]}"; do
      [ "${package%-light}" != "$service" ] || "${as_root[@]}" systemctl disable --quiet "$service" || true
    done
  done
fi
