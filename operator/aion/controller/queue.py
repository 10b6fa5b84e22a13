"""The queue between what happened and what is done about it: keys, not events.

It has the semantics of client-go's workqueue: a key waits at most once (dirty), is worked on by at most one worker (processing), and a
key that changes while it is worked on runs again afterwards. Failures come back with exponential backoff and full jitter. Live events
pass the initial list, so that a restart over ten thousand objects does not starve the user who has just applied one.
It knows nothing about Kubernetes, and it must never lose a key: what was added is handed out, or is being worked on.
"""

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import Generic, TypeVar

from aion.controller import metrics

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_S = 0.2
LAST_RETRY_S = 300.0


class Priority(IntEnum):
    """Lower runs first."""

    LIVE = 0
    RESYNC = 1


class Queue(Generic[K]):
    """Deduplicating, delaying, prioritised. Made for one event loop; no call blocks but `get`."""

    def __init__(self, name: str = "aion", *, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._name = name
        self._uniform = uniform
        self._dirty: dict[K, Priority] = {}
        self._since: dict[K, float] = {}
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._ready: list[tuple[Priority, int, K]] = []
        self._order = itertools.count()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._waiters: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._dirty)

    @property
    def idle(self) -> bool:
        """Nothing waits and nobody works; delayed keys do not count."""
        return not self._dirty and not self._processing

    def add(self, key: K, priority: Priority = Priority.LIVE) -> None:
        """Ask for the key to be worked on; asking twice is asking once, at the higher priority."""
        waiting = self._dirty.get(key)
        if waiting is not None and waiting <= priority:
            return
        self._dirty[key] = priority
        if waiting is None:
            self._since[key] = time.monotonic()
            metrics.QUEUE_ADDS.labels(self._name).inc()
            metrics.QUEUE_DEPTH.labels(self._name).set(len(self._dirty))
        if key not in self._processing:
            self._push(key, priority)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for it later. Of several such wishes for one key the earliest holds."""
        loop = asyncio.get_running_loop()
        if timer := self._timers.get(key):
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: K, *, at_least: float = 0.0) -> float:
        """Ask for it again after a failure; answers the delay: full jitter under min(0.2 s x 2^failures, 300 s).

        `at_least` is the server's own word, such as a Retry-After.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        ceiling = min(FIRST_RETRY_S * 2.0 ** min(failures, 16), LAST_RETRY_S)
        delay = max(FIRST_RETRY_S / 2, at_least, self._uniform(0.0, ceiling))
        metrics.QUEUE_RETRIES.labels(self._name).inc()
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key did well: its next failure starts from the shortest delay."""
        self._failures.pop(key, None)

    def drop(self, key: K) -> None:
        """The object is gone: no delayed wish for it remains."""
        self.forget(key)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    async def get(self) -> K:
        """Wait for the next key and take it; every `get` must be followed by `done`."""
        while True:
            if (key := self._pop()) is not None:
                return key
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._wake()  # the call that woke us must not die with us
                raise

    def done(self, key: K) -> None:
        """The worker has finished; a change that came meanwhile makes the key ready again."""
        self._processing.discard(key)
        metrics.QUEUE_WORKERS.labels(self._name).set(len(self._processing))
        if (priority := self._dirty.get(key)) is not None:
            self._push(key, priority)

    def close(self) -> None:
        """Cancel what is delayed, so that a stopping process leaves no timer behind."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    def _push(self, key: K, priority: Priority) -> None:
        heapq.heappush(self._ready, (priority, next(self._order), key))
        self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return

    def _pop(self) -> K | None:
        while self._ready:
            priority, _, key = heapq.heappop(self._ready)
            # An entry is stale when its key was handed out already or has been raised to a better priority since.
            if key in self._processing or self._dirty.get(key) is not priority:
                continue
            del self._dirty[key]
            self._processing.add(key)
            metrics.QUEUE_WAIT.labels(self._name).observe(time.monotonic() - self._since.pop(key))
            metrics.QUEUE_DEPTH.labels(self._name).set(len(self._dirty))
            metrics.QUEUE_WORKERS.labels(self._name).set(len(self._processing))
            return key
        return None
