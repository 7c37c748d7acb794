#!/usr/bin/env bash
# venv.sh DIR: makes an environment with llama.cpp's Python package, built from
# its sources (about 10 minutes of one core; needs a C++ compiler and CMake),
# unless it is there and made from the present requirements.
# venv.sh DIR --built: says by its exit status whether that needs no build: the
# environment is there, or pip keeps the wheel from an earlier build.
set -euo pipefail
venv=${1:?usage: venv.sh DIR [--built]}
requirements=$(dirname "$0")/requirements.txt
cmp -s "$requirements" "$venv/requirements.txt" && exit 0
if [[ ${2:-} == --built ]]; then
  version=$(sed -n 's/^llama-cpp-python==//p' "$requirements")
  python3 -m pip cache list llama_cpp_python 2>/dev/null |
    grep -q "llama_cpp_python-$version-.*linux_$(uname -m)"
  exit
fi
rm -rf "$venv"
python3 -m venv "$venv"
# Plain CPU kernels: the same figures on any x86-64 of the last ten years.
CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF" \
  nice "$venv/bin/pip" install --quiet --disable-pip-version-check \
  --no-binary llama-cpp-python -r "$requirements"
cp "$requirements" "$venv/requirements.txt"  # last: complete
