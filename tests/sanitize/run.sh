#!/usr/bin/env bash
# run.sh asan-ubsan|tsan [CTEST-ARGUMENT...]: builds that preset and runs the
# suite in it, a test binary as one test: "run.sh tsan -R test_server_queue". A
# report of a sanitizer fails its process, and so its test. Left out are those
# that bound the server's memory (what a sanitizer keeps is several times that)
# and the Debian package, which is made of a release build.
set -euo pipefail
usage='usage: run.sh asan-ubsan|tsan [CTEST-ARGUMENT...]'
preset=${1:?$usage}
shift
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
"$root/scripts/deps.sh"
cmake -S "$root" --preset "$preset" -B "$root/build/$preset"
cmake --build "$root/build/$preset"
"$root/tests/interop/venv.sh" "$root/build/venv"
export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1
export LSAN_OPTIONS=suppressions=$here/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
# Libraries that are not instrumented: what they read and write is not looked at.
export TSAN_OPTIONS=suppressions=$here/tsan.supp:ignore_noninstrumented_modules=1
TSAN_OPTIONS+=:history_size=4:second_deadlock_stack=1
export TEST_SLOWNESS=10  # limits of tests that wait
exec ctest --test-dir "$root/build/$preset" -j "${TEST_JOBS:-2}" \
  -E '^(abuse\.31|abuse\.64|faults\.watchers|deploy\.deb)$' \
  --output-on-failure --no-tests=error "$@"
