"""What is applied: one program in one image, in several ways. Pure.

Apart so that a reader can see at one sight that they differ in nothing but their kind: same image, same program, same
resources, same restrictions. It must never make a peer slower than a person would: no probe, no init container where the
peer does not mean one.
"""

from collections.abc import Callable
from typing import NamedTuple

from starting.api import Document

NAMESPACE = "aion-bench"
PROGRAM = "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, [15]); s.sigwait([15])"  # asleep until SIGTERM, and gone at once
ARGV = ["python3", "-c", PROGRAM]
ENTRY = f"python3 -c '{PROGRAM}'"
# A container starts within its own limit: at 100m that alone would take a tenth of a second.
RESOURCES = {"cpu": "500m", "memory": "64Mi"}
BESIDE = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "192Mi"}}  # as our gateway has it
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
AGENTS = f"/apis/aion.os/v1/namespaces/{NAMESPACE}/agents"
SANDBOXES = f"/apis/agents.x-k8s.io/v1beta1/namespaces/{NAMESPACE}/sandboxes"


class Subject(NamedTuple):
    """One way: what it is called, where it is applied, and the document for a name and an image."""

    name: str
    title: str
    path: str
    document: Callable[[str, str], Document]


def agent(name: str, image: str) -> Document:
    """Ours: sealed, that is, with no capability; in the chart's own image, which is the `image` of the others."""
    del image
    spec = {
        "version": "1.0.0",
        "entry": ENTRY,
        "capabilities": {"filesystem": False, "network": False, "gpu": False, "subprocess": False},
        "resources": {"cpu": RESOURCES["cpu"], "mem": RESOURCES["memory"]},
    }
    return {
        "apiVersion": "aion.os/v1",
        "kind": "Agent",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def bare(name: str, image: str) -> Document:
    """A Pod of one container, as a person writes it: what Kubernetes itself takes."""
    return _pod(name, _pod_spec(image))


def naked(name: str, image: str) -> Document:
    """The same without the token that Kubernetes mounts by itself, so without any volume: the least that a Pod can be.

    The kubelet looks every 300 ms whether volumes are mounted; a Pod without one does not wait for that.
    """
    return _pod(name, {**_pod_spec(image), "automountServiceAccountToken": False})


def sidecar(name: str, image: str) -> Document:
    """The same beside a native sidecar, as service meshes and Dapr have it; no startup probe, which would cost a second more."""
    beside = {**_container("sidecar", image), "resources": BESIDE, "restartPolicy": "Always"}
    return _pod(name, {**_pod_spec(image), "initContainers": [beside]})


def sandbox(name: str, image: str) -> Document:
    """agent-sandbox's Sandbox around the bare Pod."""
    return {
        "apiVersion": "agents.x-k8s.io/v1beta1",
        "kind": "Sandbox",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"podTemplate": {"spec": _pod_spec(image)}},
    }


OURS = Subject("agent", "AION-OS Agent, sealed", AGENTS, agent)
BARE = Subject("bare", "bare Pod, one container", PODS, bare)
NAKED = Subject("bare_no_volume", "bare Pod without a volume", PODS, naked)
SIDECAR = Subject("sidecar", "Pod with a native sidecar", PODS, sidecar)
SANDBOX = Subject("sandbox", "agent-sandbox Sandbox", SANDBOXES, sandbox)
ALL = (OURS, BARE, NAKED, SIDECAR, SANDBOX)


def _pod(name: str, spec: Document) -> Document:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _pod_spec(image: str) -> Document:
    return {"containers": [_container("agent", image)]}


def _container(name: str, image: str) -> Document:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ARGV,
        "resources": {"requests": RESOURCES, "limits": RESOURCES},
        "securityContext": _RESTRICTED,
    }
