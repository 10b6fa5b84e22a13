"""HTTP and WebSocket on sockets that are bound already: uvicorn's protocols, without uvicorn's server.

It stands apart because the server around those protocols takes signals for itself and ends only by its own clock, while
here the process decides: it serves beside its background work, and a laptop and a test serve in the same way. It must
never cut a request before its grace is over.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Sequence
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from aion.kernel.intake import App

KEEP_ALIVE_S = 75
"""Longer than clients keep an idle connection, so that it is they who close it: a request never meets a closing socket."""

MAX_FRAME = 2 << 20
"""A gateway's audit batch is 256 KiB, and more only where one record is."""

BACKLOG = 1024
"""Connections that wait to be accepted: a restart brings every gateway back within seconds."""

CUT_S = 1.0
"""What a request has after its grace, to notice that it was cancelled."""


class AddressTaken(Exception):  # noqa: N818 - what it is
    """Another process listens there; the message says where and what to do."""


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; an empty host is every address of this machine, IPv6 too where it has any.

    Raises AddressTaken or OSError.
    """
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family, dualstack_ipv6=both, backlog=BACKLOG)
    except OSError as refused:
        if refused.errno == errno.EADDRINUSE:
            where = f"{host} port {port}" if host else f"port {port}"
            raise AddressTaken(f"another program listens on {where}: stop it, or choose another port") from None
        raise
    made.setblocking(False)
    return made


class Server:
    """Listeners and the connections they brought."""

    def __init__(self, app: App) -> None:
        self._state = ServerState()
        self._listening: list[asyncio.Server] = []
        self._config = Config(
            cast("Any", app),
            http=HttpToolsProtocol,
            ws=WebSocketsSansIOProtocol,
            ws_max_size=MAX_FRAME,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )

    async def listen(self, on: Sequence[socket.socket]) -> None:
        """Serve on these sockets, which are ours from now on."""
        self._config.load()
        loop = asyncio.get_running_loop()
        for each in on:
            self._listening.append(await loop.create_server(self._connect, sock=each))

    async def close(self, *, within_s: float) -> None:
        """Take no more connections, let what is under way end for so long, then cut it."""
        for listener in self._listening:
            listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._state.tasks:
                    await asyncio.wait(set(self._state.tasks))
        if left := set(self._state.tasks):
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CUT_S)

    def _connect(self) -> HttpToolsProtocol:
        return HttpToolsProtocol(config=self._config, server_state=self._state, app_state={})
