"""The event bus: what happens now, to everyone who may see it, from one reader of the store per replica.

It stands apart from the wire (`stream` speaks WebSocket and SSE) so that the promise is testable by itself: a
subscriber sees every event once and in order, or an explicit `gap` row that names what it missed. It must never
wait for a slow subscriber: a full queue drops its oldest rows, and says so.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import structlog

from aion.api import errors, event
from aion.kernel.clock import wall_ms
from aion.kernel.store import Row, Store

QUEUE = 2_000
"""Rows that one subscriber may be behind: 4 s at 500 events/s, about 1.2 MiB."""

PAGE = 500
"""Rows read from the store at once."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Interest:
    """What one subscriber asked for and may see. `tenant=None` is an operator, who sees every tenant."""

    topics: frozenset[str]
    tenant: str | None

    def covers(self, row: Row) -> bool:
        """Say whether this row is asked for and allowed."""
        return row.topic in self.topics and (self.tenant is None or row.tenant == self.tenant)


def gap(first: int, last: int, *, now_ms: int) -> bytes:
    """Return the row that stands for the lost numbers `from` to `to`, both included, of whatever topic."""
    lost = event.gap(topic="*", after=first - 1, upto=last, now_ms=now_ms, reason="not kept, or read too slowly")
    return event.encode(msgspec.structs.replace(lost, fields={**lost.fields, "from": first, "to": last}))


Lost = tuple[int, int]
"""Numbers, from first to last, that a subscriber will not see."""


class Subscription:
    """One subscriber's queue: bounded, oldest out first, never silent about it."""

    def __init__(
        self, interest: Interest, *, position: int, limit: int = QUEUE, dropped: Callable[[], None] = lambda: None
    ) -> None:
        self.interest = interest
        self.position = position
        """Everything up to this number is history and not in the queue."""
        self._queue: deque[tuple[Lost | None, Row]] = deque()
        """Each row with what was lost just before it."""
        self._lost: Lost | None = None
        """What was lost after the last row of the queue."""
        self._limit = limit
        self._dropped = dropped
        self._news = asyncio.Event()
        self.ended = False
        """Whether nothing will come any more."""

    def offer(self, rows: Iterable[Row]) -> None:
        """Queue what this subscriber may see; drop the oldest when it is too far behind."""
        for row in rows:
            if not self.interest.covers(row):
                continue
            self._queue.append((self._lost, row))
            self._lost = None
            self._news.set()
            if len(self._queue) > self._limit:
                self._drop()

    def lose(self, first: int, last: int) -> None:
        """Note that these numbers, which follow what is queued, will not come."""
        self._lost = (self._lost[0] if self._lost else first, last)
        self._news.set()

    def end(self) -> None:
        """Let `take` return nothing once the queue is empty."""
        self.ended = True
        self._news.set()

    async def take(self, *, quiet_s: float | None = None) -> list[bytes]:
        """Wait for news and return all of it as JSON rows, gaps where they belong; nothing after `quiet_s` or at the end."""
        try:
            async with asyncio.timeout(quiet_s):
                await self._news.wait()
        except TimeoutError:
            return []
        now_ms = wall_ms()
        out: list[bytes] = []
        for lost, row in self._queue:
            if lost:
                out.append(gap(*lost, now_ms=now_ms))
            out.append(row.json())
        if self._lost:
            out.append(gap(*self._lost, now_ms=now_ms))
        self._queue.clear()
        self._lost = None
        if not self.ended:
            self._news.clear()
        return out

    def _drop(self) -> None:
        """Turn the oldest row into a gap before the next one, joined with the gaps on both sides of it."""
        before, oldest = self._queue.popleft()
        after, following = self._queue.popleft()
        gone = (before[0] if before else oldest.seq, after[1] if after else oldest.seq)
        self._queue.appendleft((gone, following))
        self._dropped()


class Bus:
    """Reads the store's stream once and hands it to every subscriber of this replica."""

    def __init__(self, store: Store, *, queue: int = QUEUE, dropped: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._queue = queue
        self._dropped = dropped
        self._position = 0
        self._subscriptions: set[Subscription] = set()
        self._started = asyncio.Event()
        self._ended = False

    async def run(self) -> None:
        """Follow the stream until cancelled; an unavailable store is asked again, 0.1-3 s apart."""
        failures = 0
        while True:
            try:
                if not self._started.is_set():
                    self._position = (await self._store.bounds()).newest
                    self._started.set()
                self._deliver(await self._store.read(self._position, limit=PAGE, wait_s=5.0))
                failures = 0
            except errors.Unavailable as unavailable:
                failures += 1
                if failures == 1:
                    _log.warning("events.paused", reason=str(unavailable))
                await asyncio.sleep(random.uniform(0.1, min(3.0, 0.2 * 2 ** min(failures, 5))))  # noqa: S311

    def end(self) -> None:
        """End every stream: the process is stopping, and a stream would else last as long as its reader."""
        self._ended = True
        self._started.set()
        for subscription in self._subscriptions:
            subscription.end()

    async def follow(
        self, interest: Interest, *, since: int | None = None, quiet_s: float | None = None
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield batches of JSON rows: history after `since` first if asked, then what happens, until the bus ends.

        An empty batch says that nothing happened for `quiet_s`. The queue is opened before history is read, so nothing
        falls between the two. Raises Unavailable.
        """
        await self._started.wait()
        if self._ended:
            return
        with self._subscribed(interest) as live:
            if since is not None:
                async for batch in self._history(interest, since=since, upto=live.position):
                    yield batch
            while (batch := await live.take(quiet_s=quiet_s)) or not live.ended:
                yield batch

    async def _history(self, interest: Interest, *, since: int, upto: int) -> AsyncGenerator[list[bytes], None]:
        bounds = await self._store.bounds()
        at = max(since, bounds.birth - 1) if since == 0 else since
        if lost := bounds.lost_after(since):
            yield [gap(*lost, now_ms=wall_ms())]
            at = lost[1]
        while at < upto:
            rows = await self._store.read(at, limit=PAGE)
            if not rows:
                return
            out = [gap(at + 1, rows[0].seq - 1, now_ms=wall_ms())] if rows[0].seq > at + 1 else []
            out += [row.json() for row in rows if row.seq <= upto and interest.covers(row)]
            at = rows[-1].seq
            if out:
                yield out

    @contextmanager
    def _subscribed(self, interest: Interest) -> Iterator[Subscription]:
        live = Subscription(interest, position=self._position, limit=self._queue, dropped=self._dropped)
        self._subscriptions.add(live)
        try:
            yield live
        finally:
            self._subscriptions.discard(live)

    def _deliver(self, rows: list[Row]) -> None:
        if not rows:
            return
        missed = (self._position + 1, rows[0].seq - 1) if rows[0].seq > self._position + 1 else None
        for subscription in self._subscriptions:
            if missed:
                subscription.lose(*missed)
            subscription.offer(rows)
        self._position = rows[-1].seq
