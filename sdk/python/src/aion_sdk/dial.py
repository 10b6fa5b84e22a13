"""A fresh connection to the kernel's address, for the plain client: the unix socket, or one of a host's addresses.

Apart because `localhost` is two addresses and a kernel often listens at one of them: they are tried in turn, a quarter of
a second apart, and the first that answers is taken (RFC 8305, in small). Proxies of the environment are not asked: an
agent's syscalls go to its kernel or nowhere. Looking up a name is the operating system's and not bounded by the deadline.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from aion_sdk.address import Address

if TYPE_CHECKING:
    import ssl

STAGGER_S = 0.25  # RFC 8305's delay between two attempts

Found = tuple[int, int, int, str, Any]
"""One of getaddrinfo's answers: family, type, protocol, name, address."""


def tls_context(address: Address) -> ssl.SSLContext | None:
    """What checks the server's certificate and name, by the system's authorities or those of SSL_CERT_FILE."""
    if not address.tls:
        return None
    import ssl  # over the unix socket it is not needed, and slow to load

    return ssl.create_default_context()


def connect(address: Address, tls: ssl.SSLContext | None, *, deadline: float) -> socket.socket:
    """A connected socket; raises OSError, or TimeoutError without a number at the deadline (time.monotonic())."""
    if address.is_unix:
        return unix(address.path)
    sock = _race(alternating(_look_up(address)), deadline=deadline)
    try:
        sock.settimeout(_left(deadline))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock if tls is None else tls.wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise


def unix(path: str) -> socket.socket:
    """Connected, or an OSError, at once: such a socket never waits."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def alternating(found: list[Found]) -> list[Found]:
    """The families in turn, in the order in which the system prefers them: a broken one costs one delay, not all of them."""
    families = {family: [one for one in found if one[0] == family] for family, *_ in found}
    rows = itertools.zip_longest(*families.values())
    return [one for row in rows for one in row if one is not None]


def _look_up(address: Address) -> list[Found]:
    return list(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))


def _race(found: list[Found], *, deadline: float) -> socket.socket:
    ahead, under_way = deque(found), dict[int, socket.socket]()
    refusal = OSError(errno.EADDRNOTAVAIL, "the host has no address")
    poll = select.poll()
    try:
        while ahead or under_way:
            if ahead:
                try:
                    sock, done = _start(ahead.popleft())
                except OSError as error:
                    refusal = error
                    continue
                if done:
                    return sock
                under_way[sock.fileno()] = sock
                poll.register(sock, select.POLLOUT)
            wait = min(STAGGER_S, _left(deadline)) if ahead else _left(deadline)
            for fd, _ in poll.poll(wait * 1000):
                poll.unregister(fd)
                sock = under_way.pop(fd)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return sock
                sock.close()
                refusal = OSError(code, os.strerror(code))
        raise refusal
    finally:
        for sock in under_way.values():
            sock.close()


def _start(one: Found) -> tuple[socket.socket, bool]:
    """Begin to connect; True where that was all. Raises OSError where it cannot begin."""
    family, kind, proto, _, where = one
    sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    code = sock.connect_ex(where)
    if code not in {0, errno.EINPROGRESS, errno.EINTR}:
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock, code == 0


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
