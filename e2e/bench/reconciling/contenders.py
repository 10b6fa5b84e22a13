"""Those that are compared, each as it is meant to be run.

Apart so that a reader sees at one sight what each was given. It must never slow a peer down: no client-side limit where one
can be lifted, as many workers as ours, no debug log.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import controller_process
from measuring import golang
from starting import peer

from apiserver_fixture import free_ports
from reconciling import children
from reconciling.children import Document
from scale.world import SYSTEM, World

HERE = Path(__file__).resolve().parents[1]
REPO = HERE.parents[1]
AGENTS, SANDBOXES = "/apis/aion.os/v1", "/apis/agents.x-k8s.io/v1beta1"


class Command(NamedTuple):
    """How to start one: argv and what the environment has beside PATH and HOME."""

    argv: list[str]
    env: dict[str, str]


class Contender(NamedTuple):
    """One of them: `account` is its ServiceAccount, `path` and `plural` the collection that it serves."""

    name: str
    title: str
    account: str
    api: str
    plural: str
    document: Callable[[str, str], Document]
    command: Callable[[World], Command]

    def path(self, namespace: str) -> str:
        """The collection in a namespace."""
        return f"{self.api}/namespaces/{namespace}/{self.plural}"


def _template(world: World) -> Path:
    path = world.server.folder / "template.json"
    path.write_text(json.dumps(children.template()))
    return path


def _ours(world: World) -> Command:
    folder = world.server.folder
    (folder / "policy.json").write_text(json.dumps(controller_process.BUNDLE.document()))
    policy = {
        "apiVersion": "aion.os/v1",
        "kind": "Policy",
        "metadata": {"name": "aion", "namespace": SYSTEM},
        "spec": {"mode": "Off"},
    }
    world.apply(policy)
    (port,) = free_ports(1)
    env = {
        "KUBECONFIG": str(world.controller_kubeconfig),
        "AION_PORT": str(port),
        "AION_POLICY_FILE": str(folder / "policy.json"),
    }
    profile = os.environ.get("BENCH_PROFILE")  # a file for cProfile: where our CPU goes
    how = ["-m", "cProfile", "-o", profile] if profile else []
    env |= {"AION_WORKERS": "8", "PYTHONPATH": str(REPO / "operator")}  # of the tree that the benchmark lies in
    return Command([sys.executable, *how, "-m", "aion.controller"], env)


def _kopf(world: World) -> Command:
    env = {"KUBECONFIG": str(world.kubeconfig_of(KOPF.account)), "BENCH_TEMPLATE": str(_template(world))}
    return Command(
        [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--quiet", str(HERE / "peers/tutorial_kopf.py")], env
    )


def _twin(world: World) -> Command:
    binary = golang.binary(HERE / "twin/go", name="twin")
    env = {"KUBECONFIG": str(world.kubeconfig_of(TWIN.account))}
    return Command([str(binary), f"--template={_template(world)}", "--workers=8"], env)


def _sandbox(world: World) -> Command:
    binary = golang.binary(peer.MODULE, name=peer.PROGRAM, package=f"{peer.DEPENDENCY}/cmd/{peer.PROGRAM}")
    source = golang.source_of(peer.MODULE, peer.DEPENDENCY)
    world.server.kubectl("apply", "--server-side", "-f", str(source / "k8s/crds/agents.x-k8s.io_sandboxes.yaml"))
    established = ("wait", "--for=condition=Established", "--timeout=30s", "crd/sandboxes.agents.x-k8s.io")
    # kubectl gives up at once where a CRD is so new that it has no conditions yet
    controller_process.until(
        lambda: world.server.kubectl(*established, check=False).returncode == 0, what="the CRD of agent-sandbox"
    )
    env = {"KUBECONFIG": str(world.kubeconfig_of(SANDBOX.account))}
    probes, metrics = free_ports(2)
    addresses = [f"--health-probe-bind-address=127.0.0.1:{probes}", f"--metrics-bind-address=127.0.0.1:{metrics}"]
    return Command([str(binary), "-enable-webhook=false", "-leader-elect=false", *addresses], env)


def _sandbox_document(name: str, namespace: str) -> Document:
    return children.sandbox(name, namespace, pod=_POD)


_POD = children.template()["pod"]
OURS = Contender("ours", "AION-OS controller", "aion-controller", AGENTS, "agents", children.agent, _ours)
TWIN = Contender("twin", "Go controller-runtime twin", "bench-twin", AGENTS, "agents", children.agent, _twin)
KOPF = Contender("kopf", "kopf, tutorial style", "bench-kopf", AGENTS, "agents", children.agent, _kopf)
SANDBOX = Contender("sandbox", "agent-sandbox", "bench-sandbox", SANDBOXES, "sandboxes", _sandbox_document, _sandbox)
ALL = (OURS, TWIN, KOPF, SANDBOX)
