"""What is skipped on the wire changes no view."""

import json

import msgspec
import pytest
from controller_world import agent, node

from aion.api import labels
from aion.controller import views, wire

BOOKS = [
    {"manager": labels.CONTROLLER, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:a": {}}}}},
    {"manager": labels.CONTROLLER, "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
    {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:conditions": {}}}},
]
META = {
    "name": "x",
    "namespace": "team",
    "uid": "u",
    "generation": 2,
    "resourceVersion": "7",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "labels": {"a": "b", labels.TEMPLATE_HASH: "h"},
    "annotations": {labels.SOURCE_DIGEST: "d"},
    "ownerReferences": [{"kind": "Agent", "name": "a", "uid": "o", "controller": True}],
    "selfLink": "/somewhere",
    "managedFields": BOOKS,
}
STATUS = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    "containerStatuses": [{"name": "agent", "ready": True, "restartCount": 1, "state": {"running": {}}}],
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": META,
    "spec": {"nodeName": "n1", "containers": [{"name": "agent", "image": "i"}]},
    "status": STATUS,
}


def document(kind, api="v1", **more):
    return {"apiVersion": api, "kind": kind, "metadata": META, **more}


CASES = [
    (views.pod, POD),
    (views.child, document("ServiceAccount", automountServiceAccountToken=False)),
    (views.child, document("Service", spec={"ports": [{"port": 8020}]})),
    (views.child, document("NetworkPolicy", "networking.k8s.io/v1", spec={"podSelector": {}})),
    (views.deployment, document("Deployment", "apps/v1", spec={"replicas": 2}, status={"availableReplicas": 1})),
    (views.root, {**agent(priority=3), "metadata": META, "status": {"podName": "p"}}),
    (views.namespace, document("Namespace")),
    (views.node, node(gpus=2)),
]


@pytest.mark.parametrize(("project", "whole"), CASES, ids=lambda each: each["kind"] if isinstance(each, dict) else "")
def test_a_view_is_the_same_of_what_is_read_and_of_the_whole(project, whole):
    assert project(wire.read(whole["kind"], json.dumps(whole).encode())) == project(whole)


def test_of_the_servers_books_our_own_pages_are_kept_and_opened():
    read = wire.read("Pod", json.dumps(POD).encode())
    assert read["metadata"]["managedFields"] == BOOKS[:2]
    assert read["spec"] == {"nodeName": "n1"}


def test_an_item_of_a_list_learns_what_it_is():
    read = wire.read("Pod", json.dumps({"metadata": {"name": "x"}}).encode(), api="v1")
    assert (read["apiVersion"], read["kind"]) == ("v1", "Pod")


def test_a_strange_object_is_handed_on_for_the_store_to_pass_over():
    strange = {"kind": "Agent", "metadata": {"name": 7, "uid": "u", "resourceVersion": "1"}, "spec": "none"}
    assert wire.read("Agent", json.dumps(strange).encode()) == strange


def test_what_is_no_object_is_an_error_not_half_of_one():
    with pytest.raises(msgspec.DecodeError):
        wire.read("Pod", b'{"metadata": [')
