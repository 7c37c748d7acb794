#!/usr/bin/env bash
# run.sh BUILD_DIR: makes an environment with torch and the public
# compressed-tensors, transformers, bitsandbytes and gptqmodel packages (several
# GB, build/venv-torch), and loads what quantctl writes with them. What it printed
# last is kept in transcript.txt.
set -euo pipefail
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv=$root/build/venv-torch
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check \
    --only-binary :all: -r "$here/requirements.txt"
  # Published as sources only; their build wants torch in place.
  "$venv/bin/pip" install --quiet --disable-pip-version-check setuptools wheel
  "$venv/bin/pip" install --quiet --disable-pip-version-check \
    --no-build-isolation gptqmodel==7.7.0
  cp "$here/requirements.txt" "$venv/requirements.txt"
fi
for script in load.py load_hf.py load_gptqmodel.py; do
  QUANTCTL=$build/client/quantctl HF_HUB_OFFLINE=1 \
    TOKENIZERS_PARALLELISM=false PYTHONPATH=$here/.. \
    "$venv/bin/python" -B "$here/$script"
done
