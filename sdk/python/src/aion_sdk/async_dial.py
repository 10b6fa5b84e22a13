"""dial.py's race for asyncio: a host's addresses in turn, a quarter of a second apart, as tasks.

Apart because uvloop's `create_connection` knows no `happy_eyeballs_delay`, so that asyncio's own race cannot be relied on.
It must never leave a socket behind, whenever it is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from aion_sdk import attempt, dial

if TYPE_CHECKING:
    from aion_sdk.address import Address


async def connect(address: Address, *, deadline: float) -> socket.socket:
    """A connected socket to one of the host's addresses; raises OSError, or attempt.Late at the deadline."""
    loop = asyncio.get_running_loop()
    looked_up = asyncio.ensure_future(loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))
    try:
        await asyncio.wait({looked_up}, timeout=left(deadline))
        left(deadline)
        ahead = deque(dial.alternating(list(looked_up.result())))
    finally:
        looked_up.cancel()
    under_way: set[asyncio.Future[socket.socket]] = set()
    refusal: BaseException | None = None
    try:
        while ahead or under_way:
            if ahead:
                under_way.add(asyncio.ensure_future(_connected(ahead.popleft())))
            wait = min(dial.STAGGER_S, left(deadline)) if ahead else left(deadline)
            done, _ = await asyncio.wait(under_way, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if (failed := one.exception()) is None:
                    under_way.discard(one)
                    return one.result()
                under_way.discard(one)
                refusal = failed
        raise refusal or OSError(f"{address.host} has no address")
    finally:
        for one in under_way:
            one.cancel()
            one.add_done_callback(_close_result)


async def _connected(one: dial.Found) -> socket.socket:
    family, kind, proto, _, where = one
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, where)
    except OSError as error:
        sock.close()
        if not error.errno:
            raise
        raise OSError(error.errno, os.strerror(error.errno)) from None  # asyncio says only that it failed
    except BaseException:
        sock.close()
        raise
    return sock


def _close_result(one: asyncio.Future[socket.socket]) -> None:
    if not one.cancelled() and one.exception() is None:
        one.result().close()


def left(deadline: float) -> float:
    """Seconds until the deadline (time.monotonic()); raises attempt.Late where none are left: nothing was sent yet."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise attempt.Late(sent=False)
    return seconds
