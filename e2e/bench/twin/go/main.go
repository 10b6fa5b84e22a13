// The twin: a minimal operator on controller-runtime that makes of an Agent what ours makes.
//
// It stands here so that our figures have a measure: same children, from a template that our own renderer wrote, and
// conditions of the same types. It leaves out everything that needs thought (refusals, diagnosis, replacing, policies), so
// it is the cheaper of the two by design. It must never be slowed down: no client-side limit, caches as lean as ours.
package main

import (
	"flag"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	template := flag.String("template", "", "JSON of the children, as our renderer made it")
	workers := flag.Int("workers", 8, "reconciles at once")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(*template, *workers); err != nil {
		ctrl.Log.Error(err, "the twin ended")
		os.Exit(1)
	}
}

func run(path string, workers int) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	scheme.AddKnownTypes(groupVersion, &Agent{}, &AgentList{})
	addMeta(scheme)
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{"app.kubernetes.io/managed-by": "aion-os"})}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: metrics.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         map[client.Object]cache.ByObject{&corev1.Pod{}: ours, &corev1.ServiceAccount{}: ours},
		},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).For(&Agent{}).Owns(&corev1.Pod{}).Owns(&corev1.ServiceAccount{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(&reconciler{client: manager.GetClient(), template: string(text)})
	if err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
