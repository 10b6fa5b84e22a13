"""The native provider: the stages of `up` in their order, and the other verbs.

It must never hold the how of a part: each stage is one call into the module of that part, which looks
before it acts, so that `up` on a running cluster changes nothing and `up` on a broken one mends it.
"""

import os
import shutil
import sys

from clusters.failure import Failed
from clusters.native import (
    addons,
    build,
    clean,
    containerd,
    controlplane,
    images,
    kubelet,
    lock,
    machine,
    packages,
    pki,
    processes,
)
from clusters.native.api import Api
from clusters.native.layout import NODE_IP, PORTS, Layout
from clusters.progress import Progress
from clusters.provider import Status
from clusters.settings import Settings

COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)
assert set(PORTS) | {"kube-apiserver", "containerd"} == set(COMPONENTS)


class Native:
    """A real single-node Kubernetes out of processes of this machine."""

    def __init__(self, settings: Settings):
        self.layout = Layout(settings)
        os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{packages.PATH}"  # sbin is not on everybody's

    @staticmethod
    def exists(settings: Settings) -> bool:
        """Say whether a native cluster, whole or broken, lies in the state folder."""
        return Layout(settings).marker.exists()

    def up(self) -> None:
        """Start or mend. Raises Failed; then `up` again goes on, and `down` removes."""
        layout, progress = self.layout, Progress(7)
        _need_root()
        with lock.held(layout.state, "up"):
            _mark(layout)
            with progress.stage("tools"):
                packages.ensure(layout.logs / "packages.log")
                binaries = build.ensure(layout, say=progress.say)
                _link(layout, binaries)
            with progress.stage("machine"):
                self._prepare(progress)
            with progress.stage("certificates"):
                pki.ensure(layout)
            with progress.stage("API server"):
                controlplane.start_etcd(layout, binaries, note=progress.note)
                controlplane.start_api_server(layout, binaries)
                containerd.start(layout)  # and its images: while the API server starts, which takes longest
                addons.ensure_images(layout, binaries)
                controlplane.await_api_server(layout)
            with progress.stage("controllers"):
                controlplane.start_controllers(layout, binaries)
            with progress.stage("node"):
                kubelet.start(layout, binaries)
                kubelet.await_ready(layout)
            with progress.stage("DNS and metrics"):
                addons.ensure(layout, binaries)
        print(f"cluster is up ({progress.total()}): export KUBECONFIG={layout.kubeconfig}", file=sys.stderr)

    def down(self) -> None:
        """Remove the cluster and every trace of it; does what is left to do after any failure."""
        layout, progress = self.layout, Progress(3)
        _need_root()
        with lock.held(layout.state, "down"):
            with progress.stage("processes and containers"):
                clean.components(layout)
                clean.node(layout)
            with progress.stage("network, cgroups, sysctls"):
                clean.network(layout)
                clean.cgroups(layout)
                machine.restore_sysctls(layout)
            with progress.stage("files"):
                clean.folder(layout)
        print(f"cluster is gone ({progress.total()}); built binaries stay in {layout.settings.cache}", file=sys.stderr)

    def status(self) -> Status:
        """Look at the records, and ask the API server and the node whether they are ready."""
        layout, records = self.layout, processes.recorded(self.layout)
        alive = all(name in records and records[name].alive for name in COMPONENTS)
        return {
            "provider": "native",
            "running": alive and Api(layout).ready(),
            "kubeconfig": str(layout.kubeconfig),
            "kubeletRoot": str(layout.kubelet_root),
            "nodeIP": NODE_IP,
            "bin": str(layout.bin),
            "components": {
                name: {"pid": records[name].pid, "alive": records[name].alive, "log": records[name].log}
                for name in COMPONENTS
                if name in records
            },
        }

    def load(self, image: str) -> str:
        """Make an image known to the node."""
        _need_root()
        record = processes.recorded(self.layout).get("containerd")
        if not record or not record.alive:
            raise Failed("there is no running cluster to load into", remedy="e2e/cluster up")
        with lock.held(self.layout.state, f"load {image}"):
            return images.load(self.layout, image)

    def _prepare(self, progress: Progress) -> None:
        layout = self.layout
        machine.claim(layout)
        record = processes.recorded(layout).get("containerd")
        if not record or not record.alive:  # nobody holds the containers: as after a power cut
            if kubelet_record := processes.recorded(layout).get("kubelet"):
                processes.stop(kubelet_record)
            if clean.node(layout):
                progress.note("cleared away containers and mounts that an earlier cluster left")
        machine.prepare(layout)


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Failed(
            "the native cluster needs root: it makes bridges, mounts and cgroups",
            remedy="run it with sudo, or start docker or podman for the kind provider",
        )


def _mark(layout: Layout) -> None:
    layout.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not layout.marker.exists():
        if any(layout.state.iterdir()):
            raise Failed(
                f"{layout.state} is not empty and not a cluster's folder", remedy="set AION_STATE to another folder"
            )
        layout.marker.write_text("`e2e/cluster down` removes this folder\n")


def _link(layout: Layout, binaries) -> None:
    """Have state/bin with kubectl and helm, for people and scripts that have none."""
    layout.bin.mkdir(exist_ok=True)
    for name in ("kubectl", "helm"):
        link, target = layout.bin / name, binaries / name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    for stale in list(layout.state.glob("load-*")):  # a load that was killed
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
