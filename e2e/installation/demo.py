"""The demo: a Tool and an Agent as a user would write them, and what they answer."""

import json
import time
from pathlib import Path
from typing import Any

from clusters.failure import Failed
from installation import kernel, release
from installation.kubectl import Kubectl

SAMPLES = release.CRDS / "samples"
TENANT = "tenant-a"
SEARCH = release.REPO / "e2e/search/manifest.yaml"
ANSWER_S = 60

NEXT = """\
Try next:
  export KUBECONFIG={kubeconfig}{path}
  kubectl get agents,tools -A                             who is ready, and if not, why
  kubectl describe agent researcher -n {tenant}           its conditions, each with what to do
  kubectl logs -n {tenant} -l aion.os/agent=researcher -c agent
  kubectl delete pod -n {tenant} -l aion.os/agent=researcher --wait=false; kubectl get pods -n {tenant} -w
  kubectl patch agent researcher -n {tenant} --type merge -p '{{"spec":{{"capabilities":{{"network":false}}}}}}'
                                                          and the answer becomes 403 E_CAPABILITY
  e2e/test -k roundtrip                                   200 syscalls, each with its audit record
  e2e/down                                                remove it all
"""


def apply(kubectl: Kubectl, *, search_image: str) -> None:
    """Have the search server, the tenant, the Tool and the Agent."""
    kubectl.run(
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
        stdin=SEARCH.read_text().replace("localhost/aion-os/search:dev", search_image),
    )
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": TENANT, "labels": labels}})
    kubectl.apply(SAMPLES / "web-search.yaml", SAMPLES / "researcher.yaml", namespace=TENANT)


def await_ready(kubectl: Kubectl) -> None:
    """Wait for search server, Tool and Agent."""
    kubectl.run("rollout", "status", "deployment/search", "-n", "aion-search", "--timeout=90s")
    kubectl.run("wait", "--for=condition=Ready", "tool/web-search", "-n", TENANT, "--timeout=90s")
    kubectl.run("wait", "--for=condition=Ready", "agent/researcher", "-n", TENANT, "--timeout=90s")


def answer(kubectl: Kubectl) -> dict[str, Any]:
    """Return what the agent printed of its first syscall. Raises Failed with its log where it printed none in time."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        log = kubectl.run(
            "logs", "-n", TENANT, "-l", "aion.os/agent=researcher", "-c", "agent", "--tail=50", check=False
        )
        for line in log.splitlines():
            if line.startswith("answer "):
                return dict(json.loads(line.removeprefix("answer ")))
        if time.monotonic() > deadline:
            raise Failed(f"the agent has printed no answer within {ANSWER_S} s; its log:\n{log[-2000:]}")
        time.sleep(0.3)


def show(kubectl: Kubectl, *, binaries: Path | None) -> None:
    """Print the answer, its audit record and the agents."""
    got = answer(kubectl)
    print("\nThe agent's syscall answered:\n")
    print(json.dumps(got, indent=2, ensure_ascii=False))
    with kernel.connected(kubectl) as connection:
        record = connection.audit(got["audit_id"])
    print("\nIts audit record:\n")
    print(json.dumps(record, ensure_ascii=False))
    print("\n$ kubectl get agents -A\n" + kubectl.run("get", "agents", "-A"))
    path = f"\n  export PATH=$PATH:{binaries}" if binaries else ""
    print(NEXT.format(kubeconfig=kubectl.kubeconfig, path=path, tenant=TENANT))
