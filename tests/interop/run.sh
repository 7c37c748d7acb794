#!/usr/bin/env bash
# run.sh VENV [PYTEST-ARGUMENT...]: runs interop tests, making the environment
# first when it is missing. QUANTCTL names the binary under test.
set -euo pipefail
venv=${1:?usage: run.sh VENV [PYTEST-ARGUMENT...]}
shift
here=$(cd "$(dirname "$0")" && pwd)
"$here/venv.sh" "$venv"
exec "$venv/bin/python" -B -m pytest -q -p no:cacheprovider --rootdir "$here" \
  "$@"
