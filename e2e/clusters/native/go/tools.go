//go:build tools

// Package native pins the commands that are built as they are, by `go build MODULE/cmd/...`.
package native

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
