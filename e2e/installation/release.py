"""The Helm release: which images, where the kubelet's files lie, who is searched, who answers for models. A user writes the same values by hand."""

import json
from pathlib import Path

from clusters.provider import Status
from installation import models
from installation.kubectl import Kubectl

REPO = Path(__file__).resolve().parents[2]
CHART = REPO / "charts/aion-os"
CRDS = REPO / "crds"
NAMESPACE = "aion-system"
RELEASE = "aion"
SEARCH_URL = "http://search.aion-search.svc:8080"
SEARCH_HOST = "search.aion-search.svc"

# Not in the chart: the demo's search server.
NOT_OURS = frozenset({"search"})


def values(images: dict[str, str], *, status: Status) -> dict[str, object]:
    """Return the values of this installation."""
    named = {name: _reference(reference) for name, reference in images.items() if name not in NOT_OURS}
    return {
        "images": {"pullPolicy": "IfNotPresent", **named},
        "node": {"kubeletRoot": status["kubeletRoot"]},
        "search": {"url": SEARCH_URL},
        **models.VALUES,
    }


def install(kubectl: Kubectl, images: dict[str, str], *, status: Status, folder: Path) -> None:
    """Have the release as it should be, and wait until its Pods are ready. CRDs first: Helm never upgrades them."""
    chosen = folder / "values.json"
    chosen.write_text(json.dumps(values(images, status=status), indent=1))
    kubectl.apply(*sorted(CRDS.glob("aion.os_*.yaml")))
    kubectl.put(_namespace(NAMESPACE))
    kubectl.helm(
        "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(chosen),
        "--skip-crds", "--wait", "--timeout", "240s", timeout=300,
    )  # fmt: skip


def _reference(reference: str) -> dict[str, str]:
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def _namespace(name: str) -> dict[str, object]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
