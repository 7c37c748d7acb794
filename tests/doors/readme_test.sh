#!/usr/bin/env bash
# readme_test.sh QUANTD SOURCE_DIR TOOLS_DIR: runs the grpcurl block of README.md
# as it stands there (but for the port), and looks for what it should print.
set -euo pipefail
quantd=$1
root=$2
tools=$3
grpcurl=$("$root/tests/integration/grpcurl.sh" "$tools")

work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() {
  echo "FAILED: $*" >&2
  cat "$work"/* >&2 2>/dev/null || true
  exit 1
}

cd "$root"
"$quantd" --data-dir "$work/data" --model-root examples \
  --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 2>"$work/log" &
server=$!
for _ in $(seq 300); do
  [ -s "$work/data/endpoint" ] && break
  kill -0 "$server" 2>/dev/null || fail "quantd ended"
  sleep 0.1
done
address=$(sed -n 's/.*"grpc": *"\([^"]*\)".*/\1/p' "$work/data/endpoint")
[ -n "$address" ] || fail "quantd is not ready after 30 s"

awk '/readme_test.sh runs this block/ {on = 1; next}
     on && /^```bash/ {body = 1; next}
     body && /^```/ {exit}
     body' README.md | sed "s/localhost:50051/$address/g" >"$work/block"
[ "$(grep -c grpcurl "$work/block")" -ge 6 ] || fail "the block is not found"
PATH=$(dirname "$grpcurl"):$PATH bash -euo pipefail "$work/block" \
  >"$work/out" 2>&1 || fail "the block ended with $?"

for expected in '^quant.v1.JobService$' 'rpc CreateJob' '"SERVING"' \
  '"dequantized"' '"kind": "SNAPSHOT"' '"kind": "FINAL"' '"SUCCEEDED"' \
  '"manifest.json"' '"quant_method": "compressed-tensors"'; do
  grep -q -- "$expected" "$work/out" || fail "nothing says $expected"
done
echo "ok"
