#!/usr/bin/env bash
# quantize.sh: submits a job to a quantd, waits until its gates are judged, fetches
# the result and verifies it. The GitHub Action and the GitLab template run it;
# any other CI can. Ends with quantctl's exit code: 12 says that a gate failed, 9
# and 11 that trying again may help. INT and TERM cancel the job (130).
#
#   QUANT_SERVER         host:port; quantctl's other variables count, too
#   QUANTIZE_MODEL       a directory here, or server:PATH
#   QUANTIZE_SCHEME      such as W4A16; one per line for several outputs
#   QUANTIZE_GATES       conditions such as min_sqnr_db>=18, one per line
#   QUANTIZE_FLAGS       further arguments of `quantctl submit`, one per line
#   QUANTIZE_OUTPUT      where the result goes
#   QUANTIZE_TIMEOUT     how long to wait (1h)
#   QUANTIZE_REQUEST_ID  the same id and the same request are the same job; by
#                        default made of what the CI says about this run
#   QUANTIZE_TLS_CA, QUANTIZE_TLS_CERT, QUANTIZE_TLS_KEY
#                        PEM texts, where a CI keeps secrets as texts, not files
set -euo pipefail

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT

say() { printf '%s\n' "$*" >&2; }

missing() {
  say "quantize: $1 is empty; it says $2"
  exit 2
}
[ -n "${QUANTIZE_MODEL:-}" ] || missing QUANTIZE_MODEL "which model"
[ -n "${QUANTIZE_OUTPUT:-}" ] || missing QUANTIZE_OUTPUT "where the result goes"

# Tells the CI about an output of this step.
output() {
  [ -z "${GITHUB_OUTPUT:-}" ] || printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
  [ -z "${GITLAB_CI:-}" ] || printf 'QUANTIZE_%s=%s\n' "${1^^}" "$2" >>quantize.env
}

# Ends with quantctl's code, said in words where the CI shows such.
fail() {
  local code=$1 text=$2
  say "quantize: $text (exit code $code)"
  [ -z "${GITHUB_ACTIONS:-}" ] || printf '::error title=quantize::%s\n' "$text"
  exit "$code"
}

# Appends a flag per line of a variable to `arguments`.
arguments=()
each_line() {
  local flag=$1 line
  while IFS= read -r line; do
    [ -z "$line" ] || arguments+=(${flag:+"$flag"} "$line")
  done <<<"$2"
}

pem() {
  [ -n "$2" ] || return 0
  (umask 077 && printf '%s\n' "$2" >"$private/$1")
  export "$3=$private/$1"
}
pem ca.pem "${QUANTIZE_TLS_CA:-}" QUANT_TLS_CA
pem cert.pem "${QUANTIZE_TLS_CERT:-}" QUANT_TLS_CERT
pem key.pem "${QUANTIZE_TLS_KEY:-}" QUANT_TLS_KEY
unset QUANTIZE_TLS_CA QUANTIZE_TLS_CERT QUANTIZE_TLS_KEY

each_line --scheme "${QUANTIZE_SCHEME:-}"
each_line --gate "${QUANTIZE_GATES:-}"
each_line "" "${QUANTIZE_FLAGS:-}"
commit=${GITHUB_SHA:-${CI_COMMIT_SHA:-}}
[ -z "$commit" ] || arguments+=(--label "ci.commit=$commit")

# One job per run of a CI job and per request: legs of a matrix differ in what
# they ask for, a run that is started again gets a new job.
request_id() {
  local run=
  [ -z "${GITHUB_RUN_ID:-}" ] || run=github-$GITHUB_RUN_ID-${GITHUB_RUN_ATTEMPT:-1}
  [ -z "${CI_JOB_ID:-}" ] || run=gitlab-$CI_JOB_ID
  [ -z "$run" ] || printf '%s-%.12s' "$run" \
    "$(printf '%s\0' "${GITHUB_JOB:-}" "$QUANTIZE_MODEL" "${arguments[@]}" | sha256sum)"
}
id=${QUANTIZE_REQUEST_ID:-$(request_id)}
[ -z "$id" ] || arguments+=(--request-id "$id")

# quantctl in the background, so that a signal reaches it: a CI that cancels a
# step tells the shell only. TERM, because the background ignores INT.
child=
code=0
interrupted=
interrupt() {
  interrupted=yes
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}
trap interrupt INT TERM
run() {
  quantctl "$@" &
  child=$!
  while :; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
}

run submit "$QUANTIZE_MODEL" "${arguments[@]}" -o name >"$private/job"
[ "$code" -eq 0 ] || fail "$code" "the job was not accepted"
job=$(cat "$private/job")
say "quantize: $job"
output job "$job"

: >"$private/report"
[ -n "$interrupted" ] ||
  run wait "$job" --timeout "${QUANTIZE_TIMEOUT:-1h}" >"$private/report"
if [ -n "$interrupted" ]; then
  run cancel "$job" -o name
  fail 130 "interrupted; $job is cancelled"
fi
cat "$private/report"
[ -z "${GITHUB_STEP_SUMMARY:-}" ] ||
  printf '### %s\n\n```\n%s\n```\n' "$job" "$(cat "$private/report")" >>"$GITHUB_STEP_SUMMARY"
case $code in
  0) ;;
  7) fail 7 "$job is not done after ${QUANTIZE_TIMEOUT:-1h}; it goes on" ;;
  12) fail 12 "$job: $(grep -E '^gate: .*FAILED$' "$private/report" |
    sed 's/^gate: *//' | paste -sd ';' | sed 's/;/; /g')" ;;
  *) fail "$code" "$job: $(sed -n 's/^state: *//p' "$private/report")" ;;
esac

run download "$job" --output "$QUANTIZE_OUTPUT" -o name >"$private/directories"
[ "$code" -eq 0 ] || fail "$code" "$job: the result could not be fetched"
while IFS= read -r directory; do
  run verify "$directory"
  [ "$code" -eq 0 ] || fail "$code" "$directory is not what was made"
done <"$private/directories"
output directory "$QUANTIZE_OUTPUT"
