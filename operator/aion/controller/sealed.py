"""The parts that every sealed Pod of ours shares: an Agent's and a Tool's are confined by the same lines.

It stands apart so that a security reviewer reads the whole confinement of a Pod in one page. All of it satisfies Pod Security
`restricted`. It must never take a value from a user that could weaken it: users' additions arrive through `overlay` alone.
"""

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

from aion.api import keyids
from aion.api import labels as names
from aion.controller.views import LABEL_PROFILE, Key, digest

Document: TypeAlias = dict[str, Any]

UID_CODE = 10001  # the agent's or tool's own code
UID_GUARD = 10002  # gateway and runner
FS_GROUP = 10000
GRACE_S = 30
LAUNCH = "/aion/aion-launch"
SOURCE_LAUNCH = "/usr/bin/aion-launch"
TUNNEL = "/aion/libaion-net.so"  # comes with the launcher's --install
EGRESS_SOCKET = "/run/aion/egress.sock"


def metadata(key: Key, *, name: str, labels: Mapping[str, str], uid: str) -> Document:
    """Metadata of a child: labelled as ours, owned by its root, deleted with it."""
    return {
        "name": name,
        "namespace": key.namespace,
        "labels": dict(labels),
        "ownerReferences": [
            {
                "apiVersion": names.API_VERSION,
                "kind": key.kind,
                "name": key.name,
                "uid": uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def marked(document: Document) -> Document:
    """The document, labelled with the hash of itself: how a plan knows that what is there is what it would apply."""
    meta = document["metadata"]
    worn = {**meta["labels"], names.TEMPLATE_HASH: digest(document)}
    return {**document, "metadata": {**meta, "labels": worn}}


def tenant_keys(namespace: str, *, secret: str) -> Document:
    """The tenant's HMAC keys, made once; no owner, since every Agent and Tool of the namespace needs it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names.TENANT_KEYS,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.PART_OF: names.MANAGER},
        },
        "type": "Opaque",
        "stringData": {keyids.FIRST: secret},
    }


def container_security(*, uid: int, profile: str | None) -> Document:
    """No root, no writable root, no capability, no escalation; `profile` is the sha256 of a Localhost seccomp profile."""
    seccomp: Document = {"type": "RuntimeDefault"}
    if profile is not None:
        seccomp = {"type": "Localhost", "localhostProfile": f"aion/{profile}.json"}
    return {
        "runAsUser": uid,
        "runAsGroup": uid,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": seccomp,
    }


def pod_base() -> Document:
    """The Pod-level fields."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": FS_GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def affinity(given: Document | None, *, profile: str) -> Document:
    """The user's affinity, and in each of its alternatives: only nodes that hold the profile."""
    merged = copy.deepcopy(given) if given else {}
    holds = {"key": f"{LABEL_PROFILE}{profile[:16]}", "operator": "In", "values": ["ready"]}
    required = merged.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    # Terms are alternatives: the label is demanded in each of them.
    required["nodeSelectorTerms"] = [
        {**term, "matchExpressions": [*term.get("matchExpressions", ()), holds]}
        for term in required.get("nodeSelectorTerms") or [{}]
    ]
    return merged


def guard_lifecycle() -> Document:
    """Hold the next container until the launcher lies in the shared folder: milliseconds, bounded by the launcher."""
    return {"postStart": {"exec": {"command": [SOURCE_LAUNCH, "--installed", "/aion"]}}}


def probes(port: int) -> Document:
    """Readiness is a long poll of up to 4 s, so that the Pod turns ready at once and not at the next tick."""
    return {
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": port},
            "timeoutSeconds": 5,
            "periodSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": port}, "timeoutSeconds": 5, "periodSeconds": 10},
    }


def env(values: Mapping[str, str]) -> list[Document]:
    """Plain variables, in the order given; empty ones are left out."""
    return [{"name": name, "value": value} for name, value in values.items() if value]
