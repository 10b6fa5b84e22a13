"""What the controller remembers of the objects it sees: frozen, projected to the fields that a plan reads.

It stands apart because memory is the bill of an informer: a two-container Pod is 46 KiB as dictionaries and half a KiB as a view. A root
object (Agent, Tool) keeps its spec as it came, since a plan needs all of it; everything else keeps a few fields.
A view must never hold the whole document, and two equal views mean that nothing a plan could notice has changed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from aion.api import labels
from aion.controller import ownership

Document: TypeAlias = Mapping[str, Any]

GPU = "nvidia.com/gpu"  # the extended resource, a whole number
LABEL_PROFILE = "seccomp.aion.os/"  # followed by 16 hex digits of the profile's sha256

_OURS = frozenset(
    {"observedGeneration", "conditions"}
    | {"podName", "nodeName", "priority", "queue", "effectivePolicy", "effectiveCapabilities"}  # of an Agent
    | {"endpoint", "replicas", "readyReplicas"}  # of a Tool
    | {"active"}  # of a Policy
    | {"keyRevision", "keys"}  # of a Tenant
)
"""The fields of a status that we write. Others' (usage, heartbeats) change twice a minute, and a plan never reads them."""


class Key(NamedTuple):
    """The name of a root object: what the queue holds."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class RootView:
    """An Agent, a Tool, a Policy or a Tenant (whose namespace is empty): its document without the bookkeeping, and what we last said in its status."""

    key: Key
    uid: str
    generation: int
    deleting: bool
    document: Document
    status: Document


@dataclass(frozen=True, slots=True)
class ContainerView:
    """One container's state, flattened: `reason`, `message` and `exit_code` are of what it waits for or ended with."""

    name: str
    ready: bool
    restarts: int
    state: str  # waiting | running | terminated
    reason: str
    message: str
    exit_code: int | None
    last_reason: str
    last_exit_code: int | None
    last_message: str


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition of a Pod or a Deployment; `since` is RFC 3339, or empty."""

    type: str
    status: str
    reason: str
    message: str
    since: str = ""


@dataclass(frozen=True, slots=True)
class PodView:
    """A Pod of ours; `reason` and `message` say why it failed as a whole, such as Evicted."""

    namespace: str
    name: str
    uid: str
    owner: Key | None
    template_hash: str
    phase: str
    reason: str
    message: str
    created: str
    deleting: bool
    node: str
    conditions: tuple[ConditionView, ...]
    containers: tuple[ContainerView, ...]
    source: str = ""  # the digest of the files that it was made with
    owned: str = ""  # as of a ChildView, but only of what can be changed in a Pod

    @property
    def ready(self) -> bool:
        """The kubelet says that every container is ready."""
        return any(c.type == "Ready" and c.status == "True" for c in self.conditions)

    def condition(self, kind: str) -> ConditionView | None:
        """The condition of that type, if the Pod has it."""
        return next((c for c in self.conditions if c.type == kind), None)

    def container(self, name: str) -> ContainerView | None:
        """The container of that name, once the kubelet has said anything about it."""
        return next((c for c in self.containers if c.name == name), None)


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """A Tool's Deployment."""

    namespace: str
    name: str
    uid: str
    owner: Key | None
    template_hash: str
    owned: str  # as of a ChildView: a `kubectl scale` is a hand in it, too
    observed: bool  # its controller has seen the newest generation
    replicas: int
    updated: int
    available: int
    conditions: tuple[ConditionView, ...]

    def condition(self, kind: str) -> ConditionView | None:
        """The condition of that type, if the Deployment has it."""
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class ChildView:
    """A child that is not a Pod nor a Deployment: that it is there, as which version of what we render, and how much of that is still ours.

    `owned` is the digest of the shape of our fields, see `ownership`: a child that somebody edited by hand is noticed.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    owner: Key | None
    template_hash: str
    owned: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """Which profiles lie ready on a node, what fits on it, and whether it answers."""

    name: str
    profiles: frozenset[str]
    cpu: str
    memory: str
    gpus: int = 0
    ready: bool = True  # its kubelet answers


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A namespace: that it is there, and those of its labels that a Tenant sets."""

    name: str
    deleting: bool
    labels: frozenset[tuple[str, str]]

    @property
    def tenant(self) -> Key:
        """The Tenant that governs it, if there is one."""
        return Key("Tenant", "", self.name)


def _owner(meta: Document) -> Key | None:
    for ref in meta.get("ownerReferences") or ():
        if ref.get("controller") and ref.get("apiVersion", "").startswith("aion.os/"):
            home = "" if ref["kind"] == "Tenant" else meta.get("namespace", "")
            return Key(ref["kind"], home, ref["name"])
    return None


def _conditions(status: Document) -> tuple[ConditionView, ...]:
    return tuple(
        ConditionView(
            c["type"],
            c["status"],
            c.get("reason") or "",
            c.get("message") or "",
            c.get("lastTransitionTime") or "",
        )
        for c in status.get("conditions") or ()
    )


def _container(status: Document) -> ContainerView:
    state = status.get("state") or {}
    kind = next(iter(state), "waiting")
    now, last = state.get(kind) or {}, (status.get("lastState") or {}).get("terminated") or {}
    return ContainerView(
        name=status["name"],
        ready=bool(status.get("ready")),
        restarts=int(status.get("restartCount") or 0),
        state=kind,
        reason=now.get("reason") or "",
        message=now.get("message") or "",
        exit_code=now.get("exitCode"),
        last_reason=last.get("reason") or "",
        last_exit_code=last.get("exitCode"),
        last_message=last.get("message") or "",
    )


def root(document: Document) -> RootView:
    """Project a root object."""
    meta = document["metadata"]
    kept = {"name": meta["name"], "uid": meta["uid"]}
    kept |= {
        field: meta[field] for field in ("namespace", "creationTimestamp", "labels", "annotations") if meta.get(field)
    }
    return RootView(
        key=Key(document["kind"], meta.get("namespace", ""), meta["name"]),
        uid=meta["uid"],
        generation=int(meta.get("generation") or 0),
        deleting=bool(meta.get("deletionTimestamp")),
        document={
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "metadata": kept,
            "spec": document.get("spec") or {},
        },
        status={name: value for name, value in (document.get("status") or {}).items() if name in _OURS},
    )


def pod(document: Document) -> PodView:
    """Project a Pod."""
    meta, status = document["metadata"], document.get("status") or {}
    owner = _owner(meta)
    worn = meta.get("labels") or {}
    if owner is None and (tool := worn.get(labels.TOOL)):
        owner = Key("Tool", meta["namespace"], tool)  # a Tool's Pods belong to its Deployment's ReplicaSet
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        owner=owner,
        template_hash=worn.get(labels.TEMPLATE_HASH, ""),
        source=(meta.get("annotations") or {}).get(labels.SOURCE_DIGEST, ""),
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        created=meta.get("creationTimestamp") or "",
        deleting=bool(meta.get("deletionTimestamp")),
        owned=digest(ownership.held_pod(document)),
        node=(document.get("spec") or {}).get("nodeName") or "",
        conditions=_conditions(status),
        containers=tuple(_container(c) for c in status.get("containerStatuses") or ()),
    )


def deployment(document: Document) -> DeploymentView:
    """Project a Deployment."""
    meta, status = document["metadata"], document.get("status") or {}
    return DeploymentView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        owner=_owner(meta),
        template_hash=(meta.get("labels") or {}).get(labels.TEMPLATE_HASH, ""),
        owned=digest(ownership.held(document)),
        observed=int(status.get("observedGeneration") or 0) >= int(meta.get("generation") or 0),
        replicas=int(status.get("replicas") or 0),
        updated=int(status.get("updatedReplicas") or 0),
        available=int(status.get("availableReplicas") or 0),
        conditions=_conditions(status),
    )


def child(document: Document) -> ChildView:
    """Project what is neither a root nor a Pod, a Deployment or a Node."""
    meta = document["metadata"]
    hashed = (meta.get("labels") or {}).get(labels.TEMPLATE_HASH, "")
    owned = digest(ownership.held(document))
    return ChildView(document["kind"], meta["namespace"], meta["name"], meta["uid"], _owner(meta), hashed, owned)


def digest(document: object) -> str:
    """Ten hex digits of the sha256 over the canonical JSON: 40 bits, for one root's handful of templates."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def namespace(document: Document) -> NamespaceView:
    """Project a Namespace."""
    meta = document["metadata"]
    ours = (labels.TENANT, labels.POD_SECURITY)
    worn = frozenset((name, value) for name, value in (meta.get("labels") or {}).items() if name in ours)
    return NamespaceView(meta["name"], bool(meta.get("deletionTimestamp")), worn)


def node(document: Document) -> NodeView:
    """Project a Node."""
    meta, room = document["metadata"], (document.get("status") or {}).get("allocatable") or {}
    ready = (
        key for key, value in (meta.get("labels") or {}).items() if key.startswith(LABEL_PROFILE) and value == "ready"
    )
    return NodeView(
        name=meta["name"],
        profiles=frozenset(key.removeprefix(LABEL_PROFILE) for key in ready),
        cpu=room.get("cpu", "0"),
        memory=room.get("memory", "0"),
        gpus=int(room.get(GPU) or 0),
        ready=all(c.status == "True" for c in _conditions(document.get("status") or {}) if c.type == "Ready"),
    )
