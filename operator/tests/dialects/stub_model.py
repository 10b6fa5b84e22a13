"""model.generate without a backend: it answers what a test says, whole or piece by piece, and keeps what it was asked."""

import asyncio
from collections.abc import Sequence

import msgspec

from aion.api import generation
from aion.api.generation import Chunk, Gathering, Generated, Usage
from aion.syscalls.call import Call, Work
from aion.syscalls.testing import ScriptedPieces

USAGE = Usage(tokens_in=11, tokens_out=7, cached=3, reasoning=2)


class StubModel:
    """A handler.Handler. A whole answer is what the chunks come to."""

    name = generation.SYSCALL
    capability = None

    def __init__(self, *pieces: Chunk | Exception | asyncio.Event, price: int = 0) -> None:
        self.pieces: Sequence[Chunk | Exception | asyncio.Event] = pieces
        self.asked: list[generation.Request] = []
        self.begun: list[ScriptedPieces] = []
        self.cancelled = asyncio.Event()
        self._price = price

    @property
    def request(self) -> generation.Request:
        """The one question there was."""
        (asked,) = self.asked
        return asked

    def worst_case(self, call: Call) -> int:
        return self._price

    def admit(self, call: Call) -> Work:
        request = generation.read(call.params)
        call.subject = request.model
        self.asked.append(request)

        async def work() -> bytes | ScriptedPieces:
            if request.stream:
                made = Counted(call, self.pieces)
                self.begun.append(made)
                return made
            try:
                return await self._whole(call)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        return work

    async def _whole(self, call: Call) -> bytes:
        gathering = Gathering()
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                gathering.take(piece)
        call.tokens_in, call.tokens_out = USAGE.tokens_in, USAGE.tokens_out
        return msgspec.json.encode(
            Generated(
                message=gathering.message(),
                finish_reason=gathering.finish_reason or "stop",
                model="stub-1",
                backend="stub",
                usage=USAGE,
            )
        )


class Counted(ScriptedPieces):
    """Pieces of the stub, whose usage is always the same."""

    def __init__(self, call: Call, pieces: Sequence[Chunk | Exception | asyncio.Event]) -> None:
        super().__init__(call, pieces)
        self.model, self.backend = "stub-1", "stub"

    @property
    def usage(self) -> Usage:
        return USAGE
