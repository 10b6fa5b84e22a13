"""Argo CD as processes of this machine beside the cluster: its repo server, its application controller, and their Redis.

Built from the Go module beside this file, whose go.sum says what is trusted. Apart from the scenario because whoever tests with Argo CD needs all of it.
It must never listen but on the loopback where a flag allows that, and ends by process id; what it put into the cluster it takes out again.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import golang

from clusters.failure import Failed
from installation.kubectl import Kubectl
from installation.release import REPO

MODULE = Path(__file__).resolve().parent / "go"
SOURCE = "github.com/argoproj/argo-cd/v3"
NAMESPACE = "argocd"
FRAGMENT = REPO / "charts/argocd/argocd-cm.yaml"
IN_CLUSTER = "https://kubernetes.default.svc"
PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    },
}
READY_S = 60


@dataclass(frozen=True)
class Argo:
    """A running Argo CD."""

    kubectl: Kubectl
    binary: Path
    folder: Path

    def application(
        self, name: str, *, source: dict[str, Any], namespace: str, owns: bool, server_side: bool = True
    ) -> "Application":
        """Apply an Application that syncs, heals and prunes by itself; `owns`: what it applied goes with it."""
        document = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "finalizers": ["resources-finalizer.argocd.argoproj.io"] if owns else [],
            },
            "spec": {
                "project": "default",
                "source": {"targetRevision": "main", **source},
                "destination": {"server": IN_CLUSTER, "namespace": namespace},
                "syncPolicy": {
                    "automated": {"prune": True, "selfHeal": True},
                    "syncOptions": [f"ServerSideApply={str(server_side).lower()}"],
                },
            },
        }
        self.kubectl.put(document)
        return Application(self, name)

    def admin(self, *words: str) -> str:
        """`argocd admin …`, with our fragment for its settings and no cluster."""
        settings = ["--argocd-cm-path", str(FRAGMENT), "--load-cluster-settings=false"]
        done = subprocess.run(
            [self.binary, "admin", *words, *settings],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)} | {"ARGOCD_BINARY_NAME": "argocd"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"argocd admin {' '.join(words)} exited {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout


@dataclass(frozen=True)
class Application:
    """One Application, as its status tells it."""

    argo: Argo
    name: str

    def get(self) -> dict[str, Any]:
        """The object as it is."""
        return dict(self.argo.kubectl.get("application.argoproj.io", self.name, "-n", NAMESPACE))

    def refresh(self, *, how: str = "normal") -> None:
        """Have it looked at now: what a git server's webhook does after a push."""
        self.argo.kubectl.run(
            "annotate",
            "application.argoproj.io",
            self.name,
            "-n",
            NAMESPACE,
            f"argocd.argoproj.io/refresh={how}",
            "--overwrite",
        )

    def wait(self, *, revision: str = "", sync: str = "Synced", health: str = "Healthy", seconds: float = 120) -> float:
        """Wait until it says so, of this revision where one is given; answers how long it took, raises Failed with what it says instead."""
        began = time.monotonic()
        while True:
            status = self.get().get("status", {})
            found = status.get("sync", {})
            reached = not revision or found.get("revision") == revision
            if reached and (found.get("status"), status.get("health", {}).get("status")) == (sync, health):
                return time.monotonic() - began
            if time.monotonic() - began > seconds:
                raise Failed(
                    f"Application {self.name} is not {sync} and {health} within {seconds:.0f} s:\n{self.told()}"
                )
            time.sleep(0.1)

    def told(self) -> str:
        """What a person would look at first."""
        status = self.get().get("status", {})
        lines = [f"sync {status.get('sync', {}).get('status')} health {status.get('health')}"]
        lines += [
            f"{each.get('kind')} {each.get('name')}: {each.get('status')} {each.get('health')}"
            for each in status.get("resources", ())
        ]
        lines += [each["message"] for each in status.get("conditions", ())]
        lines.append(status.get("operationState", {}).get("message", ""))
        return "\n".join(lines)

    def resource(self, kind: str, name: str) -> dict[str, Any]:
        """What it says of one object that it manages."""
        found = self.get()["status"]["resources"]
        return next(dict(each) for each in found if (each["kind"], each["name"]) == (kind, name))

    def syncs(self) -> int:
        """How many syncs it has made so far."""
        return len(self.get()["status"].get("history", ()))

    def delete(self, *, seconds: float = 120) -> float:
        """Delete it, with what it applied where it owns that; answers how long it took."""
        began = time.monotonic()
        self.argo.kubectl.run(
            "delete",
            "application.argoproj.io",
            self.name,
            "-n",
            NAMESPACE,
            "--ignore-not-found",
            f"--timeout={seconds:.0f}s",
            timeout=seconds + 10,
        )
        return time.monotonic() - began


@contextlib.contextmanager
def running(kubectl: Kubectl, folder: Path) -> Iterator[Argo]:
    """Have one; the first time it is built, which takes minutes."""
    binary = golang.binary(MODULE, name="argocd", package=f"{SOURCE}/cmd")
    manifests = golang.source_of(MODULE, SOURCE) / "manifests"
    argo = Argo(kubectl, binary, folder)
    with _installed(kubectl, manifests), contextlib.ExitStack() as processes:
        for name, argv, port in _parts(argo):
            processes.enter_context(_process(name, argv, argo=argo, port=port))
        yield argo


@contextlib.contextmanager
def _installed(kubectl: Kubectl, manifests: Path) -> Iterator[None]:
    """CRDs, configuration and our fragment in the cluster, by the command of the chart's README; taken out at the end."""
    crds = sorted((manifests / "crds").glob("*-crd.yaml"))
    kubectl.apply(*crds)
    kubectl.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    try:
        _await_served(kubectl)
        kubectl.apply(*sorted((manifests / "base/config").glob("argocd-*.yaml")), namespace=NAMESPACE)
        kubectl.run("apply", "--server-side", "--field-manager", "aion-os", "-f", str(FRAGMENT))
        kubectl.put(PROJECT)
        yield
    finally:
        kubectl.run("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
        kubectl.run(
            "delete", "--ignore-not-found", "--wait=false", *(word for crd in crds for word in ("-f", str(crd)))
        )


def _await_served(kubectl: Kubectl) -> None:
    """A definition that was applied a moment ago has no conditions yet, and then answers 429 for another moment."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            kubectl.run("get", "applications.argoproj.io,appprojects.argoproj.io", "-A")
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _parts(argo: Argo) -> Iterator[tuple[str, list[str], int]]:
    """Name, arguments and port of each process, in the order of their start."""
    redis, repo, repo_metrics, metrics = _free_ports(4)
    cache = f"--redis=127.0.0.1:{redis}"
    server = shutil.which("redis-server")
    if not server:
        raise Failed("redis-server is not installed", remedy="sudo apt-get install -y redis-server")
    yield "redis", [server, "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"], redis
    loopback = ["--address=127.0.0.1", "--metrics-address=127.0.0.1", f"--metrics-port={repo_metrics}"]
    yield "argocd-repo-server", [str(argo.binary), *loopback, f"--port={repo}", "--disable-tls", cache], repo
    yield (
        "argocd-application-controller",
        [
            str(argo.binary), f"--kubeconfig={argo.kubectl.kubeconfig}", f"--namespace={NAMESPACE}", f"--metrics-port={metrics}",
            f"--repo-server=127.0.0.1:{repo}", "--repo-server-plaintext", "--persist-resource-health", cache,
        ],
        metrics,
    )  # fmt: skip


@contextlib.contextmanager
def _process(name: str, argv: list[str], *, argo: Argo, port: int) -> Iterator[None]:
    """Run it until the block ends; raises Failed with its log where it does not come up."""
    at = argo.folder / name
    for part in ("tls", "ssh", "tmp"):
        (at / part).mkdir(parents=True)
    (at / "ssh/ssh_known_hosts").touch()
    log = at.with_suffix(".log")
    environment = {
        "PATH": f"{Path(argo.kubectl.program('helm')).parent}:{os.environ['PATH']}",
        "HOME": str(at),
        "TMPDIR": str(at / "tmp"),
        "KUBECONFIG": str(argo.kubectl.kubeconfig),
        "ARGOCD_BINARY_NAME": name,
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_TLS_DATA_PATH": str(at / "tls"),
        "ARGOCD_SSH_DATA_PATH": str(at / "ssh"),
    }
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env=environment, cwd=at, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        _await(process, name, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], name: str, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{name} does not listen on port {port}", log=log, remedy="its last words are below")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
