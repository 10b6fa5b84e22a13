"""What a client asks of the proxy: the head of a CONNECT or of an absolute-form request, read so that it has one meaning.

Apart because it is the part that an attacker writes, and it is pure: bytes in, a request or a BadRequest out. Wherever two
readers could understand a head differently (a bare line feed, a folded line, two lengths, a Host that is not the
target's) it is refused and not repaired. It must never let a header pass that belongs to this connection alone, nor
repeat one in a message.
"""

import re
from dataclasses import dataclass

from aion.api import errors

MAX_HEAD_BYTES = 32 << 10
MAX_HEADERS = 128

END = b"\r\n\r\n"

Header = tuple[bytes, bytes]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_LINE = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21-\x7e]{1,16384}) HTTP/1\.([01])")
_FIELD = re.compile(rb"(" + _TOKEN + rb"{1,128}):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_AUTHORITY = re.compile(rf"({_LABEL}(?:\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]{{2,45}}\])(?::([1-9][0-9]{{0,4}}))?")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([/?][^#]*)?")
_LENGTH = re.compile(rb"[0-9]{1,15}")

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""What belongs to one connection and is never passed on. A body's framing is written anew."""

_STRUCTURAL = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""What `Connection` must not name: it would take from the request what says where it goes and where it ends."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, whole but for its body. `host` is a name or an address, IPv6 without brackets."""

    host: str
    port: int
    connect: bool
    method: bytes = b"CONNECT"
    target: bytes = b""
    minor: int = 1
    """Of HTTP/1.x, as the client speaks it."""
    headers: tuple[Header, ...] = ()
    """What is passed on, without Host and the body's framing."""
    length: int | None = 0
    """Of the body, in bytes; None where it comes in chunks."""

    @property
    def authority(self) -> str:
        """The host as it stands in a URL, with its port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def header(self, name: bytes) -> bytes:
        """The first value of a header, by its lower-case name; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name), b"")


def end_of_head(buffer: bytes | bytearray) -> int:
    """Where the head ends, or -1 where it goes on; raises BadRequest where it is longer than anybody needs."""
    end = buffer.find(END)
    if end > MAX_HEAD_BYTES or (end < 0 and len(buffer) > MAX_HEAD_BYTES):
        raise errors.BadRequest(f"the request's head has more than {MAX_HEAD_BYTES} bytes")
    return end + len(END) if end >= 0 else -1


def parse(head: bytes) -> Asked:
    """Read a head, blank line and all; raises BadRequest."""
    if not head.endswith(END):
        raise errors.BadRequest("the request's head does not end with a blank line")
    first, *rest = head[: -len(END)].split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise errors.BadRequest("the request's first line is not METHOD SP target SP HTTP/1.1")
    method, target, minor = line[1], line[2], int(line[3])
    if len(rest) > MAX_HEADERS:
        raise errors.BadRequest(f"got {len(rest)} headers, expected at most {MAX_HEADERS}")
    fields = [_field(each) for each in rest]
    if method == b"CONNECT":
        return _connect(target, minor, fields)
    return _absolute(method, target, minor, fields)


def _field(line: bytes) -> Header:
    if line[:1] in (b" ", b"\t"):
        raise errors.BadRequest("a header is folded over two lines, which two readers understand differently")
    found = _FIELD.fullmatch(line)
    if found is None:  # also a bare CR or LF, and a blank before the colon
        raise errors.BadRequest("a header has characters that HTTP does not allow in it")
    return found[1], found[2]


def _connect(target: bytes, minor: int, fields: list[Header]) -> Asked:
    host, port = _authority(target, default=None)
    _verify_host(fields, host, port, given=minor == 1, optional=True)
    if _length(fields, minor) != 0:
        raise errors.BadRequest("a CONNECT has no body: what follows its head goes to the other side")
    return Asked(host, port, connect=True, minor=minor, headers=_passed_on(fields))


def _absolute(method: bytes, target: bytes, minor: int, fields: list[Header]) -> Asked:
    parts = _ABSOLUTE.fullmatch(target)
    if parts is None:
        raise errors.BadRequest(
            "this is a proxy: expected CONNECT host:port, or a method with http://host/path. Syscalls are made on gw.sock"
        )
    scheme = parts[1].lower()
    if scheme == b"https":
        raise errors.BadRequest("got https:// in the request line: ask CONNECT host:443 and speak TLS through it")
    if scheme != b"http":
        raise errors.BadRequest("expected http:// in the request line, no other scheme is spoken here")
    if method == b"TRACE":
        raise errors.BadRequest("TRACE is not passed on: it shows a request's secrets to who can read its answer")
    host, port = _authority(parts[2], default=80)
    _verify_host(fields, host, port, given=minor == 1, optional=False)
    path = parts[3] or b"/"
    return Asked(
        host,
        port,
        connect=False,
        method=method,
        target=path if path.startswith(b"/") else b"/" + path,
        minor=minor,
        headers=_passed_on(fields),
        length=_length(fields, minor),
    )


def _authority(text: bytes, *, default: int | None) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text.decode("ascii", "replace")) if len(text) <= 300 else None
    port = int(found[2]) if found and found[2] else default
    if found is None or port is None or port > 65535:
        raise errors.BadRequest(
            "expected host:port, the host a name in ASCII, an IPv4 address or an [IPv6] one, the port 1 to 65535, no user"
        )
    return found[1].strip("[]").lower().rstrip("."), port


def _verify_host(fields: list[Header], host: str, port: int, *, given: bool, optional: bool) -> None:
    """Host is there once and names the target: who is spoken to is said in one place only."""
    said = [value for name, value in fields if name.lower() == b"host"]
    if len(said) > 1:
        raise errors.BadRequest("got more than one Host header")
    if not said:
        if given and not optional:
            raise errors.BadRequest("an HTTP/1.1 request needs a Host header")
        return
    # A client may leave out the port of a CONNECT, and 80 of http://.
    if _authority(said[0], default=port if optional else 80) != (host, port):
        raise errors.BadRequest("the Host header is not the host and port of the request line")


def _length(fields: list[Header], minor: int) -> int | None:
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise errors.BadRequest("the body's length is said twice: expected one Content-Length or one Transfer-Encoding")
    if codings:
        if codings[0].lower() != b"chunked" or not minor:
            raise errors.BadRequest("expected Transfer-Encoding: chunked, in HTTP/1.1, and nothing else in it")
        return None
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise errors.BadRequest("Content-Length is not a number of bytes")
    return int(lengths[0]) if lengths else 0


def _passed_on(fields: list[Header]) -> tuple[Header, ...]:
    named = {
        word.strip().lower() for name, value in fields if name.lower() == b"connection" for word in value.split(b",")
    }
    if named & _STRUCTURAL:
        raise errors.BadRequest("Connection names a header that the request cannot do without")
    dropped = HOP_BY_HOP | named | _STRUCTURAL
    return tuple((name, value) for name, value in fields if name.lower() not in dropped)


def forwarded(asked: Asked) -> bytes:
    """The head as it goes on to the host of an absolute-form request: origin-form, one exchange, framed anew."""
    host = asked.authority.removesuffix(":80").encode()
    lines = [b"%s %s HTTP/1.%d" % (asked.method, asked.target, asked.minor), b"Host: " + host]
    lines += [name + b": " + value for name, value in asked.headers]
    if asked.length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif asked.length or asked.method in (b"POST", b"PUT", b"PATCH"):
        lines.append(b"Content-Length: %d" % asked.length)
    lines += [b"Via: 1.%d aion" % asked.minor, b"Connection: close"]
    return b"\r\n".join(lines) + END
