// Command coredns is CoreDNS with the plugins a cluster's DNS needs and no other:
// the upstream binary links fifty, and clouds' SDKs with them.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

// Directives run in this order. It is upstream's plugin.cfg, thinned, but for template, which comes last here:
// it answers NXDOMAIN to whatever the cluster does not know, and must not be asked before the cluster is.
func init() {
	dnsserver.Directives = []string{"health", "ready", "errors", "cache", "kubernetes", "template"}
}

func main() { coremain.Run() }
