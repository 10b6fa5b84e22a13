"""One contender on one world: a burst of Agents, a steady trickle, and a time in which nothing happens.

Apart from printing. Rates are from the first apply to the last sight; CPU and memory are the kernel's word on the process;
writes are the API server's. It must never start a contender on another's leftovers.
"""

import contextlib
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from measuring import statistics
from measuring.processes import Process
from measuring.report import say
from starting.api import Api, Cluster

from clusters.failure import Failed
from reconciling.audit import Audit
from reconciling.contenders import Command, Contender
from reconciling.sights import Sight, Sights
from scale import world as worlds
from scale.world import World

HANDS = 4  # connections that apply at once
RATE = 10  # Agents a second in the trickle
SETTLE_S = 2.0
START_S = 60.0
WARM = "warm"


@dataclass
class Burst:
    """N Agents at once. Seconds, and per Agent where it says so."""

    agents: int
    ready: int
    applied_s: float
    said_per_s: float
    ready_per_s: float
    cpu_ms: float
    server_cpu_ms: float
    rss_mib: float
    peak_mib: float
    writes: dict[str, float]
    writes_to_status: float
    writes_to_ready: float


@dataclass
class Trickle:
    """Latencies in seconds: from an Agent seen to its status, from its Pod seen Ready to its own Ready."""

    created: list[float] = field(default_factory=list)
    pod_ready: list[float] = field(default_factory=list)

    def told(self) -> dict[str, float]:
        """Percentiles, and those of both kinds together."""
        events = self.created + self.pod_ready
        return {
            "event_to_status_p50_s": statistics.percentile(events, 0.5),
            "event_to_status_p99_s": statistics.percentile(events, 0.99),
            "created_to_status_p99_s": statistics.percentile(self.created, 0.99),
            "pod_ready_to_status_p99_s": statistics.percentile(self.pod_ready, 0.99),
        }


class Bench:
    """One contender on a world of its own."""

    def __init__(self, contender: Contender, world: World, command: Command) -> None:
        self._contender = contender
        self._world = world
        self._command = command
        self._cluster = _cluster(world)
        self._audit = Audit(world.audit, World.user(contender.account))
        self._namespaces: list[str] = []
        self._burst = ""

    @contextlib.contextmanager
    def running(self, label: str) -> Iterator[Process]:
        """The contender, from the moment at which it has made its first object Ready; it finds nothing of an earlier one."""
        self._clear()
        log = self._world.server.folder / f"{self._contender.name}-{label}.log"
        env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **self._command.env}
        with worlds.beside(self._command.argv, name=self._contender.title, log=log, env=env) as process:
            self._burst = self._namespace(f"burst-{label}")
            with self._sights(self._burst, WARM) as sights:
                self._apply(self._burst, [WARM])
                self._await(sights, 1, process, within_s=START_S)
            yield process

    def burst(self, process: Process, agents: int) -> Burst:
        """Apply them as fast as a few connections can, and wait for the last."""
        namespace = self._burst  # where the warming has made what a tenant needs once
        server = self._world.process("kube-apiserver")
        names = [f"a{number:05d}" for number in range(agents)]
        with self._sights(namespace, "a") as sights:
            mark, cpu, server_cpu, began = self._audit.mark(), process.cpu_s(), server.cpu_s(), time.monotonic()
            with ThreadPoolExecutor(HANDS) as hands:
                list(hands.map(lambda share: self._apply(namespace, share), [names[at::HANDS] for at in range(HANDS)]))
            applied = time.monotonic() - began
            self._await(sights, agents, process, within_s=30 + agents / 10)
            time.sleep(SETTLE_S)
            seen = list(sights.seen.values())
        self._count_pods(namespace, of=len(seen) + 1)  # and the one that warmed
        writes = self._audit.since(mark)
        statuses = sum(times for what, times in writes.items() if what.partition(" (")[0].endswith("/status"))
        total = writes.total()
        return Burst(
            agents=agents,
            ready=sum(each.ready is not None for each in seen),
            applied_s=applied,
            said_per_s=_rate([each.said for each in seen], began),
            ready_per_s=_rate([each.ready for each in seen], began),
            cpu_ms=(process.cpu_s() - cpu) / agents * 1000,
            server_cpu_ms=(server.cpu_s() - server_cpu) / agents * 1000,
            rss_mib=process.rss_mib(),
            peak_mib=_peak_mib(process),
            writes={what: times / agents for what, times in sorted(writes.items())},
            writes_to_status=(total - statuses + min(statuses, agents)) / agents,
            writes_to_ready=total / agents,
        )

    def trickle(self, process: Process, seconds: float) -> Trickle:
        """Apply RATE a second, beside whatever is there."""
        namespace = self._namespace("trickle")
        pods = f"/api/v1/namespaces/{namespace}/pods"
        agents = int(seconds * RATE)
        api = Api(self._cluster)
        with self._sights(namespace, "t") as roots, Sights(self._cluster, pods, prefix="t").open() as children:
            began = time.monotonic()
            for number in range(agents):
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                name = f"t{number:04d}"
                api.apply(self._contender.path(namespace), self._contender.document(name, namespace))
            self._await(roots, agents, process, within_s=60)
            time.sleep(0.5)
            of = {_root(name, sight): sight for name, sight in children.seen.items()}
            found = Trickle()
            for name, sight in roots.seen.items():
                if sight.said is not None:
                    found.created.append(sight.said - sight.seen)
                if sight.ready is not None and name in of and (pod := of[name].ready) is not None:
                    found.pod_ready.append(max(0.0, sight.ready - pod))
        api.close()
        return found

    def idle(self, seconds: float) -> int:
        """Writes in a time in which nobody does anything."""
        time.sleep(SETTLE_S)
        mark = self._audit.mark()
        time.sleep(seconds)
        return self._audit.since(mark).total()

    def _namespace(self, name: str) -> str:
        full = f"bench-{name}"
        self._world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": full}})
        self._namespaces.append(full)
        return full

    def _sights(self, namespace: str, prefix: str) -> contextlib.AbstractContextManager[Sights]:
        return Sights(self._cluster, self._contender.path(namespace), prefix=prefix).open()

    def _apply(self, namespace: str, names: list[str]) -> None:
        api = Api(self._cluster)
        for name in names:
            api.apply(self._contender.path(namespace), self._contender.document(name, namespace))
        api.close()

    def _await(self, sights: Sights, agents: int, process: Process, *, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not sights.wait(lambda each: each.ready() >= agents, within_s=2):
            if not process.alive():
                raise Failed(f"{process.name} ended in the middle", log=process.log, remedy="its last words are below")
            if time.monotonic() > deadline:
                if not sights.ready():
                    raise Failed(f"{process.name} made none of {agents} Ready in {within_s:.0f} s", log=process.log)
                say(f"{process.name}: {agents - sights.ready()} of {agents} are not Ready after {within_s:.0f} s")
                return

    def _count_pods(self, namespace: str, *, of: int) -> None:
        """A controller that makes a Pod too many is fast for the wrong reason."""
        api = Api(self._cluster)
        meta = api.get(f"/api/v1/namespaces/{namespace}/pods?limit=1")["metadata"]
        api.close()
        if (pods := 1 + meta.get("remainingItemCount", 0)) > of:
            raise Failed(
                f"{self._contender.title} made {pods} Pods for {of} objects", remedy="its figures would mean nothing"
            )

    def _clear(self) -> None:
        """Nothing collects children here: roots first, so that no contender would make them again."""
        api = Api(self._cluster)
        for namespace in self._namespaces:
            core = f"/api/v1/namespaces/{namespace}"
            for path in (
                self._contender.path(namespace),
                f"{core}/pods",
                f"{core}/serviceaccounts",
                f"{core}/services",
            ):
                api.delete(path, grace_s=0)
        api.close()
        self._namespaces.clear()


def _root(name: str, sight: Sight) -> str:
    return sight.agent or name


def _rate(moments: list[float | None], began: float) -> float:
    known = [each for each in moments if each is not None]
    return len(known) / (max(known) - began) if known else 0.0


def _peak_mib(process: Process) -> float:
    fields: dict[str, Any] = dict(
        line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
    )
    return int(fields["VmHWM"].split()[0]) / 1024


def _cluster(world: World) -> Cluster:
    server = world.server
    tls = ssl.create_default_context(cafile=str(server.ca))
    tls.load_cert_chain(server.cert, server.key)
    address = urlsplit(server.url)
    return Cluster(address.hostname or "", address.port or 443, tls, None)
