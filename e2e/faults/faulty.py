"""The world of the faults: people's and a kubelet's side of the cluster, over one plain connection, and controllers to kill.

Apart from the tests so that each reads as its fault. Requests are plain HTTP, since a kubectl a second would be slower than what it looks at.
It must never heal anything itself.
"""

import contextlib
import http.client
import json
import socket
import ssl
import time
import uuid
from urllib.parse import quote, urlsplit

import controller_process
from controller_process import SYSTEM, Controller, until

import apiserver_fixture as control
from aion.api import labels
from aion.controller.__main__ import installed

AION = "/apis/aion.os/v1"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/aion-controller"
CHILDREN = ("pods", "serviceaccounts")


def agent(namespace, name="a", **spec):
    meta = {"name": name, "namespace": namespace}
    spec = {"version": "1.0.0", "entry": "python -m x", **spec}
    return {"apiVersion": "aion.os/v1", "kind": "Agent", "metadata": meta, "spec": spec}


def tool(namespace, name="t", **spec):
    meta = {"name": name, "namespace": namespace}
    spec = {"version": "1.0.0", "entry": "wasm:tools/t.wasm", **spec}
    return {"apiVersion": "aion.os/v1", "kind": "Tool", "metadata": meta, "spec": spec}


def told(document, kind="Ready"):
    found = (document.get("status") or {}).get("conditions") or ()
    return next((condition for condition in found if condition["type"] == kind), None)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


class World:
    """One control plane, used by one test at a time."""

    def __init__(self, server, kubeconfig, folder):
        self.server = server
        self.kubeconfig = kubeconfig
        self.folder = folder
        self.controllers = []
        self._context = ssl.create_default_context(cafile=str(server.ca))
        self._context.load_cert_chain(server.cert, server.key)
        self._connection = None

    @classmethod
    @contextlib.contextmanager
    def over(cls, server, kubeconfig, folder):
        world = cls(server, kubeconfig, folder)
        profile = f"seccomp.aion.os/{installed()['sealed'][:16]}"
        meta = {"name": "aion", "namespace": SYSTEM}
        controller_process.apply(
            server,
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {profile: "ready"}}},
            {"apiVersion": "aion.os/v1", "kind": "Policy", "metadata": meta, "spec": {"mode": "Off"}},
        )
        world.collect_garbage()
        try:
            yield world
        finally:
            world.hang_up()
            control.stop(server, "kube-controller-manager")

    def collect_garbage(self):
        parts = "garbage-collector-controller,namespace-controller"
        argv = [
            str(self.server.binary), "kube-controller-manager", "--kubeconfig", str(self.server.kubeconfig),
            f"--controllers={parts}", "--leader-elect=false", "--secure-port=0",
        ]  # fmt: skip
        control.start(self.server, "kube-controller-manager", argv)

    def restart(self, *, kill=False, meanwhile=lambda: None):
        """The API server goes and comes back."""
        self.hang_up()
        control.stop(self.server, "kube-apiserver", kill=kill)
        meanwhile()
        control.start(self.server, "kube-apiserver", control.apiserver_argv(self.server))
        control.wait_ready(self.server)

    def compact(self):
        """Forget every revision but the newest, as etcd does by itself in time."""
        revision = self._etcd("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})

    def _etcd(self, path, body):
        connection = http.client.HTTPConnection(urlsplit(self.server.etcd_url).netloc, timeout=10)
        try:
            connection.request("POST", path, json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def ask(self, method, path, body=None, *, kind="application/json"):
        """One request as the administrator; answers the status and the document."""
        for attempt in (1, 2):
            if self._connection is None:
                netloc = urlsplit(self.server.url).netloc
                self._connection = http.client.HTTPSConnection(netloc, context=self._context, timeout=20)
            try:
                self._connection.request(
                    method, path, None if body is None else json.dumps(body), {"Content-Type": kind}
                )
                answer = self._connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (http.client.HTTPException, OSError):
                self.hang_up()
                if attempt == 2:
                    raise
        raise AssertionError

    def hang_up(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def must(self, method, path, body=None, *, kind="application/json"):
        status, document = self.ask(method, path, body, kind=kind)
        while status == 429:  # a server that has just started fills its caches
            time.sleep(0.2)
            status, document = self.ask(method, path, body, kind=kind)
        assert status < 300, (method, path, status, document)
        return document

    def path(self, namespace, plural, name=""):
        root = {"agents": AION, "tools": AION, "policies": AION, "deployments": "/apis/apps/v1"}.get(plural, "/api/v1")
        return f"{root}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")

    def create(self, document):
        plural = f"{document['kind'].lower()}s"
        return self.must("POST", self.path(document["metadata"]["namespace"], plural), document)

    def delete(self, namespace, plural, name):
        return self.ask("DELETE", self.path(namespace, plural, name))[0]

    def items(self, namespace, plural, selector=""):
        query = f"?labelSelector={quote(selector)}" if selector else ""
        return self.must("GET", self.path(namespace, plural) + query).get("items", [])

    def one(self, namespace, plural, name="a"):
        status, document = self.ask("GET", self.path(namespace, plural, name))
        return document if status == 200 else None

    def merge(self, namespace, plural, name, patch, *, subresource=""):
        path = self.path(namespace, plural, name) + (f"/{subresource}" if subresource else "")
        return self.must("PATCH", path, patch, kind="application/merge-patch+json")

    def lease(self):
        """Who holds it now, or nobody."""
        status, document = self.ask("GET", LEASE)
        return (document["spec"].get("holderIdentity") or "") if status == 200 else ""

    def namespace(self):
        name = f"f-{uuid.uuid4().hex[:6]}"
        self.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return name

    def clear(self, namespace):
        for plural in ("agents", "tools"):
            self.ask("DELETE", self.path(namespace, plural))

    def controller(self, *, ready=True, vacant=True, kubeconfig=None, script=None, **more):
        """Start one; `vacant`: without waiting for the Lease of one that a test before has killed."""
        if vacant:
            self.ask("DELETE", LEASE)
        folder = self.folder / f"c{len(self.controllers)}-{uuid.uuid4().hex[:4]}"
        folder.mkdir()
        made = Controller(kubeconfig or self.kubeconfig, folder, port=free_port(), script=script, **more)
        self.controllers.append(made)
        if not ready:
            return made
        made.ready()  # a standby is ready too: whoever starts alone is waited for until it leads
        if vacant and more.get("AION_LEADER_ELECTION") != "false":
            until(lambda: self.ask("GET", LEASE)[0] == 200, what="the controller leads")
        return made

    def end_controllers(self):
        for each in self.controllers:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait(5)
        self.controllers.clear()

    def settled(self, namespace):
        """Why the namespace is not as it should be; nothing where it is: no Agent without its one Pod and word, no child without its Agent."""
        agents = {each["metadata"]["uid"]: each for each in self.items(namespace, "agents")}
        for each in agents.values():
            ready = told(each)
            if ready is None or ready["observedGeneration"] != each["metadata"]["generation"]:
                return f"lost: nobody has spoken about {each['metadata']['name']}"
        for plural in CHILDREN:
            owners = [
                each["metadata"]["ownerReferences"][0]["uid"] for each in self.items(namespace, plural, labels.SELECTOR)
            ]
            if orphans := set(owners) - set(agents):
                return f"{len(orphans)} orphans among {plural}"
            if missing := set(agents) - set(owners):
                return f"lost: {plural} of {sorted(agents[uid]['metadata']['name'] for uid in missing)}"
            if len(owners) != len(set(owners)):
                return f"{plural}: two for one Agent"
        return ""

    def settle(self, namespace, *, within=40.0):
        """Wait until it is, and stays for a moment; answers the seconds that took."""
        began = time.monotonic()
        why = "?"
        while time.monotonic() - began < within:
            if not (why := self.settled(namespace)):
                return time.monotonic() - began
            time.sleep(0.1)
        raise AssertionError(f"after {within:.0f} s: {why}; see {[str(c.log) for c in self.controllers]}")

    def until(self, check, **more):
        return until(check, **more)
