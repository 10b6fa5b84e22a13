"""Starts a tool's process on this machine: for `aionctl kernel dev`, where no tool container and no aion-launch is.

It stands apart because it runs the tool's code beside ours, without a sandbox. It must never be used in a Pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from aion.toolrunner import errors
from aion.toolrunner.native import STATUS, Process, Talk

CHUNK = 64 << 10


class Spawned:
    """Starts `argv` for each call, in a session of its own so that all it leaves behind dies with it."""

    def __init__(self, argv: Sequence[str], *, cwd: Path) -> None:
        self._argv = argv
        self._cwd = cwd

    async def ready(self) -> None:
        """A program needs no preparation."""

    @contextlib.asynccontextmanager
    async def start(self, document: bytes) -> AsyncIterator[Process]:
        """Start the program and feed it the document."""
        async with self._started(document) as running:
            yield running

    @contextlib.asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """Start a program that is spoken to until the context is left."""
        async with self._started(None) as running:
            yield running

    @contextlib.asynccontextmanager
    async def _started(self, document: bytes | None) -> AsyncIterator[_Running]:
        """Start the program; without a document its stdin stays open."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv, cwd=self._cwd, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except OSError as absent:
            raise errors.ToolFailed(f"the tool cannot be started: {absent}") from None
        running = _Running(process, document)
        try:
            yield running
        finally:
            await running.end()


class _Running:
    def __init__(self, process: asyncio.subprocess.Process, document: bytes | None) -> None:
        self._process = process
        # bounded: a flood waits in the pipe until the call has read what came before
        self._frames: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue(4)
        self._work = asyncio.create_task(self._follow(document))

    async def frames(self) -> AsyncIterator[tuple[bytes, bytes]]:
        kind = b""
        while kind != b"x":
            kind, payload = await self._frames.get()
            yield kind, payload

    async def say(self, data: bytes) -> None:
        """Write to its stdin; raises OSError where it is gone."""
        if (stdin := self._process.stdin) is not None:
            stdin.write(data)
            await stdin.drain()

    async def end(self) -> None:
        """Kill the whole group: also what the tool started and left behind."""
        self._kill_group()
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        # what is still in the pipes would keep them, and with them the transport, open;
        # a child that left the group may hold them for longer than anybody should wait
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                for stream in (self._process.stdout, self._process.stderr):
                    while stream and await stream.read(CHUNK):
                        pass
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no other way to let go
        await self._process.wait()

    async def _follow(self, document: bytes | None) -> None:
        async with asyncio.TaskGroup() as group:
            if document is not None:
                group.create_task(self._feed(document))
            group.create_task(self._read(b"o", self._process.stdout))
            group.create_task(self._read(b"e", self._process.stderr))
            await _gone(self._process.pid)
            self._kill_group()  # children it left behind would hold its output open
        await self._frames.put((b"x", STATUS.pack(await self._process.wait())))

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _feed(self, document: bytes) -> None:
        if (stdin := self._process.stdin) is not None:
            with contextlib.suppress(ConnectionError):  # a tool need not read its input
                stdin.write(document)
                await stdin.drain()
                stdin.close()

    async def _read(self, kind: bytes, stream: asyncio.StreamReader | None) -> None:
        while stream and (payload := await stream.read(CHUNK)):
            await self._frames.put((kind, payload))


async def _gone(pid: int) -> None:
    """Wait for one process; asyncio's own wait() also waits for its pipes, which a child may hold open."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
