"""The upgrade of an HTTP/1.1 connection to a WebSocket (RFC 6455, section 4): the request, and whether it was accepted.

Apart because it is pure text on both sides. It must never put on the wire what could be read as another header or request,
and never take for a WebSocket what did not prove that it understood the key.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

MAX_HEAD_BYTES = 16 << 10
"""Of the answer: ours has some 150 bytes, a proxy's refusal a few thousand."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PORTS = {"http": 80, "https": 443}


class WebSocketError(Exception):
    """The connection is not there: `Refused` by its status, or `Broken`."""


class Refused(WebSocketError):  # noqa: N818 - states of affairs, which each caller turns into words of its own
    """The server answered the upgrade with another HTTP status than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"refused with HTTP {status}")
        self.status = status


class Broken(WebSocketError):  # noqa: N818 - as above
    """It never was, or is no more. `sent` says whether anything of the message was written before."""

    def __init__(self, why: str, *, sent: bool = False) -> None:
        super().__init__(why)
        self.sent = sent


class Target(msgspec.Struct, frozen=True):
    """Where to dial, and what to ask for there."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str


def target(url: str) -> Target:
    """Read an http:// or https:// URL; raises Broken for what cannot be dialled."""
    try:
        at = urlsplit(url)
        port = at.port or _PORTS.get(at.scheme)
    except ValueError as error:
        raise Broken(f"got {url[:200]!r}, which is no URL: {error}") from None
    if port is None or not at.hostname or not _plain(url) or " " in url:
        raise Broken(f"got {url[:200]!r}, expected an http:// or https:// URL with a host")
    path = (at.path or "/") + (f"?{at.query}" if at.query else "")
    return Target(at.hostname, port, at.scheme == "https", at.netloc.rpartition("@")[2], path)


def new_key() -> str:
    """A key for one upgrade."""
    return base64.b64encode(os.urandom(16)).decode()


def request(to: Target, key: str, headers: Mapping[str, str]) -> bytes:
    """The request; raises Broken where a header could be read as more than one."""
    lines = [
        f"GET {to.path} HTTP/1.1",
        f"Host: {to.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    for name, value in headers.items():
        if not (_plain(name) and _plain(value)):
            raise Broken(f"the header {name[:60]!r} holds characters that no header may")
        lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def verify(head: bytes, key: str) -> None:
    """Take an answer's head, without its empty line, for an upgrade; raises Refused, or Broken for what is not HTTP."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or len(status) != 3 or not (status.isascii() and status.isdigit()):
        raise Broken(f"got {first[:60]!r}, expected an answer of HTTP/1.1")
    if status != "101":
        raise Refused(int(status))
    said = _headers(lines)
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    upgraded = said.get("upgrade", "").lower() == "websocket"
    if not upgraded or "upgrade" not in [word.strip().lower() for word in said.get("connection", "").split(",")]:
        raise Broken("got an answer that upgrades to something else")
    if said.get("sec-websocket-accept") != accept:
        raise Broken("got an answer to another key: is there a cache in between?")
    if "sec-websocket-extensions" in said or "sec-websocket-protocol" in said:
        raise Broken("got an extension or subprotocol that was not asked for")


def _headers(lines: list[str]) -> dict[str, str]:
    """By lower-case name; what is said twice is said with a comma, so that it equals neither."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _plain(text: str) -> bool:
    """Printable ASCII: no line ends, above all."""
    return text.isascii() and text.isprintable()
