"""An app whose every request is answered by the contract: also the one that a bug broke, and the one that was cut.

Apart because the protocol below would answer both with a page of its own, HTTP 500 and plain text, which no client of ours
reads. It must never hide a bug: it goes on to be logged with its traceback.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from aion.api import errors, syscall

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]


class Answering:
    """The app around another."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            if began:
                raise
            await _unavailable(send, "the process is stopping; ask again")
        except Exception:
            if not began:
                await _unavailable(send, "an internal error, see the log of this process")
            raise


async def _unavailable(send: Send, why: str) -> None:
    error = errors.Unavailable(why)
    body = syscall.failure(error, syscall.Usage(), "")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
