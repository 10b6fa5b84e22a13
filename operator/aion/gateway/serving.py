"""HTTP on the sockets we were handed: uvicorn's protocol, without uvicorn's server.

Apart because the server around that protocol is not ours to use here: it wakes ten times a second, which a node pays for
every idle agent, and it takes SIGTERM for the end, which for a gateway comes only after its agent. Each socket serves its
own app, so no app has to ask by which door a request came. It must never accept a peer before its policy has seen it.
"""

import asyncio
import contextlib
import socket
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from aion.api import errors, syscall
from aion.gateway.asgi import App, Receive, Scope, Send, answer
from aion.gateway.peers import Known

KEEP_ALIVE_S = 75
"""Longer than any pause in an agent's work that is worth a new connection; the kernel's own limit on descriptors holds."""


class Server:
    """Listeners and the connections they brought."""

    def __init__(self) -> None:
        self._state = ServerState()
        self._listening: list[asyncio.Server] = []

    async def listen(self, on: socket.socket, app: App, *, peers: Known) -> None:
        """Serve `app` to the known peers of a socket that listens already."""
        config = Config(
            cast("Any", app),
            http=HttpToolsProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=None,
        )
        config.load()
        state = self._state

        class Connection(HttpToolsProtocol):
            def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's own signature
                super().connection_made(transport)
                try:
                    peers.verify(transport.get_extra_info("socket"))
                except errors.SyscallError as stranger:
                    self.app = cast("Any", _refusing(stranger))

        def connect() -> Connection:
            return Connection(config=config, server_state=state, app_state={})

        loop = asyncio.get_running_loop()
        on.setblocking(False)
        if on.family == socket.AF_UNIX:
            self._listening.append(await loop.create_unix_server(connect, sock=on))
        else:
            self._listening.append(await loop.create_server(connect, sock=on))

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
        for task in self._state.tasks:
            task.cancel()


def _refusing(error: errors.SyscallError) -> App:
    body = syscall.failure(error, syscall.Usage(), "")

    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(send, error.http_status, body, extra=((b"connection", b"close"),))

    return refuse
