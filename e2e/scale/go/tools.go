//go:build tools

// Package tools pins what e2e/scale runs beside the API server: nodes and kubelets that are none.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
