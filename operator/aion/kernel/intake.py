"""Bodies of requests: taken whole, within a size. How long one may take, the listener says (`aion.serving`).

It stands apart because a signature covers the whole body, so every route that takes one must hold it in memory first,
and a stranger must not decide how much that is. It must never read on once the limit is passed.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aion.api import errors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


async def whole(scope: Message, receive: Receive, *, limit: int) -> bytes:
    """Return the body of one request; raises BadRequest where it is too large or cut off."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.BadRequest("the caller left before its request was whole")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(size, limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(got: int, most: int) -> errors.BadRequest:
    return errors.BadRequest(f"the body has {got} bytes or more, expected at most {most}")
