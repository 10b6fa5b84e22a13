// Command metrics-server is the upstream metrics-server's scraper, storage and API, with an entry point of our own.
//
// The upstream command does not compile against Kubernetes 0.34's apiserver library (its options set a field that
// is EffectiveVersion now); the packages below it do. So this file is what the options were: how to serve, whom to
// believe, what to scrape. Values that upstream has as flags are constants here, for one cluster uses them.
// It must never serve without delegated authentication, nor scrape a kubelet whose certificate it has not checked.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/compatibility"
	"sigs.k8s.io/metrics-server/pkg/api"
	generatedopenapi "sigs.k8s.io/metrics-server/pkg/api/generated/openapi"
	"sigs.k8s.io/metrics-server/pkg/scraper/client"
	"sigs.k8s.io/metrics-server/pkg/server"
)

const (
	port        = 4443             // above 1024: it runs as nobody
	resolution  = 15 * time.Second // upstream's manifest has the same
	scrapeLimit = 10 * time.Second
	kubeletPort = 10250 // unused: the node's status names its port
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "metrics-server:", err)
		os.Exit(1)
	}
}

func run() error {
	// The Pod's own config: its authority is the cluster's, which signed the kubelet's certificate too.
	cluster, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	cluster.ContentType = "application/vnd.kubernetes.protobuf"
	serving, err := servingConfig()
	if err != nil {
		return err
	}
	kubelets := &client.KubeletClientConfig{
		Client:              *rest.CopyConfig(cluster),
		AddressTypePriority: []corev1.NodeAddressType{corev1.NodeInternalIP}, // the node's name is in nobody's DNS
		Scheme:              "https",
		DefaultPort:         kubeletPort,
		UseNodeStatusPort:   true,
	}
	config := server.Config{
		Apiserver:        serving,
		Rest:             cluster,
		Kubelet:          kubelets,
		MetricResolution: resolution,
		ScrapeTimeout:    scrapeLimit,
	}
	metrics, err := config.Complete()
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	return metrics.RunUntil(stop.Done())
}

// servingConfig says how the API is served: over TLS with a certificate made at start (the APIService does not
// check it), to callers whom the cluster's API server vouches for.
func servingConfig() (*genericapiserver.Config, error) {
	config := genericapiserver.NewConfig(api.Codecs)
	config.EffectiveVersion = compatibility.NewEffectiveVersionFromString("1.34", "", "")
	secure := options.NewSecureServingOptions().WithLoopback()
	secure.BindPort = port
	secure.ServerCert.CertDirectory = "" // in memory: the root file system is read-only
	if err := secure.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if err := secure.ApplyTo(&config.SecureServing, &config.LoopbackClientConfig); err != nil {
		return nil, fmt.Errorf("serving: %w", err)
	}
	authentication := options.NewDelegatingAuthenticationOptions()
	if err := authentication.ApplyTo(&config.Authentication, config.SecureServing, nil); err != nil {
		return nil, fmt.Errorf("authentication: %w", err)
	}
	authorization := options.NewDelegatingAuthorizationOptions().WithAlwaysAllowPaths("/readyz", "/livez")
	if err := authorization.ApplyTo(&config.Authorization); err != nil {
		return nil, fmt.Errorf("authorization: %w", err)
	}
	namer := openapinamer.NewDefinitionNamer(api.Scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(generatedopenapi.GetOpenAPIDefinitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(generatedopenapi.GetOpenAPIDefinitions, namer)
	config.OpenAPIConfig.Info.Title = "metrics-server"
	config.OpenAPIV3Config.Info.Title = "metrics-server"
	return config, nil
}
