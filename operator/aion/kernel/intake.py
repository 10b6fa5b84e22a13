"""Bodies of requests: taken whole, within a size. How long one may take, the listener says (`aion.serving`).

It stands apart because a signature covers the whole body, so every route that takes one must hold it in memory first,
and a stranger must not decide how much that is, nor many strangers together. It must never read on once the limit is passed.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aion.api import errors

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


ROOM = 128 << 20
"""Bytes of bodies that are being read, of all callers together: a quarter of the process's memory. Nobody has proved anything yet."""

SMALL = 64 << 10
"""Bodies beyond this may have half of the room: whoever sends large ones does not keep small ones out."""

FULL_RETRY_MS = 1000


class Room:
    """What the bodies take that are not whole yet."""

    def __init__(self, most: int = ROOM) -> None:
        self.most = most
        self.taken = 0

    def take(self, size: int, *, of: int) -> None:
        """Make room for `size` more bytes of a body that has then `of`; raises Busy."""
        if self.taken + size > (self.most if of <= SMALL else self.most // 2):
            raise errors.Busy("too many bodies are on their way in at once; come back", retry_after_ms=FULL_RETRY_MS)
        self.taken += size


_room = Room()


async def whole(scope: Message, receive: Receive, *, limit: int, room: Room = _room) -> bytes:
    """Return the body of one request; raises BadRequest where it is too large or cut off, Busy where there is no room for it."""
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise errors.BadRequest("the caller left before its request was whole")
            part: bytes = message.get("body", b"")
            if size + len(part) > limit:
                raise _too_large(size + len(part), limit)
            room.take(len(part), of=size + len(part))
            size += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    finally:
        room.taken -= size


def _too_large(got: int, most: int) -> errors.BadRequest:
    return errors.BadRequest(f"the body has {got} bytes or more, expected at most {most}")
