"""`/v1/events/stream`: the bus on the wire, as WebSocket and, at the same path, as server-sent events.

It stands apart from `bus` (what is delivered) so that both wires give the same rows. A tenant's caller sees its own
tenant, an operator sees all and may narrow by `tenant=`. It must never buffer for a slow reader beyond the bus's queue:
rows are joined and handed to the socket, which pushes back.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection

from aion.api import errors
from aion.api.event import TOPICS
from aion.kernel import refusal
from aion.kernel.auth import EVENTS_PATH, Asked, Authority, Caller
from aion.kernel.bus import Bus, Interest

QUIET_S = 15.0
"""After this long without an event a comment is sent, so that proxies keep the connection."""


class _Numbered(msgspec.Struct):
    seq: int


_numbered = msgspec.json.Decoder(_Numbered)


def asked(connection: HTTPConnection, *, body: bytes = b"") -> Asked:
    """Return the request as it was sent: raw path and query, since that is what a signature covers."""
    query: bytes = connection.scope["query_string"]
    target = connection.scope["raw_path"] + (b"?" + query if query else b"")
    method = str(connection.scope.get("method", "GET"))
    return Asked(method=method, target=target.decode("latin-1"), headers=connection.headers, body=body)


def routes(bus: Bus, authority: Authority) -> APIRouter:
    """Return the two wires over one bus."""
    router = APIRouter(tags=["events"])

    async def interest(connection: HTTPConnection) -> Interest:
        caller = await authority.caller(asked(connection), path=EVENTS_PATH)
        return _interest(caller, connection.query_params.get("topics"), connection.query_params.get("tenant"))

    @router.get(
        EVENTS_PATH, response_class=StreamingResponse, summary="Follow events (server-sent events; or a WebSocket)"
    )
    async def sse(request: Request, topics: str = "", since: int | None = None, tenant: str = "") -> Response:  # noqa: ARG001
        wanted = await interest(request)
        seen = request.headers.get("last-event-id", "")
        start = int(seen) if since is None and seen.isdecimal() else since
        return StreamingResponse(
            _sse(bus, wanted, since=start),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    @router.websocket(EVENTS_PATH)
    async def websocket(socket: WebSocket) -> None:
        try:
            wanted = await interest(socket)
            since = _since(socket.query_params.get("since"))
        except errors.SyscallError as refused:
            await socket.send_denial_response(refusal.response(refused))
            return
        await socket.accept()
        sending = asyncio.create_task(_send(socket, bus, wanted, since=since))
        gone = asyncio.create_task(_until_gone(socket))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    return router


def _interest(caller: Caller, topics: str | None, tenant: str | None) -> Interest:
    wanted = frozenset(filter(None, (topics or "").split(","))) or frozenset(TOPICS)
    if unknown := wanted - set(TOPICS):
        raise errors.BadRequest(f"got topics {sorted(unknown)}, expected any of {', '.join(TOPICS)}")
    if caller.tenant is not None and tenant and tenant != caller.tenant:
        raise errors.TenantMismatch(
            f"asked for tenant {tenant!r}, the caller proved {caller.tenant!r}", rule="identity.tenant"
        )
    return Interest(topics=wanted, tenant=caller.tenant if caller.tenant is not None else tenant or None)


def _since(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise errors.BadRequest(f"got since={text[:40]!r}, expected the seq of the last event seen, or 0 for all kept")
    return int(text)


async def _send(socket: WebSocket, bus: Bus, interest: Interest, *, since: int | None) -> None:
    try:
        async for rows in bus.follow(interest, since=since):
            for row in rows:
                await socket.send_text(row.decode())
    except errors.Unavailable as unavailable:
        await socket.close(code=1013, reason=str(unavailable)[:120])
    except WebSocketDisconnect:
        return


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _sse(bus: Bus, interest: Interest, *, since: int | None) -> AsyncIterator[bytes]:
    rows = aiter(bus.follow(interest, since=since))
    yield b": stream of aion.event.v1\n\n"
    pending: asyncio.Task[list[bytes]] | None = None
    try:
        while True:
            pending = pending or asyncio.create_task(_next(rows))
            done, _ = await asyncio.wait((pending,), timeout=QUIET_S)
            if not done:
                yield b": quiet\n\n"
                continue
            batch, pending = pending.result(), None
            yield b"".join(_sse_row(row) for row in batch)
    except errors.Unavailable as unavailable:
        yield b"event: error\ndata: %b\n\n" % refusal.body(unavailable)
    finally:
        if pending is not None:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)


async def _next(rows: AsyncIterator[list[bytes]]) -> list[bytes]:
    return await anext(rows)


def _sse_row(row: bytes) -> bytes:
    """Return one event; its id is what a browser sends as Last-Event-ID, and a gap counts as seen."""
    return b"id: %d\ndata: %b\n\n" % (_numbered.decode(row).seq, row)
