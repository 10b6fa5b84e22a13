"""The name that a TLS client asks for: read from its first message, so that a tunnel leads where it was said to lead.

Apart because it is a parser of foreign bytes, and pure. A name behind a shared front (a CDN) is chosen by this field and
not by the address, so a CONNECT to one host with the greeting of another would reach what no rule allows. It must never
guess: what is no whole ClientHello of one name is NotTls, and a hidden name (ECH) is told apart, for it cannot be checked.
"""

from typing import NamedTuple

MAX_HELLO = 16 << 10
"""Post-quantum key shares make one of 2 KiB; session tickets add a few."""

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _HIDDEN = 0x0000, 0xFE0D
_RECORD = 1 << 14


class NotTls(ValueError):  # noqa: N818 - what it is
    """The bytes are no TLS ClientHello."""


class Hello(NamedTuple):
    """A whole ClientHello: the host it asks for, lower case, empty where it asks for none."""

    name: str
    hidden: bool
    """An inner greeting is encrypted (ECH, or a client that pretends to)."""


def looks_like(start: bytes | bytearray) -> bool:
    """Whether bytes so far may be the start of TLS."""
    return all(at >= len(start) or start[at] == wanted for at, wanted in enumerate((_HANDSHAKE, 3)))


def read(data: bytes | bytearray) -> Hello | None:
    """The greeting at the start of a client's bytes, None where more must come; raises NotTls."""
    message = _message(bytes(data))
    return None if message is None else _hello(message)


def _message(data: bytes) -> bytes | None:
    """The handshake message, put together from the records it is spread over."""
    parts, have, at = [], 0, 0
    while True:
        if not looks_like(data[at:]):
            raise NotTls("not a TLS handshake")
        if at + 5 > len(data):
            return None
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if not 1 <= size <= _RECORD or have > MAX_HELLO:
            raise NotTls("a TLS record of an impossible length")
        if at + 5 + size > len(data):
            if at + 5 + 4 <= len(data) and not have:
                _wanted(data[at + 5 : at + 9])  # so that what cannot be one is refused before it is whole
            return None
        parts.append(data[at + 5 : at + 5 + size])
        have, at = have + size, at + 5 + size
        if have >= 4:
            whole = b"".join(parts)
            wanted = _wanted(whole[:4])
            if have > wanted:
                raise NotTls("something follows the ClientHello in its record")
            if have == wanted:
                return whole[4:]


def _wanted(header: bytes) -> int:
    size = int.from_bytes(header[1:4], "big")
    if header[0] != _CLIENT_HELLO or size > MAX_HELLO:
        raise NotTls("not a ClientHello of a likely length")
    return 4 + size


class _Reader:
    """Fields with their lengths before them, never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise NotTls("a ClientHello that ends too early")
        taken, self._at = self._data[self._at : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def field(self, size: int) -> bytes:
        return self.take(self.number(size))


def _hello(message: bytes) -> Hello:
    at = _Reader(message)
    if at.take(2)[0] != 3:
        raise NotTls("a ClientHello of no version of TLS")
    at.take(32)
    if len(at.field(1)) > 32 or len(at.field(2)) % 2 or not at.field(1):
        raise NotTls("a ClientHello with impossible fields")
    name, hidden, seen = "", False, set()
    extensions = _Reader(at.field(2) if at.more else b"")
    if at.more:
        raise NotTls("a ClientHello that does not end where it says")
    while extensions.more:
        kind, value = extensions.number(2), extensions.field(2)
        if kind in seen:
            raise NotTls("a ClientHello that says something twice")
        seen.add(kind)
        if kind == _SERVER_NAME:
            name = _server_name(value)
        hidden = hidden or kind == _HIDDEN
    return Hello(name, hidden)


def _server_name(value: bytes) -> str:
    outer = _Reader(value)
    names = _Reader(outer.field(2))
    kind, name = names.number(1), names.field(2)
    if outer.more or names.more or kind != 0 or not name:
        raise NotTls("a ClientHello with other than one server name")
    try:
        return name.decode("ascii").lower().rstrip(".")
    except UnicodeDecodeError:
        raise NotTls("a ClientHello with a server name that is not ASCII") from None
