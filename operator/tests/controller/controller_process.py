"""The real process against a real API server: started as the chart starts it, with the chart's rights, and killed as clusters kill."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import yaml

import charts_render
from aion.api import crds, policy

SYSTEM = charts_render.NAMESPACE
BUNDLE = policy.Bundle.from_document({"schema": "aion.policy.v1"})


def rights(*values):
    """The controller's account and all its rights, as the chart gives them with these values."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    return [
        each
        for each in charts_render.documents(*values)
        if each["kind"] in kinds and each["metadata"]["name"].startswith("aion-controller")
    ]


def install(server, folder):
    """CRDs, priority classes, the controller's account with the chart's rights; answers a kubeconfig of that account."""
    apply(server, *(crds.definition(kind) for kind in crds.KINDS))
    names = [f"crd/{kind.names.plural}.aion.os" for kind in crds.KINDS]
    server.kubectl("wait", "--for=condition=Established", "--timeout=20s", *names)
    # A new kind's storage answers 429 for a moment; kubectl waits that out, and a controller's log would tell of it.
    server.kubectl("get", "--all-namespaces", ",".join(f"{kind.names.plural}.aion.os" for kind in crds.KINDS))
    apply(
        server,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
        *rights(),
        *(
            {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": f"aion-{name}"},
                "value": 1000,
            }
            for name in ("high", "normal", "low")
        ),
    )
    token = server.kubectl("create", "token", "-n", SYSTEM, "aion-controller").stdout.strip()
    path = folder / "controller.kubeconfig"
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))
    return path


def apply(server, *documents):
    text = "\n---\n".join(json.dumps(document) for document in documents)
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)


def vacate(server):
    """Take away the Lease that a killed leader left, for a test that is not about waiting for it."""
    server.kubectl("delete", "lease", "aion-controller", "-n", SYSTEM, "--ignore-not-found")


def until(check, *, within=30.0, what="it"):
    """Poll a real server until `check` answers something true; answers that."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {within} s")


class Controller:
    """One run of `python -m aion.controller`, or of a script that breaks it on purpose first."""

    def __init__(self, kubeconfig, folder, *, port, bundle=BUNDLE, script=None, **more):
        self.port = port
        self.log = folder / "controller.log"
        file = folder / "policy.json"
        file.write_text(json.dumps(bundle.document()))
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(kubeconfig),
            "AION_PORT": str(port),
            "AION_POLICY_FILE": str(file),
            "AION_LOG_LEVEL": "debug",
            **more,
        }
        with self.log.open("ab") as log:
            what = ["-c", script] if script else ["-m", "aion.controller"]
            argv = [sys.executable, "-W", "error", *what]
            self.process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)

    def page(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self):
        until(lambda: self.process.poll() is None and self.page("/readyz")[0] == 200, what=f"readiness, see {self.log}")
        return self

    def writes(self):
        """Writes so far, by (kind, subresource, verb), whatever their answer."""
        found = {}
        for line in self.page("/metrics")[1].splitlines():
            if line.startswith("aion_api_writes_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                key = labels["kind"], labels["subresource"], labels["verb"]
                found[key] = found.get(key, 0) + int(float(line.rsplit(" ", 1)[1]))
        return found

    def kill(self):
        self.process.kill()
        self.process.wait(5)

    def stop(self):
        """As the kubelet does; answers the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)
