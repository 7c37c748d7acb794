#!/usr/bin/env bash
# demo.sh BUILD_DIR: a real server quantizes the bundled model, start to end.
# Ends with an error when anything is off.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?usage: demo.sh BUILD_DIR}
quantd=$build/server/quantd
quantctl=$build/client/quantctl
model=tiny-own-pad768-bf16

work=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  [ -z "$server" ] || wait "$server" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "demo: $*" >&2
  [ ! -s "$work/log" ] || { echo "demo: the server's log:" >&2; cat "$work/log" >&2; }
  exit 1
}
run() {
  # Shown as a reader would type it.
  echo "\$ ${*//"$build"\/*\//}"
  "$@" || fail "that ended with $?"
}

say "A server with its defaults: SQLite queue and local artifacts, free ports"
echo "\$ quantd --data-dir $work/data --model-root examples"
"$quantd" --data-dir "$work/data" --model-root "$root/examples" \
  --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 2>"$work/log" &
server=$!
for _ in $(seq 300); do
  [ -s "$work/data/endpoint" ] && break
  kill -0 "$server" 2>/dev/null || fail "quantd ended"
  sleep 0.1
done
endpoint() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
    "$work/data/endpoint" "$1"
}
QUANT_SERVER=$(endpoint grpc) || fail "quantd is not ready after 30 s"
http=$(endpoint http)
export QUANT_SERVER
echo "gRPC on $QUANT_SERVER, HTTP on $http"
run "$quantctl" health

for scheme in W4A16 W8A16; do
  say "$model as $scheme: submitted, watched to its end, downloaded"
  run "$quantctl" submit "server:$model" --scheme "$scheme" \
    --gate 'min_sqnr_db>=15' --wait --output "$work/$scheme"
  say "The artifact's files, each checked against its SHA-256"
  (cd "$work/$scheme" && find . -type f -printf '%10s  %P\n' | sort -k2)
  run "$quantctl" verify "$work/$scheme"
done

say "Every job so far"
run "$quantctl" list
[ "$("$quantctl" list -o name | wc -l)" -eq 2 ] || fail "expected two jobs"

say "A few of the server's metrics (http://$http/metrics)"
curl -fsS "http://$http/readyz" >/dev/null || fail "/readyz"
curl -fsS "http://$http/metrics" >"$work/metrics" || fail "/metrics"
grep -E '^quant_(jobs|job_duration|queue|tensors|stage|artifact)' "$work/metrics" |
  grep -v _bucket || fail "no job metrics"

say "SIGTERM: the server drains and ends"
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" -eq 0 ] || fail "quantd ended with $status"

say "Done. The weights went from" \
  "$(stat -c %s "$root/examples/$model/model.safetensors") to" \
  "$(stat -c %s "$work/W8A16/model.safetensors") (W8A16) and" \
  "$(stat -c %s "$work/W4A16/model.safetensors") (W4A16) bytes"
