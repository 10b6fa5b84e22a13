"""The net under the watches: LIST everything, and compare it with what is remembered.

Apart because watches lose things: after a relist kopf never says which objects were deleted in the gap, and a dead connection says nothing at all.
A sweep runs when a watch has listed again, and every ten minutes. It must never be the way by which ordinary changes are noticed.
"""

import asyncio

from aion.api import labels
from aion.controller import errors, kube, metrics
from aion.controller.kube import Cluster, Resource
from aion.controller.queue import Priority, Queue
from aion.controller.store import Store
from aion.controller.views import Key
from aion.telemetry import logs

SETTLE_S = 1.0
"""One broken connection makes every kind list again, each with all its objects: they count as one reason."""

RETRY_S = 10.0

SWEPT: tuple[tuple[Resource, str], ...] = (
    (kube.AGENTS, ""),
    (kube.TOOLS, ""),
    (kube.POLICIES, ""),
    (kube.NODES, ""),
    (kube.PODS, labels.SELECTOR),
    (kube.DEPLOYMENTS, labels.SELECTOR),
    (kube.SERVICES, labels.SELECTOR),
    (kube.SERVICE_ACCOUNTS, labels.SELECTOR),
)
"""What is watched, and by which label selector."""

_log = logs.get("controller.sweep")


class Sweep:
    """Sweeps `store` over `cluster`; what it heals goes to the queue."""

    def __init__(self, cluster: Cluster, store: Store, queue: Queue[Key], *, every_s: float) -> None:
        self._cluster = cluster
        self._store = store
        self._queue = queue
        self._every_s = every_s
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """A watch has listed again: sweep soon."""
        self._asked.set()

    async def once(self, reason: str) -> int:
        """List every kind; answers how many lost changes were found. Raises KubeError."""
        total = 0
        for resource, selector in SWEPT:
            known = self._store.uids(resource.kind)
            documents = [document async for document in self._cluster.list(resource, selector=selector)]
            keys, healed = self._store.replace(resource.kind, documents, known=known)
            total += healed
            if healed:
                metrics.HEALED.labels(resource.kind).inc(healed)
            for key in keys:
                self._queue.add(key, Priority.RESYNC)
        metrics.SWEEPS.labels(reason).inc()
        if total:
            _log.info("sweep.healed", reason=reason, healed=total)
        return total

    async def run(self) -> None:
        """Sweep when asked and every so often, until cancelled."""
        while True:
            reason = "relist" if await self._wait() else "period"
            self._asked.clear()
            try:
                await self.once(reason)
            except errors.KubeError as error:
                _log.warning("sweep.failed", reason=error.message, again_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                self._asked.set()

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(self._every_s):
                await self._asked.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(SETTLE_S)
        return True
