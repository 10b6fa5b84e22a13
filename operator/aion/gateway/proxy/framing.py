"""What a client's bytes must be before they go on: a TLS greeting of the right name, or a body of the length that was said.

Apart because each is a small state machine without I/O that a relay asks for every piece of data until it is `done`. It
must never pass on a byte beyond the body: that would be a second request, to a host that nobody judged.
"""

import re
from typing import Protocol

from aion.api import errors
from aion.gateway.proxy import hello
from aion.syscalls import egress

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")


class Filter(Protocol):
    """Sees the bytes of one direction before the other side does."""

    @property
    def done(self) -> bool:
        """Whether it has seen all it has to."""

    def take(self, data: bytes) -> bytes:
        """What of it may go on now; raises SyscallError where the conversation is over."""

    def ended(self) -> None:
        """The sender sends no more; raises SyscallError where that is too early."""


class Greeting:
    """The start of a tunnel: a ClientHello that names the host which was asked for, or anything where the port is plain."""

    def __init__(self, allowed: egress.Allowed) -> None:
        self._allowed = allowed
        self._plain = allowed.port in allowed.rule.plain
        self._buffer = bytearray()
        self.done = False

    @property
    def first(self) -> bytes:
        """The first bytes of what was kept back, enough to see what is spoken."""
        return bytes(self._buffer[:24])

    @property
    def expected(self) -> bool:
        """Whether the client has to greet before anything else happens."""
        return not self._plain

    def take(self, data: bytes) -> bytes:
        """Nothing until the greeting is whole and right; then all of it."""
        self._buffer += data
        if self._plain and not hello.looks_like(self._buffer):
            return self._all()
        try:
            said = hello.read(self._buffer)
        except hello.NotTls as other:
            if self._plain:
                return self._all()
            raise self._denied(
                f"the tunnel begins with {other}, and port {self._allowed.port} is not one of the rule's plain ports"
            ) from None
        if said is None:
            return b""
        if said.hidden:
            raise self._denied("the name in the TLS greeting is encrypted (ECH): nobody could check it")
        wanted = "" if egress.address(self._allowed.host) is not None else self._allowed.host
        if said.name not in (wanted, self._allowed.host):
            raise self._denied(
                f"the TLS greeting asks for {said.name[:80] or 'no host'}, the tunnel was asked for {self._allowed.host}"
            )
        return self._all()

    def ended(self) -> None:
        """A client that leaves without a word has done nothing; one that leaves in the middle of its greeting is denied."""
        if self._buffer and not self.done and not self._plain:
            raise self._denied("the client left before its TLS greeting was whole")

    def late(self) -> errors.SyscallError:
        """What to say of a client that does not greet in time."""
        return self._denied("the client did not greet by TLS in time")

    def _all(self) -> bytes:
        whole = bytes(self._buffer)
        self._buffer.clear()
        self.done = True
        return whole

    def _denied(self, why: str) -> errors.PolicyDenied:
        rule = (
            f"egress.sni@rev{self._allowed.revision}: a tunnel to {self._allowed.rule.host} greets by the host's name"
        )
        return errors.PolicyDenied(why, rule=rule)


class LengthBody:
    """A body of so many bytes. What comes after it is not passed on."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        """Never: what comes after the body is still to be kept back."""
        return False

    def take(self, data: bytes) -> bytes:
        """What still belongs to the body."""
        mine = data[: self._left]
        self._left -= len(mine)
        return mine

    def ended(self) -> None:
        """A body that ends early is a request that was never made."""
        if self._left:
            raise errors.BadRequest(f"the client left {self._left} bytes before the end of its body")


class ChunkedBody:
    """A body in chunks, read strictly and written anew: no extensions, no trailers."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._state = "size"

    @property
    def done(self) -> bool:
        """Never: what comes after the body is still to be kept back."""
        return False

    def take(self, data: bytes) -> bytes:
        """What is known to be the body's, in chunks of our own."""
        if self._state == "end":
            return b""
        self._buffer += data
        body = bytearray()
        while self._step(body):
            pass
        last = b"0\r\n\r\n" if self._state == "end" else b""
        return (b"%x\r\n%b\r\n" % (len(body), bytes(body)) if body else b"") + last

    def ended(self) -> None:
        """A body that ends early is a request that was never made."""
        if self._state != "end":
            raise errors.BadRequest("the client left before the last chunk of its body")

    def _step(self, body: bytearray) -> bool:
        """Go on by one piece of grammar; False where more must come."""
        buffer = self._buffer
        if self._state == "size":
            return self._size()
        if self._state == "data":
            piece = buffer[: self._left]
            body += piece
            del buffer[: len(piece)]
            self._left -= len(piece)
            if not self._left:
                self._state = "after"
            return bool(piece)
        if self._state in ("after", "last"):
            if not b"\r\n".startswith(buffer[:2]):
                raise errors.BadRequest(
                    "a chunk of the body does not end where it says, or trailers follow the last one"
                )
            if len(buffer) < 2:
                return False
            del buffer[:2]
            self._state = "size" if self._state == "after" else "end"
            if self._state == "end":
                buffer.clear()
            return self._state == "size"
        return False

    def _size(self) -> bool:
        found = _SIZE.match(self._buffer)
        if found is None:
            head = bytes(self._buffer[:10])
            if len(self._buffer) >= 10 or not re.fullmatch(rb"([0-9A-Fa-f]{1,8}\r?)?", head):
                raise errors.BadRequest("a chunk of the body does not begin with its size in hex and a line's end")
            return False
        self._left = int(found[1], 16)
        del self._buffer[: found.end()]
        self._state = "data" if self._left else "last"
        return True
