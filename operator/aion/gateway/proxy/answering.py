"""Heads that go back to the client: of our own refusals, and of the answer that an absolute-form request brought.

Apart because both are rewritten by the same rule: nothing of the other connection, one exchange, then the end. A refusal is
the syscall's own error body, with `Proxy-Status` (RFC 9209) for clients and people who know that. It must never pass on
an answer that two readers could cut apart differently.
"""

import re
from http import HTTPStatus

from aion.api import errors, syscall
from aion.gateway.proxy import asked, hello
from aion.syscalls.router import Reply

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"

ALERT = b"\x15\x03\x03\x00\x02\x02\x31"
"""TLS's own word for no: a fatal alert, access_denied. A client that is in its handshake reports it by name."""

MAX_HEAD_BYTES = 64 << 10

_REQUEST = re.compile(rb"[A-Z]{3,16} /")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")

PROXY_ERROR = "proxy_error"
"""In an error's details: the name that RFC 9209 has for it."""

_BY_CODE = {
    "E_BAD_REQUEST": "http_request_error",
    "E_CAPABILITY": "http_request_denied",
    "E_POLICY": "http_request_denied",
    "E_TENANT": "http_request_denied",
    "E_BUSY": "connection_limit_reached",
    "E_TIMEOUT": "connection_timeout",
    "E_UPSTREAM": "destination_unavailable",
}


def refusal(reply: Reply) -> bytes:
    """A whole answer: the syscall's error body, and what RFC 9209 calls it."""
    lines = [b"HTTP/1.1 %d %s" % (reply.status, _phrase(reply.status))]
    lines += [name + b": " + value for name, value in reply.headers]
    lines += [
        b"proxy-status: aion; error=" + _kind(reply.body).encode(),
        b"content-length: %d" % len(reply.body),
        b"connection: close",
    ]
    return b"\r\n".join(lines) + asked.END + reply.body


def in_tunnel(first: bytes, reply: Reply) -> bytes:
    """A refusal for a client that has its tunnel already and has begun to speak: in TLS or HTTP, where it is either."""
    if first and hello.looks_like(first):
        return ALERT
    return refusal(reply) if _REQUEST.match(first) else b""


def _kind(body: bytes) -> str:
    said = syscall.read_answer(body)
    error = said.error if isinstance(said, syscall.Failed) else syscall.WireError("", "")
    named = (error.details or {}).get(PROXY_ERROR)
    if isinstance(named, str):
        return named
    if (error.rule or "").startswith("egress.private"):
        return "destination_ip_prohibited"
    return _BY_CODE.get(error.code, "proxy_internal_response")


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode()


class AnswerHead:
    """The head of the other side's answer, and of the interim ones before it; then everything passes."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._buffer = bytearray()
        self.done = False

    def take(self, data: bytes) -> bytes:
        """What may go to the client now; raises UpstreamFailed where the answer is none."""
        self._buffer += data
        out = bytearray()
        while not self.done:
            end = self._buffer.find(asked.END)
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    raise self._failed(f"its head has more than {MAX_HEAD_BYTES} bytes")
                return bytes(out)
            head = bytes(self._buffer[:end])
            del self._buffer[: end + len(asked.END)]
            status, lines = self._head(head)
            self.done = status >= 200
            out += b"\r\n".join([*lines, b"Via: 1.1 aion", b"Connection: close"] if self.done else lines) + asked.END
        out += self._buffer
        self._buffer.clear()
        return bytes(out)

    def ended(self) -> None:
        """The other side sends no more, and has not answered."""
        if not self.done:
            raise self._failed("it ended before its head was whole", proxy_error="http_response_incomplete")

    def _head(self, head: bytes) -> tuple[int, list[bytes]]:
        first, *rest = head.split(b"\r\n")
        line = _STATUS.fullmatch(first)
        fields = [_FIELD.fullmatch(each) for each in rest]
        if line is None or len(rest) > 4 * asked.MAX_HEADERS:
            raise self._failed("it is not HTTP/1.1")
        status = int(line[1])
        if status == 101:
            raise self._failed("it switches protocols, which nobody asked for", proxy_error="http_upgrade_failed")
        named, framings = set(asked.HOP_BY_HOP - {b"transfer-encoding"}), 0
        for field in fields:
            if field is None:
                raise self._failed("a header of it has characters that HTTP does not allow")
            name = field[1].lower()
            framings += name in (b"content-length", b"transfer-encoding")
            if name == b"connection":
                named |= {word.strip().lower() for word in field[2].split(b",")}
        if framings > 1:
            raise self._failed("the body's length is said twice")
        named -= {b"content-length", b"transfer-encoding"}
        kept = [field for field in fields if field is not None and field[1].lower() not in named]
        reason = line[2] or b""
        return status, [b"HTTP/1.1 %d %s" % (status, reason), *(each[1] + b": " + each[2] for each in kept)]

    def _failed(self, why: str, *, proxy_error: str = "http_protocol_error") -> errors.UpstreamFailed:
        return errors.UpstreamFailed(f"the answer of {self._host} is none: {why}", details={PROXY_ERROR: proxy_error})
