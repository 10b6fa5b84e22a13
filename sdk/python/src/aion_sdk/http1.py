"""One HTTP/1.1 answer, read from bytes: no sockets here, so that the plain and the asyncio client share it.

Apart because time-outs must bound the whole answer, dripping headers included, which needs the caller to own the reads.
It understands what a gateway sends: Content-Length, chunked, or until close. It must never hold more than MAX_BODY.
"""

from __future__ import annotations

MAX_HEAD = 64 * 1024
MAX_BODY = 16 * 1024 * 1024  # a result is at most 1 MiB; more than this is not a gateway


class BrokenAnswer(Exception):  # noqa: N818  (named for what is the matter)
    """What came is not HTTP/1.1, is too large, or ended too early."""


class Answer:
    """Feed it what arrives until it says it is complete."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.started = False  # whether anything came at all
        self._buffer = bytearray()
        self._body = bytearray()
        self._left: int | None = None  # of the body or the chunk; None: until close
        self._chunked = False
        self._trailers = False

    @property
    def body(self) -> bytes:
        """The body, as far as it came."""
        return bytes(self._body)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection may carry another request."""
        framed = self._chunked or self._left is not None
        return (
            self.complete and framed and not self._buffer and "close" not in self.headers.get("connection", "").lower()
        )

    def feed(self, data: bytes) -> bool:
        """Take what was received; b"" means the peer closed. True once the answer is complete."""
        if not data:
            if self.status and not self._chunked and self._left is None:
                self.complete = True
                return True
            raise BrokenAnswer("the connection was closed in the middle of the answer" if self.started else "no answer")
        self.started = True
        self._buffer += data
        while not self.status:
            end = self._buffer.find(b"\r\n\r\n")
            if end > MAX_HEAD or (end < 0 and len(self._buffer) > MAX_HEAD):
                raise BrokenAnswer(f"the answer's headers have more than {MAX_HEAD} bytes")
            if end < 0:
                return False
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._read_head(head)
        self.complete = self._read_chunks() if self._chunked else self._read_plain()
        return self.complete

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise BrokenAnswer(f"not an HTTP answer: {first[:60]!r}")
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BrokenAnswer(f"not a header: {line[:60]!r}")
            headers[name.strip().lower()] = value.strip()
        if code.startswith("1"):
            return  # an interim answer: the real one follows
        self.status, self.headers = int(code), headers
        if version == "HTTP/1.0" and "connection" not in headers:
            headers["connection"] = "close"
        if headers.get("transfer-encoding", "").lower().endswith("chunked"):
            self._chunked = True
        elif code in {"204", "304"}:
            self._left = 0
        elif (length := headers.get("content-length")) is not None:
            if not (length.isascii() and length.isdigit()):
                raise BrokenAnswer(f"Content-Length: {length[:60]!r}")
            self._left = int(length)
            if self._left > MAX_BODY:
                raise BrokenAnswer(f"the answer has {self._left} bytes, at most {MAX_BODY} are read")

    def _read_plain(self) -> bool:
        if self._left is None:
            self._take(len(self._buffer))
            return False
        self._left -= self._take(min(self._left, len(self._buffer)))
        return self._left == 0

    def _read_chunks(self) -> bool:
        while True:
            if self._left:
                self._left -= self._take(min(self._left, len(self._buffer)))
                if self._left:
                    return False
                self._left = -1  # the line break after the chunk
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD:
                    raise BrokenAnswer("a chunk's size does not end")
                return False
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            if self._left == -1:
                if line:
                    raise BrokenAnswer("a chunk is longer than it said")
                self._left = None
            elif self._trailers:
                if not line:
                    return True
            else:
                try:
                    self._left = int(line.partition(b";")[0], 16)
                except ValueError:
                    raise BrokenAnswer(f"not a chunk's size: {line[:60]!r}") from None
                if self._left < 0:
                    raise BrokenAnswer("a chunk's size is below zero")
                self._trailers = self._left == 0

    def _take(self, n: int) -> int:
        if len(self._body) + n > MAX_BODY:
            raise BrokenAnswer(f"the answer has more than {MAX_BODY} bytes")
        self._body += self._buffer[:n]
        del self._buffer[:n]
        return n
