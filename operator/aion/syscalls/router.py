"""The path of every syscall: identify, admit, dispatch, settle, audit. Gateway and kernel share it.

Apart because both must decide alike, whatever door the call came in by. It must never let a call pass without a record:
the record is written, or the answer is E_UNAVAILABLE. Between the check of a budget and its reservation there is no
await. A call that succeeds makes no log line and no span unless it was sampled.
"""

import asyncio
import contextlib
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, cast

import msgspec

from aion.api import auditchain, channel, errors, ids, syscall
from aion.syscalls import policies, records
from aion.syscalls.budgets import Claim
from aion.syscalls.call import NOBODY, Call, Caller, Standing, Work
from aion.syscalls.handler import Handler
from aion.syscalls.stream import Pieces, Stream
from aion.telemetry import logs, spans
from aion.telemetry.metrics import SyscallMetrics

MAX_DEPTH = 4  # a tool that calls a tool that calls a tool: an agent's call is depth 0
_BUSY_RETRY_MS = 50  # a seat is free again after one call's time
_JSON = (b"content-type", b"application/json")
_MAX_NAME = 64

_log = logs.get("syscalls")

Headers = tuple[tuple[bytes, bytes], ...]
_HEADERS: Headers = (_JSON,)


class Reply(NamedTuple):
    """An answer, ready for the wire."""

    status: int
    headers: Headers
    body: bytes


class Door(Protocol):
    """Who may stand before the router."""

    def standing(self, caller: Caller, agent_id: str) -> Standing:
        """The standing of the agent that speaks, `agent_id` being what its request says.

        Raises Unavailable without a valid grant, TenantMismatch or PolicyDenied for somebody else's agent.
        """


class AuditSink(Protocol):
    """Where records go."""

    def check(self, *, harmless: bool = False) -> None:
        """Raise Unavailable where the record of the next call, a harmless one or any, could not be kept."""

    def place(self) -> auditchain.Place:
        """Where the next record belongs."""

    def append(self, record: channel.AuditRecord, *, urgent: bool, done: bool) -> None:
        """Keep a record that was made for `place`; where it is urgent, before returning, or raise Unavailable.

        That of a call that was `done` is never forgotten, whatever is raised.
        """


class Clock(NamedTuple):
    """Time and chance, given so that tests can hold them still."""

    monotonic: Callable[[], float] = time.monotonic
    epoch_ns: Callable[[], int] = time.time_ns
    random_bytes: Callable[[int], bytes] = os.urandom
    toss: Callable[[], float] = random.random


def owner_only(standing: Standing, agent_id: str) -> Standing:
    """The standing, if the agent that a request names is the one that speaks; raises TenantMismatch or PolicyDenied."""
    own = standing.rights
    if agent_id and agent_id != own.agent_id:
        try:
            tenant, _ = ids.parse_agent_id(agent_id)
        except ValueError as error:
            raise errors.BadRequest(f"agent_id: {error}") from None
        if tenant != own.tenant:
            raise errors.TenantMismatch(f"got an agent of tenant {tenant}, the caller is {own.agent_id}")
        raise errors.PolicyDenied(
            f"got agent_id {agent_id}, the caller is {own.agent_id}",
            rule=f"identity.self@rev{own.grant.policy_revision}: an agent speaks for itself",
        )
    return standing


class Router:
    """One process's syscalls."""

    def __init__(
        self,
        *,
        door: Door,
        handlers: Sequence[Handler],
        audit: AuditSink,
        metrics: SyscallMetrics,
        gates: Sequence[policies.Policy] = (),
        tracer: spans.Spans | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._door = door
        self._handlers: Mapping[str, Handler] = {handler.name: handler for handler in handlers}
        self._audit = audit
        self._metrics = metrics
        self._spans: spans.Spans = tracer or spans.NoSpans()
        self._clock = clock or Clock()
        rules = (policies.HoldsCapabilities(self._handlers), policies.MayCall(self._handlers))
        self._rules = policies.AllOf(rules)
        self._policy = policies.AllOf([*gates, *rules])
        self._random = b""
        self._syscalls = self._tokens_in = self._tokens_out = self._micro_usd = 0

    async def handle(self, name: str, body: bytes, caller: Caller) -> Reply:
        """Answer `POST /v1/syscall/{name}`. Whatever happens there is an answer, and a record of it."""
        return cast("Reply", await self._answer(self._open(name, caller), body))

    async def serve(self, name: str, body: bytes, caller: Caller, *, dialect: str = "") -> Reply | Stream:
        """The same for a caller who can read a stream; `dialect` is the one whose pieces it takes as they come.

        A `Stream` is not over yet: it must be entered, read and left, and makes its record then.
        """
        call = self._open(name, caller)
        call.streams, call.dialect = True, dialect
        return await self._answer(call, body)

    async def _answer(self, call: Call, body: bytes) -> Reply | Stream:
        try:
            self._identify(call, body)
            result = await self._seated(call)
            if not isinstance(result, bytes):
                return Stream(call, result, over=self._over, broke=_broke, late=_late, clock=self._clock.monotonic)
        except errors.SyscallError as error:
            return self._refuse(call, error)
        except asyncio.CancelledError:
            self._refuse(
                call, errors.Unavailable("nobody waits for the answer: the caller left, or the process is stopping")
            )
            raise
        except Exception:  # noqa: BLE001 - the outermost loop of a call: a bug is answered and recorded like any failure
            return self._refuse(call, _broke(call))
        try:
            usage = self._close(call, None)
        except errors.SyscallError as unwritten:
            return _refusal(call, unwritten, syscall.Usage())
        return Reply(200, _HEADERS, syscall.ok(result, usage, call.engine, call.audit_id))

    def refuse(self, name: str, caller: Caller, error: errors.SyscallError) -> Reply:
        """Answer a request that could not even be read; it is counted and recorded like any other."""
        return self._refuse(self._open(name, caller), error)

    async def carry(self, handler: Handler, caller: Caller, *, subject: str, engine: syscall.Engine) -> Reply | None:
        """Do a syscall that is a conversation and not a question: `handler` speaks to its caller by itself.

        Same door, policies, budget, record and metrics as of any call of the handler's name. It sits on a seat of its own
        kind (`max_tunnels`), and lasts for as long as the policy lets a tunnel last. None where it was done; else the
        refusal, for whom has not begun to answer. `subject` and `engine` stand in the record of whatever becomes of it: where
        an agent without the capability wanted to go is what a reader of denials looks for.
        """
        call = self._open(handler.name, caller)
        call.subject, call.engine = subject, engine
        try:
            self._known(call)
            call.standing = self._door.standing(caller, caller.agent_id)
            call.held = call.rights.capabilities
            call.by(seconds=call.rights.grant.limits.tunnel_lifetime_s, limit="the policy's limits.tunnel_lifetime_s")
            await self._carried(call, handler)
        except errors.SyscallError as error:
            return self._refuse(call, error)
        except asyncio.CancelledError:
            self._refuse(call, errors.Unavailable("the process is stopping"))
            raise
        except Exception:  # noqa: BLE001 - as in `handle`
            return self._refuse(call, _broke(call))
        try:
            self._close(call, None)
        except errors.SyscallError as unwritten:
            return _refusal(call, unwritten, syscall.Usage())
        return None

    def judge_again(self, call: Call) -> None:
        """Hold a call that is under way against what is granted now; raises SyscallError where it may not go on.

        The gates are not asked: they keep new calls out while something else must happen first.
        """
        call.standing = self._door.standing(call.caller, call.caller.agent_id)
        call.held = call.rights.capabilities
        self._rules.verify(call)

    async def nested(self, within: Call, name: str, params: msgspec.Raw, *, held: frozenset[str]) -> bytes:
        """Do a syscall that a tool makes within a call: same door, same policies, same record, fewer capabilities."""
        call = self._open(name, within.caller)
        call.within, call.tool = within, within.subject
        try:
            self._identify_nested(call, within, params, held)
            result = cast("bytes", await self._perform(call))
        except errors.SyscallError as error:
            self._close(call, error)
            raise
        except asyncio.CancelledError:
            with contextlib.suppress(errors.SyscallError):  # nobody waits for this answer: being cancelled goes first
                self._close(call, errors.Unavailable("the call that this one belongs to is over"))
            raise
        except Exception:  # noqa: BLE001 - as in `handle`: the tool hears of a bug, and a record is left
            broken = _broke(call)
            self._close(call, broken)
            raise broken from None
        self._close(call, None)
        return result

    def _open(self, name: str, caller: Caller) -> Call:
        now = self._clock.epoch_ns()
        if len(self._random) < 10:
            self._random = self._clock.random_bytes(2560)
        drawn, self._random = self._random[:10], self._random[10:]
        return Call(
            name=name,
            caller=caller,
            audit_id=ids.audit_id(now // 1_000_000, drawn),
            started=self._clock.monotonic(),
            started_ns=now,
            router=self,
            standing=NOBODY,
        )

    def _identify(self, call: Call, body: bytes) -> None:
        """Say who asks for what, by which rights and until when."""
        self._known(call)
        request = syscall.decode(body, name=call.name)
        call.standing = self._door.standing(call.caller, request.agent_id)
        limits = call.rights.grant.limits
        if len(body) > limits.max_body_bytes:
            raise too_large(len(body), limits.max_body_bytes)
        call.params, call.context, call.caps_required = request.params, request.context, request.caps_required
        call.held, call.usd_max = call.rights.capabilities, request.budget.micro_usd
        call.by(seconds=limits.timeout_ms(call.name) / 1000, limit=limits.timeout_rule(call.name))
        if request.budget.latency_ms is not None:
            call.by(seconds=request.budget.latency_ms / 1000, limit="the request's budget.latency_ms")

    def _identify_nested(self, call: Call, within: Call, params: msgspec.Raw, held: frozenset[str]) -> None:
        """The same for a call within a call: the outer one's identity and deadline, and fewer capabilities."""
        self._known(call)
        depth = _depth(call)
        if depth > MAX_DEPTH:
            raise errors.PolicyDenied(
                f"syscalls within syscalls, {depth} deep: expected at most {MAX_DEPTH}",
                rule="syscalls.depth: a tool's call may make calls of its own, not without end",
            )
        call.standing = self._door.standing(within.caller, within.rights.agent_id)
        call.params, call.context = params, within.context
        call.held = held & within.held & call.rights.capabilities
        call.deadline, call.slowest = within.deadline, within.slowest

    def _known(self, call: Call) -> None:
        if call.name not in self._handlers:
            raise _unknown(call.name)

    async def _seated(self, call: Call) -> bytes | Pieces:
        """Do the call on one of the agent's seats. A nested call shares its outer call's: it could not finish else."""
        standing, most = call.standing, call.rights.grant.limits.max_concurrency
        if standing.inflight >= most:
            raise errors.Busy(
                f"{standing.inflight} calls are under way, expected at most {most} at once",
                retry_after_ms=_BUSY_RETRY_MS,
            )
        standing.inflight += 1
        goes_on = False
        try:
            result = await self._perform(call)
            goes_on = not isinstance(result, bytes)
            return result
        finally:
            if not goes_on:
                standing.inflight -= 1

    async def _carried(self, call: Call, handler: Handler) -> None:
        standing, most = call.standing, call.rights.grant.limits.max_tunnels
        if standing.tunnels >= most:
            raise errors.Busy(
                f"{standing.tunnels} tunnels are open, expected at most {most} at once (limits.max_tunnels)",
                retry_after_ms=_BUSY_RETRY_MS,
            )
        standing.tunnels += 1
        try:
            await self._perform(call, handler)
        finally:
            standing.tunnels -= 1

    async def _perform(self, call: Call, handler: Handler | None = None) -> bytes | Pieces:
        """Admit, reserve, work, settle; a stream settles when it is over."""
        self._policy.verify(call)
        handler = handler or self._handlers[call.name]
        work = handler.admit(call)
        self._audit.check(harmless=call.idempotent)
        worst = Claim(handler.worst_case(call), call.tokens_max)
        if worst.micro_usd or worst.tokens:
            await self._funded(call, worst)
            self._reserve(call, worst)  # no await since the money was there
        goes_on = False
        try:
            result = await self._timed(call, work)
            if not isinstance(result, bytes):
                if not call.streams:
                    result.close()
                    raise AssertionError(f"{call.name} answered by a stream, to a caller that cannot read one")
                goes_on = True
            return result
        finally:
            if not goes_on:
                self._settle(call)

    async def _timed(self, call: Call, work: Work) -> bytes | Pieces:
        left = call.deadline - self._clock.monotonic()
        call.begun = True
        try:
            async with asyncio.timeout(left):
                return await work()
        except TimeoutError:
            raise _late(call) from None

    def _over(self, call: Call, error: errors.SyscallError | None) -> syscall.Usage:
        """End a stream: give back its seat, charge what it took, and record it; raises Unavailable where it cannot."""
        call.standing.inflight -= 1
        self._settle(call)
        return self._close(call, error)

    async def _funded(self, call: Call, worst: Claim) -> None:
        """Wait until the tenant's quota has lent enough, if it must be asked at all."""
        purse = call.standing.ledger.purse
        if purse is not None and not purse.covers(*worst):
            await purse.filled(*worst, within_s=call.deadline - self._clock.monotonic())

    def _reserve(self, call: Call, worst: Claim) -> None:
        """Set aside what it may take: within agent, task and tenant, and what the outermost call may cost with all in it."""
        grant, outermost = call.rights.grant, _outermost(call)
        most = _tightest(grant.call_micro_usd, outermost.usd_max)
        left = None if most is None else max(0, most - outermost.bought)
        call.standing.ledger.reserve(
            worst, grant, call_max=left, task=call.context.task_id, now=self._clock.monotonic()
        )
        outermost.bought += worst.micro_usd
        call.reserved = worst

    def _settle(self, call: Call) -> None:
        """Charge what it took, once its work is over."""
        used = Claim(call.micro_usd, call.tokens_in + call.tokens_out)
        call.standing.ledger.settle(call.reserved, used, task=call.context.task_id, now=self._clock.monotonic())
        if call.reserved.micro_usd:
            _outermost(call).bought += call.micro_usd - call.reserved.micro_usd

    def _refuse(self, call: Call, error: errors.SyscallError) -> Reply:
        try:
            usage = self._close(call, error)
        except errors.SyscallError as unwritten:
            error, usage = unwritten, syscall.Usage()
        return _refusal(call, error, usage)

    def _close(self, call: Call, error: errors.SyscallError | None) -> syscall.Usage:
        """Count the call, make its span if somebody will see it, and record it.

        Denials, errors, money and side effects are in the journal before the answer; the rest is there within 20 ms.
        Where they cannot be, raises Unavailable, or UnknownOutcome where the effect cannot be taken back.
        """
        now = self._clock.monotonic()
        answered = now if call.answered is None else call.answered
        latency, held = (answered - call.started) * 1000, (now - answered) * 1000
        self._metrics.observe(call.name, records.decision(error), latency_ms=latency)
        self._count(call)
        parent = spans.parent_of(call.context.traceparent) if call.context.traceparent else None
        record = records.record(call, error, place=self._audit.place(), latency_ms=latency, parent=parent, held_ms=held)
        if self._spans.live and spans.wanted(
            parent, failed=error is not None, ratio=call.rights.grant.trace_ratio, toss=self._clock.toss
        ):
            self._spans.record(records.span(record, call.started_ns, parent, error))
        spent = call.micro_usd > 0 or call.tokens_in > 0 or call.tokens_out > 0
        urgent = error is not None or spent or not call.idempotent
        try:
            self._audit.append(record, urgent=urgent, done=call.begun)
        except errors.Unavailable as unwritten:
            if call.begun and not call.idempotent:
                raise errors.UnknownOutcome(
                    f"{call.name} was begun, its answer is withheld: {unwritten.message}"
                ) from None
            raise
        return syscall.Usage(
            latency_ms=latency, micro_usd=call.micro_usd, tokens_in=call.tokens_in, tokens_out=call.tokens_out
        )

    def _count(self, call: Call) -> None:
        self._syscalls += 1
        self._tokens_in += call.tokens_in
        self._tokens_out += call.tokens_out
        self._micro_usd += call.micro_usd

    @property
    def totals(self) -> channel.Totals:
        """What this process's callers have used since it started."""
        return channel.Totals(
            syscalls=self._syscalls,
            tokens_in=self._tokens_in,
            tokens_out=self._tokens_out,
            micro_usd=self._micro_usd,
        )


def _refusal(call: Call, error: errors.SyscallError, usage: syscall.Usage) -> Reply:
    headers: Headers = _HEADERS
    if error.retry_after_ms is not None:
        headers = (_JSON, (b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_ms / 1000))))
    return Reply(error.http_status, headers, syscall.failure(error, usage, call.audit_id))


def too_large(got: int, most: int) -> errors.BadRequest:
    """The body is longer than policy lets it be."""
    return errors.BadRequest(f"the body has {got} bytes or more, expected at most {most} (limits.max_body_bytes)")


def _unknown(name: str) -> errors.NoSuchSyscall:
    if name in syscall.NAMES:
        return errors.NoSuchSyscall(f"{name} is a syscall of {syscall.SCHEMA} that is not served here")
    return errors.NoSuchSyscall(f"got syscall {name[:_MAX_NAME]!r}, expected one of {', '.join(syscall.NAMES)}")


def _broke(call: Call) -> errors.Unavailable:
    """Log a bug and say so to the caller, who gets nothing of it but the place to look."""
    _log.exception("a syscall broke", syscall=call.name[:_MAX_NAME], audit_id=call.audit_id)
    return errors.Unavailable(f"an internal error, see the log at {call.audit_id}")


def _late(call: Call) -> errors.TimedOut:
    given = (call.deadline - call.started) * 1000
    return errors.TimedOut(
        f"{call.name} {call.subject} was not done within {given:.0f} ms, {call.slowest}",
        details={"timeout_ms": round(given), "limit": call.slowest},
    )


def _outermost(call: Call) -> Call:
    while call.within is not None:
        call = call.within
    return call


def _depth(call: Call) -> int:
    depth, at = 0, call.within
    while at is not None:
        depth, at = depth + 1, at.within
    return depth


def _tightest(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
