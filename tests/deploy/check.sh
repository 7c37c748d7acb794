#!/usr/bin/env bash
# check.sh BUILD_DIR: what `make deploy-check` runs. Holds deploy/kubernetes and
# the chart against Helm, kustomize, the types of the Kubernetes API, and the
# quantd of BUILD_DIR.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
tools=$build/deploy-tools
"$here/tools.sh" "$tools"
QUANTD=$build/server/quantd QUANTCTL=$build/client/quantctl \
  EXAMPLES=$here/../../examples HELM=$tools/helm KUBERNETES=$tools/kubernetes \
  /usr/bin/python3 -B "$here/kubernetes_test.py" -v
