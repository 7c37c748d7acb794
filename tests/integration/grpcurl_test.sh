#!/usr/bin/env bash
# A job by grpcurl alone: list and describe every service, health, create,
# watch, artifact, and its manifest through ByteStream.
#
#   grpcurl_test.sh QUANTD MODEL_ROOT TOOLS_DIR
set -euo pipefail

quantd=$1
model_root=$2
tools=$3
here=$(cd "$(dirname "$0")" && pwd)
grpcurl=$("$here/grpcurl.sh" "$tools")

data=$(mktemp -d)
pid=
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  rm -rf "$data"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*" >&2
  cat "$data/log" >&2 || true
  exit 1
}

json() {  # json EXPRESSION: of the last JSON object on stdin, as `m`
  python3 -c '
import json, sys
text, at, m = sys.stdin.read(), 0, None
decoder = json.JSONDecoder()
while text[at:].strip():
    at += len(text[at:]) - len(text[at:].lstrip())
    m, at = decoder.raw_decode(text, at)
print(eval(sys.argv[1]))' "$1"
}

"$quantd" --data-dir "$data/data" --model-root "$model_root" \
  --listen 127.0.0.1:0 --http-listen 127.0.0.1:0 2>"$data/log" >"$data/out" &
pid=$!
for _ in $(seq 300); do
  [ -s "$data/data/endpoint" ] && break
  kill -0 "$pid" 2>/dev/null || fail "quantd ended"
  sleep 0.1
done
[ -s "$data/data/endpoint" ] || fail "quantd is not ready after 30 s"
address=$(json 'm["grpc"]' <"$data/data/endpoint")
http=$(json 'm["http"]' <"$data/data/endpoint")

call() { "$grpcurl" -plaintext "$@"; }

# expect PATTERN MESSAGE COMMAND...: its whole output has a line like it.
expect() {
  local pattern=$1 message=$2 output
  shift 2
  output=$("$@") || fail "$message"
  grep -q "$pattern" <<<"$output" || fail "$message: $output"
}

echo "== services"
services=$(call "$address" list)
echo "$services"
for service in quant.v1.JobService quant.v1.ArtifactService \
  quant.v1.ModelService quant.v1.TensorService quant.v1.CatalogService \
  quant.v1.QueueService \
  google.bytestream.ByteStream grpc.health.v1.Health; do
  grep -qx "$service" <<<"$services" || fail "$service is not listed"
  expect "^service " "$service can't be described" \
    call "$address" describe "$service"
  for method in $(call "$address" list "$service"); do
    expect "is a method" "$method can't be described" \
      call "$address" describe "$method"
  done
done
expect outputs "messages can't be described" \
  call "$address" describe quant.v1.JobSpec

echo "== health"
expect '"SERVING"' "JobService is not serving" \
  call -d '{"service": "quant.v1.JobService"}' "$address" \
  grpc.health.v1.Health/Check

echo "== job"
job=$(call -d '{
  "requestId": "grpcurl-1",
  "labels": {"made-by": "grpcurl"},
  "spec": {
    "source": {"serverPath": "tiny-own-pad768-bf16"},
    "outputs": [{"recipe": {"scheme": "W4A16"}}],
    "gates": [{"metric": "min_sqnr_db", "comparison": "GREATER_OR_EQUAL",
               "threshold": 10}]
  }}' "$address" quant.v1.JobService/CreateJob | json 'm["name"]')
echo "$job"

echo "== watch"
call -d "{\"name\": \"$job\"}" "$address" quant.v1.JobService/WatchJob \
  >"$data/watch" || fail "the watch did not end with OK"
kinds=$(grep -c '"kind"' "$data/watch")
[ "$(json 'm["kind"]' <"$data/watch")" = FINAL ] || fail "no FINAL"
[ "$(json 'm["job"]["state"]' <"$data/watch")" = SUCCEEDED ] ||
  fail "the job did not succeed: $(cat "$data/watch")"
echo "$kinds messages"

echo "== artifact"
artifact=$(json 'm["job"]["artifacts"][0]' <"$data/watch")
call -d "{\"name\": \"$artifact\"}" "$address" \
  quant.v1.ArtifactService/GetArtifact >"$data/artifact"
manifest='[f for f in m["files"] if f["path"] == "manifest.json"][0]'
# Reflection of this gRPC carries no JSON names: grpcurl spells proto names.
resource=$(json "$manifest.get('resource_name', $manifest.get('resourceName'))" \
  <"$data/artifact")
digest=$(json "$manifest['sha256']" <"$data/artifact")

echo "== manifest"
call -d "{\"resourceName\": \"$resource\"}" "$address" \
  google.bytestream.ByteStream/Read | json 'm["data"]' | base64 -d \
  >"$data/manifest.json"
echo "$digest  $data/manifest.json" | sha256sum --check --quiet ||
  fail "the manifest's digest is wrong"
python3 -m json.tool "$data/manifest.json" >/dev/null ||
  fail "the manifest is not JSON"

echo "== errors"
if call -d '{"spec": {"source": {"serverPath": "tiny-own-pad768-bf16"},
    "outputs": [{"recipe": {"scheme": "W4A61"}}]}}' "$address" \
  quant.v1.JobService/CreateJob 2>"$data/error"; then
  fail "an unknown scheme was accepted"
fi
grep -q "InvalidArgument" "$data/error" && grep -q "W4A16" "$data/error" ||
  fail "no nearest name: $(cat "$data/error")"
grep -q "UNKNOWN_NAME" "$data/error" || fail "no reason: $(cat "$data/error")"

echo "== probes"
probe() {
  python3 -c 'import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())' \
    "http://$http$1"
}
expect ok "/livez" probe /livez
expect ok "/readyz" probe /readyz
expect '^quant_grpc_server_started_total' "/metrics" probe /metrics

kill "$pid"
wait "$pid" || fail "quantd did not end with 0"
pid=
echo "ok"
