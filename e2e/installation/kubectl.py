"""Kubectl, as a person would type it: by the local cluster's kubeconfig, with errors that show what it said."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clusters import choice, settings
from clusters.failure import Failed


class Kubectl:
    """Runs kubectl (and helm) against the local cluster."""

    def __init__(self, kubeconfig: Path, folder: Path | None):
        self.kubeconfig = kubeconfig
        self._folder = folder

    @classmethod
    def of_local_cluster(cls) -> "Kubectl":
        """Find the cluster that `e2e/cluster` runs. Raises Failed where there is none."""
        status = choice.provider(settings.read()).status()
        if not status["running"]:
            raise Failed("there is no running cluster", remedy="e2e/up")
        return cls(Path(status["kubeconfig"]), Path(status["bin"]) if status["bin"] else None)

    def program(self, name: str) -> str:
        """Find kubectl or helm: the cluster's own, else the machine's."""
        if self._folder and (own := self._folder / name).exists():
            return str(own)
        if found := shutil.which(name):
            return found
        raise Failed(f"{name} is not installed", remedy=f"install {name} (kind clusters use the machine's)")

    def run(self, *args: str, stdin: str | None = None, check: bool = True, timeout: float = 120) -> str:
        """Return what it printed; raises Failed with what it said instead."""
        return self._call(
            [self.program("kubectl"), "--kubeconfig", str(self.kubeconfig), *args],
            stdin=stdin,
            check=check,
            timeout=timeout,
        )

    def get(self, *args: str) -> Any:
        """`get … -o json`, read."""
        return json.loads(self.run("get", *args, "-o", "json"))

    def apply(self, *paths: Path | str, namespace: str = "") -> str:
        """Server-side apply of files."""
        where = ["-n", namespace] if namespace else []
        return self.run(
            "apply",
            "--server-side",
            "--force-conflicts",
            *where,
            *(word for path in paths for word in ("-f", str(path))),
        )

    def put(self, *documents: dict[str, Any], namespace: str = "") -> str:
        """Server-side apply of documents."""
        where = ["-n", namespace] if namespace else []
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        return self.run("apply", "--server-side", "--force-conflicts", *where, "-f", "-", stdin=json.dumps(items))

    def helm(self, *args: str, timeout: float = 300) -> str:
        """Run helm."""
        return self._call(
            [self.program("helm"), "--kubeconfig", str(self.kubeconfig), *args], stdin=None, check=True, timeout=timeout
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a kubectl that runs on, such as port-forward; the caller ends it."""
        argv = [self.program("kubectl"), "--kubeconfig", str(self.kubeconfig), *args]
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        )

    def _call(self, argv: Sequence[str], *, stdin: str | None, check: bool, timeout: float) -> str:
        env = {**os.environ, "HELM_CACHE_HOME": f"{self.kubeconfig.parent}/helm", "KUBECONFIG": str(self.kubeconfig)}
        try:
            done = subprocess.run(
                argv, input=stdin, capture_output=True, text=True, check=False, timeout=timeout, env=env
            )
        except subprocess.TimeoutExpired:
            raise Failed(f"`{_shown(argv)}` did not end within {timeout:.0f} s") from None
        if check and done.returncode:
            raise Failed(f"`{_shown(argv)}` exited {done.returncode}:\n{(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout


def _shown(argv: Sequence[str]) -> str:
    """The command as a person would repeat it, without our kubeconfig."""
    words = [Path(argv[0]).name, *argv[3:]]
    text = " ".join(words)
    return text if len(text) <= 200 else text[:197] + "..."
