#!/usr/bin/env bash
# run.sh BUILD_DIR [--seconds 600] [TARGET...]: builds the fuzzers (clang, preset
# "fuzz") and runs each for so long, two at a time, from the committed corpus.
# What they find lies in BUILD_DIR/findings; nothing is added to the corpus.
set -euo pipefail
usage='usage: run.sh BUILD_DIR [--seconds N] [TARGET...]'
build=${1:?$usage}
shift
seconds=600
if [[ ${1:-} == --seconds ]]; then
  seconds=${2:?$usage}
  shift 2
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$root/scripts/deps.sh" clang libclang-rt-14-dev llvm
cmake -S "$root" --preset fuzz -B "$build"
cmake --build "$build" --target fuzzers
build=$(cd "$build" && pwd)
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  for source in "$here"/*_fuzz.cc; do
    targets+=("$(basename "$source" _fuzz.cc)")
  done
fi
mkdir -p "$build/findings"

# One line of what it came to; the whole log only of a finding.
fuzz() {
  local name=$1 log=$build/findings/$1.log corpus=$build/corpus/$1
  mkdir -p "$corpus"
  if "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" \
    -timeout=25 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -dict="$here/json.dict" \
    -artifact_prefix="$build/findings/$name-" \
    "$corpus" "$here/corpus/$name" >"$log" 2>&1; then
    printf '%-20s %12s inputs, peak %5s MB, no finding\n' "$name" \
      "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
      "$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")"
  else
    printf '%-20s FOUND something:\n' "$name"
    tail -40 "$log"
    return 1
  fi
}
export -f fuzz
export build seconds here
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'fuzz {}'
