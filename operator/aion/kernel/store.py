"""What the kernel remembers between requests, as one small protocol with two backings.

It stands apart so that a laptop (`memorystore`) and a cluster (`redisstore`) run the same kernel: both pass
one contract suite. Rows hold their JSON as bytes that are encoded once, when the event happens, and are
never decoded here. A store must never answer as if it had kept something that it did not: it raises
`aion.api.errors.Unavailable`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aion.kernel.quotas import NOTHING, Amounts, Limits, Loan

EVENTS_KEPT = 50_000
"""Events kept for `since=`: at 500 events/s the last 100 s, at an idle cluster's 1/s the last 14 hours."""

AUDIT_KEPT = 200_000
"""Audit records kept for a search by id: about 0.6 KiB each, so some 120 MiB of Redis when full."""

GATEWAY = "gateway"
"""Heard over its Pod's channel."""

OUTSIDE = "hmac"
"""Heard from outside the cluster, by a signature."""

AUDIT_MEMORY_S = 30 * 86_400
"""How long a journal's last record is remembered, so that a resend after an outage counts once and a chain that was idle
goes on: 0.3 KiB of Redis for each Pod that lived within these days."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event before it has a number. `body` is a JSON object without `seq`; `tenant` is "" for the system.

    `n` numbers it within its journal; `audit_id` is what it can be found by, if anything. In a chain, `digest` is its
    own and `prev` that of the record before it, "" for the first.
    """

    topic: str
    tenant: str
    body: bytes
    n: int = 0
    audit_id: str = ""
    prev: str = ""
    digest: str = ""
    used: Amounts = NOTHING
    """What it charges to its tenant's quota."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event of the stream."""

    seq: int
    topic: str
    tenant: str
    body: bytes

    def json(self) -> bytes:
        """Return the event as users read it: the body with its `seq` in front."""
        return b'{"seq":%d,%b' % (self.seq, self.body[1:])


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where the stream begins and ends. `birth` is the first number ever given, `oldest` the first still kept.

    An empty stream has `oldest = newest + 1`. Numbers rise by exactly one, so a hole means rows were lost.
    """

    birth: int
    oldest: int
    newest: int

    def lost_after(self, since: int) -> tuple[int, int] | None:
        """Return the numbers (first, last) that existed after `since` and are no longer kept, if any.

        `since=0` asks for all there is: what was trimmed is reported, what was never numbered is not.
        """
        first = max(since + 1, self.birth) if since == 0 else since + 1
        return (first, self.oldest - 1) if first < self.oldest else None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The outcome of one audit batch: the highest record number kept, how many were new, and where the chain broke."""

    upto: int
    fresh: int
    breaks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainHead:
    """How far a chain has come: what must be the newest record of a whole export."""

    chain: str
    tenant: str
    upto: int
    digest: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What is known of one agent's process: who it is and when it was last heard, whichever replica heard it."""

    agent_id: str
    tenant: str
    name: str
    via: str
    """How it reaches us: GATEWAY or OUTSIDE."""
    heard_ms: int
    version: str = ""
    pod: str = ""
    inflight: int = 0
    usage: dict[str, int | float] = field(default_factory=dict)
    registration: str = ""
    """The JSON of `POST /v1/agent/register`, for agents that no Agent object describes."""
    policy_revision: int = 0


class Store(Protocol):
    """Events, audit records, nonces and sightings. Every method raises Unavailable when it cannot keep its word."""

    async def ping(self) -> None:
        """Return when the backing answers."""

    async def close(self) -> None:
        """Release connections."""

    async def publish(self, drafts: Sequence[Draft]) -> int:
        """Append events in one step and return the last number given."""

    async def record(self, source: str, drafts: Sequence[Draft], *, broken: Draft | None = None) -> Recorded:
        """Append records of one journal, each `n` at most once, as events and, where they have one, under their audit id.

        With `broken` they are a chain of that name, judged as `chains` has it; each break is that event, with what and
        where added to its body (which ends before its last brace).
        """

    async def read(self, after: int, *, limit: int, wait_s: float = 0.0) -> list[Row]:
        """Return up to `limit` rows after a number; wait up to `wait_s` (5 at most) for the first."""

    async def bounds(self) -> Bounds:
        """Return where the stream begins and ends."""

    async def find_audit(self, audit_id: str) -> Row | None:
        """Return the record of one syscall, if it is still kept."""

    async def lend(
        self, tenant: str, holder: str, *, held: Amounts, want: Amounts, limits: Limits, ttl_s: float
    ) -> Loan:
        """Lend of a tenant's quota, as `quotas` has it; what records use is charged when they are kept."""

    async def audit(self, after: int, *, limit: int) -> list[Row]:
        """Return up to `limit` audit records and breaks after a number, oldest first."""

    async def newest_audit(self, *, limit: int) -> list[Row]:
        """Return up to `limit` of the newest audit records and breaks, oldest first."""

    async def chains(self) -> list[ChainHead]:
        """Return how far each chain has come, ordered by name."""

    async def claim_nonce(self, key: str, *, ttl_ms: int) -> bool:
        """Remember a nonce; False if it was used before."""

    async def see(self, sighting: Sighting, *, ttl_s: int) -> None:
        """Keep what is known of an agent until it has been silent for `ttl_s`."""

    async def sighting(self, agent_id: str) -> Sighting | None:
        """Return what is known of one agent."""

    async def sightings(self) -> list[Sighting]:
        """Return every agent heard lately, ordered by id."""

    async def forget(self, agent_id: str) -> None:
        """Drop an agent that was deleted."""
