"""Every kind that is followed, at once: until each was listed whole nothing is planned.

Apart from the reflectors because only here is known when the memory is whole. Workers that began earlier would take a Pod that was not listed yet for one
that is missing. It must never write.
"""

import asyncio
from collections.abc import Sequence

from aion.controller.feed import Feed
from aion.controller.kube import Cluster
from aion.controller.listing import Watched
from aion.controller.reflector import Reflector
from aion.controller.store import Store
from aion.controller.watches import Watches


async def run(cluster: Cluster, everything: Sequence[Watched], *, store: Store, feed: Feed, watches: Watches) -> None:
    """Follow until cancelled; sets `feed.synced` when every kind was listed."""
    reflectors = [Reflector(cluster, each, store=store, feed=feed, watches=watches) for each in everything]
    async with asyncio.TaskGroup() as group:
        for each in reflectors:
            group.create_task(each.run())
        for each in reflectors:
            await each.listed.wait()
        feed.synced.set()
