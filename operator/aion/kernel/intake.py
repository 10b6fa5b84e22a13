"""Bodies of requests: taken whole, within a size and a time.

It stands apart because a signature covers the whole body, so every route that takes one must hold it in memory first,
and a stranger must not decide how much that is or how long it lasts. It must never read on once the limit is passed.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aion.api import errors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

BODY_S = 20.0
"""From the head to the end of the body: 8 MiB by a line of 4 Mbit/s."""


async def whole(scope: Message, receive: Receive, *, limit: int) -> bytes:
    """Return the body of one request; raises BadRequest where it is too large, too slow or cut off."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    try:
        async with asyncio.timeout(BODY_S):
            return await _read(receive, limit=limit)
    except TimeoutError:
        raise errors.BadRequest(f"the body was not whole within {BODY_S:.0f} s") from None


async def _read(receive: Receive, *, limit: int) -> bytes:
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
