"""The net under the watches: every ten minutes LIST everything, and compare it with what is remembered.

Apart from the reflectors because it trusts none of them: a connection that says nothing, a proxy that swallows an event, a mistake of our own. It must
never be the way by which ordinary changes are noticed.
"""

import asyncio
from collections.abc import Sequence

from aion.controller import errors, listing, metrics
from aion.controller.feed import Feed
from aion.controller.kube import Cluster
from aion.controller.listing import Watched
from aion.controller.store import Store
from aion.telemetry import logs

RETRY_S = 10.0

_log = logs.get("controller.sweep")


class Sweep:
    """Sweeps `store` over `cluster`; what it finds goes to the feed, like everything that is seen."""

    def __init__(
        self, cluster: Cluster, everything: Sequence[Watched], *, store: Store, feed: Feed, every_s: float
    ) -> None:
        self._cluster = cluster
        self._everything = everything
        self._store = store
        self._feed = feed
        self._every_s = every_s

    async def once(self) -> int:
        """List every kind; answers how many lost changes were found. Raises KubeError."""
        total = 0
        for each in self._everything:
            total += (await listing.compare(self._cluster, each, store=self._store, feed=self._feed)).healed
        metrics.SWEEPS.labels("period").inc()
        if total:
            _log.info("sweep.healed", reason="period", healed=total)
        return total

    async def run(self) -> None:
        """Sweep every so often, until cancelled."""
        wait = self._every_s
        while True:
            await asyncio.sleep(wait)
            wait = self._every_s
            try:
                await self.once()
            except errors.KubeError as error:
                wait = min(RETRY_S, self._every_s)
                _log.warning("sweep.failed", reason=error.message, again_s=wait)
