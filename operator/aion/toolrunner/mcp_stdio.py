"""The engine of `mcp:` entries: one MCP server kept running in the tool's container, spoken to over stdin and stdout.

It stands apart from a session with that process because this decides when there is one: started as the runner loads, begun
anew by the next call after it ended, killed with all that it started when it answers nothing any more. All calls share it,
whichever agent makes them: a server must keep nothing of one call for the next. It must never start a server in a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Protocol

from aion.toolrunner import errors, mcp_content
from aion.toolrunner.engine import Document, Invocation, Syscall
from aion.toolrunner.mcp_session import Session
from aion.toolrunner.native import Talk

OPEN_S = 20.0
"""An interpreter with a large library is seconds of a quarter of a core."""

STARTS = 4
"""So often a server is begun before its runner gives up; the kubelet's own back-off follows."""

PAUSE_S = 1.0
"""Between two starts, at least."""

NOISE = 500
"""So much of its last words goes to the person who reads why it never ran."""

ALIVE_S = 5.0
"""After a call that timed out, a server has so long to answer whether it is there."""


class Starter(Protocol):
    """Starts the server's process."""

    async def ready(self) -> None:
        """Wait until processes can be started."""

    def talk(self) -> contextlib.AbstractAsyncContextManager[Talk]:
        """Start it; leaving the context kills it and what it started."""


class McpServer:
    """The engine. `name` is what agents call the Tool."""

    def __init__(self, starter: Starter, *, name: str) -> None:
        self._starter = starter
        self._name = name
        self._tool = name
        self._opened: asyncio.Future[Session] | None = None
        self._life: asyncio.Task[None] | None = None
        self._started = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Start the server and find the tool; raises BadArtefact where neither will ever be."""
        await self._starter.ready()
        for _ in range(STARTS - 1):
            try:
                await self._running()
            except errors.CallFailed:
                await asyncio.sleep(PAUSE_S)
            else:
                return
        try:
            await self._running()
        except errors.CallFailed as failed:
            noise = (failed.details or {}).get("stderr", "")
            raise errors.BadArtefact(f"{failed.message}. {noise[-NOISE:]}".strip()) from None

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:  # noqa: ARG002 - it has no door out
        """Call the tool. At the time-out the server is told, and killed where it answers nothing else either."""
        try:
            async with asyncio.timeout(invocation.timeout_ms / 1000):
                session = await self._running()
                return await session.call(self._tool, dict(invocation.params))
        except TimeoutError:
            self._begin(self._look(), name="mcp-alive")
            raise errors.TooSlow(f"the MCP tool did not answer within {invocation.timeout_ms} ms") from None
        except errors.BadArtefact as changed:  # it has begun anew, and is not what it was
            raise errors.ToolFailed(str(changed)) from None

    async def close(self) -> None:
        """End the server and whatever it started."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _running(self) -> Session:
        """The session there is, or a new one; raises ToolFailed, or BadArtefact where the tool is not among the server's."""
        if self._opened is None or (why := _over(self._opened)) is not None:
            if self._opened is not None and time.monotonic() - self._started < PAUSE_S and why is not None:
                raise why
            self._started = time.monotonic()
            self._opened = asyncio.get_running_loop().create_future()
            self._opened.add_done_callback(_seen)
            self._life = self._begin(self._live(self._opened), name="mcp-server")
        return await asyncio.shield(self._opened)

    async def _live(self, opened: asyncio.Future[Session]) -> None:
        """The life of one process: in a task of its own, for the call that begins it may be over long before."""
        failed: Exception = errors.ToolFailed("the MCP server was ended before it was ready")
        try:
            async with self._starter.talk() as talk:
                session = Session(talk)
                hearing = asyncio.create_task(session.run(), name="mcp-hear")
                try:
                    async with asyncio.timeout(OPEN_S):
                        self._tool = mcp_content.chosen(self._name, await session.open())
                    opened.set_result(session)
                    await hearing
                finally:
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)
        except TimeoutError:
            failed = errors.ToolFailed(f"the MCP server did not shake hands within {OPEN_S:.0f} s")
        except (errors.CallFailed, errors.BadArtefact) as told:
            failed = told
        except OSError as lost:
            failed = errors.ToolFailed(f"the MCP server cannot be started: {lost}")
        finally:
            if not opened.done():
                opened.set_exception(failed)

    async def _look(self) -> None:
        """End a server that hangs: one that does not answer whether it is there."""
        opened, life = self._opened, self._life
        if opened is None or life is None or not opened.done() or _over(opened) is not None:
            return
        try:
            async with asyncio.timeout(ALIVE_S):
                await opened.result().answers()
        except TimeoutError:
            life.cancel()
        except errors.ToolFailed:
            return

    def _begin(self, work: Coroutine[None, None, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _over(opened: asyncio.Future[Session]) -> Exception | None:
    """Why a server is not there any more; None while it is, or is coming."""
    if not opened.done():
        return None
    failed = opened.exception()
    if failed is None:
        failed = opened.result().ended
    return failed if isinstance(failed, Exception) else None


def _seen(opened: asyncio.Future[Session]) -> None:
    """Nobody may wait any more when it fails, and that is no news for the log."""
    if not opened.cancelled():
        opened.exception()
