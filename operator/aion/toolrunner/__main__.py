"""`python -m aion.toolrunner`: serves one Tool on :8020, until SIGTERM.

It stands apart because it alone assembles: environment, engine, server. It must never go on with a tool that can
never run: the reason goes to the termination log, where the controller finds it for the Tool's condition.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop

from aion.api import toolcall
from aion.telemetry import termination
from aion.toolrunner import errors, local, mcp_remote, mcp_stdio, native
from aion.toolrunner.app import App
from aion.toolrunner.engine import Engine
from aion.toolrunner.settings import Keys, Settings

FIRST_FD = 3

DRAIN_S = 20.0
"""With 2 s before and 2 s after it below the Pod's 30 s."""


def engine_of(tool: toolcall.RunnerTool, settings: Settings) -> Engine:
    """Choose the engine for the tool's kind."""
    if tool.kind == "mcp-remote":
        return mcp_remote.McpRemote(tool.url, name=tool.name)
    if tool.kind != "wasm":
        starter: local.Spawned | native.Served = native.Served(settings.tool_socket)
        if settings.tool_argv is not None:
            starter = local.Spawned(shlex.split(settings.tool_argv), cwd=Path.cwd())
        if tool.kind == "mcp-stdio":
            return mcp_stdio.McpServer(starter, name=tool.name)
        return native.Native(starter)
    from aion.toolrunner.wasm import Wasm

    async def fetch() -> bytes:
        if settings.tool_file is not None:
            return await asyncio.to_thread(settings.tool_file.read_bytes)
        return await native.fetch(settings.tool_socket)

    return Wasm(fetch, memory_mb=tool.memory_mb)


def inherited() -> list[socket.socket] | None:
    """Take the listening sockets that aion-launch opened before this process began; None where it did not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    return [socket.socket(fileno=FIRST_FD + n) for n in range(int(os.environ.get("LISTEN_FDS", "0")))] or None


class Server(uvicorn.Server):
    """uvicorn's, whose first signal only asks: calls in flight end first. The second one ends it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the interpreter, between any two steps."""
        if self.asked.is_set():
            super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self.asked.set)


async def leave(app: App, server: Server, *, linger_s: float) -> None:
    """After the first signal: go on while others learn of it, begin nothing new, end what was begun, end."""
    await server.asked.wait()
    await asyncio.sleep(linger_s)
    await app.drain(DRAIN_S)
    server.should_exit = True


async def serve(settings: Settings) -> int:
    """Serve until a signal; 65 when the tool can never run."""
    tool = toolcall.runner_tool(settings.tool)
    engine = engine_of(tool, settings)
    app = App(engine, tool, keys=Keys(settings.keys_dir, tenant=settings.tenant))
    server = Server(
        uvicorn.Config(
            app,
            host="0.0.0.0",  # noqa: S104 - the Service reaches it on the Pod's address
            port=settings.port,
            http="httptools",
            ws="websockets-sansio",
            ws_max_size=1 << 21,
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=inherited()))
    loading = asyncio.create_task(app.load())
    leaving = asyncio.create_task(leave(app, server, linger_s=settings.linger_s))
    await asyncio.wait((serving, loading), return_when=asyncio.FIRST_COMPLETED)
    try:
        if loading.done() and (bad := loading.exception()) is not None:
            server.should_exit = True
            await serving
            if not isinstance(bad, errors.BadArtefact):
                raise bad
            return termination.leave(termination.EX_DATAERR, f"Tool {tool.name}@{tool.version} cannot run: {bad}")
        await serving
    finally:
        loading.cancel()
        leaving.cancel()
        await engine.close()
    return 0


def main() -> None:
    """Read the environment and serve."""
    settings = Settings()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(serve(settings)))


if __name__ == "__main__":
    main()
