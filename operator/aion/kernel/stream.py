"""`/v1/events/stream`: the bus on the wire, as WebSocket and, at the same path, as server-sent events.

It stands apart from `bus` (what is delivered) so that both wires give the same rows. A tenant's caller sees its own
tenant, an operator sees all and may narrow by `tenant=`. It must never buffer for a slow reader beyond the bus's queue:
rows are joined and handed to the socket, which pushes back.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection

from aion.api import errors
from aion.api.event import TOPICS
from aion.kernel import refusal
from aion.kernel.auth import EVENTS_PATH, Asked, Authority, Caller
from aion.kernel.bus import Bus, Interest
from aion.kernel.metrics import KernelMetrics

COME_BACK_MS = (500, 3000)

QUIET_S = 15.0
"""After this long without an event a comment is sent, so that proxies keep the connection."""


class _Numbered(msgspec.Struct):
    seq: int


_numbered = msgspec.json.Decoder(_Numbered)


def routes(bus: Bus, authority: Authority, metrics: KernelMetrics) -> APIRouter:
    """Return the two wires over one bus."""
    router = APIRouter(tags=["events"])

    async def wanted(connection: HTTPConnection) -> Interest:
        caller = await authority.caller(Asked.of(connection.scope), path=EVENTS_PATH)
        query = connection.query_params
        return _interest(caller, query.get("topics"), query.get("tenant"))

    @router.get(
        EVENTS_PATH,
        response_class=StreamingResponse,
        summary="Follow events (server-sent events; or a WebSocket)",
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def sse(request: Request) -> Response:
        interest = await wanted(request)
        since = _since(request.query_params.get("since") or request.headers.get("last-event-id"))
        return StreamingResponse(
            _sse(bus, interest, since=since),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    @router.websocket(EVENTS_PATH)
    async def websocket(socket: WebSocket) -> None:
        try:
            interest = await wanted(socket)
            since = _since(socket.query_params.get("since"))
        except errors.SyscallError as refused:
            metrics.refused.labels(refused.code).inc()
            await socket.send_denial_response(refusal.response(refused))
            return
        await socket.accept()
        sending = asyncio.create_task(_send(socket, bus, interest, since=since), name="events-send")
        gone = asyncio.create_task(_until_gone(socket), name="events-gone")
        try:
            done, _ = await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
        for task in done:
            task.result()

    return router


_PARAMETERS: list[dict[str, Any]] = [
    {"name": name, "in": "query", "schema": {"type": kind}, "description": said}
    for name, kind, said in (
        ("topics", "string", f"comma-separated, of {', '.join(TOPICS)}; absent: all"),
        ("since", "integer", "the seq of the last event seen; 0: all that is kept; absent: what happens from now on"),
        ("tenant", "string", "one tenant, for an operator who may see all"),
    )
]


def _interest(caller: Caller, topics: str | None, tenant: str | None) -> Interest:
    wanted = frozenset(filter(None, (topics or "").split(","))) or frozenset(TOPICS)
    if unknown := wanted - set(TOPICS):
        raise errors.BadRequest(f"got topics {sorted(unknown)}, expected any of {', '.join(TOPICS)}")
    return Interest(topics=wanted, tenant=caller.narrow(tenant))


def _since(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise errors.BadRequest(f"got since={text[:40]!r}, expected the seq of the last event seen, or 0 for all kept")
    return int(text)


async def _send(socket: WebSocket, bus: Bus, interest: Interest, *, since: int | None) -> None:
    try:
        async with aclosing(bus.follow(interest, since=since)) as batches:
            async for rows in batches:
                for row in rows:
                    await socket.send_text(row.decode())
    except errors.Unavailable as unavailable:
        await refusal.hang_up(socket, code=1013, reason=str(unavailable))
    except WebSocketDisconnect:
        return
    else:
        await refusal.hang_up(socket, code=1001, reason="the kernel is stopping; come back with since=")


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _sse(bus: Bus, interest: Interest, *, since: int | None) -> AsyncGenerator[bytes, None]:
    yield b": stream of aion.event.v1\n\n"
    try:
        async with aclosing(bus.follow(interest, since=since, quiet_s=QUIET_S)) as batches:
            async for rows in batches:
                yield b"".join(_sse_row(row) for row in rows) or b": quiet\n\n"
        # Not all readers in one moment at the replicas that are left.
        yield b'retry: %d\nevent: end\ndata: {"reason":"the kernel is stopping; come back with since="}\n\n' % (
            random.randint(*COME_BACK_MS)  # noqa: S311
        )
    except errors.Unavailable as unavailable:
        yield b"event: error\ndata: %b\n\n" % refusal.body(unavailable)


def _sse_row(row: bytes) -> bytes:
    """Return one event; its id is what a browser sends as Last-Event-ID, and a gap counts as seen."""
    return b"id: %d\ndata: %b\n\n" % (_numbered.decode(row).seq, row)
