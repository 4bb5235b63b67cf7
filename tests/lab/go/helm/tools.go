//go:build tools

// Package tools pins the helm that the lab runs.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
