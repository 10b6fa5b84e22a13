"""What runs inside the cluster from the start: CoreDNS, and metrics-server for `kubectl top`.

Their objects stand in addons/*.yaml; their images are one static binary each, made here.
"""

import hashlib
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.native import containerd, images, machine
from clusters.native.api import Api
from clusters.native.layout import API_SERVICE_IP, DNS_IP, DOMAIN, GO_MODULE, Layout
from clusters.native.waiting import until

MANIFESTS = GO_MODULE.parent / "addons"
ADDONS = ("coredns", "metrics-server")
METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
HELP = "kubectl -n kube-system get pods; kubectl -n kube-system describe pods"


def ensure_images(layout: Layout, binaries: Path) -> None:
    """Have the images of the Pods' pause process and of both addons on the node."""
    images.ensure_binary(layout, containerd.PAUSE_IMAGE, binaries / "pause", entrypoint="/pause", user="65535:65535")
    for name in ADDONS:
        images.ensure_binary(layout, reference(name, binaries), binaries / name, entrypoint=f"/{name}")


def reference(name: str, binaries: Path) -> str:
    """Name an addon's image by the hash of its binary's inputs: another binary is another image, and rolls out."""
    return f"localhost/aion-os/{name}:{(binaries / f'{name}.inputs').read_text()[:12]}"


def ensure(layout: Layout, binaries: Path) -> None:
    """Have the objects as the files say; return when DNS answers and the metrics API is served."""
    objects = manifests(binaries)
    digest = hashlib.sha256(objects.encode()).hexdigest()
    stamp = layout.state / "addons-applied"
    if not (
        stamp.exists()
        and stamp.read_text() == digest
        and Api(layout).get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    ):
        _apply(layout, binaries, objects)
        stamp.write_text(digest)
    until(
        dns_answers,
        layout=layout,
        what="DNS does not answer on " + DNS_IP,
        needs=("kubelet", "kube-proxy"),
        seconds=90,
        remedy=HELP,
    )
    until(
        lambda: Api(layout).status(METRICS) == 200,
        layout=layout,
        what="the metrics API is not served",
        needs=("kubelet", "kube-apiserver"),
        seconds=60,
        remedy=HELP,
    )


def manifests(binaries: Path) -> str:
    """Return all objects as one YAML stream, with the images' real names."""
    objects = "\n---\n".join(path.read_text() for path in sorted(MANIFESTS.glob("*.yaml")))
    for name in ADDONS:
        objects = objects.replace(f"localhost/aion-os/{name}:1", reference(name, binaries))
    return objects


def dns_answers() -> bool:
    """Ask the way a Pod would: Service address, kube-proxy, CoreDNS."""
    return machine.resolves(f"kubernetes.default.svc.{DOMAIN}", server=DNS_IP) == API_SERVICE_IP


def _apply(layout: Layout, binaries: Path, objects: str) -> None:
    apply = [
        binaries / "kubectl",
        "--kubeconfig",
        layout.kubeconfig,
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
    ]
    try:
        run.output(apply, stdin=objects.encode())
    except Failed as failure:
        raise Failed(
            f"the addons were not accepted: {failure}",
            log=layout.logs / "kube-apiserver.log",
            remedy="e2e/cluster up again",
        ) from None
