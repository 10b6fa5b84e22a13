"""The runner's HTTP face, raw ASGI: the calls' WebSocket, health, readiness, metrics.

It stands apart from the calls so that they are tested without a server. It must never accept an upgrade that the
tenant's key did not sign: whoever reaches this port could otherwise call the tool past policy and audit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import orjson
import prometheus_client
from prometheus_client import exposition

from aion.api import errors as contract
from aion.api import signing, toolcall
from aion.toolrunner.calls import Load, Session
from aion.toolrunner.engine import Engine

READY_WAIT_S = 4.0
"""The kubelet asks with a time-out of 5 s: a question that waits here sees readiness the moment it is there."""

DRAIN_LOOK_S = 0.05

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class App:
    """One tool's runner."""

    def __init__(self, engine: Engine, tool: toolcall.RunnerTool, *, keys: signing.Keys) -> None:
        self._engine = engine
        self._tool = tool
        self._keys = keys
        self._seen = signing.ReplayCache()
        self._load = Load()
        self._ready = asyncio.Event()
        self._metrics = prometheus_client.CollectorRegistry()
        gauge = prometheus_client.Gauge("aion_tool_calls_in_flight", "Calls in flight", registry=self._metrics)
        gauge.set_function(lambda: self._load.in_flight)

    async def load(self) -> None:
        """Load the engine; readiness turns true after it. Raises BadArtefact."""
        await self._engine.load()
        self._ready.set()

    async def drain(self, within_s: float) -> None:
        """Begin no more calls, and wait for those in flight, for so long at most."""
        self._load.stopping = True
        ends = time.monotonic() + within_s
        while self._load.in_flight and time.monotonic() < ends:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(DRAIN_LOOK_S)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        match scope["path"]:
            case "/healthz":
                await _answer(send, 200, {"status": "ok"})
            case "/readyz":
                await self._readyz(send)
            case "/metrics":
                body = exposition.generate_latest(self._metrics)
                await _answer(send, 200, body, exposition.CONTENT_TYPE_LATEST)
            case _:
                await _answer(send, 404, {"error": {"code": "E_NO_SYSCALL", "message": "a tool answers /v1/calls"}})

    async def _readyz(self, send: Send) -> None:
        try:
            await asyncio.wait_for(self._ready.wait(), READY_WAIT_S)
        except TimeoutError:
            reason = "the tool's file or socket is not there yet: see the container `tool`"
            await _answer(send, 503, {"status": "waiting", "reason": reason})
        else:
            await _answer(send, 200, {"status": "ok"})

    async def _websocket(self, scope: Message, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            self._identify(scope)
            await self._loaded()
        except contract.SyscallError as refused:
            body = orjson.dumps({"status": "error", "error": {"code": refused.code, "message": refused.message}})
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            status = refused.http_status
            await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})
            return
        await send({"type": "websocket.accept"})
        session = Session(self._engine, self._tool, load=self._load, send=_sender(send))
        try:
            await self._converse(session, receive, send)
        finally:
            await session.close()

    def _identify(self, scope: Message) -> None:
        if scope["path"] != toolcall.PATH:
            raise contract.NoSuchSyscall(f"no such path, expected {toolcall.PATH}")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        now_ms = time.time_ns() // 1_000_000
        signing.verify(headers, "GET", target, b"", keys=self._keys, now_ms=now_ms, seen=self._seen)

    async def _loaded(self) -> None:
        """Hold the upgrade until calls can be served; raises Unavailable before the caller's patience ends (5 s)."""
        try:
            await asyncio.wait_for(self._ready.wait(), READY_WAIT_S)
        except TimeoutError:
            raise contract.Unavailable("the tool is not loaded yet: see the container `tool`") from None

    async def _converse(self, session: Session, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "websocket.receive":
            try:
                await session.receive(message.get("text") or "")
            except msgspec.DecodeError as bad:
                await send({"type": "websocket.close", "code": 1003, "reason": f"not a frame: {bad}"[:120]})
                return


def _sender(send: Send) -> Callable[[bytes], Awaitable[None]]:
    async def forward(frame: bytes) -> None:
        try:
            await send({"type": "websocket.send", "text": frame.decode()})
        except OSError:
            return  # the caller is gone; the session ends its calls

    return forward


async def _answer(send: Send, status: int, body: object, content_type: str = "application/json") -> None:
    payload = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(payload)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})
