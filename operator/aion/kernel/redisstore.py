"""The store in Redis: what makes two kernel replicas one kernel.

It stands apart so that nothing else knows Redis's commands. Every write is one round trip; numbers are given by
`append.lua`. It must never hide an outage: whatever Redis refuses or drops becomes `Unavailable`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, cast

import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from aion.api import auditchain, errors
from aion.kernel.quotas import RETURNING_MS, SLICE, Amounts, Limits, Loan
from aion.kernel.store import AUDIT_KEPT, AUDIT_MEMORY_S, EVENTS_KEPT, Bounds, ChainHead, Draft, Recorded, Row, Sighting

COUNTER = "aion:seq"
EVENTS = "aion:events"
AUDIT = "aion:audit"
AUDIT_IDS = "aion:audit:ids"
AUDIT_CHAINS = "aion:audit:chains"
JOURNAL = "aion:audit:journal:"
HOLDER = "aion:audit:holder:"
QUOTA = "aion:quota:"
LEASES = ":leases"
NONCE = "aion:nonce:"
AGENT = "aion:agent:"
AGENTS = "aion:agents"

KEEPS_ALL = "noeviction"
"""The only policy of a full Redis that refuses, as we do, and forgets nothing."""

ANSWER_S = 2.0
"""Longest wait for one answer; a blocking read may take its own wait longer."""

LONGEST_READ_S = 5.0
"""A read blocks no longer, so that its connection can have a limit: a peer that vanished without a word is noticed."""

Entry = tuple[bytes, dict[bytes, bytes]]
"""One entry of a stream as RESP3 delivers it."""

_sighting = msgspec.json.Decoder(Sighting)


class RedisStore:
    """A `Store` over one Redis; `now_ms` seeds the stream's numbers when the store is new."""

    def __init__(
        self,
        url: str,
        now_ms: Callable[[], int],
        *,
        events_kept: int = EVENTS_KEPT,
        audit_kept: int = AUDIT_KEPT,
    ) -> None:
        # The client never asks twice by itself: it cannot know whether the first attempt was done. A nonce that was claimed
        # and asked again would look like a replay; records are asked again by their owners, who number them.
        options: dict[str, Any] = {"protocol": 3, "socket_connect_timeout": ANSWER_S, "retry": Retry(NoBackoff(), 0)}
        self._redis = Redis.from_url(url, socket_timeout=ANSWER_S, **options)
        self._reader = Redis.from_url(url, socket_timeout=LONGEST_READ_S + ANSWER_S, **options)
        self._now_ms = now_ms
        self._kept = (events_kept, audit_kept)
        scripts = resources.files("aion.kernel")
        self._append = self._redis.register_script(scripts.joinpath("append.lua").read_text())
        self._lend = self._redis.register_script(scripts.joinpath("lend.lua").read_text())

    async def ping(self) -> None:
        """Return when Redis answers, and is one that forgets nothing by itself."""
        async with _failing_closed():
            said = await self._redis.info("memory")
        policy = said.get("maxmemory_policy", KEEPS_ALL)
        if policy != KEEPS_ALL and said.get("maxmemory", 0):
            raise errors.Unavailable(
                f"Redis evicts when it is full (maxmemory-policy {policy}): an evicted nonce could be used again, and "
                f"records would be lost. Set it to {KEEPS_ALL}"
            )

    async def close(self) -> None:
        """Close both pools."""
        await self._redis.aclose()
        await self._reader.aclose()

    async def publish(self, drafts: Sequence[Draft]) -> int:
        """Append events in one round trip."""
        last, *_ = await self._run(drafts, [])
        return int(last)

    async def record(self, source: str, drafts: Sequence[Draft], *, broken: Draft | None = None) -> Recorded:
        """Append records in one round trip, each `n` of a journal at most once."""
        keys = [JOURNAL + source]
        if broken is not None:
            keys += [HOLDER + auditchain.holder(source), AUDIT_CHAINS]
        _, upto, fresh, *breaks = await self._run(drafts, keys, source=source, broken=broken)
        return Recorded(upto=int(upto), fresh=int(fresh), breaks=tuple(str(each, "ascii") for each in breaks))

    async def read(self, after: int, *, limit: int, wait_s: float = 0.0) -> list[Row]:
        """Return rows after a number, waiting on the stream itself."""
        block = max(1, int(min(wait_s, LONGEST_READ_S) * 1000)) if wait_s > 0 else None
        async with _failing_closed():
            found = await self._reader.xread({EVENTS: f"{after}-0"}, count=limit, block=block)
        return [_row(entry) for entry in cast("dict[bytes, list[list[Entry]]]", found).get(EVENTS.encode(), [[]])[0]]

    async def bounds(self) -> Bounds:
        """Return where the stream begins and ends, read in one transaction."""
        async with _failing_closed():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(COUNTER, ["birth", "last"])
            pipe.xrange(EVENTS, count=1)
            (birth, last), first = await pipe.execute()
        newest = int(last or 0)
        oldest = _row(first[0]).seq if first else newest + 1
        return Bounds(birth=int(birth or newest + 1), oldest=oldest, newest=newest)

    async def find_audit(self, audit_id: str) -> Row | None:
        """Return the record of one syscall by the index of ids."""
        async with _failing_closed():
            score = await self._redis.zscore(AUDIT_IDS, audit_id)
            if score is None:
                return None
            found = await self._redis.xrange(AUDIT, f"{int(score)}-0", f"{int(score)}-0")
        return _row(cast("list[Entry]", found)[0]) if found else None

    async def lend(
        self, tenant: str, holder: str, *, held: Amounts, want: Amounts, limits: Limits, ttl_s: float
    ) -> Loan:
        """Lend of a tenant's quota in one round trip."""
        bounds = [-1 if limit is None else limit for limit in limits]
        args: list[str | int] = [
            self._now_ms(),
            holder,
            *held,
            *want,
            *bounds,
            round(ttl_s * 1000),
            SLICE,
            RETURNING_MS,
        ]
        async with _failing_closed():
            answer = cast("list[bytes]", await self._lend(keys=[QUOTA + tenant, QUOTA + tenant + LEASES], args=args))
        usd, tokens, used_usd, used_tokens, retry = (int(each) for each in answer)
        return Loan(Amounts(usd, tokens), Amounts(used_usd, used_tokens), retry)

    async def audit(self, after: int, *, limit: int) -> list[Row]:
        """Return a page of the audit's own stream."""
        async with _failing_closed():
            found = await self._redis.xrange(AUDIT, f"({after}-0", "+", count=limit)
        return [_row(entry) for entry in cast("list[Entry]", found)]

    async def newest_audit(self, *, limit: int) -> list[Row]:
        """Return the end of the audit's own stream."""
        async with _failing_closed():
            found = await self._redis.xrevrange(AUDIT, count=limit)
        return [_row(entry) for entry in reversed(cast("list[Entry]", found))]

    async def chains(self) -> list[ChainHead]:
        """Return the head of every chain that is remembered."""
        async with _failing_closed():
            names = sorted(cast("list[bytes]", await self._redis.zrange(AUDIT_CHAINS, 0, -1)))
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hmget(JOURNAL.encode() + name, ["tenant", "upto", "head"])
            found = cast("list[list[bytes | None]]", await pipe.execute())
        return [
            ChainHead(name.decode(), (tenant or b"").decode(), int(upto), (head or b"").decode())
            for name, (tenant, upto, head) in zip(names, found, strict=True)
            if upto is not None
        ]

    async def claim_nonce(self, key: str, *, ttl_ms: int) -> bool:
        """Remember a nonce by SET NX; a Redis that is full refuses, and so do we."""
        async with _failing_closed():
            return bool(await self._redis.set(NONCE + key, b"", nx=True, px=ttl_ms))

    async def see(self, sighting: Sighting, *, ttl_s: int) -> None:
        """Keep a sighting until it expires."""
        async with _failing_closed():
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(AGENT + sighting.agent_id, msgspec.json.encode(sighting), ex=ttl_s)
            pipe.zadd(AGENTS, {sighting.agent_id: sighting.heard_ms})
            await pipe.execute()

    async def sighting(self, agent_id: str) -> Sighting | None:
        """Return what is known of one agent."""
        async with _failing_closed():
            kept = await self._redis.get(AGENT + agent_id)
        return _sighting.decode(kept) if kept else None

    async def sightings(self) -> list[Sighting]:
        """Return every fresh sighting, and drop from the index those that expired."""
        async with _failing_closed():
            ids = sorted(cast("list[bytes]", await self._redis.zrange(AGENTS, 0, -1)))
            if not ids:
                return []
            kept = await self._redis.mget([AGENT.encode() + each for each in ids])
            if gone := [each for each, value in zip(ids, kept, strict=True) if value is None]:
                await self._redis.zrem(AGENTS, *gone)
        return [_sighting.decode(value) for value in kept if value is not None]

    async def forget(self, agent_id: str) -> None:
        """Drop an agent."""
        async with _failing_closed():
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(AGENT + agent_id)
            pipe.zrem(AGENTS, agent_id)
            await pipe.execute()

    async def _run(
        self, drafts: Sequence[Draft], journal: list[str], *, source: str = "", broken: Draft | None = None
    ) -> list[bytes]:
        told = (broken.tenant, broken.body) if broken else ("", b"")
        args: list[bytes | str | int] = [*self._kept, AUDIT_MEMORY_S, self._now_ms(), source, *told]
        for draft in drafts:
            args += (
                draft.topic,
                draft.tenant,
                draft.body,
                draft.n,
                draft.audit_id,
                draft.prev,
                draft.digest,
                *draft.used,
            )
        async with _failing_closed():
            return cast(
                "list[bytes]", await self._append(keys=[COUNTER, EVENTS, AUDIT, AUDIT_IDS, *journal], args=args)
            )


def _row(entry: Entry) -> Row:
    entry_id, fields = entry
    seq = int(entry_id.split(b"-", 1)[0])
    return Row(seq=seq, topic=fields[b"t"].decode(), tenant=fields[b"o"].decode(), body=fields[b"b"])


@asynccontextmanager
async def _failing_closed() -> AsyncIterator[None]:
    try:
        yield
    except (exceptions.RedisError, OSError) as failed:
        raise errors.Unavailable(
            f"Redis does not answer ({type(failed).__name__}: {failed}): nothing was kept"
        ) from failed
