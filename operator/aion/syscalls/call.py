"""One syscall on its way through: who asks, on what standing, until when, and what came of it so far.

Apart because router, policies and handlers all read it and none should own it. A call is the one mutable thing on the
path: handlers note their subject, engine and usage on it, and the audit record is made from it at the end. It must never
hold the caller's body once the params are taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from aion.api.syscall import Context, Engine
from aion.syscalls.budgets import Claim, Ledger
from aion.syscalls.rights import NO_RIGHTS, Rights
from aion.syscalls.stream import Pieces

_NO_PARAMS = msgspec.Raw(b"{}")
_NO_CONTEXT = Context()

KERNEL = Engine("kernel", "aion")
"""Who answers what no handler has claimed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands at the door. `via` is how that is known: `socket` (the Pod's own), `hmac`, or `loopback` (a laptop's).

    `agent_id` may be empty where a signature speaks for a whole tenant; then the body says which of its agents.
    """

    tenant: str
    agent_id: str
    via: str = "socket"


@dataclass(slots=True)
class Standing:
    """One agent's place in this process: its rights now, its account, and how many of its calls and tunnels are under way.

    Rights are replaced by one assignment when a new grant comes; account and seats live on.
    """

    rights: Rights
    ledger: Ledger = field(default_factory=Ledger)
    inflight: int = 0
    tunnels: int = 0


NOBODY = Standing(NO_RIGHTS)
"""The standing of every caller who is not known yet: it may do nothing, so that nothing on it ever changes."""


class Nesting(Protocol):
    """The router, as a handler sees it."""

    async def nested(self, within: Call, name: str, params: msgspec.Raw, *, held: frozenset[str]) -> bytes:
        """Do a syscall within a call, with no more than the `held` capabilities; raises SyscallError."""


Work = Callable[[], Awaitable[bytes | Pieces]]
"""What an admitted call still has to do: its result as JSON, or, where the call can be streamed, the pieces of it."""


class Call(msgspec.Struct, kw_only=True, eq=False):
    """One syscall. Times are seconds of the monotonic clock, but for `started_ns` (since the epoch)."""

    name: str
    caller: Caller
    audit_id: str
    started: float
    started_ns: int
    router: Nesting
    standing: Standing
    params: msgspec.Raw = _NO_PARAMS
    context: Context = _NO_CONTEXT
    held: frozenset[str] = frozenset()
    """The capabilities in force: the agent's, and within a tool's call only those that the Tool has too."""
    caps_required: tuple[str, ...] = ()
    usd_max: int | None = None
    bought: int = 0
    """What it and the calls within it have reserved and spent, in micro-USD; kept on the outermost call alone."""
    deadline: float = float("inf")
    slowest: str = ""
    """Which limit set the deadline, for the message of a time-out."""
    within: Call | None = None
    tool: str = ""
    """The tool that makes this nested call; empty for a call of the agent's own code."""
    streams: bool = False
    """Can whoever asks take an answer piece by piece?"""
    dialect: str = ""
    """The dialect in which it would take the pieces as a backend sends them; empty: in none."""
    worst: int = 0
    """What it may cost at most, where a handler knows that only by the params; noted when it is admitted."""
    reserved: Claim = Claim()
    """What is set aside for it until it is over."""
    tokens_max: int = 0
    """Tokens that it may use at most, as its handler says when it admits."""
    subject: str = ""
    idempotent: bool = False
    """Whether doing it twice does no more than doing it once, as its handler says when it admits. What is not, is in the
    journal before its answer goes out, and is not begun when the journal is full."""
    begun: bool = False
    """Whether the work began: from then on something may have happened that a record must tell of."""
    engine: Engine = KERNEL
    micro_usd: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    """What came from the network and what went there, whatever became of the call."""
    answered: float | None = None
    """When the answer began, where it goes on for longer than the work took: what comes after is not latency."""

    @property
    def rights(self) -> Rights:
        """What the agent may do, by the grant in force."""
        return self.standing.rights

    def by(self, *, seconds: float, limit: str) -> None:
        """Be done within `seconds` of the start; the tightest of all limits holds."""
        if self.started + seconds < self.deadline:
            self.deadline, self.slowest = self.started + seconds, limit
