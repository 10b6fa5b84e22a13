"""A tenant as a scenario needs it: a namespace, Tools from the samples, Agents from a few lines of Python."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clusters.failure import Failed
from installation.demo import SAMPLES
from installation.kubectl import Kubectl

Document = dict[str, Any]

PRELUDE = """\
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # first: process 1 ignores what it has no handler for
import http.client, json, os, socket, time
from aion_sdk import Agent, errors

agent = Agent.from_env()
def say(what, **fields): print("@" + json.dumps({"what": what, **fields}), flush=True)
"""
EPILOGUE = """
say("done")
while True: signal.pause()
"""


class Tenancy:
    """One namespace."""

    def __init__(self, kubectl: Kubectl, name: str):
        self.kubectl = kubectl
        self.name = name

    @contextmanager
    def existing(self) -> Iterator["Tenancy"]:
        """Make the namespace, and delete it at the end without waiting for it."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.kubectl.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}})
        try:
            yield self
        finally:
            self.kubectl.run("delete", "namespace", self.name, "--wait=false")

    def sample(self, name: str) -> None:
        """Apply one of crds/samples and wait until it is ready."""
        self.kubectl.apply(SAMPLES / f"{name}.yaml", namespace=self.name)
        self.wait(f"tool/{name}")

    def agent(self, name: str, code: str, *, whole: bool = False, **spec: Any) -> None:
        """Apply an Agent that runs this code between the prelude and the epilogue (`whole`: this code alone)."""
        text = code if whole else PRELUDE + code + EPILOGUE
        self.put(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-src"}, "data": {"agent.py": text}},
            self.document(name, source={"configMap": f"{name}-src"}, **spec),
        )

    def document(self, name: str, **spec: Any) -> Document:
        """An Agent, small enough that a score of them fit on a laptop."""
        plain: Document = {
            "version": "1.0.0",
            "entry": "python3 -u agent.py",
            "capabilities": {"network": False},
            "resources": {"cpu": "20m", "mem": "64Mi"},
        }
        return {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": {"name": name}, "spec": plain | spec}

    def put(self, *documents: Document) -> None:
        """Apply."""
        self.kubectl.put(*documents, namespace=self.name)

    def get(self, *args: str) -> Any:
        """`kubectl get … -o json`."""
        return self.kubectl.get(*args, "-n", self.name)

    def wait(self, *what: str, condition: str = "Ready", seconds: int = 90) -> None:
        """`kubectl wait --for=condition=…`; raises Failed."""
        self.kubectl.run(
            "wait",
            f"--for=condition={condition}",
            *what,
            "-n",
            self.name,
            f"--timeout={seconds}s",
            timeout=seconds + 30,
        )

    def pods(self, agent: str) -> list[Document]:
        """The Pods of an Agent that are not being deleted."""
        found = self.get("pods", "-l", f"aion.os/agent={agent}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def condition(self, what: str, kind: str) -> Document:
        """One condition of an object; empty where it has none."""
        found = self.get(what).get("status", {}).get("conditions", ())
        return next((each for each in found if each["type"] == kind), {})

    def said(self, agent: str, *, until: str = "done", seconds: float = 90) -> list[Document]:
        """What an agent's `say` printed, once it has said `until`; raises Failed with the log."""
        deadline = time.monotonic() + seconds
        while True:
            log = self.kubectl.run(
                "logs", "-n", self.name, "-l", f"aion.os/agent={agent}", "-c", "agent", "--tail=-1", check=False
            )
            lines = [json.loads(line[1:]) for line in log.splitlines() if line.startswith("@")]
            if any(line["what"] == until for line in lines):
                return lines
            if time.monotonic() > deadline or "Traceback (most recent call last)" in log:
                raise Failed(f"agent {agent} has not said {until!r}; its log:\n{log[-3000:]}")
            time.sleep(0.3)


def until(true: Any, *, what: str, seconds: float = 60) -> Any:
    """What `true()` gives once it is something; raises Failed naming what was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)
    return found
