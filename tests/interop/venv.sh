#!/usr/bin/env bash
# venv.sh DIR: makes the Python environment of the interop tests in DIR, unless
# it is there and made from the present requirements.
set -euo pipefail
venv=${1:?usage: venv.sh DIR}
requirements=$(dirname "$0")/requirements.txt
cmp -s "$requirements" "$venv/requirements.txt" && exit 0
rm -rf "$venv"
echo "venv: installing the pinned Python packages into $venv"
python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check \
  --only-binary :all: -r "$requirements"
cp "$requirements" "$venv/requirements.txt"  # last: marks it complete
