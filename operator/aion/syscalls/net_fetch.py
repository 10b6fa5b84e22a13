"""`net.fetch {url, method, headers, body}`: the only way of an agent or a tool to the network.

Each hop is judged alone: scheme, host and port by the grant, then every address the name resolves to, and the connection
is made to an address that was judged, never to a second look-up of the name. Nothing is shared between fetches: no
cookies, no proxy of the environment, no kept connection that another call's rule let through. It must never follow a
redirect without judging it, nor read more than it may give back.
"""

import asyncio
import base64
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from aion.api import errors
from aion.syscalls import egress
from aion.syscalls.call import Call, Work

MAX_REDIRECTS = 5
MAX_BODY_BYTES = 1 << 20
MAX_REQUEST_BODY_BYTES = 256 << 10
_MAX_URL = 8192
_MAX_HEADERS = 64
_MAX_HEADER_BYTES = 8192
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_METHOD = frozenset({307, 308})

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(
    {"host", "connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Not carried along to another origin."""

Lookup = Callable[[str, int], Awaitable[Sequence[egress.Address]]]
"""Every address of a name; raises OSError where it has none."""


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to fetch."""

    url: str
    method: Literal["GET", "HEAD", "POST"] = "GET"
    headers: dict[str, str] = {}
    body: str | None = None


class Fetched(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came back: text where it is UTF-8, base64 where it is not. `bytes` is the body's length."""

    status: int
    url: str
    headers: dict[str, str]
    bytes: int
    body: str | None = None
    body_base64: str | None = None


class _Hop(msgspec.Struct, frozen=True):
    """One request of a fetch, judged by host and port."""

    url: URL
    allowed: egress.Allowed


_params = msgspec.json.Decoder(Params)
_encode = msgspec.json.Encoder().encode


async def lookup(host: str, port: int) -> Sequence[egress.Address]:
    """Ask the system's resolver, in a thread."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [each for *_, where in found if (each := egress.address(str(where[0]))) is not None]


class NetFetch:
    """The handler."""

    name = "net.fetch"
    capability = "network"

    def __init__(self, resolve: Lookup = lookup) -> None:
        self._resolve = resolve

    def worst_case(self, call: Call) -> int:  # noqa: ARG002 - the protocol's
        """Fetching is free."""
        return 0

    def admit(self, call: Call) -> Work:
        """Judge URL, headers and body."""
        try:
            params = _params.decode(call.params)
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.BadParams(f"params of net.fetch: {error}", details=_where(str(error))) from None
        if params.body is not None and params.method != "POST":
            raise _bad("/body", f"a {params.method} request has no body")
        if params.body is not None and len(params.body.encode()) > MAX_REQUEST_BODY_BYTES:
            raise errors.TooLarge(f"the body to send has more than {MAX_REQUEST_BODY_BYTES} bytes")
        hop = _judge(params.url, call)
        headers = _headers(params.headers)
        return partial(self._work, call, params, hop, headers)

    async def _work(self, call: Call, params: Params, hop: _Hop, headers: CIMultiDict[str]) -> bytes:
        method, body = params.method, params.body.encode() if params.body is not None else None
        try:
            for _ in range(MAX_REDIRECTS + 1):
                outcome = await self._once(hop, method, headers, body)
                if isinstance(outcome, Fetched):
                    return _encode(outcome)
                status, target = outcome
                following = _follow(hop, target, call)
                if status not in _KEEP_METHOD and method == "POST":
                    method, body = "GET", None
                    headers.popall("content-type", None)
                if following.url.origin() != hop.url.origin():
                    for secret in _SECRET:
                        headers.popall(secret, None)
                hop = following
        except aiohttp.ClientError as error:
            raise errors.UpstreamFailed(f"{hop.allowed.host} failed: {str(error) or type(error).__name__}") from None
        raise errors.UpstreamFailed(f"{params.url[:200]} redirects more than {MAX_REDIRECTS} times")

    async def _once(
        self, hop: _Hop, method: str, headers: CIMultiDict[str], body: bytes | None
    ) -> Fetched | tuple[int, URL]:
        """One hop: its answer, or (status, location) of a redirect."""
        host, port = hop.allowed.host, hop.allowed.port
        literal = egress.address(host)
        try:
            found = [literal] if literal is not None else await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise errors.UpstreamFailed(f"{host} has no address: {error}") from None
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(hop.allowed.choose(found)), use_dns_cache=False, force_close=True, limit=2
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the router's deadline holds
            ) as session,
            session.request(method, hop.url, headers=headers, data=body, allow_redirects=False) as answer,
        ):
            location = answer.headers.get("location")
            if answer.status in _REDIRECTS and location:
                try:
                    return answer.status, URL(location)
                except ValueError:
                    raise errors.UpstreamFailed(f"{host} redirects to what is no URL") from None
            return _fetched(hop, answer, await _read(answer))


class _Pinned(AbstractResolver):
    """Gives the connector the addresses that were judged, whatever it asks for."""

    def __init__(self, addresses: Sequence[egress.Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The judged addresses."""
        return [
            ResolveResult(
                hostname=host,
                host=str(each),
                port=port,
                family=socket.AF_INET if each.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for each in self._addresses
            if family in (socket.AF_UNSPEC, socket.AF_INET if each.version == 4 else socket.AF_INET6)
        ]

    async def close(self) -> None:
        """Nothing is open."""


def _judge(text: str, call: Call) -> _Hop:
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
    return _Hop(url.with_fragment(None), allowed)


def _follow(hop: _Hop, target: URL, call: Call) -> _Hop:
    """Judge where a redirect leads; raises PolicyDenied, or UpstreamFailed for what the other side made up."""
    try:
        return _judge(str(hop.url.join(target)), call)
    except errors.BadParams as error:
        raise errors.UpstreamFailed(
            f"{hop.allowed.host} redirects to what cannot be fetched: {error.message}"
        ) from None


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


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    taken = bytearray()
    async for piece in answer.content.iter_chunked(64 << 10):
        taken += piece
        if len(taken) > MAX_BODY_BYTES:
            raise errors.TooLarge(f"{answer.url.host} sent more than {MAX_BODY_BYTES} bytes")
    return bytes(taken)


def _fetched(hop: _Hop, answer: aiohttp.ClientResponse, body: bytes) -> Fetched:
    headers: dict[str, str] = {}
    for name, raw in answer.headers.items():
        lowered, value = name.lower(), raw.encode(errors="surrogateescape").decode(errors="replace")
        headers[lowered] = f"{headers[lowered]}, {value}" if lowered in headers else value
    text, encoded = None, None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(body).decode()
    return Fetched(answer.status, str(hop.url), headers, len(body), text, encoded)


def _bad(path: str, message: str) -> errors.BadParams:
    return errors.BadParams(
        f"params of net.fetch at {path}: {message}", details={"errors": [{"path": path, "message": message}]}
    )


def _where(message: str) -> dict[str, object]:
    """Msgspec ends its message by the place: … - at `$.headers`."""
    path = message.rpartition("at `$")[2].rstrip("`").replace(".", "/") if "at `$" in message else ""
    return {"errors": [{"path": path, "message": message}]}
