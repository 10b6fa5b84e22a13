"""`WS /v1/channel`: one connection per gateway. Grants and revocations go down; heartbeats and audit come up.

It stands apart from the other routes because it is the one long-lived, two-way conversation, and because two of its
rules are easy to break: audit batches are kept in the order in which they came (a batch that was acknowledged out of
order would hide a lost one before it), and a record may only speak of the agent whose token opened the channel.
It must never acknowledge what the store did not keep.
"""

import asyncio
import contextlib
import random
import time

import msgspec
import structlog
from fastapi import WebSocket, WebSocketDisconnect

from aion.api import auditchain, channel, errors, ids
from aion.kernel import drafts, lending, refusal
from aion.kernel.auth import Asked, Caller, Gateways
from aion.kernel.clock import wall_ms
from aion.kernel.grants import Grants
from aion.kernel.leaving import Leaving
from aion.kernel.metrics import KernelMetrics
from aion.kernel.store import GATEWAY, Sighting, Store

HELLO_S = 10.0
"""A gateway says who it is at once; this only has to cover a Pod that is starved of CPU."""

ABSENT_S = 5.0
"""The controller makes the Pod after the Agent, but our watch may lag behind: this long we wait before saying no."""

RETRY_S = (0.2, 2.0)
"""Between two attempts to keep an audit batch, with jitter."""

PATIENCE_S = 15.0
"""An audit batch is tried for so long; then the gateway is asked to come back with it. While we try we do not read, so a
gateway that left would not be noticed, and each of its new connections would leave one that tries for ever."""

LEAVING_RETRY_MS = 1000
"""By then the endpoints of the Service are others."""

RENEW_S = 30.0
"""A busy gateway sends audit and no heartbeat: its sighting is renewed by whatever it sends, this often at most."""

RESTARTING, UNAVAILABLE, DISAGREES, GARBLED, SILENT = 1012, 1013, 4403, 4400, 4408

_log = structlog.get_logger()


class Channels:
    """Serves the gateways of one replica."""

    def __init__(
        self,
        *,
        tokens: Gateways,
        leaving: Leaving,
        grants: Grants,
        store: Store,
        metrics: KernelMetrics,
        silent_after_s: int = 90,
    ) -> None:
        self._tokens = tokens
        self._leaving = leaving
        self._grants = grants
        self._store = store
        self._metrics = metrics
        self._silent_after_s = silent_after_s

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from its upgrade to its end."""
        try:
            if self._leaving.begun:
                raise errors.Unavailable("this kernel is stopping; come back", retry_after_ms=LEAVING_RETRY_MS)
            caller = await self._tokens.gateway(Asked.of(socket.scope))
        except errors.SyscallError as refused:
            self._metrics.refused.labels(refused.code).inc()
            await socket.send_denial_response(refusal.response(refused))
            return
        await socket.accept()
        try:
            hello = await _hello(socket, caller)
            async with asyncio.timeout(HELLO_S):
                await self._grants.wait_ready()
        except _Closing as closing:
            await refusal.hang_up(socket, code=closing.code, reason=closing.reason)
        except TimeoutError:
            await refusal.hang_up(socket, code=UNAVAILABLE, reason=f"{self._not_yet()}; come back")
        except WebSocketDisconnect:
            return
        else:
            await self._converse(socket, caller, hello)

    async def _leave(self) -> None:
        """End when this replica leaves; what it had not acknowledged, the gateway brings to the next one."""
        await self._leaving.my_turn()
        raise _Closing(RESTARTING, "this kernel is stopping; come back")

    def _not_yet(self) -> str:
        if not self._grants.registry.synced:
            return "the kernel has not read the cluster yet"
        return "the kernel has no policy in force yet"

    async def _converse(self, socket: WebSocket, caller: Caller, hello: channel.Hello) -> None:
        tenant, name = ids.parse_agent_id(caller.agent_id)
        self._metrics.channels.inc()
        _log.info("channel.open", tenant=tenant, agent=name, pod=hello.pod, gateway=hello.version)
        await self._tell("connected", tenant, name, pod=hello.pod)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._grant(socket, tenant, name))
                both.create_task(self._listen(socket, caller, hello))
                both.create_task(self._leave())
        except* _Closing as closing:
            first = closing.exceptions[0]
            if isinstance(first, _Closing):
                await refusal.hang_up(socket, code=first.code, reason=first.reason)
        except* WebSocketDisconnect:
            pass
        finally:
            self._metrics.channels.dec()
            _log.info("channel.closed", tenant=tenant, agent=name, pod=hello.pod)
        await self._tell("disconnected", tenant, name, pod=hello.pod)

    async def _grant(self, socket: WebSocket, tenant: str, name: str) -> None:
        """Send what the agent may do, at once and at every change."""
        sent: channel.Down | None = None
        with self._grants.registry.bells.listen(tenant) as bell:
            await self._appeared(bell, tenant, name)
            while True:
                bell.clear()
                found = self._grants.of(tenant, name)
                frame: channel.Down = (
                    channel.Granted(found)
                    if found
                    else channel.Revoked(f"there is no Agent {name} in {tenant} any more")
                )
                if frame != sent:
                    await socket.send_text(channel.encode(frame).decode())
                    sent = frame
                    if found:
                        await self._tell("granted", tenant, name, revision=found.policy_revision)
                    else:
                        await self._forget(tenant, name)
                await bell.wait()

    async def _appeared(self, bell: asyncio.Event, tenant: str, name: str) -> None:
        """Return when the Agent is in the picture, or has had its time to come."""
        try:
            async with asyncio.timeout(ABSENT_S):
                while self._grants.of(tenant, name) is None:
                    await bell.wait()
                    bell.clear()
        except TimeoutError:
            return

    async def _forget(self, tenant: str, name: str) -> None:
        self._metrics.forget(tenant, name)
        await self._tell("revoked", tenant, name)
        with contextlib.suppress(errors.Unavailable):
            await self._store.forget(ids.agent_id(tenant, name))

    async def _tell(self, kind: str, tenant: str, name: str, **fields: str | int) -> None:
        """Publish what happened. Unlike audit this may be lost: the log has it too."""
        agent_id = ids.agent_id(tenant, name)
        with contextlib.suppress(errors.Unavailable):
            await self._store.publish(
                [drafts.of_agent(kind, tenant=tenant, agent=agent_id, now_ms=wall_ms(), **fields)]
            )

    async def _listen(self, socket: WebSocket, caller: Caller, hello: channel.Hello) -> None:
        """Keep what the gateway reports; ends by WebSocketDisconnect or _Closing."""
        beat = channel.Heartbeat(ts_ms=wall_ms(), inflight=0)
        await self._see(caller, hello, beat)
        seen_at = time.monotonic()
        while True:
            frame = await self._heard(socket)
            if isinstance(frame, channel.Audit):
                upto = await self._keep(caller, hello, frame)
                await socket.send_text(channel.encode(channel.Ack(upto)).decode())
            elif isinstance(frame, channel.Lease):
                await socket.send_text(channel.encode(await self._lend(caller, hello, frame)).decode())
            elif isinstance(frame, channel.Heartbeat):
                beat = frame
            else:
                raise _Closing(GARBLED, "hello is said once")
            if frame is beat or time.monotonic() - seen_at > RENEW_S:
                await self._see(caller, hello, beat)
                seen_at = time.monotonic()

    async def _lend(self, caller: Caller, hello: channel.Hello, lease: channel.Lease) -> channel.Leased:
        """Lend of the tenant's quota; a store that is away lends nothing, and says when to ask again."""
        tenant, _ = ids.parse_agent_id(caller.agent_id)
        try:
            return await lending.lend(
                self._store, self._grants.in_force(), tenant=tenant, holder=hello.chain, lease=lease
            )
        except errors.Unavailable as unavailable:
            return channel.Leased(refused=unavailable.message, retry_after_ms=unavailable.retry_after_ms or 1000)

    async def _heard(self, socket: WebSocket) -> channel.Up:
        try:
            async with asyncio.timeout(self._silent_after_s):
                return _decoded(await _text(socket))
        except TimeoutError:
            raise _Closing(SILENT, f"not a frame in {self._silent_after_s} s, three heartbeats") from None

    async def _see(self, caller: Caller, hello: channel.Hello, beat: channel.Heartbeat) -> None:
        tenant, name = ids.parse_agent_id(caller.agent_id)
        if self._grants.registry.agents.get(tenant, name) is not None:
            self._metrics.heartbeat(tenant, name)  # the gateway of a deleted Agent may beat on for a while
        policy = self._grants.policy
        sighting = Sighting(
            agent_id=caller.agent_id,
            tenant=tenant,
            name=name,
            via=GATEWAY,
            heard_ms=wall_ms(),
            version=hello.version,
            pod=hello.pod,
            inflight=beat.inflight,
            usage=msgspec.to_builtins(beat.usage),
            policy_revision=policy.revision if policy else 0,
        )
        try:
            await self._store.see(sighting, ttl_s=self._silent_after_s)
        except errors.Unavailable as unavailable:
            _log.warning("heartbeat.lost", tenant=tenant, agent=name, reason=str(unavailable))

    async def _keep(self, caller: Caller, hello: channel.Hello, batch: channel.Audit) -> int:
        """Keep a batch, asking an unavailable store again for a while; return its last `n`, or raise _Closing."""
        tenant, name = ids.parse_agent_id(caller.agent_id)
        for text in batch.records:
            record = _record(text)
            if record.tenant != tenant or record.agent not in (caller.agent_id, name):
                _log.error("audit.foreign", tenant=tenant, agent=name, claimed=f"{record.tenant} {record.agent}")
                raise _Closing(DISAGREES, f"an audit record speaks of {record.agent[:60]} of {record.tenant[:40]}")
        rows = [drafts.of_audit(text, chain=hello.chain) for text in batch.records]
        broken = drafts.of_break(chain=hello.chain, tenant=tenant, agent=caller.agent_id, now_ms=wall_ms())
        began = time.monotonic()
        while True:
            try:
                kept = await self._store.record(hello.chain, rows, broken=broken)
            except errors.Unavailable as unavailable:
                _log.warning("audit.waiting", tenant=tenant, agent=name, reason=str(unavailable))
                if time.monotonic() - began > PATIENCE_S:
                    raise _Closing(UNAVAILABLE, f"the audit cannot be kept; come back with it: {unavailable}") from None
                await asyncio.sleep(random.uniform(*RETRY_S))  # noqa: S311
            else:
                self._metrics.audit_records.inc(kept.fresh)
                for what in kept.breaks:
                    self._metrics.audit_breaks.labels(what).inc()
                    _log.error("audit.broken", tenant=tenant, agent=name, chain=hello.chain, what=what)
                return kept.upto


class _Closing(Exception):  # noqa: N818
    """The connection ends with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


async def _hello(socket: WebSocket, caller: Caller) -> channel.Hello:
    try:
        async with asyncio.timeout(HELLO_S):
            frame = _decoded(await _text(socket))
    except TimeoutError:
        raise _Closing(GARBLED, f"no hello within {HELLO_S:.0f} s") from None
    if not isinstance(frame, channel.Hello):
        raise _Closing(GARBLED, f"expected hello first, got {type(frame).__name__.lower()}")
    if frame.agent_id != caller.agent_id:
        raise _Closing(DISAGREES, f"the token is {caller.agent_id}'s, hello says {frame.agent_id}")
    if frame.pod != caller.pod:
        raise _Closing(DISAGREES, f"the token was issued to Pod {caller.pod}, hello says {frame.pod}")
    try:
        holder = auditchain.holder(frame.chain)
    except ValueError as malformed:
        raise _Closing(GARBLED, f"hello: {malformed}") from None
    # The Pod's uid, not its name: a Pod that is made anew has the same name and a journal that starts at 1.
    if holder != caller.pod_uid:
        raise _Closing(
            DISAGREES, f"the token was issued to the Pod of uid {caller.pod_uid}, its audit chain is {holder}'s"
        )
    return frame


async def _text(socket: WebSocket) -> str:
    """Return the next text frame; raises WebSocketDisconnect, or _Closing for a binary one."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    text: str | None = message.get("text")
    if text is None:
        raise _Closing(GARBLED, "got a binary frame, expected JSON text")
    return text


def _record(text: msgspec.Raw) -> channel.AuditRecord:
    try:
        return channel.decode_record(text)
    except (msgspec.DecodeError, RecursionError) as garbled:
        raise _Closing(GARBLED, f"not an audit record: {garbled}") from None


def _decoded(text: str) -> channel.Up:
    try:
        return channel.decode_up(text)
    except (msgspec.DecodeError, RecursionError) as garbled:
        raise _Closing(GARBLED, f"not a frame of the channel: {garbled}") from None
