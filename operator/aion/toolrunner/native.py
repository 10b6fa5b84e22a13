"""Runs a native or Python tool: one process a call, one JSON document in, one out.

It stands apart because the process is not ours: it is started in the tool's own container by `aion-launch --serve`,
and this side only speaks that server's frames. It must never buffer more than it needs: what a tool writes beyond
the largest answer ends the call, by closing the connection, which makes the server kill the whole process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from aion.toolrunner import errors
from aion.toolrunner.engine import MAX_RESULT, Document, Invocation, Syscall, result_of

STDERR_KEPT = 4 << 10
HEAD = struct.Struct("<cI")
STATUS = struct.Struct("<i")
LARGEST_FRAME = 1 << 20
ENDLESS = b"\xff\xff\xff\xff"
"""A length that means: stdin stays open until we hang up (see sandbox-profiles/launch/call.c)."""


class Process(Protocol):
    """A started tool: its output as (kind, payload) frames, `x` with the wait status last."""

    def frames(self) -> AsyncIterator[tuple[bytes, bytes]]:
        """Yield what it writes as it writes it."""


class Talk(Process, Protocol):
    """A started tool that is spoken to for as long as it runs."""

    async def say(self, data: bytes) -> None:
        """Write to its stdin; raises OSError where it is gone."""


class Starter(Protocol):
    """Starts the tool for one call; leaving the context ends whatever still runs."""

    async def ready(self) -> None:
        """Wait until processes can be started."""

    @asynccontextmanager
    def start(self, document: bytes) -> AsyncIterator[Process]:
        """Start the tool and hand it the document."""


class Native:
    """The engine of `rust:` and `python:` entries."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter

    async def load(self) -> None:
        """Wait until processes can be started."""
        await self._starter.ready()

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:  # noqa: ARG002 - it has no door out
        """Run the process; at the time-out or a cancel its connection closes and its group dies."""
        try:
            async with asyncio.timeout(invocation.timeout_ms / 1000):
                return await self._run(invocation)
        except TimeoutError:
            raise errors.TooSlow(f"the tool did not answer within {invocation.timeout_ms} ms and was killed") from None

    async def _run(self, invocation: Invocation) -> Document:
        output, noise, status = bytearray(), bytearray(), None
        try:
            async with self._starter.start(invocation.document()) as process:
                async for kind, payload in process.frames():
                    if kind == b"o":
                        output += payload
                        if len(output) > MAX_RESULT:
                            raise errors.TooMuch(f"the tool wrote more than {MAX_RESULT} bytes and was killed")
                    elif kind == b"e":
                        noise = (noise + payload)[-STDERR_KEPT:]
                    elif kind == b"x":
                        status = STATUS.unpack(payload)[0]
        except (OSError, asyncio.IncompleteReadError, struct.error) as lost:
            raise errors.ToolFailed(f"the tool's process was lost: {lost}") from None
        if status is None:
            raise errors.ToolFailed("the tool's process was lost before it ended")
        details = {"exit": status, "stderr": noise.decode("utf-8", "replace")}
        if status == 0 or output.lstrip().startswith(b'{"error"'):
            return result_of(bytes(output), details=details if noise or status else None)
        how = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        raise errors.ToolFailed(f"the tool {how}", details=details)


class Served:
    """Starts tools through the socket of `aion-launch --serve` in the tool's container."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ready(self) -> None:
        """Wait for the server; it makes its socket as it starts."""
        while not await asyncio.to_thread(self._socket.is_socket):  # noqa: ASYNC110 - another container makes it
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def start(self, document: bytes) -> AsyncIterator[Process]:
        """Open a connection and hand over the document."""
        async with self._connected() as (reader, writer):
            writer.write(struct.pack("<I", len(document)) + document)
            yield _Frames(reader)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=LARGEST_FRAME)
        try:
            yield reader, writer
        finally:
            # abort, not close: what is still unsent must not keep the tool alive
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """Start a tool that is spoken to until the context is left."""
        async with self._connected() as (reader, writer):
            writer.write(ENDLESS)
            yield _Spoken(reader, writer)


class _Frames:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def frames(self) -> AsyncIterator[tuple[bytes, bytes]]:
        kind = b""
        while kind != b"x":
            kind, length = HEAD.unpack(await self._reader.readexactly(HEAD.size))
            if length > LARGEST_FRAME:
                raise errors.ToolFailed(f"the tool's server sent a frame of {length} bytes: it speaks another protocol")
            yield kind, await self._reader.readexactly(length)


class _Spoken(_Frames):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader)
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def fetch(socket: Path) -> bytes:
    """Read the artefact that `aion-launch --serve SOCKET --file PATH` offers."""
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(socket)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(0.02)
            continue
        try:
            return await reader.read()
        finally:
            writer.transport.abort()
