"""Keep a picture of one kind current: list, then watch, and list again when the server has forgotten.

It stands apart from `cluster` (the wire) and `registry` (the picture) because this loop is where informers go wrong:
a relist must replace the picture (a deletion may have been missed), a bookmark only moves the position, an expired
position starts over at once (but not twice in a row), and everything else waits with jitter. It must never end while the
process lives.
"""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from aion.kernel.cluster import ApiError, Cluster, Json

FIRST_WAIT_S = 0.5
LAST_WAIT_S = 30.0

SHORT_S = 1.0
"""A watch that ends sooner without a word is a server (or a proxy) in trouble: the next one waits like a failure."""

HEALTHY_S = 10.0
"""A watch that lived so long before it broke was sound: its failure is the first one again."""

_log = structlog.get_logger()


class Picture(Protocol):
    """Where the objects of one kind are kept."""

    def replace(self, objects: list[Json]) -> None:
        """These are all there are."""

    def put(self, body: Json) -> None:
        """This one is new or changed."""

    def remove(self, body: Json) -> None:
        """This one is gone."""


async def keep(
    cluster: Cluster,
    path: str,
    picture: Picture,
    *,
    jitter: Callable[[float, float], float] = random.uniform,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Follow one collection until cancelled."""
    failures, expired = 0, False
    while True:
        began = clock()
        try:
            position = await _list(cluster, path, picture)
            while True:
                began = clock()
                reached = await _watch(cluster, path, picture, position)
                _verify_lasted(clock() - began, moved=reached != position)
                failures, expired, position = 0, False, reached
        except ApiError as failed:
            if clock() - began > HEALTHY_S:
                failures, expired = 0, False
            if failed.gone and not expired:
                expired = True
                continue
            failures += 1
            wait = jitter(0.1, min(LAST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures, 10)))
            _log.warning("watch.interrupted", path=path, reason=str(failed), again_s=round(wait, 1))
            await asyncio.sleep(wait)


def _verify_lasted(seconds: float, *, moved: bool) -> None:
    if seconds < SHORT_S and not moved:
        raise ApiError(0, "the watch ended at once")


async def _list(cluster: Cluster, path: str, picture: Picture) -> str:
    objects: list[Json] = []
    page = ""
    while True:
        found = await cluster.list(path, page=page)
        objects += found.items
        page = found.metadata.next_page
        if not page:
            picture.replace(objects)
            return found.metadata.resource_version


async def _watch(cluster: Cluster, path: str, picture: Picture, position: str) -> str:
    """Apply events until the server ends the watch; return the position to go on from."""
    async for event in cluster.watch(path, since=position):
        if event.type == "ERROR":
            raise ApiError(int(event.object.get("code", 500)), str(event.object.get("message", "watch error")))
        position = event.object["metadata"]["resourceVersion"]
        if event.type in ("ADDED", "MODIFIED"):
            picture.put(event.object)
        elif event.type == "DELETED":
            picture.remove(event.object)
    return position
