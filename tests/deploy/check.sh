#!/usr/bin/env bash
# check.sh BUILD_DIR: what `make deploy-check` runs, as root. Holds
# deploy/kubernetes and the chart against Helm, kustomize, the types of the
# Kubernetes API, and the quantd of BUILD_DIR; the confinement of its systemd unit
# against what it asks the kernel for; and installs its package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
tools=$build/deploy-tools
"$here/tools.sh" "$tools"
export QUANTD=$build/server/quantd QUANTCTL=$build/client/quantctl
export EXAMPLES=$here/../../examples HELM=$tools/helm KUBERNETES=$tools/kubernetes
for test in kubernetes confinement; do
  /usr/bin/python3 -B "$here/${test}_test.py" -v
done
"$here/install_deb.sh" "$build"
