#!/usr/bin/env bash
# quantizer.sh VENV: builds llama.cpp's command-line quantizer as VENV/bin/
# llama-quantize, from the sources that its Python package carries, unless it is
# there. (The package's own library takes importance as numbers; only the
# command reads files of it.)
set -euo pipefail
venv=${1:?usage: quantizer.sh VENV}
requirement=$(grep '^llama-cpp-python==' "$(dirname "$0")/requirements.txt")
cmp -s <(echo "$requirement") "$venv/quantizer" && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps \
  --no-binary :all: --dest "$work" "$requirement"
tar -C "$work" -xf "$work"/llama_cpp_python-*.tar.gz
cmake -S "$work"/llama_cpp_python-*/vendor/llama.cpp -B "$work/build" -G Ninja \
  -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=OFF \
  -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
  -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF >"$work/log" 2>&1 &&
  nice cmake --build "$work/build" --target llama-quantize >>"$work/log" 2>&1 ||
  { tail -20 "$work/log" && exit 1; }
cp "$work/build/bin/llama-quantize" "$venv/bin/"
echo "$requirement" >"$venv/quantizer"  # last: complete
