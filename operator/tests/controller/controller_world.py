"""A whole controller over a cluster in memory, driven by hand: no time passes and no task runs but when a test says so."""

import asyncio
from datetime import UTC, datetime, timedelta

from aion.api import policy
from aion.controller.apply import Applier
from aion.controller.binding import Held
from aion.controller.feed import Feed
from aion.controller.listing import WATCHED
from aion.controller.queue import Queue
from aion.controller.reconcile import Reconciler
from aion.controller.settings import Settings
from aion.controller.sources import Sources
from aion.controller.store import Store
from aion.controller.sweep import Sweep
from aion.controller.testing import FakeCluster
from aion.controller.views import Key
from aion.controller.workers import Workers

SEALED = "ab" * 32
PROFILES = {"sealed": SEALED}
BUNDLE = policy.Bundle.from_document({"schema": "aion.policy.v1", "capabilities": {"deny": ["gpu"]}})
HELD = Held(BUNDLE, policy.digest(BUNDLE))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def agent(name="a", namespace="team", **spec):
    spec = {"version": "1.0.0", "entry": "python -m x", **spec}
    return {
        "apiVersion": "aion.os/v1",
        "kind": "Agent",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def tool(name="t", namespace="team", **spec):
    spec = {"version": "1.0.0", "entry": "wasm:tools/t.wasm", **spec}
    return {
        "apiVersion": "aion.os/v1",
        "kind": "Tool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def the_policy(name="aion", namespace="aion-system"):
    return {
        "apiVersion": "aion.os/v1",
        "kind": "Policy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }


def config_map(name="src", namespace="team", **files):
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files}


def node(name="n1", *, holds=True, cpu="2", memory="8Gi", gpus=0, answers=True):
    labels = {f"seccomp.aion.os/{SEALED[:16]}": "ready"} if holds else {}
    status = {"allocatable": {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})}}
    status |= {"conditions": [condition("Ready", "True" if answers else "Unknown")]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def stamp(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind, status, *, since=NOW, **more):
    return {"type": kind, "status": status, "lastTransitionTime": stamp(since), **more}


def container(name, *, ready=False, waiting=None, terminated=None, last=None, restarts=0):
    state = {"waiting": waiting} if waiting else {"terminated": terminated} if terminated else {"running": {}}
    found = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    return found | ({"lastState": {"terminated": last}} if last else {})


class World:
    """The controller's parts, and the hands of everybody else."""

    def __init__(self, *, held=HELD, **settings):
        self.cluster = FakeCluster()
        self.settings = Settings(**settings)
        self.store = Store(pointer=self.settings.pointer)
        self.queue = Queue[Key]()
        self.feed = Feed(self.store, self.queue)
        self.sweep = Sweep(self.cluster, WATCHED, store=self.store, feed=self.feed, every_s=600)
        self.feed.synced.set()
        self.now = NOW
        self.held = held
        self.monotonic = 1000.0
        applier = Applier(self.cluster, memory=self.feed, clock=lambda: self.monotonic)
        self.files = Sources(self.cluster, clock=lambda: self.monotonic)
        self.reconcile = Reconciler(
            self.store,
            applier,
            files=self.files,
            settings=self.settings,
            profiles=PROFILES,
            source=lambda: self.held,
            clock=lambda: self.now,
        )
        self.workers = Workers(self.queue, self.reconcile, count=1, resync_s=600, uniform=lambda _low, high: high)
        self.cluster.watchers.append(self._watch)
        self.passes = 0

    def _watch(self, kind, document):
        if document["kind"] not in {each.resource.kind for each in WATCHED}:
            return
        if kind == "DELETED":
            self.feed.gone(document["kind"], document["metadata"]["uid"])
        else:
            self.feed.seen(document)

    async def settle(self, limit=200):
        """Work until nothing waits; what is delayed is left to `later`."""
        while len(self.queue):
            self.passes += 1
            assert self.passes < limit, "the controller never comes to rest"
            key = await self.queue.get()
            await self.workers.once(key)
            self.queue.done(key)
            await asyncio.sleep(0)

    async def later(self, seconds):
        """Time passes, and every root is looked at again."""
        self.now += timedelta(seconds=seconds)
        self.monotonic += seconds
        for key in self.store.roots():
            self.queue.add(key)
        await self.settle()

    async def applies(self, *documents):
        for document in documents:
            made = self.cluster.person_applies(document)
            if "status" in document:
                self.cluster.reported(made["kind"], "", made["metadata"]["name"], document["status"])
        await self.settle()

    def pods(self):
        return self.cluster.each("Pod")

    def pod(self):
        (only,) = self.pods()
        return only

    def object(self, kind="Agent", name="a", namespace="team"):
        return self.cluster.get(kind, namespace, name)

    def told(self, kind="Ready", *, of="Agent", name="a", namespace="team"):
        """The condition of an object, or None."""
        status = self.object(of, name, namespace).get("status", {})
        return next((c for c in status.get("conditions", ()) if c["type"] == kind), None)

    async def says(self, pod, *conditions, phase="Pending", containers=(), on="n1", **more):
        """The kubelet reports on a Pod."""
        meta = pod["metadata"]
        if on and not any(c["type"] == "PodScheduled" for c in conditions):
            conditions = (condition("PodScheduled", "True", since=self.now), *conditions)
        status = {"phase": phase, "conditions": list(conditions), "containerStatuses": list(containers), **more}
        where = {"nodeName": on} if on else {}
        self.cluster.reported("Pod", meta["namespace"], meta["name"], status, **where)
        await self.settle()

    async def runs(self, pod, *names):
        """Every container of the Pod is ready."""
        names = names or ("gateway", "agent")
        containers = [container(name, ready=True) for name in names]
        await self.says(pod, condition("Ready", "True"), phase="Running", containers=containers)

    async def running_agent(self, **spec):
        """An Agent whose Pod is ready, on a node with its profile."""
        await self.applies(node(), agent(**spec))
        (pod,) = (pod for pod in self.pods() if "aion.os/agent" in pod["metadata"]["labels"])
        await self.runs(pod)
        return self.cluster.get("Pod", "team", pod["metadata"]["name"])

    async def running_tool(self, **spec):
        """A Tool whose one Pod serves, as its Deployment's controller would make it."""
        await self.applies(node(), tool(**spec))
        deployment = self.object("Deployment", "tool-t")
        template = deployment["spec"]["template"]
        meta = {**template["metadata"], "name": "tool-t-1", "namespace": "team"}
        pod = self.cluster.person_applies(
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]}
        )
        status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
        self.cluster.reported("Deployment", "team", "tool-t", status)
        await self.runs(pod, "runner", "tool")
        return pod
