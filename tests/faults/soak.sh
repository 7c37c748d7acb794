#!/usr/bin/env bash
# soak.sh BUILD_DIR: the fault tests at full size, and every fuzzer for ten
# minutes. Needs about 25 GB of disk under TMPDIR, and three hours.
set -euo pipefail
build=${1:?usage: soak.sh BUILD_DIR}
here=$(cd "$(dirname "$0")" && pwd)
faults() {
  echo "== $*"
  python3 -B "$here/$1.py" "$build" "${@:2}"
}
faults kill_loop --bytes 2.2GB --kills 20
faults kill_loop --calibrated --bytes 600MB --kills 20
faults disk_full
faults memory
faults watchers
"$here/../interop/venv.sh" "$here/../../build/venv"
python=$here/../../build/venv/bin/python
"$python" -B "$here/chaos.py" "$build" --kills 500
"$python" -B "$here/../abuse/row.py" "$build" 7
"$here/ghz.sh" "$build/ghz"
faults load "$build/ghz/ghz" --seconds 600
"$here/../fuzz/run.sh" "$here/../../build/fuzz"
