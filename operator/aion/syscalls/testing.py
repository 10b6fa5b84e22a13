"""What stands in for the rest of a process where syscalls are tested: a door, an audit, tools, a handler, time, spans.

Shipped and typed so that gateway, kernel and benchmarks test against the real router with only its surroundings played.
Each fake does what its protocol says and keeps what it was given, in the open. It must never be assembled into a process
that serves anybody: its door lets in whoever it knows by name alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from aion.api import auditchain, channel, errors, generation, syscall
from aion.api.grant import Backend, FetchRule, Grant, Limits, ModelRoute, ToolGrant
from aion.syscalls import rights, router
from aion.syscalls.call import Call, Caller, Standing, Work
from aion.syscalls.toollink import Ask
from aion.telemetry import spans

TENANT = "tenant-a"
AGENT = "agent://tenant-a/researcher"

_ANYTHING: dict[str, object] = {"type": "object"}


def granted(
    agent_id: str = AGENT,
    *,
    capabilities: Sequence[str] = ("network",),
    syscalls: Sequence[str] = syscall.NAMES,
    tools: Sequence[ToolGrant] = (),
    fetch: Sequence[FetchRule] = (),
    models: Sequence[ModelRoute] = (),
    backends: Sequence[Backend] = (),
    limits: Limits | None = None,
    budget_micro_usd: int | None = None,
    call_micro_usd: int | None = None,
    task_micro_usd: int | None = None,
    hour_micro_usd: int | None = None,
    minute_tokens: int | None = None,
    trace_ratio: float = 0.0,
    policy_revision: int = 7,
    refused: dict[str, str] | None = None,
) -> Grant:
    """A grant that allows every syscall and the network, unless told otherwise; no tools and no hosts, unless named."""
    tenant, _, name = agent_id.removeprefix("agent://").partition("/")
    return Grant(
        agent_id=agent_id,
        tenant=tenant,
        name=name,
        version="1.0.0",
        capabilities=tuple(capabilities),
        syscalls=tuple(syscalls),
        tools=tuple(tools),
        fetch=tuple(fetch),
        models=tuple(models),
        backends=tuple(backends),
        limits=limits or Limits(),
        budget_micro_usd=budget_micro_usd,
        call_micro_usd=call_micro_usd,
        task_micro_usd=task_micro_usd,
        hour_micro_usd=hour_micro_usd,
        minute_tokens=minute_tokens,
        trace_ratio=trace_ratio,
        policy_revision=policy_revision,
        refused=refused or {},
    )


def a_tool(
    name: str = "echo",
    *,
    endpoint: str = "http://echo.invalid:8020",
    needs: Sequence[str] = (),
    schema: dict[str, object] | None = None,
    idempotent: bool = False,
    timeout_ms: int = 5000,
) -> ToolGrant:
    """A Tool as a grant lists it: takes anything and needs nothing, unless told otherwise."""
    return ToolGrant(
        name=name,
        version="1.2.0",
        endpoint=endpoint,
        input_schema=schema or _ANYTHING,
        capabilities_required=tuple(needs),
        idempotent=idempotent,
        timeout_ms=timeout_ms,
    )


class FixedKeys:
    """Keys of model backends, by name: for `model_generate.ModelKeys`."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys

    def key(self, name: str) -> str:
        """The key of this name; empty where there is none."""
        return self.keys.get(name, "")


class OpenDoor:
    """A router.Door: the standings of the agents that were granted anything."""

    def __init__(self, *grants: Grant) -> None:
        self.standings: dict[str, Standing] = {}
        self.closed: errors.SyscallError | None = None
        """What everybody is told, if not None."""
        for grant in grants:
            self.grant(grant)

    def grant(self, grant: Grant) -> Standing:
        """Hold an agent to a grant from now on; its account and its calls under way live on."""
        made = rights.of(grant)
        standing = self.standings.setdefault(grant.agent_id, Standing(made))
        standing.rights = made
        return standing

    def standing(self, caller: Caller, agent_id: str) -> Standing:
        """The caller's standing; where the caller is a whole tenant, that of the agent which the request names."""
        if self.closed is not None:
            raise self.closed
        speaks = caller.agent_id or agent_id
        if speaks not in self.standings:
            raise errors.Unavailable(f"nothing is granted to {speaks or 'nobody'}")
        standing = self.standings[speaks]
        if standing.rights.tenant != caller.tenant:
            raise errors.TenantMismatch(f"got an agent of {standing.rights.tenant}, the caller is of {caller.tenant}")
        return router.owner_only(standing, agent_id)


class KeptAudit:
    """A router.AuditSink in memory. While `broken` says why, it keeps nothing more."""

    def __init__(self) -> None:
        self.records: list[channel.AuditRecord] = []
        self.broken: str | None = None
        self._place = auditchain.Place(1, auditchain.genesis("kept", 0))

    def check(self, *, harmless: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """Raise Unavailable while broken."""
        if self.broken is not None:
            raise errors.Unavailable(f"the audit cannot be written: {self.broken}", retry_after_ms=1000)

    def place(self) -> auditchain.Place:
        """After the last record."""
        return self._place

    def append(self, record: channel.AuditRecord, *, urgent: bool, done: bool) -> None:
        """Keep it, but for an urgent one of a call that was not done while broken."""
        if done or not (urgent and self.broken is not None):
            self.records.append(record)
            self._place = auditchain.Place(record.n + 1, auditchain.digest(auditchain.canonical(record)))
        if urgent:
            self.check()


class KeptSpans:
    """A spans.Spans in memory."""

    live = True

    def __init__(self) -> None:
        self.spans: list[spans.Span] = []

    def record(self, span: spans.Span) -> None:
        """Keep it."""
        self.spans.append(span)

    def close(self) -> None:
        """Nothing is queued."""


class ScriptedTools:
    """A toolchannels.Tools without a runner: every call is done by `act`, and kept in `asked` with its endpoint."""

    def __init__(self, act: Callable[[Ask], Awaitable[bytes]]) -> None:
        self._act = act
        self.asked: list[tuple[str, Ask]] = []

    async def invoke(self, endpoint: str, ask: Ask, *, idempotent: bool) -> bytes:  # noqa: ARG002 - the protocol's
        """Do what the script says."""
        self.asked.append((endpoint, ask))
        return await self._act(ask)


async def _nothing(_call: Call) -> bytes:
    return b"{}"


class Scripted:
    """A handler.Handler: admits everybody, costs `price` at most, and does what `act` says."""

    def __init__(
        self,
        name: str,
        act: Callable[[Call], Awaitable[bytes]] = _nothing,
        *,
        price: int = 0,
        capability: str | None = None,
        idempotent: bool = False,
    ) -> None:
        self.name = name
        self.idempotent = idempotent
        self.capability = capability
        self.price = price
        self.calls: list[Call] = []
        """Those that were begun."""
        self._act = act

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """The price, in micro-USD."""
        return self.price

    def admit(self, call: Call) -> Work:
        """Say yes."""
        call.idempotent = self.idempotent

        async def work() -> bytes:
            self.calls.append(call)
            return await self._act(call)

        return work


class ScriptedPieces:
    """A stream.Pieces: brings what it is given (an error is raised), waits where it is given an Event, counts each byte or word as a token.

    Each token costs one micro-USD. `closed` says how often it was let go, `comes` what is still to come.
    """

    def __init__(
        self,
        call: Call,
        pieces: Sequence[bytes | generation.Chunk | Exception | asyncio.Event],
        *,
        relayed: bool = False,
    ) -> None:
        self.relayed = relayed
        self.model, self.backend = "scripted-1", "scripted"
        self.closed = 0
        self._call = call
        self.comes = list(pieces)
        self._seen = 0
        self._waits: asyncio.Future[None] | None = None

    @property
    def usage(self) -> generation.Usage:
        """One token in, and one out for each piece that was taken."""
        return generation.Usage(tokens_in=1, tokens_out=self._seen)

    async def next(self) -> bytes | generation.Chunk | None:
        """What comes next."""
        while self.comes and not self.closed:
            piece = self.comes.pop(0)
            if isinstance(piece, asyncio.Event):
                await self._until(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                self._seen += 1
                return piece
        if self.closed:
            raise errors.UpstreamFailed("the stream was closed")
        return None

    async def _until(self, event: asyncio.Event) -> None:
        self._waits = asyncio.ensure_future(_set(event))
        try:
            await self._waits
        except asyncio.CancelledError:
            if not self.closed:
                raise

    def close(self) -> None:
        """Note what was used."""
        self.closed += 1
        self._call.tokens_in, self._call.tokens_out, self._call.micro_usd = 1, self._seen, 1 + self._seen
        if self._waits is not None:
            self._waits.cancel()


async def _set(event: asyncio.Event) -> None:
    await event.wait()


class ScriptedStream:
    """A handler.Handler of model.generate whose every answer is the same pieces; `begun` keeps those it gave out."""

    name = generation.SYSCALL
    capability = None

    def __init__(
        self,
        *pieces: bytes | generation.Chunk | Exception | asyncio.Event,
        price: int = 0,
        relays: str = "",
    ) -> None:
        self._pieces = pieces
        self._price = price
        self._relays = relays
        self.begun: list[ScriptedPieces] = []

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """The price, in micro-USD."""
        return self._price

    def admit(self, call: Call) -> Work:
        """Say yes."""
        call.subject = "scripted-1"

        async def work() -> ScriptedPieces:
            made = ScriptedPieces(call, self._pieces, relayed=bool(self._relays) and call.dialect == self._relays)
            self.begun.append(made)
            return made

        return work


class StillTime:
    """Time that stands still until a test moves it. `now` is in seconds, both of the monotonic clock and the epoch."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now
        self.luck = 0.5
        """What every toss of the coin gives."""
        self._random = random.Random(7)  # noqa: S311 - ids of a test need only differ

    def clock(self) -> router.Clock:
        """The router's clock."""
        return router.Clock(
            monotonic=lambda: self.now,
            epoch_ns=lambda: int(self.now * 1_000_000_000),
            random_bytes=self._random.randbytes,
            toss=lambda: self.luck,
        )


def request(name: str, params: object = None, **fields: object) -> bytes:
    """The body of `POST /v1/syscall/{name}` by the contract."""
    return msgspec.json.encode({"schema": syscall.SCHEMA, "syscall": name, "params": params or {}, **fields})


async def hangs(_call: Call) -> bytes:
    """Never end by itself: for `act`."""
    await asyncio.Event().wait()
    return b"{}"
