"""The kernel's API as an operator asks it: through a port-forward, with the token of a ServiceAccount that may observe.

Apart because demo, scenarios and benchmarks all look at audit and events the way a user would. It must never use a right
that the chart's ClusterRole aion-observer does not give.
"""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clusters.failure import Failed
from installation.kubectl import Kubectl
from installation.release import NAMESPACE

OBSERVER = "e2e-observer"


class Kernel:
    """A connection to the kernel. Numbers of events are positions for `since`."""

    def __init__(self, url: str, token: str):
        self.url = url
        self._token = token

    def get(self, path: str) -> Any:
        """Return the JSON answer of a GET."""
        with self._open(path, timeout=20) as answer:
            return json.load(answer)

    def audit(self, audit_id: str) -> dict[str, Any]:
        """Return the audit record of one syscall."""
        return dict(self.get(f"/v1/audit/{audit_id}"))

    def events(self, topics: str, *, since: int = 0, quiet_s: float = 20) -> Iterator[dict[str, Any]]:
        """Yield events as they come, from after `since`; ends when nothing came for `quiet_s`."""
        with self._open(
            f"/v1/events/stream?topics={topics}&since={since}", timeout=quiet_s, accept="text/event-stream"
        ) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def _open(self, path: str, *, timeout: float, accept: str = "application/json"):
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept}
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(urllib.request.Request(self.url + path, headers=headers), timeout=timeout)


@contextmanager
def connected(kubectl: Kubectl) -> Iterator[Kernel]:
    """Lend a connection; the port-forward ends with it."""
    kubectl.put(*_observer())
    token = kubectl.run("create", "token", OBSERVER, "-n", NAMESPACE, "--duration", "1h").strip()
    with forwarded(kubectl, "svc/aion-kernel", 8010) as port:
        yield Kernel(f"http://127.0.0.1:{port}", token)


@contextmanager
def forwarded(kubectl: Kubectl, target: str, port: int, *, namespace: str = NAMESPACE) -> Iterator[int]:
    """Forward a free local port to a Service or Pod."""
    process = kubectl.start("port-forward", "-n", namespace, target, f":{port}", "--address", "127.0.0.1")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        if not (found := re.search(r"127\.0\.0\.1:(\d+)", first)):
            raise Failed(f"kubectl port-forward {target}: {first.strip() or 'it said nothing'}")
        yield int(found[1])
    finally:
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _observer() -> tuple[dict[str, Any], dict[str, Any]]:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": OBSERVER, "namespace": NAMESPACE}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": OBSERVER},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "aion-observer"},
        "subjects": [{"kind": "ServiceAccount", "name": OBSERVER, "namespace": NAMESPACE}],
    }
    return account, binding
