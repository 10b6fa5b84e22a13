"""Real tool runners on loopback, and peers that only pretend to be one."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
import wasmtime
from aiohttp import web

from aion.api import signing, toolcall
from aion.toolrunner.app import App
from aion.toolrunner.engine import Document, Engine, Invocation, Syscall
from aion.toolrunner.local import Spawned
from aion.toolrunner.native import Native
from aion.toolrunner.wasm import Wasm

SECRET = b"0123456789abcdef0123456789abcdef"


def sign(target: str, *, secret: bytes = SECRET) -> Mapping[str, str]:
    return signing.headers(
        secret,
        method="GET",
        target=target,
        tenant="tenant-a",
        key_id="k1",
        now_ms=time.time_ns() // 1_000_000,
        nonce=secrets.token_urlsafe(18),
    )


def program(code: str, folder: Path = Path()) -> Engine:
    """A native tool: a shell's text, run as a process a call."""
    return Native(Spawned(["/bin/sh", "-c", code], cwd=folder))


class Engineered:
    """An engine that does what a test says."""

    def __init__(self, act: Callable[[Invocation, Syscall], Awaitable[Document]], *, loads_within_s: float = 0) -> None:
        self.act = act
        self.calls = 0
        self.loaded = False
        self._loads_within_s = loads_within_s

    async def load(self) -> None:
        await asyncio.sleep(self._loads_within_s)
        self.loaded = True

    async def close(self) -> None:
        pass

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:
        self.calls += 1
        return await self.act(invocation, syscall)


def wasm_that_asks(request: str) -> Engine:
    """A wasm tool whose whole answer is what one nested syscall answers."""
    data = request.replace("\\", "\\\\").replace('"', '\\"')
    text = f"""(module (import "aion" "syscall" (func $syscall (param i32 i32) (result i64)))
      (memory (export "memory") 2) (global $top (mut i32) (i32.const 70000))
      (func (export "aion_alloc") (param $n i32) (result i32) (local $at i32)
        (local.set $at (global.get $top))
        (global.set $top (i32.add (global.get $top) (local.get $n))) (local.get $at))
      (data (i32.const 16) "{data}")
      (func (export "aion_call") (param i32 i32) (result i64)
        (call $syscall (i32.const 16) (i32.const {len(request)}))))"""

    async def fetch() -> bytes:
        return bytes(wasmtime.wat2wasm(text))

    return Wasm(fetch, memory_mb=16)


class Runner:
    """One that is up."""

    def __init__(self, server: uvicorn.Server, app: App, port: int) -> None:
        self._server = server
        self.app = app
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"

    @property
    def connections(self) -> int:
        return len(self._server.server_state.connections)

    def hang_up(self) -> None:
        """End every connection as a process does that is killed."""
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


@asynccontextmanager
async def running(engine: Engine, *, timeout_ms: int = 5000, port: int = 0) -> AsyncIterator[Runner]:
    tool = toolcall.RunnerTool(name="echo", version="1.2.0", kind="native", input_schema={}, timeout_ms=timeout_ms)
    app = App(engine, tool, keys=lambda tenant, key_id: SECRET if (tenant, key_id) == ("tenant-a", "k1") else None)
    loading = asyncio.create_task(app.load())
    await asyncio.sleep(0)
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=1 << 21,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    runner = Runner(server, app, listening.getsockname()[1])
    try:
        yield runner
    finally:
        # not server.shutdown: it sleeps a tenth of a second, which is most of a test's time
        for each in server.servers:
            each.close()
        runner.hang_up()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
        await loading
        await engine.close()


class Impostor:
    """A WebSocket server that is no runner: each connection is handled by `act`, and counted."""

    def __init__(self, act: Callable[[web.WebSocketResponse], Awaitable[None]]) -> None:
        self._act = act
        self.connections = 0
        self.transports: list[Any] = []
        self.endpoint = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Impostor"]:
        app = web.Application()
        app.router.add_get(toolcall.PATH, self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        self.transports.append(request.transport)
        # what it is sent stays unread until `act` reads it
        answer = web.WebSocketResponse(max_msg_size=0, autoclose=False)
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._act(answer)
        return answer
