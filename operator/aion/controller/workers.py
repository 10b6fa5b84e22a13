"""The workers: take a key, reconcile it, read from the outcome when to come back.

Apart from reconciling because here is the outermost loop, the one place that catches everything: an error that nobody foresaw is a bug, is logged with its
stack, and costs only its own key a pause. It must never let a worker die, nor hold a key that it does not work on.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from aion.controller import errors, metrics, outcome
from aion.controller.outcome import Outcome
from aion.controller.queue import Queue
from aion.controller.views import Key
from aion.telemetry import logs

SPREAD = 0.2  # of the resync: ten thousand keys that were listed at once must not come back at once

_log = logs.get("controller.workers")


class Workers:
    """`count` of them over one queue. `reconcile` may raise anything."""

    def __init__(
        self,
        queue: Queue[Key],
        reconcile: Callable[[Key], Awaitable[Outcome]],
        *,
        count: int,
        resync_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._count = count
        self._resync_s = resync_s
        self._uniform = uniform
        self._busy: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False

    async def run(self) -> None:
        """Work until drained or cancelled; raises what a worker died of, which nothing should."""
        self._tasks = [asyncio.create_task(self._work(), name=f"worker-{n}") for n in range(self._count)]
        try:
            while not self._draining:
                ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                if not self._draining:
                    await asyncio.gather(*ended)
        finally:
            for task in self._tasks:
                task.cancel()

    async def drain(self, within_s: float) -> None:
        """Hand out no more keys, and let those under work end in time."""
        self._draining = True
        for task in self._tasks:
            if task not in self._busy:
                task.cancel()
        if busy := set(self._busy):
            await asyncio.wait(busy, timeout=within_s)

    async def once(self, key: Key) -> Outcome:
        """Reconcile one key and arrange its return; never raises for what a cluster can do."""
        began = time.perf_counter()
        ended = await self._ended(key)
        metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.perf_counter() - began)
        metrics.RECONCILES.labels(key.kind, type(ended).__name__.lower()).inc()
        self._arrange(key, ended)
        return ended

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - for the type checker
        while not self._draining:
            key = await self._queue.get()
            self._busy.add(me)
            try:
                await self.once(key)
            finally:
                self._busy.discard(me)
                self._queue.done(key)

    async def _ended(self, key: Key) -> Outcome:
        try:
            return await self._reconcile(key)
        except errors.Conflict as error:
            return outcome.Transient(error.message)
        except errors.Unreachable as error:
            _log.warning("reconcile.unreachable", reason=error.message, **_named(key))
            return outcome.Transient(error.message, at_least=error.retry_after or 0.0)
        except errors.KubeError as error:
            metrics.RECONCILE_ERRORS.labels(key.kind, "refused").inc()
            _log.error("reconcile.refused", reason=error.message, code=error.code, **_named(key))
            return outcome.Transient(error.message)
        except Exception as error:  # noqa: BLE001 - the outermost loop
            metrics.RECONCILE_ERRORS.labels(key.kind, "bug").inc()
            _log.exception("reconcile.bug", **_named(key))
            return outcome.Transient(repr(error))

    def _arrange(self, key: Key, ended: Outcome) -> None:
        if isinstance(ended, outcome.Gone):
            self._queue.drop(key)
        elif isinstance(ended, outcome.Transient):
            delay = self._queue.retry(key, at_least=ended.at_least)
            _log.debug("reconcile.again", seconds=round(delay, 2), reason=ended.why, **_named(key))
        else:
            self._queue.forget(key)
            wait = self._resync_s * (1 + self._uniform(-SPREAD, SPREAD))
            if isinstance(ended, outcome.After | outcome.Waiting):
                wait = min(wait, ended.seconds)
            self._queue.add_after(key, wait)


def _named(key: Key) -> dict[str, str]:
    return {"tenant": key.namespace, "kind": key.kind, "name": key.name}
