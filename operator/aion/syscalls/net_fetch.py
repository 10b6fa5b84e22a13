"""`net.fetch {url, method, headers, body}`: the only way of an agent or a tool to the network.

Each hop is judged alone: scheme, host and port by the grant, then every address the name resolves to, and the connection
is made to an address that was judged, never to a second look-up of the name. Nothing is shared between fetches: no
cookies, no proxy of the environment, no kept connection that another call's rule let through. It must never follow a
redirect without judging it. `fetchplan` judges and `fetching` goes out; both are loaded at the first fetch, for most
agents never make one.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from aion.syscalls import egress
from aion.syscalls.call import Call, Work

if TYPE_CHECKING:
    from aion.syscalls.fetchplan import Request

Lookup = Callable[[str, int], Awaitable[Sequence[egress.Address]]]
"""Every address of a name; raises OSError where it has none."""


async def lookup(host: str, port: int) -> Sequence[egress.Address]:
    """Ask the system's resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [each for *_, where in found if (each := egress.address(str(where[0]))) is not None]


class NetFetch:
    """The handler."""

    name = "net.fetch"
    capability = "network"

    def __init__(self, resolve: Lookup = lookup) -> None:
        self._resolve = resolve
        self._fetch: Callable[[Request, Call, Lookup], Awaitable[bytes]] | None = None

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """Fetching is free."""
        return 0

    def admit(self, call: Call) -> Work:
        """Judge URL, headers and body."""
        from aion.syscalls import fetchplan

        request = fetchplan.admit(call)
        call.idempotent = request.method in fetchplan.SAFE
        return partial(self._work, request, call)

    async def _work(self, request: "Request", call: Call) -> bytes:
        if self._fetch is None:
            self._fetch = await asyncio.to_thread(_load)  # the agent's other calls need not wait for it
        return await self._fetch(request, call, self._resolve)


def _load() -> "Callable[[Request, Call, Lookup], Awaitable[bytes]]":
    from aion.syscalls import fetching

    return fetching.fetch
