"""Listening sockets: bound before anything else begins, so that an address that is taken is said at once.

Apart because a laptop, a test and a process bind alike. It must never bind wider than it was told.
"""

import errno
import socket

BACKLOG = 1024
"""Connections that wait to be accepted: a restart brings every gateway back within seconds."""


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
    # Inherited by what is accepted. uvloop sets it too; asyncio does not where a socket was made as this one is, and then the
    # second of two small frames waits 40 ms for the first one's acknowledgement.
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setblocking(False)
    return made
