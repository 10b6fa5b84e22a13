"""Listeners and the connections they bring, from the first to the last.

Apart from a process's `__main__` because gateway, kernel, laptop and tests begin and end in the same way. Each listener serves
its own app and has its own room, so no app has to ask by which door a request came, and one door that is crowded
does not close another. It must never cut a request before its grace is over.
"""

import asyncio
import contextlib
import socket
from typing import Any, cast

from uvicorn.config import Config

from aion.serving.answering import Answering, App
from aion.serving.connection import Connection
from aion.serving.limits import Limits
from aion.serving.pool import Peers, Pool

MAX_FRAME = 2 << 20
"""A gateway's audit batch is 256 KiB, and more only where one record is."""

CUT_S = 1.0
"""What a request has after its grace, to notice that it was cancelled."""


class Server:
    """The listeners of one process."""

    def __init__(self) -> None:
        self._listening: list[asyncio.Server] = []
        self._pools: list[Pool] = []

    async def listen(
        self,
        on: socket.socket,
        app: App,
        *,
        limits: Limits | None = None,
        peers: Peers | None = None,
        websockets: bool = False,
    ) -> None:
        """Serve `app` on a socket that listens already and is ours from now on; to its known peers, where there are any."""
        limits = limits or Limits()
        config = Config(
            cast("Any", Answering(app)),
            http=Connection,
            ws="websockets-sansio" if websockets else "none",
            ws_max_size=MAX_FRAME,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=cast("int", limits.idle_s),  # seconds of a timer: a fraction will do
        )
        config.load()
        pool = Pool(config, limits, peers)
        self._pools.append(pool)
        loop = asyncio.get_running_loop()
        on.setblocking(False)
        listen = loop.create_unix_server if on.family == socket.AF_UNIX else loop.create_server
        self._listening.append(await listen(lambda: Connection(pool), sock=on))

    def retire(self) -> None:
        """Serve on, but tell every caller with its answer that this connection closes."""
        for pool in self._pools:
            pool.retiring = True
            for connection in pool.state.connections:
                if isinstance(connection, Connection):
                    connection.retire()

    async def close(self, *, within_s: float) -> None:
        """Take no more connections, let what is under way end for so long, then cut it."""
        for listener in self._listening:
            listener.close()
        for pool in self._pools:
            for connection in list(pool.state.connections):
                _end(connection)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while tasks := self._tasks():
                    await asyncio.wait(tasks)
        if left := self._tasks():
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CUT_S)

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {task for pool in self._pools for task in pool.state.tasks}


def _end(connection: Any) -> None:  # noqa: ANN401 - uvicorn's, of one protocol or the other
    """Ask one connection to end; nothing happens where it ends already."""
    if isinstance(connection, Connection):
        connection.shutdown()
        return
    from websockets.exceptions import InvalidState

    with contextlib.suppress(InvalidState):  # a close was sent and not answered yet
        connection.shutdown()
