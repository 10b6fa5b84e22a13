"""Raw ASGI around the faces: who may knock, the body in, the answer out, and the caller that leaves in the middle.

Apart so that gateway and kernel serve one and the same dialects. A page in a browser must not reach a face through a name
that it made resolve to this machine, so Host and Origin are asked first. When the caller leaves, its work is cancelled:
nobody pays for an answer that nobody reads. It must never read a body by itself: how much of it, the process says.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from aion.api import errors, strictjson
from aion.dialects import streaming
from aion.dialects.wire import Answer, Face, Message, Receive, Request, Send, Streamed
from aion.syscalls.call import Caller

Read = Callable[[Receive], Awaitable[bytes]]
"""Reads a body as far as it may; raises SyscallError."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Faces(Protocol):
    """The faces of one process."""

    @property
    def paths(self) -> Sequence[str]:
        """Where something is served."""

    def at(self, path: str) -> Face | None:
        """The face that is served there."""


async def serve(face: Face, scope: Message, receive: Receive, send: Send, *, caller: Caller, read: Read) -> None:
    """Serve one request to a face."""
    headers = _headers(scope["headers"])
    try:
        _verify(scope, headers)
        body = await read(receive)
        strictjson.verify(body)
    except errors.SyscallError as refused:
        await _send(send, face.refuse(caller, refused))
        return
    request = Request(scope["method"], scope["path"], headers, body, caller)
    answer: Answer | Streamed | None = None
    async with _attended(receive):
        answer = await face.answer(request)
    if isinstance(answer, Streamed):  # it watches its reader by itself
        await streaming.write(answer.stream, answer.writer, receive=receive, send=send, headers=answer.headers)
    elif answer is not None:
        await _send(send, answer)


async def _send(send: Send, answer: Answer) -> None:
    headers = (*answer.headers, (b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


@contextlib.asynccontextmanager
async def _attended(receive: Receive) -> AsyncIterator[None]:
    """What runs within is cancelled when the caller leaves; then nothing is raised, for nobody listens."""
    task = asyncio.current_task()
    left = False

    def gone(watch: asyncio.Task[None]) -> None:
        nonlocal left
        if task is not None and not watch.cancelled():
            left = True
            task.cancel()

    watch = asyncio.create_task(_disconnect(receive), name="caller-there")
    watch.add_done_callback(gone)
    try:
        yield
    except asyncio.CancelledError:
        if task is None or not left or task.uncancel() > 0:
            raise
    finally:
        watch.remove_done_callback(gone)
        watch.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(sent: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name. One that was sent twice is joined, so that it equals neither: nobody may choose which one counts."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in sent:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _verify(scope: Message, headers: Mapping[str, str]) -> None:
    """Refuse pages of other origins, and on loopback other names than its own; raises PolicyDenied.

    On a unix socket (its address has no port) a Host is a word that clients make up.
    """
    origin = headers.get("origin")
    if origin is not None and _hostname(origin) not in LOOPBACK:
        raise _stranger("Origin", origin)
    host = headers.get("host", "")
    _, at_port = scope.get("server") or (None, None)
    if at_port is not None and _hostname(f"//{host}") not in LOOPBACK:
        raise _stranger("Host", host)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _stranger(header: str, got: str) -> errors.PolicyDenied:
    return errors.PolicyDenied(
        f"got {header} {got[:80]!r}, expected localhost or 127.0.0.1: pages of other origins are not served",
        rule="identity.origin",
    )
