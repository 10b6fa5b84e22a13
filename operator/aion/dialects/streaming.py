"""Writing a stream to a caller: server-sent events, at the reader's pace, until it ends or the reader leaves.

Apart because every dialect streams by the same rules. The caller's connection is watched while the backend is awaited,
so that whoever leaves stops what is paid for; silence is broken by a comment, which every reader of events passes over;
a reader that takes nothing for a minute is cut off. It must never buffer: the next piece is taken when the last has gone.
"""

import asyncio
from typing import Protocol

import msgspec

from aion.api import errors, syscall
from aion.api.generation import Chunk, Gathering, Generated
from aion.dialects.wire import Headers, Receive, Send
from aion.syscalls.stream import Stream

HEARTBEAT_S = 15.0
"""Half of what impatient proxies and clients wait for the next byte."""
STALLED_S = 60.0
HEARTBEAT = b":\n"
"""A comment, and no empty line: one would end an event that is half written."""

_HEADERS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_encoder = msgspec.json.Encoder()


class Writer(Protocol):
    """One dialect's words for a stream. Empty bytes: nothing to say."""

    def chunk(self, chunk: Chunk) -> bytes:
        """The events of one chunk."""

    def end(self, stream: Stream) -> bytes:
        """What comes last, where chunks were written. A relayed stream has had its end from the backend."""

    def failed(self, error: errors.SyscallError, stream: Stream) -> bytes:
        """The event of a stream that broke."""


async def write(stream: Stream, writer: Writer, *, receive: Receive, send: Send, headers: Headers = ()) -> None:
    """Write the whole stream as one response, and leave it whatever happens."""
    async with stream:
        line = _Line(send)
        watching = asyncio.ensure_future(_watch(stream, line, receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": (*_HEADERS, *headers)})
            try:
                async for piece in stream:
                    if said := piece if isinstance(piece, bytes) else writer.chunk(piece):
                        await line.send(said)
                last = b"" if stream.relayed else writer.end(stream)
            except errors.SyscallError as broken:
                last = writer.failed(broken, stream)
            await line.send(last, more=False)
        except TimeoutError:
            pass  # a response that is not finished tells the server to close the connection
        finally:
            watching.cancel()


class _Line:
    """The way to the caller, and when something last went along it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._time = asyncio.get_running_loop().time
        self._last = self._time()
        self._busy = False

    async def send(self, said: bytes, *, more: bool = True) -> None:
        """Send, at the reader's pace; raises TimeoutError where it takes nothing."""
        self._busy = True
        async with asyncio.timeout(STALLED_S):
            await self._send({"type": "http.response.body", "body": said, "more_body": more})
        self._busy, self._last = False, self._time()

    async def beat(self) -> float:
        """Break a silence that lasts too long; the seconds until it would be too long again."""
        silent = self._time() - self._last
        if self._busy or silent < HEARTBEAT_S:
            return max(HEARTBEAT_S - silent, 0.01) if not self._busy else HEARTBEAT_S
        self._last = self._time()
        await self._send({"type": "http.response.body", "body": HEARTBEAT, "more_body": True})
        return HEARTBEAT_S


async def _watch(stream: Stream, line: _Line, receive: Receive) -> None:
    """Leave the stream when the caller leaves, and let the caller know until then that it is there."""
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        wait = HEARTBEAT_S
        while not gone.done():
            await asyncio.wait((gone,), timeout=wait)
            wait = HEARTBEAT_S if gone.done() else await line.beat()
        stream.leave()
    finally:
        gone.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class AionWriter:
    """Our own dialect: `event: chunk`, and at the end the contract's whole answer, as if it had not been a stream."""

    def __init__(self) -> None:
        self._whole = Gathering()

    def chunk(self, chunk: Chunk) -> bytes:
        """One event."""
        self._whole.take(chunk)
        return b"event: chunk\ndata: " + _encoder.encode(chunk) + b"\n\n"

    def end(self, stream: Stream) -> bytes:
        """`event: end` with the answer."""
        made = Generated(
            message=self._whole.message(),
            finish_reason=self._whole.finish_reason or "stop",
            model=stream.model,
            backend=stream.backend,
            usage=stream.tokens,
        )
        answer = syscall.ok(made, stream.usage, stream.engine, stream.audit_id)
        return b"event: end\ndata: " + answer + b"\n\n"

    def failed(self, error: errors.SyscallError, stream: Stream) -> bytes:
        """`event: error` with the contract's answer of a failure."""
        return b"event: error\ndata: " + syscall.failure(error, stream.usage, stream.audit_id) + b"\n\n"
