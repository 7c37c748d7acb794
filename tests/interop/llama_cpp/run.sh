#!/usr/bin/env bash
# run.sh BUILD_DIR [--families | --report FILE] [--windows N]: holds quantctl's
# GGUF files against llama.cpp (see venv.sh): every decoder family's logits, then
# (not with --families) our importance matrices in its quantizer, and every file
# type's quality, on N windows of text (default: all). --report keeps what was
# printed as a page.
set -euo pipefail
build=$(cd "${1:?usage: run.sh BUILD_DIR [--families | --report FILE]}" && pwd)
shift
report=
if [[ ${1:-} == --report ]]; then
  report=$(realpath "$2")
  shift 2
fi
families=
if [[ ${1:-} == --families ]]; then
  families=only
  shift
fi
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv=$root/build/venv-llama
"$here/venv.sh" "$venv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
  "$venv/bin/python" -B "$here/families.py" "$build/client/quantctl" "$work" \
    2>"$work/log" || { cat "$work/log" && exit 1; }
  if [[ -z $families ]]; then
    "$here/quantizer.sh" "$venv"
    "$venv/bin/python" -B "$here/imatrix.py" "$build/client/quantctl" \
      "$venv/bin/llama-quantize" "$work" "$@"
    "$venv/bin/python" -B "$here/compare.py" "$build/client/quantctl" "$work" \
      "$@"
  fi
} | tee "$work/transcript"
[[ -z $report ]] && exit 0
{
  printf '# llama.cpp\n\nMade by `tests/interop/llama_cpp/run.sh`: GGUF files of '
  printf '`quantctl`, in llama.cpp.\nDivergence is mean KL to the F16 file, per '
  printf 'token; ours and that of the file of the same\ntype by its own quantizer.'
  printf '\n\n```\n'
  cat "$work/transcript"
  printf '```\n'
} >"$report"
