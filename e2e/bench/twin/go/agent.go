package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupVersion = schema.GroupVersion{Group: "aion.os", Version: "v1"}

// Agent is the part of an Agent that the twin reads.
type Agent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              Spec   `json:"spec"`
	Status            Status `json:"status,omitempty"`
}

// Spec has plain values only.
type Spec struct {
	Version string `json:"version"`
	Entry   string `json:"entry"`
}

// Status is what the twin writes.
type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	PodName            string             `json:"podName,omitempty"`
	NodeName           string             `json:"nodeName,omitempty"`
	Queue              string             `json:"queue,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// AgentList is a list of them.
type AgentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Agent `json:"items"`
}

func addMeta(scheme *runtime.Scheme) { metav1.AddToGroupVersion(scheme, groupVersion) }

// DeepCopyObject copies what the cache holds.
func (a *Agent) DeepCopyObject() runtime.Object {
	made := &Agent{TypeMeta: a.TypeMeta, Spec: a.Spec, Status: a.Status}
	a.ObjectMeta.DeepCopyInto(&made.ObjectMeta)
	made.Status.Conditions = append([]metav1.Condition(nil), a.Status.Conditions...)
	return made
}

// DeepCopyObject copies each.
func (l *AgentList) DeepCopyObject() runtime.Object {
	made := &AgentList{TypeMeta: l.TypeMeta}
	l.ListMeta.DeepCopyInto(&made.ListMeta)
	for index := range l.Items {
		made.Items = append(made.Items, *l.Items[index].DeepCopyObject().(*Agent))
	}
	return made
}
