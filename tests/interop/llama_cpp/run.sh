#!/usr/bin/env bash
# run.sh BUILD_DIR: makes an environment with llama.cpp's Python package, built
# from its sources on first use (build/venv-llama; about 10 minutes of one core,
# needs a C++ compiler and CMake), and holds quantctl's GGUF files against it:
# every decoder family's logits, then every file type's quality.
set -euo pipefail
build=$(cd "${1:?usage: run.sh BUILD_DIR}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv=$root/build/venv-llama
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  # Plain CPU kernels: the same figures on any x86-64 of the last ten years.
  CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF" \
    nice "$venv/bin/pip" install --quiet --disable-pip-version-check \
    --no-binary llama-cpp-python -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$venv/requirements.txt"  # last: complete
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/python" -B "$here/families.py" "$build/client/quantctl" "$work"
"$venv/bin/python" -B "$here/compare.py" "$build/client/quantctl" "$work"
