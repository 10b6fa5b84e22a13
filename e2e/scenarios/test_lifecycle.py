"""An Agent through its life: whatever happens to its parts, it converges to what its spec says, and leaves nothing."""

import json
import os
import signal
from pathlib import Path

from installation.kubectl import Kubectl
from installation.tenancy import Tenancy, until

IDLE = 'say("up", version=os.environ.get("VERSION"))'
PROFILE = "seccomp.aion.os/"


def test_lifecycle_of_an_agent_that_is_changed_and_whose_pod_is_killed(tenant: Tenancy):
    tenant.agent("worker", IDLE)
    tenant.wait("agent/worker")
    tenant.said("worker", until="up")
    (first,) = tenant.pods("worker")
    assert tenant.get("agent/worker")["status"]["podName"] == first["metadata"]["name"]

    tenant.agent("worker", IDLE, podTemplate={"env": [{"name": "VERSION", "value": "2"}]})
    second = until(lambda: _ready_other(tenant, "worker", first), what="the changed Agent's Pod")
    assert second["metadata"]["name"] != first["metadata"]["name"]
    tenant.wait("agent/worker")
    assert tenant.said("worker", until="up")[-2:][0]["version"] == "2"

    tenant.kubectl.run("delete", "pod", second["metadata"]["name"], "-n", tenant.name, "--grace-period=0", "--force")
    third = until(lambda: _ready_other(tenant, "worker", second), what="a new Pod for the one that was killed")
    tenant.said("worker", until="up")
    assert third["metadata"]["name"] == second["metadata"]["name"], "the template is the same, so is the name"

    tenant.kubectl.run("delete", "agent", "worker", "-n", tenant.name)
    until(lambda: not _left(tenant), what="everything of the deleted Agent is gone")


def test_lifecycle_waits_for_the_profile_on_the_node_and_gets_it_back(tenant: Tenancy, kubectl: Kubectl):
    (node,) = (each["metadata"]["name"] for each in kubectl.get("nodes")["items"])
    labels = [key for key in kubectl.get("node", node)["metadata"]["labels"] if key.startswith(PROFILE)]
    assert labels
    kubectl.run("patch", "daemonset", "aion-node", "-n", "aion-system-node", "-p", json.dumps(_parked(True)))
    try:
        kubectl.run("rollout", "status", "daemonset/aion-node", "-n", "aion-system-node", "--timeout=60s")
        until(lambda: not kubectl.get("pods", "-n", "aion-system-node")["items"], what="the node process is gone")
        kubectl.run("label", "node", node, *(f"{label}-" for label in labels))
        tenant.agent("worker", IDLE)
        waits = until(
            lambda: _reason(tenant, "ProfileReady", "False"), what="the Agent says that it waits for the profile"
        )
        assert waits["message"]
        assert tenant.condition("agent/worker", "Ready")["status"] == "False"
    finally:
        kubectl.run("patch", "daemonset", "aion-node", "-n", "aion-system-node", "-p", json.dumps(_parked(False)))
    tenant.wait("agent/worker")
    assert set(labels) <= kubectl.get("node", node)["metadata"]["labels"].keys()


def test_lifecycle_of_twenty_agents_whose_controller_is_killed_in_the_middle(tenant: Tenancy):
    names = [f"crowd-{n:02}" for n in range(20)]
    code = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "crowd-src"},
        "data": {
            "agent.py": "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nwhile True: signal.pause()\n"
        },
    }
    tenant.put(code, *(tenant.document(name, source={"configMap": "crowd-src"}) for name in names))
    until(lambda: len(tenant.get("pods")["items"]) >= 3, what="the first Pods")
    killed = _controllers()
    assert killed, "the controller's process is on this machine"
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    tenant.wait(*(f"agent/{name}" for name in names), seconds=180)
    assert not set(killed) & set(_controllers())
    pods = tenant.get("pods")["items"]
    assert sorted(pod["metadata"]["labels"]["aion.os/agent"] for pod in pods) == names, "one Pod each, none twice"

    tenant.kubectl.run("delete", "agents", "--all", "-n", tenant.name)
    until(lambda: not _left(tenant), what="no orphan is left", seconds=90)


def _ready_other(tenant: Tenancy, agent: str, than: dict) -> dict | None:
    for pod in tenant.pods(agent):
        ready = any(
            each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())
        )
        if ready and pod["metadata"]["uid"] != than["metadata"]["uid"]:
            return pod
    return None


def _left(tenant: Tenancy) -> list[str]:
    found = tenant.get("pods,serviceaccounts", "-l", "app.kubernetes.io/managed-by=aion-os")["items"]
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]


def _reason(tenant: Tenancy, kind: str, status: str) -> dict | None:
    found = tenant.condition("agent/worker", kind)
    return found if found.get("status") == status else None


def _parked(parked: bool) -> dict:
    """A node selector that no node satisfies, or none."""
    return {"spec": {"template": {"spec": {"nodeSelector": {"aion.os/parked": "yes" if parked else None}}}}}


def _controllers() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"aion.controller" in words:
            found.append(int(path.parts[2]))
    return found
