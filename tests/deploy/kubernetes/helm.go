//go:build tools

// Keeps Helm among the requirements of go.mod: tools.sh builds it from them.
package main

import _ "helm.sh/helm/v3/cmd/helm"
