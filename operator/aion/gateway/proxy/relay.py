"""Bytes both ways between a client and the host that it was let through to, until somebody ends it.

Apart because it is the hot part and knows no policy: two protocols, each writing into the other's transport. Who is slow is
not read for, a side that ends its half ends the other's, and everything is counted. It must never hold more than its
transports' own buffers, and never go on when one side is gone.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import cast

from aion.api import errors
from aion.gateway.proxy import answering
from aion.gateway.proxy.framing import Filter

HALF_OPEN_S = 60.0
"""How long one side may go on without a word after the other has ended its half."""

LINGER_S = 10.0
"""How long a client may take to read what is left for it when all is over."""


class End(asyncio.Protocol):
    """One side. What it hears is shown to `filter` while there is one, and goes to the other side."""

    transport: asyncio.Transport

    def __init__(self, relay: "Relay", *, name: str, filter: Filter | None = None) -> None:  # noqa: A002 - it is one
        self._relay = relay
        self.name = name
        self.filter = filter
        self.count = 0
        """Bytes that went on from here."""
        self.ended = False
        """It has said that it sends no more."""

    @property
    def _other(self) -> "End":
        return self._relay.host if self is self._relay.client else self._relay.client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait to be read until the other side can take it."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        relay = self._relay
        relay.heard = relay.clock()
        if self.filter is not None:
            try:
                data = self.filter.take(data)
            except errors.SyscallError as refused:
                relay.finish(refused)
                return
            if self.filter.done:
                self.filter = None
                relay.passes()
            if not data:
                return
        size = len(data)
        self.count += size
        relay.left -= size
        if relay.left < 0:
            relay.finish(errors.TooLarge(f"the tunnel carried more than {relay.most} bytes (limits.tunnel_max_bytes)"))
            return
        self._other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of this half on, and hear the other one out."""
        self.ended = True
        relay = self._relay
        relay.heard = relay.clock()
        if self.filter is not None:
            try:
                self.filter.ended()
            except errors.SyscallError as refused:
                relay.finish(refused)
                return False
        relay.half(self)
        return not relay.over.done()

    def pause_writing(self) -> None:
        """This side is slow: do not read for it."""
        if not self._other.transport.is_closing():
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if not self._other.transport.is_closing() and not self._other.ended:
            self._other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone, both halves of it."""
        self._relay.lost(self, error)


class Relay:
    """Two ends, and `over`, which is done when they are: with an error where it was not theirs to end it so."""

    def __init__(
        self,
        *,
        most: int,
        clock: Callable[[], float],
        inward: Filter | None = None,
        outward: Filter | None = None,
        exchange: bool = False,
    ) -> None:
        """`outward` sees what the client says, `inward` what the host says; an `exchange` is over when the host ends."""
        self.clock = clock
        self.most = self.left = most
        self.heard = clock()
        self.client = End(self, name="client", filter=outward)
        self.host = End(self, name="host", filter=inward)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.greeted: Callable[[], None] = _nothing
        """Called when the client's filter has seen enough."""
        self._exchange = exchange

    def start(self, client: asyncio.Transport, *, first: bytes = b"") -> None:
        """Take the client over from its protocol; `first` was heard from it already."""
        self.client.transport = client
        client.set_protocol(self.client)
        if first:
            self.client.data_received(first)
        if not self.over.done():
            client.resume_reading()
            self.host.transport.resume_reading()

    def passes(self) -> None:
        """A filter is done."""
        if self.client.filter is None:
            self.greeted()

    def half(self, end: End) -> None:
        """One side sends no more."""
        other = self.host if end is self.client else self.client
        if other.ended or (self._exchange and end is self.host) or (end is self.client and gone(end.transport)):
            self.finish(None)
        elif not (self._exchange and end is self.client) and other.transport.can_write_eof():
            # Of an exchange the request is whole: its end says nothing more, and some servers take it for a hang-up.
            with contextlib.suppress(OSError, RuntimeError):
                other.transport.write_eof()

    def lost(self, end: End, error: Exception | None) -> None:
        """One side broke off."""
        if error is not None and end is self.host and not self.client.ended:
            said = str(error) or type(error).__name__
            self.finish(
                errors.UpstreamFailed(
                    f"the other side broke off: {said}", details={answering.PROXY_ERROR: "connection_terminated"}
                )
            )
        else:
            self.finish(None)

    def stale(self, *, idle_s: float) -> bool:
        """Whether nobody has said anything for too long, or the client is gone without anybody having heard it go."""
        quiet = self.clock() - self.heard
        half_open = self.client.ended or self.host.ended
        return quiet > idle_s or (half_open and (quiet > HALF_OPEN_S or gone(self.client.transport)))

    def finish(self, error: errors.SyscallError | None) -> None:
        """End the host's side, and without an error the client's, too; else the client is left to whoever tells it."""
        if self.over.done():
            return
        host: asyncio.Transport | None = getattr(self.host, "transport", None)
        client: asyncio.Transport | None = getattr(self.client, "transport", None)
        if host is not None:
            host.close() if error is None else host.abort()
        if client is not None and error is not None and not client.is_closing():
            client.pause_reading()
        if error is not None:
            self.over.set_exception(error)
            self.over.exception()  # whoever waits is told; if nobody does any more, that is no mishap
            return
        if client is not None:
            close(client)
        self.over.set_result(None)


def close(transport: asyncio.Transport) -> None:
    """Close when what is written has been taken, or is not in time."""
    if transport.is_closing():
        return
    transport.close()
    if transport.get_write_buffer_size():
        asyncio.get_running_loop().call_later(LINGER_S, transport.abort)


def _nothing() -> None:
    """Nobody waits for the greeting."""


def gone(transport: asyncio.BaseTransport) -> bool:
    """Whether a client on a unix socket has closed it, and not only its sending half. Of TCP nobody can tell."""
    socket = transport.get_extra_info("socket")
    fd = -1 if socket is None else socket.fileno()
    if fd < 0:
        return True
    asking = select.poll()
    asking.register(fd, 0)
    return any(what & (select.POLLHUP | select.POLLERR) for _, what in asking.poll(0))
