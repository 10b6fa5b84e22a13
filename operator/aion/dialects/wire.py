"""What the rim hands to a face and gets back: a request that was read, an answer that is not sent yet.

Apart so that faces know neither ASGI nor sockets and are tested by calling them. It must never carry the caller's
credentials further: who calls was decided before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from aion.api import errors
from aion.syscalls.call import Caller

if TYPE_CHECKING:
    from aion.dialects.streaming import Writer
    from aion.syscalls.stream import Stream

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
"""What ASGI calls these."""

Headers = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")


class Request(NamedTuple):
    """One request. Names of headers are in lower case; what was sent twice is joined by `, `."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller


class Answer(NamedTuple):
    """One answer."""

    status: int
    headers: Headers = (JSON,)
    body: bytes = b""


class Streamed(NamedTuple):
    """An answer that comes piece by piece: the router's stream, which must be left, and the dialect's words for it."""

    stream: Stream
    writer: Writer
    headers: Headers = ()


class Face(Protocol):
    """One dialect, at one or more paths."""

    @property
    def paths(self) -> frozenset[str]:
        """Where it is served."""

    async def answer(self, request: Request) -> Answer | Streamed:
        """Answer a request; whatever is wrong with it is said in the dialect's own form. Cancelled when the caller leaves."""

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:
        """Answer a request that could not be read."""
