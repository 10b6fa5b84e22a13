"""kind, driven: create, delete, load, by the configuration beside this file.

Everything that makes the cluster what it is stands in config.yaml; this module must never add to it,
so that `kind create cluster --config` by hand gives the same.
"""

import json
import os
import shutil
from pathlib import Path

from clusters import run
from clusters.failure import Failed
from clusters.progress import Progress
from clusters.provider import Status
from clusters.settings import SOURCES, Settings

NAME = "aion-os"
CONFIG = SOURCES / "kind" / "config.yaml"
KIND = "sigs.k8s.io/kind@v0.30.0"  # its node image is the one that config.yaml pins


class Kind:
    """The provider for machines with a container engine."""

    def __init__(self, settings: Settings, *, engine: str | None):
        self.settings = settings
        self.engine = engine

    def up(self) -> None:
        progress = Progress(2)
        log = self.settings.state / "logs" / "kind.log"
        with progress.stage("kind"):
            kind = self._kind(install=True)
        with progress.stage("cluster"):
            if NAME not in self._clusters(kind):
                run.logged([kind, "create", "cluster", "--config", CONFIG, "--wait", "180s"], log, env=self._env())
            self.settings.state.mkdir(parents=True, exist_ok=True)
            run.logged(
                [kind, "export", "kubeconfig", "--name", NAME, "--kubeconfig", self.settings.kubeconfig],
                log,
                env=self._env(),
            )

    def down(self) -> None:
        kind = self._kind(install=False)
        if kind and NAME in self._clusters(kind):
            run.output(
                [kind, "delete", "cluster", "--name", NAME, "--kubeconfig", self.settings.kubeconfig], env=self._env()
            )
        self.settings.kubeconfig.unlink(missing_ok=True)

    def status(self) -> Status:
        kind = self._kind(install=False)
        running = bool(kind) and NAME in self._clusters(kind)
        address = ""
        if running:
            seen = json.loads(run.output([self._engine(), "inspect", f"{NAME}-control-plane"]))[0]
            running = bool(seen["State"]["Running"])
            address = next((net["IPAddress"] for net in seen["NetworkSettings"]["Networks"].values()), "")
        return {
            "provider": "kind",
            "running": running,
            "kubeconfig": str(self.settings.kubeconfig),
            "kubeletRoot": "/var/lib/kubelet",
            "nodeIP": address,
            "bin": None,
            "components": {},
        }

    def load(self, image: str) -> str:
        kind = self._kind(install=True)
        how = "image-archive" if Path(image).is_file() else "docker-image"
        run.output([kind, "load", how, image, "--name", NAME], env=self._env())
        return f"{image}: loaded"

    def _clusters(self, kind) -> list[str]:
        return run.output([kind, "get", "clusters"], env=self._env()).split()

    def _engine(self) -> str:
        if not self.engine:
            raise Failed("neither docker nor podman answers `info`", remedy="start one, or set AION_PROVIDER=native")
        return self.engine

    def _env(self) -> dict[str, str]:
        return {"KIND_EXPERIMENTAL_PROVIDER": self._engine()}

    def _kind(self, *, install: bool):
        cached = self.settings.cache / "kind" / KIND.rpartition("@")[2] / "kind"
        found = shutil.which("kind") or (cached if cached.exists() else None)
        if found or not install:
            return found
        if not shutil.which("go"):
            raise Failed("kind is not installed, nor is Go to build it", remedy=f"install {KIND} or Go >= 1.24")
        run.logged(
            ["go", "install", KIND],
            self.settings.state / "logs" / "kind-build.log",
            env={"GOBIN": str(cached.parent), "CGO_ENABLED": "0", "PATH": os.environ["PATH"]},
        )
        return cached
