"""The net under the watches: LIST everything, and compare it with what is remembered.

Apart because watches lose things: after a relist kopf never says which objects were deleted in the gap, and a dead connection says nothing at all.
A sweep runs when a watch has listed again, and every ten minutes. It must never be the way by which ordinary changes are noticed.
"""

import asyncio

from aion.api import labels
from aion.controller import errors, kube, metrics
from aion.controller.feed import Feed
from aion.controller.kube import Cluster, Resource
from aion.controller.store import Store
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
    (kube.TENANTS, ""),
    (kube.NAMESPACES, ""),
    (kube.NETWORK_POLICIES, labels.SELECTOR),
    (kube.DISRUPTION_BUDGETS, labels.SELECTOR),
    (kube.QUOTAS, labels.SELECTOR),
    (kube.LIMIT_RANGES, labels.SELECTOR),
)
"""What is watched, and by which label selector."""

_log = logs.get("controller.sweep")


class Sweep:
    """Sweeps `store` over `cluster`; what it finds goes to the feed, like everything that is seen."""

    def __init__(self, cluster: Cluster, store: Store, feed: Feed, *, every_s: float) -> None:
        self._cluster = cluster
        self._store = store
        self._feed = feed
        self._every_s = every_s

    async def once(self, reason: str) -> int:
        """List every kind; answers how many lost changes were found. Raises KubeError."""
        total = 0
        for resource, selector in SWEPT:
            healed = await self._kind(resource, selector)
            total += healed
            metrics.HEALED.labels(resource.kind).inc(healed)
        metrics.SWEEPS.labels(reason).inc()
        if total:
            _log.info("sweep.healed", reason=reason, healed=total)
        return total

    async def _kind(self, resource: Resource, selector: str) -> int:
        """Compare one kind, page by page: its objects never lie in memory all at once."""
        known = self._store.uids(resource.kind)  # before the list: what is born during it is not taken for deleted
        listed, healed = set(), 0
        async for document in self._cluster.list(resource, selector=selector):
            listed.add(document["metadata"]["uid"])
            healed += self._feed.seen(dict(document))
        return healed + sum(self._feed.gone(resource.kind, uid) for uid in known - listed)

    async def run(self) -> None:
        """Sweep when asked and every so often, until cancelled."""
        while True:
            reason = "relist" if await self._wait() else "period"
            self._feed.relisted.clear()
            try:
                await self.once(reason)
            except errors.KubeError as error:
                _log.warning("sweep.failed", reason=error.message, again_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                self._feed.relisted.set()

    async def _wait(self) -> bool:
        try:
            async with asyncio.timeout(self._every_s):
                await self._feed.relisted.wait()
        except TimeoutError:
            return False
        await asyncio.sleep(SETTLE_S)
        return True
