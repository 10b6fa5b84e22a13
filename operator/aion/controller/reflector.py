"""One kind of object, followed: list, watch from there, and list again where the server has forgotten.

Apart from the other kinds because each watch breaks alone: one that must list again, or that is refused, holds up no other. It stands where an informer
library would; why it is our own stands in decision 0005. A stream that ends is taken up at the version that was told last, so nothing is listed twice
without need; one that says nothing for longer than the server lets pass between two bookmarks is taken for dead. It must never end by itself, nor go on
from a version that the server has forgotten without comparing what is there with what is remembered.
"""

import asyncio
import random
import time
from collections.abc import Callable

from aion.controller import errors, listing, metrics
from aion.controller.feed import Feed
from aion.controller.kube import Cluster, Document
from aion.controller.listing import Watched
from aion.controller.store import Store
from aion.controller.watches import Watches
from aion.telemetry import logs

FIRST_PAUSE_S = 0.8
LAST_PAUSE_S = 30.0
SHORT_S = 1.0
"""A stream that ends sooner and has told nothing is a failure: something between us and the server cuts it."""

_log = logs.get("controller.reflector")


class Reflector:
    """Feeds one `watched` kind from `cluster`. `listed` is set once it was listed whole."""

    def __init__(
        self,
        cluster: Cluster,
        watched: Watched,
        *,
        store: Store,
        feed: Feed,
        watches: Watches,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._cluster = cluster
        self._watched = watched
        self._store = store
        self._feed = feed
        self._watches = watches
        self._uniform = uniform
        self._since = ""
        self._failures = 0
        self.listed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self._since:
                    await self._list()
                await self._watch()
            except errors.Expired as error:
                _log.info("watch.expired", kind=self._watched.resource.kind, reason=error.message)
                self._since = ""
                await self._pause(error)
            except errors.KubeError as error:
                await self._pause(error)

    async def _list(self) -> None:
        again = self.listed.is_set()
        found = await listing.compare(self._cluster, self._watched, store=self._store, feed=self._feed)
        self._since = found.version
        self.listed.set()
        if again:
            metrics.SWEEPS.labels("relist").inc()
            _log.info("sweep.healed", reason="relist", kind=self._watched.resource.kind, healed=found.healed)

    async def _watch(self) -> None:
        began, told = time.monotonic(), False
        watched = self._watched
        stream = self._cluster.watch(
            watched.resource,
            since=self._since,
            selector=watched.selector,
            namespace=watched.namespace,
            name=watched.name,
        )
        async for change, document in stream:
            told, self._failures = True, 0
            if change != "BOOKMARK":
                self._told(change, document)
            # After the object, so that what could not be taken in is told again.
            self._since = document["metadata"]["resourceVersion"]
        if not told and time.monotonic() - began < SHORT_S:
            raise errors.Unreachable("the watch was cut as soon as it had begun", code=0)

    def _told(self, change: str, document: Document) -> None:
        kind = self._watched.resource.kind
        metrics.EVENTS.labels(kind).inc()
        self._watches.told(document)
        if change == "DELETED":
            meta = document["metadata"]
            self._feed.gone(kind, meta["uid"], version=int(meta["resourceVersion"]))
        else:
            self._feed.seen(document)

    async def _pause(self, error: errors.KubeError) -> None:
        """Half of min(0.8 s x 2^failures, 30 s), and as much again by chance; or as long as the server says."""
        ceiling = min(FIRST_PAUSE_S * 2.0 ** min(self._failures, 16), LAST_PAUSE_S)
        self._failures += 1
        seconds = max(self._uniform(ceiling / 2, ceiling), error.retry_after or 0.0)
        if self._failures > 1:
            _log.warning(
                "watch.broken", kind=self._watched.resource.kind, reason=error.message, again_s=round(seconds, 1)
            )
        await asyncio.sleep(seconds)
