//go:build tools

// Package peer pins agent-sandbox, whose controller is built as it is, by `go build MODULE/cmd/...`.
package peer

import (
	_ "sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller"
)
