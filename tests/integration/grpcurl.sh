#!/usr/bin/env bash
# Prints the path of grpcurl; builds it into TOOLS_DIR first when nobody has it.
#
#   grpcurl.sh TOOLS_DIR
set -euo pipefail

tools=$1
version=v1.9.1

if [ -x "$tools/grpcurl" ]; then
  echo "$tools/grpcurl"
elif command -v grpcurl >/dev/null; then
  command -v grpcurl
else
  mkdir -p "$tools"
  GOBIN=$(cd "$tools" && pwd) go install \
    "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" >&2
  echo "$tools/grpcurl"
fi
