"""The control plane: started by the means of the tests' own API server, and beside it a scheduler and KWOK.

Apart from what is measured on it. No controller-manager runs, so nothing is collected by owner references: whoever leaves
children behind deletes them, or starts another world. It must never limit its own clients: a scheduler at its default of
50 requests a second would be what one measures.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import controller_process
from measuring import golang
from measuring.processes import Process

import apiserver_fixture as control
from aion.controller.__main__ import installed

MODULE = Path(__file__).resolve().parent / "go"
SYSTEM = controller_process.SYSTEM
PARTS = ("etcd", "kube-apiserver", "kube-scheduler", "kwok")
NODES = 10  # their KWOK capacity is 1 000 CPUs and a million Pods each
_KINDS = ",".join(kind.names.plural for kind in controller_process.crds.KINDS)
_RATE = {"qps": 5000, "burst": 10000}
_WRITES = ["create", "update", "patch", "delete", "deletecollection"]


@dataclass(frozen=True)
class World:
    """A running control plane, with the CRDs, the chart's rights for our controller, and nodes that hold its profile."""

    server: control.ApiServer
    controller_kubeconfig: Path
    audit: Path

    def process(self, name: str) -> Process:
        """One of PARTS, to be measured."""
        return Process(self.server.processes[name], name, self.server.folder / f"{name}.log")

    def kubeconfig_of(self, account: str) -> Path:
        """A kubeconfig of a new ServiceAccount that may do everything; the audit log knows it by `user`."""
        path = self.server.folder / f"{account}.kubeconfig"
        self.server.kubectl("create", "serviceaccount", account, "-n", SYSTEM)
        self.server.kubectl(
            "create",
            "clusterrolebinding",
            account,
            "--clusterrole=cluster-admin",
            f"--serviceaccount={SYSTEM}:{account}",
        )
        token = self.server.kubectl("create", "token", "-n", SYSTEM, account).stdout.strip()
        config = controller_process.yaml.safe_load(self.server.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token}
        path.write_text(controller_process.yaml.safe_dump(config))
        return path

    @staticmethod
    def user(account: str) -> str:
        """What the audit log calls a ServiceAccount."""
        return f"system:serviceaccount:{SYSTEM}:{account}"

    def apply(self, *documents: dict[str, object]) -> None:
        """Apply as the administrator."""
        controller_process.apply(self.server, *documents)


@contextlib.contextmanager
def running(at: Path, *, users: Sequence[str]) -> Iterator[World]:
    """Have one; the writes of these ServiceAccounts go to the audit log."""
    kwok = golang.binary(MODULE, name="kwok", package="sigs.k8s.io/kwok/cmd/kwok")
    server = control.prepare(at)
    audit = at / "audit.log"
    rules = [
        {
            "level": "Metadata",
            "users": [World.user(each) for each in users],
            "verbs": _WRITES,
            "omitStages": ["RequestReceived"],
        },
        {"level": "None"},
    ]
    _json(at / "audit.json", {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})
    try:
        control.start(server, "etcd", control.etcd_argv(server))
        # No node controller runs to lift the taint that this admission puts on a new node.
        more = [
            "--disable-admission-plugins=TaintNodesByCondition",
            "--audit-policy-file=audit.json",
            f"--audit-log-path={audit}",
        ]
        control.start(server, "kube-apiserver", control.apiserver_argv(server) + more)
        control.wait_ready(server)
        kubeconfig = controller_process.install(server, at)
        control.start(server, "kube-scheduler", _scheduler(server))
        control.start(server, "kwok", _kwok(server, kwok))
        controller_process.apply(server, *(_node(number) for number in range(NODES)))
        server.kubectl("wait", "--for=condition=Ready", "--timeout=30s", "nodes", "--all")
        # An established CRD answers 429 for a moment more: a contender that backs off then would look slow to start.
        controller_process.until(
            lambda: server.kubectl("get", _KINDS, "-A", check=False).returncode == 0, what="every kind being served"
        )
        yield World(server, kubeconfig, audit)
    finally:
        for name in reversed(PARTS):
            control.stop(server, name)


def _scheduler(server: control.ApiServer) -> list[str]:
    connection = {"kubeconfig": str(server.kubeconfig), "contentType": "application/vnd.kubernetes.protobuf", **_RATE}
    config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": connection,
        "leaderElection": {"leaderElect": False},
    }
    _json(server.folder / "scheduler.json", config)
    (port,) = control.free_ports(1)
    return [
        str(server.binary),
        "kube-scheduler",
        "--config=scheduler.json",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
    ]


def _kwok(server: control.ApiServer, binary: Path) -> list[str]:
    (port,) = control.free_ports(1)
    (server.folder / "kwok.yaml").write_text("")  # not the configuration of somebody's home
    return [
        str(binary), f"--kubeconfig={server.kubeconfig}", f"--config={server.folder}/kwok.yaml", "--manage-all-nodes=true",
        "--cidr=10.64.0.1/16", "--node-ip=127.0.0.1", f"--server-address=127.0.0.1:{port}", "--node-lease-duration-seconds=40",
    ]  # fmt: skip


def _node(number: int) -> dict[str, object]:
    held = {f"seccomp.aion.os/{digest[:16]}": "ready" for digest in installed().values()}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"fake-{number}", "labels": held}}


def _json(path: Path, document: object) -> None:
    path.write_text(json.dumps(document))


@contextlib.contextmanager
def beside(argv: Sequence[str | Path], *, name: str, log: Path, env: dict[str, str]) -> Iterator[Process]:
    """A process on whichever core, unlike those of `measuring.processes`; it ends with the context."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(word) for word in argv], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=log.parent
        )
    try:
        yield Process(process, name, log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
