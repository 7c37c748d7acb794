#!/usr/bin/env bash
# ghz.sh DIR: builds ghz, the load generator, into DIR.
set -euo pipefail
mkdir -p "$1"
GOBIN=$(cd "$1" && pwd) go install github.com/bojand/ghz/cmd/ghz@v0.120.0
