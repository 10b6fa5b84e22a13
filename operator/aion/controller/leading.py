"""What only the leader has: the watches, the queue, the workers and the sweep, assembled over one connection.

Apart from the process because a standby has none of it: no watch, no memory of the cluster, nothing that could write. It is made once and runs once. Where a part
ends by itself the whole is broken, and a fresh process the only state that is known to be good. It must never know how it came to lead.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from aion.controller import health, listing, watch
from aion.controller.apply import Applier
from aion.controller.feed import Feed
from aion.controller.kube import Cluster
from aion.controller.policy_pointer import BundleFile
from aion.controller.queue import Queue
from aion.controller.reconcile import Reconciler
from aion.controller.settings import Settings
from aion.controller.sources import Sources
from aion.controller.store import Store
from aion.controller.sweep import Sweep
from aion.controller.views import Key
from aion.controller.watches import Answers, Watches
from aion.controller.workers import Workers
from aion.sandbox import profiles as shipped
from aion.telemetry import logs

DRAIN_S = 5.0  # with the release of the Lease below the Pod's 20 s

_log = logs.get("controller")


def installed() -> Mapping[str, str]:
    """The seccomp profiles of this release, by name: their sha256."""
    return {name: profile.sha256 for name, profile in shipped.catalog().items()}


class Leading:
    """Start it, wait for `broken`, then `drain` and `stop`."""

    def __init__(self, cluster: Cluster, settings: Settings, *, profiles: Mapping[str, str]) -> None:
        self._store, self._queue = Store(pointer=settings.pointer), Queue[Key]()
        self._feed = Feed(self._store, self._queue)
        self._watches = Watches(apart=listing.followed_apart(settings.namespaces))
        watched = listing.within(settings.namespaces, release=settings.release_namespace)
        self._watch = watch.run(cluster, watched, store=self._store, feed=self._feed, watches=self._watches)
        self._sweep = Sweep(cluster, watched, store=self._store, feed=self._feed, every_s=settings.sweep_s)
        reconciler = Reconciler(
            self._store,
            Applier(cluster, memory=Answers(self._feed, self._watches)),
            files=Sources(cluster),
            settings=settings,
            profiles=profiles,
            source=BundleFile(settings.policy_file),
        )
        self._workers = Workers(self._queue, reconciler, count=settings.workers, resync_s=settings.resync_s)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin."""
        parts = {"watch": self._watch, "workers": self._work(), "sweep": self._sweeping()}
        self._tasks = {name: asyncio.create_task(part, name=name) for name, part in parts.items()}

    @property
    def alive(self) -> Mapping[str, health.Check]:
        """What must hold for this process to be worth keeping."""
        return {name: health.running(task) for name, task in self._tasks.items()} | {"watches": self._watches.check}

    @property
    def ready(self) -> Mapping[str, health.Check]:
        """What must hold for it to do its work."""
        return {"cluster": lambda: None if self._feed.synced.is_set() else "the first lists are not in yet"}

    async def broken(self) -> None:
        """Wait until a part has ended by itself, and say so."""
        ended, _ = await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            _log.error("controller.broken", task=task.get_name(), reason=repr(task.exception() or "it ended"))

    async def drain(self) -> None:
        """Let what is under work end in time; when this is over nothing writes any more."""
        await self._workers.drain(DRAIN_S)
        await _cancelled(self._tasks["workers"], self._tasks["sweep"])

    async def stop(self) -> None:
        """End the watches."""
        await _cancelled(*self._tasks.values())
        self._queue.close()

    async def _work(self) -> None:
        await self._feed.synced.wait()
        _log.info("controller.synced", objects=len(self._store))
        await self._workers.run()

    async def _sweeping(self) -> None:
        await self._feed.synced.wait()
        await self._sweep.run()


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
