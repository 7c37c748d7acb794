#!/usr/bin/env bash
# tools.sh DIR: builds into DIR what the tests of deploy/ need of Kubernetes:
# `helm`, and our `kubernetes` (kustomize, and the types of the API). Versions are
# those of kubernetes/go.mod, digests those of go.sum; Go 1.19, which Debian 12
# has, is enough. The first run takes two minutes of two cores; later ones find
# everything in Go's cache.
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/kubernetes"
GOFLAGS=-mod=readonly go build -trimpath -buildvcs=false -o "$out/" \
  helm.sh/helm/v3/cmd/helm .
