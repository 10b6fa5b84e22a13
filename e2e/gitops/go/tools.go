//go:build tools

// Package gitops pins Argo CD, which is built as it is, by `go build MODULE/cmd`: one binary that is whichever process its name says.
package gitops

import (
	_ "github.com/argoproj/argo-cd/v3/cmd"
)
