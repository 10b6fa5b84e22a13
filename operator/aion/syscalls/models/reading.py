"""An answer that streams: read into chunks, or relayed as it comes, and counted in both cases as it passes.

Apart from `exchange`, which finds who answers, because a stream lives on after that. Every event is read, so that what a
caller leaves behind can be paid for, and what is relayed goes on byte for byte, in whole events. It must never take a
piece from the backend that nobody waits for: the connection's own window is the only buffer.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import aiohttp

from aion.api import errors
from aion.api.generation import Chunk, Request, Usage
from aion.api.grant import Backend
from aion.syscalls.call import Call
from aion.syscalls.models import pricing
from aion.syscalls.models.kinds import Kind

GOODBYE_S = 1.0
"""How long a backend that has said everything may take to end its response, so that its connection can be kept."""
MAX_STREAM = 256 << 20


class Reading:
    """A stream.Pieces over one backend's response. `fell_ill` is told of a stream that broke by the backend's fault."""

    def __init__(
        self,
        call: Call,
        request: Request,
        response: aiohttp.ClientResponse,
        *,
        backend: Backend,
        model: str,
        kind: Kind,
        fell_ill: Callable[[], None],
    ) -> None:
        self.relayed = bool(kind.dialect) and kind.dialect == call.dialect
        self._call = call
        self._request = request
        self._response = response
        self._backend = backend
        self._model = model
        self._frames = kind.frames()
        self._reader = kind.reader()
        self._fell_ill = fell_ill
        self._ready: deque[bytes | Chunk] = deque()
        self._whole = self._closed = False
        self._bytes = self._text_bytes = self._pieces = 0

    @property
    def model(self) -> str:
        """What the backend calls what answers."""
        return self._reader.model or self._model

    @property
    def backend(self) -> str:
        """Who answers."""
        return self._backend.name

    @property
    def usage(self) -> Usage:
        """What counts: what the backend said; else the worst, or what was seen where it did not come to its end."""
        if self._reader.usage is not None:
            return self._reader.usage
        if self._reader.finished:
            return pricing.worst(self._backend, self._request)
        return pricing.seen(
            self._backend,
            self._request,
            tokens_in=self._reader.tokens_in,
            text_bytes=self._text_bytes,
            pieces=self._pieces,
        )

    async def next(self) -> bytes | Chunk | None:
        """The next piece; raises UpstreamFailed where the stream is not what it should be."""
        while not self._ready:
            if self._whole:
                return None
            piece = await self._receive()
            if not piece:
                self._whole = True
                if not self._reader.finished:
                    raise self._broke("it stopped in the middle of its answer")
                return None
            try:
                self._take(piece)
            except errors.UpstreamFailed as wrong:
                raise self._broke(wrong.message) from None
        return self._ready.popleft()

    async def _receive(self) -> bytes:
        """What has come since; nothing at the end. What is finished has a moment to end properly."""
        try:
            async with asyncio.timeout(GOODBYE_S if self._reader.finished else None):
                return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as broken:
            if self._reader.finished and not self._closed:
                return b""  # everything was said
            raise self._broke(f"its answer broke off ({type(broken).__name__})") from None

    def _take(self, piece: bytes) -> None:
        self._bytes += len(piece)
        if self._bytes > MAX_STREAM:
            raise errors.UpstreamFailed(f"its answer has more than {MAX_STREAM} bytes")
        passing = []
        for event in self._frames.feed(piece):
            chunk = self._reader.read(event)
            if chunk is not None:
                self._count(chunk)
            if self.relayed:
                if not self._reader.bare_usage or self._request.stream_usage:
                    passing.append(event)
            elif chunk is not None:
                self._ready.append(chunk)
        if passing:
            self._ready.append(passing[0] if len(passing) == 1 else b"".join(passing))

    def _count(self, chunk: Chunk) -> None:
        said = (
            len(chunk.text)
            + len(chunk.thinking)
            + sum(len(call.arguments) + len(call.name) for call in chunk.tool_calls)
        )
        if said:
            self._pieces += 1
            self._text_bytes += said if chunk.text.isascii() else said + len(chunk.text.encode()) - len(chunk.text)

    def _broke(self, why: str) -> errors.UpstreamFailed:
        if not self._closed:
            self._fell_ill()
        return errors.UpstreamFailed(f"backend {self.backend}: {why}", details={"backend": self.backend})

    def close(self) -> None:
        """Let go of the connection, kept where the answer was whole, and note on the call what was used."""
        if self._closed:
            return
        self._closed = True
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()
        charge(self._call, self._backend, self.usage)


def charge(call: Call, backend: Backend, usage: Usage) -> None:
    """Note on the call what it used and what that costs."""
    call.tokens_in, call.tokens_out = usage.tokens_in, usage.tokens_out
    call.micro_usd = pricing.cost(backend, tokens_in=usage.tokens_in, tokens_out=usage.tokens_out)
