"""What the rim hands to a face and gets back: a request that was read, an answer that is not sent yet.

Apart so that faces know neither ASGI nor sockets and are tested by calling them. It must never carry the caller's
credentials further: who calls was decided before.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple, Protocol

from aion.api import errors
from aion.syscalls.call import Caller

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
    """One answer: `body`, or where there is a `stream`, its pieces as they come."""

    status: int
    headers: Headers = (JSON,)
    body: bytes = b""
    stream: AsyncGenerator[bytes, None] | None = None


class Face(Protocol):
    """One dialect, at one or more paths."""

    @property
    def paths(self) -> frozenset[str]:
        """Where it is served."""

    async def answer(self, request: Request) -> Answer:
        """Answer a request; whatever is wrong with it is said in the dialect's own form. Cancelled when the caller leaves."""

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:
        """Answer a request that could not be read."""
