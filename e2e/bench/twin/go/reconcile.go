package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const manager = client.FieldOwner("aion-twin")

type children struct {
	Account map[string]any `json:"account"`
	Pod     map[string]any `json:"pod"`
}

type reconciler struct {
	client   client.Client
	template string
}

// Reconcile makes what is missing and says how the Pod is.
func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var agent Agent
	if err := r.client.Get(ctx, request.NamespacedName, &agent); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if agent.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	wanted, err := r.render(&agent)
	if err != nil {
		return ctrl.Result{}, err
	}
	var account corev1.ServiceAccount
	if err := r.ensure(ctx, wanted.Account, &account); err != nil {
		return ctrl.Result{}, err
	}
	var pod corev1.Pod
	if err := r.ensure(ctx, wanted.Pod, &pod); err != nil {
		return ctrl.Result{}, err
	}
	status := r.status(&agent, &pod)
	if equality.Semantic.DeepEqual(status, agent.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.say(ctx, &agent, status))
}

func (r *reconciler) render(agent *Agent) (*children, error) {
	text := strings.NewReplacer("xagentx", agent.Name, "xtenantx", agent.Namespace, "xuidx", string(agent.UID)).Replace(r.template)
	sum := sha256.Sum256([]byte(text))
	var made children
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "xhashx", hex.EncodeToString(sum[:])[:10])), &made); err != nil {
		return nil, err
	}
	return &made, nil
}

// ensure reads the object from the cache into `seen`, and applies it where it is missing.
func (r *reconciler) ensure(ctx context.Context, document map[string]any, seen client.Object) error {
	wanted := &unstructured.Unstructured{Object: document}
	err := r.client.Get(ctx, client.ObjectKeyFromObject(wanted), seen)
	if err == nil || !apierrors.IsNotFound(err) {
		return err
	}
	seen.SetName(wanted.GetName())
	return r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(wanted), manager, client.ForceOwnership)
}

func (r *reconciler) status(agent *Agent, pod *corev1.Pod) Status {
	said := Status{ObservedGeneration: agent.Generation, PodName: pod.Name, NodeName: pod.Spec.NodeName, Queue: "normal"}
	said.Conditions = append(said.Conditions, agent.Status.Conditions...)
	set := func(kind string, is bool, reason, message string) {
		state := metav1.ConditionFalse
		if is {
			state = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&said.Conditions, metav1.Condition{
			Type: kind, Status: state, Reason: reason, Message: message, ObservedGeneration: agent.Generation,
		})
	}
	ready, placed := false, pod.Spec.NodeName != ""
	for _, each := range pod.Status.Conditions {
		ready = ready || each.Type == corev1.PodReady && each.Status == corev1.ConditionTrue
	}
	set("Accepted", true, "Valid", "The spec is valid.")
	set("PolicyBound", true, "Bound", "The policy is in force.")
	set("ProfileReady", true, "ProfileInstalled", "A node holds the profile.")
	if placed {
		set("PodScheduled", true, "Scheduled", "On node "+pod.Spec.NodeName+".")
	}
	if ready {
		set("GatewayReady", true, "Serving", "The gateway serves.")
		set("Ready", true, "Running", "Pod "+pod.Name+" runs on node "+pod.Spec.NodeName+".")
		meta.RemoveStatusCondition(&said.Conditions, "Reconciling")
	} else {
		set("GatewayReady", false, "Creating", "Pod "+pod.Name+" is being created.")
		set("Ready", false, "Creating", "Pod "+pod.Name+" is being created.")
		set("Reconciling", true, "Creating", "Pod "+pod.Name+" is being created.")
	}
	return said
}

func (r *reconciler) say(ctx context.Context, agent *Agent, status Status) error {
	body, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return err
	}
	document := &unstructured.Unstructured{Object: map[string]any{"status": body}}
	document.SetGroupVersionKind(groupVersion.WithKind("Agent"))
	document.SetName(agent.Name)
	document.SetNamespace(agent.Namespace)
	//nolint:staticcheck // the subresource's client learns Apply in the next minor version
	return r.client.Status().Patch(ctx, document, client.Apply, manager, client.ForceOwnership)
}
