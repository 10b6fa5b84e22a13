"""One fetch as it goes over the wire: each hop on a connection of its own, to an address that was judged.

Apart because the HTTP client costs 110 ms and 10 MiB, which an agent that fetches nothing should not pay at its start:
`net_fetch` loads this module at the first fetch. It must never read more than it may give back.
"""

import base64
import socket
from collections.abc import Sequence

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from aion.api import errors
from aion.syscalls import egress, fetchplan
from aion.syscalls.call import Call
from aion.syscalls.fetchplan import Hop, Request
from aion.syscalls.net_fetch import Lookup

MAX_REDIRECTS = 5
MAX_BODY_BYTES = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Fetched(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came back: text where it is UTF-8, base64 where it is not. `bytes` is the body's length."""

    status: int
    url: str
    headers: dict[str, str]
    bytes: int
    body: str | None = None
    body_base64: str | None = None


_encode = msgspec.json.Encoder().encode


async def fetch(request: Request, call: Call, resolve: Lookup) -> bytes:
    """Go from hop to hop; what came back, as JSON. Raises SyscallError."""
    first = request.hop.url
    try:
        for _ in range(MAX_REDIRECTS + 1):
            outcome = await _once(request, call, resolve)
            if isinstance(outcome, Fetched):
                return _encode(outcome)
            request = fetchplan.follow(request, *outcome, call)
    except aiohttp.ClientError as error:
        said = str(error) or type(error).__name__
        raise errors.UpstreamFailed(f"{request.hop.allowed.host} failed: {said}") from None
    raise errors.UpstreamFailed(f"{str(first)[:200]} redirects more than {MAX_REDIRECTS} times")


async def _once(request: Request, call: Call, resolve: Lookup) -> Fetched | tuple[int, URL]:
    """One hop: its answer, or (status, location) of a redirect."""
    hop = request.hop
    host, port = hop.allowed.host, hop.allowed.port
    literal = egress.address(host)
    try:
        found = [literal] if literal is not None else await resolve(host, port)
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
        session.request(
            request.method, hop.url, headers=request.headers, data=request.body, allow_redirects=False
        ) as answer,
    ):
        call.bytes_out += len(request.body or b"")
        location = answer.headers.get("location")
        if answer.status in _REDIRECTS and location:
            try:
                return answer.status, URL(location)
            except ValueError:
                raise errors.UpstreamFailed(f"{host} redirects to what is no URL") from None
        return _fetched(hop, answer, await _read(answer, call))


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


async def _read(answer: aiohttp.ClientResponse, call: Call) -> bytes:
    taken = bytearray()
    async for piece in answer.content.iter_chunked(64 << 10):
        taken += piece
        call.bytes_in += len(piece)
        if len(taken) > MAX_BODY_BYTES:
            raise errors.TooLarge(f"{answer.url.host} sent more than {MAX_BODY_BYTES} bytes")
    return bytes(taken)


def _fetched(hop: Hop, answer: aiohttp.ClientResponse, body: bytes) -> Fetched:
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
