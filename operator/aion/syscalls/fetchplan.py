"""What net.fetch decides before anything goes out: which URL by which rule, with which headers, and where a redirect may lead.

Apart because it is pure, and because the URL library is loaded at the first fetch, not at a process's start. It must
never resolve a name: the addresses are judged when they are known, by the rule that is kept here.
"""

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from multidict import CIMultiDict
from yarl import URL

from aion.api import errors
from aion.syscalls import egress
from aion.syscalls.call import Call

MAX_REQUEST_BODY_BYTES = 256 << 10
_MAX_URL = 8192
_MAX_HEADERS = 64
_MAX_HEADER_BYTES = 8192
SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing, by RFC 9110."""

_PORTS = {"http": 80, "https": 443}
_KEEP_METHOD = frozenset({307, 308})

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {"host", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Not carried along to another origin."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to fetch."""

    url: str
    method: Literal["GET", "HEAD", "POST"] = "GET"
    headers: dict[str, str] = {}
    body: str | None = None


class Hop(msgspec.Struct, frozen=True):
    """One request of a fetch, judged by host and port."""

    url: URL
    allowed: egress.Allowed


class Request(msgspec.Struct, frozen=True):
    """What goes out on one hop."""

    hop: Hop
    method: str
    headers: CIMultiDict[str]
    body: bytes | None


_params = msgspec.json.Decoder(Params)


def admit(call: Call) -> Request:
    """Judge URL, headers and body; raises BadParams, TooLarge or PolicyDenied."""
    try:
        params = _params.decode(call.params)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.BadParams(f"params of net.fetch: {error}", details=_where(str(error))) from None
    if params.body is not None and params.method != "POST":
        raise _bad("/body", f"a {params.method} request has no body")
    body = params.body.encode() if params.body is not None else None
    if body is not None and len(body) > MAX_REQUEST_BODY_BYTES:
        raise errors.TooLarge(f"the body to send has more than {MAX_REQUEST_BODY_BYTES} bytes")
    return Request(judge(params.url, call), params.method, _headers(params.headers), body)


def follow(request: Request, status: int, target: URL, call: Call) -> Request:
    """The next request of a redirect; raises PolicyDenied, or UpstreamFailed for what the other side made up."""
    try:
        hop = judge(str(request.hop.url.join(target)), call)
    except errors.BadParams as error:
        raise errors.UpstreamFailed(
            f"{request.hop.allowed.host} redirects to what cannot be fetched: {error.message}"
        ) from None
    method, headers, body = request.method, CIMultiDict(request.headers), request.body
    if status not in _KEEP_METHOD and method == "POST":
        method, body = "GET", None
        headers.popall("content-type", None)
    if hop.url.origin() != request.hop.url.origin():
        for secret in _SECRET:
            headers.popall(secret, None)
    return Request(hop, method, headers, body)


def judge(text: str, call: Call) -> Hop:
    """Read a URL and hold it against the grant; raises BadParams or PolicyDenied."""
    if len(text) > _MAX_URL:
        raise _bad("/url", f"got {len(text)} characters, expected at most {_MAX_URL}")
    try:
        url = URL(text)
        host, port = url.host, url.port
        urlsplit(text)  # two parsers must both take it
    except ValueError as error:
        raise _bad("/url", f"got what is no URL: {error}") from None
    if url.scheme not in _PORTS or not host or not port:
        raise _bad("/url", "expected an absolute http:// or https:// URL with a host")
    if url.user is not None or url.password is not None:
        raise _bad("/url", "a URL must not hold a user name or password: send a header")
    call.subject = call.subject or f"{url.raw_host or host}:{port}"  # also of a call that is refused
    allowed = call.rights.reach.verify(url.raw_host or host, port)
    literal = egress.address(allowed.host)
    if literal is not None:
        allowed.choose([literal])
    return Hop(url.with_fragment(None), allowed)


def _headers(given: dict[str, str]) -> CIMultiDict[str]:
    if len(given) > _MAX_HEADERS or sum(len(name) + len(value) for name, value in given.items()) > _MAX_HEADER_BYTES:
        raise _bad("/headers", f"expected at most {_MAX_HEADERS} headers of {_MAX_HEADER_BYTES} characters together")
    for name, value in given.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _bad("/headers", f"got a header {name[:60]!r} with characters that HTTP does not allow")
        if name.lower() in _OURS or name.lower().startswith("proxy-"):
            raise _bad(f"/headers/{name}", "this header belongs to the connection, which is the gateway's")
    made = CIMultiDict(given)
    made.setdefault("user-agent", "aion-os")
    made.setdefault("accept", "*/*")
    return made


def _bad(path: str, message: str) -> errors.BadParams:
    return errors.BadParams(
        f"params of net.fetch at {path}: {message}", details={"errors": [{"path": path, "message": message}]}
    )


def _where(message: str) -> dict[str, object]:
    """Msgspec ends its message by the place: … - at `$.headers`."""
    path = message.rpartition("at `$")[2].rstrip("`").replace(".", "/") if "at `$" in message else ""
    return {"errors": [{"path": path, "message": message}]}
