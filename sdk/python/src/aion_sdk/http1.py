"""One HTTP/1.1 answer, read from bytes: no sockets here, so that the plain and the asyncio client share it.

Apart because time-outs must bound the whole answer, dripping headers included, which needs the caller to own the reads.
It understands what a gateway sends: Content-Length, chunked, or until close. It must never hold more than MAX_BODY, and
never let a connection carry on after an answer whose end is in doubt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD = 64 * 1024
MAX_LINE = 4 * 1024  # a chunk's size or a trailer
MAX_BODY = 16 * 1024 * 1024  # a result is at most 1 MiB; more than this is not a gateway

_HEX = frozenset(b"0123456789abcdefABCDEF")


class BrokenAnswer(Exception):  # noqa: N818  (named for what is the matter)
    """What came is not HTTP/1.1, is too large, or ended too early."""


class Answer:
    """Feed it what arrives until it says it is complete."""

    __slots__ = ("_body", "_buffer", "_framed", "_left", "_next", "complete", "headers", "started", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.started = False  # whether anything came at all
        self._buffer = bytearray()
        self._body = bytearray()
        self._left = 0  # bytes until the end of the body or the chunk
        self._framed = False  # whether the end is known without a close
        self._next: Callable[[], bool] = self._read_head  # True where it got on and something may follow

    @property
    def body(self) -> bytes:
        """The body, as far as it came."""
        return bytes(self._body)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        said = self.headers.get("connection", "").lower()
        return self.complete and self._framed and not self._buffer and "close" not in said

    def feed(self, data: bytes) -> bool:
        """Take what was received; b"" means the peer closed. True once the answer is complete."""
        if not data:
            if not self.complete and (not self.status or self._framed):
                raise BrokenAnswer("the connection was closed before the answer was whole")
            self.complete = True
            return True
        self.started = True
        self._buffer += data
        while not self.complete and self._next():
            pass
        return self.complete

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > MAX_HEAD or (end < 0 and len(self._buffer) > MAX_HEAD):
            raise BrokenAnswer(f"the answer's headers have more than {MAX_HEAD} bytes")
        if end < 0:
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise BrokenAnswer(f"not an HTTP answer: {first[:60]!r}")
        headers = _headers(lines)
        if code.startswith("1"):
            return True  # an interim answer: the real one follows
        if version == "HTTP/1.0":
            headers.setdefault("connection", "close")
        self.status, self.headers = int(code), headers
        self._choose_frame(code)
        return True

    def _choose_frame(self, code: str) -> None:
        coding, length = self.headers.get("transfer-encoding"), self.headers.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise BrokenAnswer(
                    f"Transfer-Encoding: {coding[:60]!r}, Content-Length: {length!r}: where does it end?"
                )
            self._framed, self._next = True, self._read_chunk_size
        elif length is not None or code in {"204", "304"}:
            self._framed, self._next = True, self._read_sized
            self._left = 0 if code in {"204", "304"} else _length(length or "")
            self.complete = self._left == 0
        else:
            self._next = self._read_until_close

    def _read_sized(self) -> bool:
        self._left -= self._take(self._left)
        self.complete = self._left == 0
        return False

    def _read_until_close(self) -> bool:
        self._take(len(self._buffer))
        return False

    def _read_chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        size = line.partition(b";")[0].strip()
        if not size or len(size) > 16 or not _HEX.issuperset(size):
            raise BrokenAnswer(f"not a chunk's size: {bytes(line[:60])!r}")
        self._left = int(size, 16)
        self._next = self._read_chunk if self._left else self._read_trailers
        return True

    def _read_chunk(self) -> bool:
        self._left -= self._take(self._left)
        if self._left:
            return False
        self._next = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        if len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise BrokenAnswer("a chunk is longer than it said")
        del self._buffer[:2]
        self._next = self._read_chunk_size
        return True

    def _read_trailers(self) -> bool:
        line = self._line()
        self.complete = line == b""
        return bool(line)

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end > MAX_LINE or (end < 0 and len(self._buffer) > MAX_LINE):
            raise BrokenAnswer(f"a chunk's size or trailer has more than {MAX_LINE} bytes")
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, most: int) -> int:
        n = min(most, len(self._buffer))
        if len(self._body) + n > MAX_BODY:
            raise BrokenAnswer(f"the answer has more than {MAX_BODY} bytes")
        self._body += self._buffer[:n]
        del self._buffer[:n]
        return n


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BrokenAnswer(f"not a header: {line[:60]!r}")
        key, said = name.strip().lower(), value.strip()
        if key in {"content-length", "transfer-encoding"} and found.get(key, said) != said:
            raise BrokenAnswer(f"two different headers {key}")
        found[key] = said
    return found


def _length(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise BrokenAnswer(f"Content-Length: {text[:60]!r}")
    if len(text) > 12 or int(text) > MAX_BODY:
        raise BrokenAnswer(f"the answer has {text[:20]} bytes, at most {MAX_BODY} are read")
    return int(text)
