"""agent-sandbox, as its own release has it: controller, CRD and RBAC of one pinned version, from the Go module proxy.

Apart because a peer has to come and go: it is installed for the run and removed after it. Two things differ from the
release: the image is made here FROM scratch, and so /tmp, where the controller keeps its webhook's certificates, is an
emptyDir. It must never be slowed down or sped up by flags: it runs with the arguments of its manifest.
"""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from measuring import golang
from measuring.report import say

from clusters import choice, settings
from clusters.native import images
from installation.kubectl import Kubectl
from starting.api import Document

MODULE = Path(__file__).resolve().parents[1] / "sandbox-peer/go"
DEPENDENCY = "sigs.k8s.io/agent-sandbox"
PROGRAM = "agent-sandbox-controller"
NAMESPACE = "agent-sandbox-system"
MANIFESTS = ("k8s/crds/agents.x-k8s.io_sandboxes.yaml", "k8s/rbac.generated.yaml", "k8s/controller.yaml")


@contextlib.contextmanager
def installed(kubectl: Kubectl) -> Iterator[None]:
    """Have it while the context lasts."""
    binary = golang.binary(MODULE, name=PROGRAM, package=f"{DEPENDENCY}/cmd/{PROGRAM}")
    image = _load(binary)
    documents = list(_documents(golang.source_of(MODULE, DEPENDENCY), image))
    say("installing agent-sandbox")
    kubectl.put(*(document for document in documents if document["kind"] in {"Namespace", "CustomResourceDefinition"}))
    try:
        kubectl.put(*documents)
        kubectl.run("rollout", "status", f"deployment/{PROGRAM}", "-n", NAMESPACE, "--timeout=90s")
        kubectl.run("wait", "--for=condition=Established", "crd/sandboxes.agents.x-k8s.io", "--timeout=30s")
        yield
    finally:
        say("removing agent-sandbox")
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents[::-1]})
        kubectl.run(
            "delete", "--ignore-not-found", "--wait=true", "--timeout=90s", "-f", "-", stdin=listed, check=False
        )


def version() -> str:
    """The pinned version."""
    return next(line.split()[-1] for line in (MODULE / "go.mod").read_text().splitlines() if DEPENDENCY in line)


def _load(binary: Path) -> str:
    image = f"localhost/aion-os/bench-agent-sandbox:{binary.name.rpartition('-')[2]}"
    _, archive = images.of_binary(image, binary, entrypoint=f"/{PROGRAM}", user="65532:65532")
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(archive)
        file.flush()
        say(choice.provider(settings.read()).load(file.name))
    return image


def _documents(source: Path, image: str) -> Iterator[Document]:
    for manifest in MANIFESTS:
        for document in yaml.safe_load_all((source / manifest).read_text()):
            if document and document["kind"] == "Deployment":
                spec = document["spec"]["template"]["spec"]
                spec["volumes"] = [{"name": "tmp", "emptyDir": {}}]
                spec["containers"][0] |= {"image": image, "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
            if document:
                yield document
