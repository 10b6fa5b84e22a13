"""An answer that comes piece by piece, and what must happen when it ends: seat, money and record are given back once.

Apart because a stream outlives the router's own call: whoever writes it to a wire takes the pieces, and may leave at any
moment. It ends by its last piece, by a failure, by its deadline, or because it was left; however it ends, the backend is
let go, what was seen is settled, and one record is made. A caller who leaves early has done nothing wrong: the record
says what was used. It must never await at the end, so that being cancelled cannot interrupt the settling.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from aion.api import errors, syscall

if TYPE_CHECKING:
    from aion.api import generation
    from aion.syscalls.call import Call


class Pieces(Protocol):
    """What a handler gives whose answer is a stream."""

    @property
    def relayed(self) -> bool:
        """Are the pieces bytes of the caller's own dialect, to be passed on as they are?"""

    @property
    def model(self) -> str:
        """What the backend calls what answers."""

    @property
    def backend(self) -> str:
        """Who answers, by the chart's name."""

    @property
    def usage(self) -> generation.Usage:
        """The tokens that count, as far as it is known by now."""

    async def next(self) -> bytes | generation.Chunk | None:
        """The next piece, None at the end; raises SyscallError, and so it does once it is closed."""

    def close(self) -> None:
        """Let go of the backend and note on the call what was used. Twice is once."""


class Stream:
    """A stream as the one who writes it to a wire sees it: `async with stream: async for piece in stream`."""

    def __init__(
        self,
        call: Call,
        pieces: Pieces,
        *,
        over: Callable[[Call, errors.SyscallError | None], syscall.Usage],
        broke: Callable[[Call], errors.SyscallError],
        late: Callable[[Call], errors.SyscallError],
        clock: Callable[[], float],
    ) -> None:
        self._call = call
        self._pieces = pieces
        self._settle = over
        self._broke = broke
        self._late = late
        self._clock = clock
        self.ended = False
        self.usage = syscall.Usage()
        """What it took; told once it has ended."""

    @property
    def relayed(self) -> bool:
        """Are the pieces bytes of the caller's own dialect, to be passed on as they are?"""
        return self._pieces.relayed

    @property
    def model(self) -> str:
        """What the backend calls what answers."""
        return self._pieces.model

    @property
    def backend(self) -> str:
        """Who answers, by the chart's name."""
        return self._pieces.backend

    @property
    def tokens(self) -> generation.Usage:
        """The tokens that count; at the end they are what was charged."""
        return self._pieces.usage

    @property
    def audit_id(self) -> str:
        """Where the call is recorded once it has ended."""
        return self._call.audit_id

    @property
    def engine(self) -> syscall.Engine:
        """Who does the work."""
        return self._call.engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | generation.Chunk:
        """The next piece; raises SyscallError where the stream breaks, which is recorded by then."""
        if self.ended:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout(self._call.deadline - self._clock()):
                piece = await self._pieces.next()
        except TimeoutError:
            raise self._failed(self._late(self._call)) from None
        except errors.SyscallError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            self.leave()
            raise
        except Exception:  # noqa: BLE001 - as in the router: a bug is told and recorded like any failure
            raise self._failed(self._broke(self._call)) from None
        if piece is None:
            self._end(None)
            raise StopAsyncIteration
        if self._call.answered is None:
            self._call.answered = self._clock()  # what comes after the first piece is no latency
        return piece

    def leave(self) -> None:
        """Take no more: nobody reads it. Whoever waits for the next piece is told that it was the last."""
        with contextlib.suppress(errors.SyscallError):  # there is nobody left to tell that the record cannot be kept
            self._end(None)

    def _failed(self, error: errors.SyscallError) -> Exception:
        """What is raised for a failure: the end where it was left meanwhile, for then the failure is our own doing."""
        if self.ended:
            return StopAsyncIteration()
        try:
            self._end(error)
        except errors.SyscallError as unwritten:
            return unwritten
        return error

    def _end(self, error: errors.SyscallError | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._pieces.close()
        self.usage = self._settle(self._call, error)
