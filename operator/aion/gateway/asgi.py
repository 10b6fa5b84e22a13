"""The raw ASGI that every face of the gateway is written in: types, a bounded body, an answer.

Apart so that the faces read as what they answer. It must never read more of a body than it was allowed to.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from aion.api import errors
from aion.syscalls import router

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")


async def body(receive: Receive, *, most: int) -> bytes:
    """The request's body; raises BadRequest where it is longer than `most` bytes or its sender left."""
    message = await receive()
    whole: bytes = message.get("body", b"")
    if len(whole) <= most and not message.get("more_body", False) and message["type"] == "http.request":
        return whole  # nearly every syscall: one piece
    parts, size = [whole], len(whole)
    while True:
        if message["type"] == "http.disconnect":
            raise errors.BadRequest("the caller left before its request was whole")
        if size > most:
            raise router.too_large(size, most)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()
        part: bytes = message.get("body", b"")
        parts.append(part)
        size += len(part)


async def answer(
    send: Send, status: int, body: bytes, *, kind: tuple[bytes, bytes] = JSON, extra: Headers = ()
) -> None:
    """Send a whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [kind, (b"content-length", b"%d" % len(body)), *extra],
        }
    )
    await send({"type": "http.response.body", "body": body})
