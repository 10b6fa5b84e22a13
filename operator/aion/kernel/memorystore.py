"""The store in one process's memory: for a laptop and for tests, with Redis's semantics and none of its reach.

It stands apart because `aionctl kernel dev` must run where nothing is installed. It must never be the store of
a kernel with two replicas: each would number its own stream.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from aion.api import auditchain, errors
from aion.kernel import chains
from aion.kernel.quotas import Amounts, Limits, Loan, Quota
from aion.kernel.store import AUDIT_KEPT, EVENTS_KEPT, Bounds, ChainHead, Draft, Recorded, Row, Sighting

NONCES_KEPT = 100_000
"""65 s of 1500 signed calls a second; a laptop sees a few. When full, new calls are refused, never waved through."""


class MemoryStore:
    """A `Store` whose clock is passed in (seconds, monotonic) and whose stream starts at 1."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        events_kept: int = EVENTS_KEPT,
        audit_kept: int = AUDIT_KEPT,
        nonces_kept: int = NONCES_KEPT,
    ) -> None:
        self._clock = clock
        self._rows: deque[Row] = deque(maxlen=events_kept)
        self._newest = 0
        self._audit: deque[Row] = deque(maxlen=audit_kept)
        self._by_id: dict[str, Row] = {}
        self._audit_kept = audit_kept
        self._heads: dict[str, chains.Head] = {}
        self._chains: dict[str, str] = {}
        """Chain -> tenant."""
        self._holders: dict[str, str] = {}
        """Who holds a journal -> its newest chain."""
        self._quotas: dict[str, Quota] = {}
        self._nonces: dict[str, float] = {}
        self._nonces_kept = nonces_kept
        self._seen: dict[str, tuple[float, Sighting]] = {}
        self._grown = asyncio.Event()

    async def ping(self) -> None:
        """Memory always answers."""

    async def close(self) -> None:
        """Nothing is held open."""

    async def publish(self, drafts: Sequence[Draft]) -> int:
        """Append events and wake the readers."""
        for draft in drafts:
            self._append(draft)
        self._wake()
        return self._newest

    async def record(self, source: str, drafts: Sequence[Draft], *, broken: Draft | None = None) -> Recorded:
        """Append records that this journal had not sent before."""
        head, fresh, forked = self._heads.get(source, chains.Head()), 0, False
        breaks: list[str] = []

        def tell(what: chains.What, n: int) -> None:
            if broken is not None:
                body = chains.told(broken.body, what, n=n, after=head.upto)
                self._audit.append(self._append(replace(broken, body=body)))
                breaks.append(what)

        for draft in drafts:
            if draft.n > head.upto:
                if broken is not None:
                    other = self._holders.get(auditchain.holder(source), source) != source
                    for what in chains.follows(head, n=draft.n, prev=draft.prev, restarted=other):
                        tell(what, draft.n)
                self._keep(draft, source)
                head, fresh = chains.Head(draft.n, draft.digest), fresh + 1
            elif broken is not None and draft.audit_id not in self._by_id:
                if not forked:
                    tell("forked", draft.n)
                    forked = True
                self._keep(draft, source)
                fresh += 1
        self._heads[source] = head
        if broken is not None and (fresh or breaks):
            self._chains[source] = broken.tenant
            self._holders[auditchain.holder(source)] = source
        self._wake()
        return Recorded(upto=head.upto, fresh=fresh, breaks=tuple(breaks))

    async def read(self, after: int, *, limit: int, wait_s: float = 0.0) -> list[Row]:
        """Return rows after a number, by their distance from the newest."""
        grown = self._grown
        if after >= self._newest and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):  # not wait_for: in 3.11 it swallows a cancel that meets the event
                    await grown.wait()
            except TimeoutError:
                return []
        behind = min(len(self._rows), max(0, self._newest - after))
        start = len(self._rows) - behind
        return list(islice(self._rows, start, start + limit))

    async def bounds(self) -> Bounds:
        """Return where the stream begins and ends."""
        return Bounds(birth=1, oldest=self._newest - len(self._rows) + 1, newest=self._newest)

    async def find_audit(self, audit_id: str) -> Row | None:
        """Return the record of one syscall."""
        return self._by_id.get(audit_id)

    async def audit(self, after: int, *, limit: int) -> list[Row]:
        """Return a page of the audit."""
        return list(islice((row for row in self._audit if row.seq > after), limit))

    async def newest_audit(self, *, limit: int) -> list[Row]:
        """Return the end of the audit."""
        return list(self._audit)[-limit:]

    async def chains(self) -> list[ChainHead]:
        """Return the head of every chain."""
        return [ChainHead(name, tenant, *self._heads[name]) for name, tenant in sorted(self._chains.items())]

    async def claim_nonce(self, key: str, *, ttl_ms: int) -> bool:
        """Remember a nonce; refuse when the memory is full of live ones."""
        now = self._clock()
        if self._nonces.get(key, 0.0) > now:
            return False
        if len(self._nonces) >= self._nonces_kept:
            self._nonces = {nonce: until for nonce, until in self._nonces.items() if until > now}
            if len(self._nonces) >= self._nonces_kept:
                raise errors.Unavailable("the replay cache is full: no signed call can be told from a replay; retry")
        self._nonces[key] = now + ttl_ms / 1000
        return True

    async def see(self, sighting: Sighting, *, ttl_s: int) -> None:
        """Keep a sighting until its time is over."""
        self._seen[sighting.agent_id] = (self._clock() + ttl_s, sighting)

    async def sighting(self, agent_id: str) -> Sighting | None:
        """Return a sighting that is still fresh."""
        until, sighting = self._seen.get(agent_id, (0.0, None))
        return sighting if until > self._clock() else None

    async def sightings(self) -> list[Sighting]:
        """Return the fresh sightings and forget the others."""
        now = self._clock()
        self._seen = {agent: kept for agent, kept in self._seen.items() if kept[0] > now}
        return [self._seen[agent][1] for agent in sorted(self._seen)]

    async def forget(self, agent_id: str) -> None:
        """Drop an agent."""
        self._seen.pop(agent_id, None)

    async def lend(
        self, tenant: str, holder: str, *, held: Amounts, want: Amounts, limits: Limits, ttl_s: float
    ) -> Loan:
        """Lend of a tenant's quota."""
        return self._quota(tenant).lend(holder, held, want, limits, now=self._clock(), ttl_s=ttl_s)

    def _quota(self, tenant: str) -> Quota:
        return self._quotas.setdefault(tenant, Quota())

    def _keep(self, draft: Draft, holder: str) -> None:
        row = self._append(draft)
        if any(draft.used):
            self._quota(draft.tenant).charge(holder, draft.used, now=self._clock())
        if draft.audit_id:
            self._audit.append(row)
            self._by_id[draft.audit_id] = row
            if len(self._by_id) > self._audit_kept:
                del self._by_id[next(iter(self._by_id))]

    def _append(self, draft: Draft) -> Row:
        self._newest += 1
        row = Row(self._newest, draft.topic, draft.tenant, draft.body)
        self._rows.append(row)
        return row

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
