#!/usr/bin/env bash
# From nothing to a verdict: installs what is missing, builds, runs every test.
#
#   tests/run.sh [--quick] [--stage NAME]... [--no-install]
#     --quick        the dev stage alone
#     --stage NAME   only this stage; may be given several times
#     --no-install   do not look for missing packages
#
# Stages
#   dev       warnings as errors; every test, the replays of the fuzz corpora, layering;
#             benchmarks are compiled, not run
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer: the same, without layering
#   tsan      ThreadSanitizer: cache, proxy and integration tests
#             (the integration tests of dev, against the binary of these stages)
#   examples  the commands of examples/, against the binary as it is shipped (release preset)
#
# A stage that fails does not keep the next from running. JOBS sets the parallelism (default: the
# number of CPUs); of the integration tests, which mostly wait, twice as many run at once. The last
# line is "N passed, N failed"; the exit code is 0 only if nothing failed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

all_stages=(dev asan tsan examples)
stages=()
install=yes
usage() { sed -n '2,21s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) stages+=(dev) ;;
    --no-install) install=no ;;
    --stage)
      if [ $# -lt 2 ] || [[ " ${all_stages[*]} " != *" $2 "* ]]; then
        echo "tests/run.sh: --stage needs one of: ${all_stages[*]}" >&2
        exit 2
      fi
      stages+=("$2")
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tests/run.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")

jobs=${JOBS:-$(nproc)}
output=$root/build/ci
mkdir -p "$output"
[ -w "${HOME:-/}" ] || export CCACHE_DIR="$output/ccache"

passed=0
failed=0
faults=()

fault() {
  failed=$((failed + 1))
  faults+=("$1")
  echo "FAILED: $1"
}

# compile STAGE PRESET TARGET... : builds as much as it can, so that what links is still tested.
# Warnings are errors in the dev stage alone: with optimisation and sanitizers GCC 12 warns of what
# cannot happen.
compile() {
  local stage=$1 preset=$2 log=$output/$1-build.log
  shift 2
  local options=(-DSATCHEL_BENCHMARKS=OFF)
  [ "$stage" != dev ] || options=(-DSATCHEL_BENCHMARKS=ON -DSATCHEL_WERROR=ON)  # not compiled, they rot
  [ "$stage" != asan ] && [ "$stage" != tsan ] || options+=(-DSATCHEL_INTEGRATION_TESTS=OFF)
  [ "$stage" != release ] || options+=(-DSATCHEL_TESTS=OFF)
  cmake --preset "$preset" -B "$output/$stage" "${options[@]}" >"$log" 2>&1 || return 2
  cmake --build "$output/$stage" -j "$jobs" --target "$@" -- -k 0 >>"$log" 2>&1 || return 1
}

# Tests mostly wait: what the next stage needs is compiled beside them, with what they leave of the
# processor. `build` finds it done, and says what went wrong with it.
ahead= # its process group
compile_ahead() {
  set -m
  (
    renice -n 19 -p "$BASHPID"
    "compile_$1"
  ) >/dev/null 2>&1 </dev/null &
  set +m
  ahead=$!
}
trap '[ -z "$ahead" ] || kill -- "-$ahead" 2>/dev/null' EXIT

# build STAGE: false if there is nothing to test.
build() {
  local stage=$1 log=$output/$1-build.log status=0
  echo "== $stage: build"
  [ -z "$ahead" ] || wait "$ahead"
  ahead=
  "compile_$stage" || status=$?
  [ $status -eq 0 ] && return
  if [ $status -eq 2 ]; then
    tail -n 40 "$log"
    fault "$stage: configure"
    return 1
  fi
  grep -E -A 6 '(error|undefined reference|Error)' "$log" | head -n 80
  fault "$stage: build (all of it: ${log#"$root"/})"
}

# tests STAGE FOLDER CTEST_ARGUMENT... : runs what was built in FOLDER, against the binary of STAGE,
# and counts.
tests() {
  local stage=$1 folder=$output/$2 junit=$output/$1-$2-junit.xml reports=$output/$1-$2-reports
  local runner=() report at_once=$jobs
  shift 2
  [[ "$*" != "-L ^integration_tests$" ]] || at_once=$((2 * jobs))
  echo "== $stage: tests"
  rm -rf "$junit" "$reports"
  mkdir -p "$reports"
  # ThreadSanitizer of this compiler does not start where address randomisation is wide.
  if [ "$stage" = tsan ] && setarch -R true 2>/dev/null; then runner=(setarch -R); fi
  # Reports go to files: a process that a test started may die of one without the test seeing it.
  local common="log_path=$reports/report"
  # Memory bounds are the dev stage's business; here they only catch what grows without end.
  local factor=1
  [ "$stage" = dev ] || factor=6
  SATCHEL_BINARY="$output/$stage/bin/satchel" \
  SATCHEL_MEMORY_FACTOR=$factor \
  ASAN_OPTIONS="$common:quarantine_size_mb=16:detect_stack_use_after_return=1:strict_string_checks=1" \
  UBSAN_OPTIONS="$common:print_stacktrace=1" \
  TSAN_OPTIONS="$common:second_deadlock_stack=1:halt_on_error=1" \
    "${runner[@]}" ctest --test-dir "$folder" -j "$at_once" --output-on-failure \
    --no-tests=error --output-junit "$junit" "$@" | grep -vE '^ +Start +[0-9]+: |^ *[0-9]+/[0-9]+ .* Passed '

  if [ ! -s "$junit" ]; then
    fault "$stage: ctest left no result"
    return
  fi
  local total bad skipped disabled
  total=$(junit_count tests "$junit")
  bad=$(junit_count failures "$junit")
  skipped=$(junit_count skipped "$junit")
  disabled=$(junit_count disabled "$junit")
  passed=$((passed + total - bad - skipped - disabled))
  failed=$((failed + bad))
  if [ "$bad" -gt 0 ]; then
    faults+=("$stage: $(sed -n 's/.*<testcase name="\([^"]*\)".*status="fail".*/\1/p' "$junit" |
      head -n 10 | paste -sd ' ')")
  fi
  [ "$total" -gt 0 ] || fault "$stage: no tests"
  echo "== $stage: $total tests, $bad failed, $((skipped + disabled)) skipped"
  for report in "$reports"/*; do
    [ -e "$report" ] || continue
    head -n 60 "$report"
    fault "$stage: sanitizer report ${report#"$root"/}"
  done
}

# junit_count ATTRIBUTE FILE: a number of the <testsuite> element.
junit_count() {
  local number
  number=$(tr '\n' ' ' <"$2" | sed -n "s/.*<testsuite [^>]*[ \t]$1=\"\([0-9]*\)\".*/\1/p")
  echo "${number:-0}"
}

# The integration tests of the dev build run against the binary of each stage.
targets=all
[[ " ${stages[*]} " == *" dev "* ]] || targets=integration_tests
compile_dev() { compile dev dev "$targets"; }
compile_asan() { compile asan asan all; }
compile_tsan() { compile tsan tsan satchel cache_tests proxy_tests; }
compile_release() { compile release release all; }

# begin STAGE: builds it, and begins with the one behind it. The examples run the release binary.
builds=("${stages[@]/#examples/release}")
begin() {
  local i
  if [[ $1 == [at]san && $targets != all ]]; then build dev || return 1; fi
  build "$1" || return 1
  for i in "${!builds[@]}"; do
    [ "${builds[i]}" != "$1" ] || [ -z "${builds[i + 1]:-}" ] || compile_ahead "${builds[i + 1]}"
  done
}

run_dev() {
  begin dev && tests dev dev -LE '^integration_tests$' && integration dev
}

run_asan() {
  begin asan && tests asan asan -LE layering && integration asan
}

run_tsan() {
  begin tsan && tests tsan tsan -L '^(cache|proxy)_tests$' && integration tsan
}

# integration STAGE : the integration tests against the binary of STAGE.
integration() {
  tests "$1" dev -L '^integration_tests$'
}

run_examples() {
  local script=examples/run-all.sh log=$output/examples.log last
  if [ ! -x "$script" ]; then
    echo "== examples: no $script"
    return
  fi
  begin release || return
  if [ ! -x "$output/release/bin/satchel" ]; then
    fault "examples: there is no binary to run them against"
    return
  fi
  echo "== examples"
  SATCHEL="$output/release/bin/satchel" "$script" >"$log" 2>&1
  local status=$?
  last=$(tail -n 1 "$log")
  if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
    passed=$((passed + BASH_REMATCH[1]))
    failed=$((failed + BASH_REMATCH[2]))
    [ "${BASH_REMATCH[2]}" -eq 0 ] || faults+=("examples: ${BASH_REMATCH[2]}")
    [ $status -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || fault "examples: exit code $status"
  elif [ $status -eq 0 ]; then
    passed=$((passed + 1))
  else
    fault "examples: exit code $status"
  fi
  [ $status -eq 0 ] || tail -n 60 "$log"
  echo "== examples: ${last}"
}

if [ $install = yes ]; then
  deploy/install-packages.sh --build --test || fault "packages"
fi
for stage in "${stages[@]}"; do
  start=$SECONDS
  "run_$stage"
  echo "== $stage: $((SECONDS - start)) s"
done

if [ ${#faults[@]} -gt 0 ]; then
  echo "Failed:"
  printf '  %s\n' "${faults[@]}"
fi
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
