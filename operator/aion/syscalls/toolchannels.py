"""The kept connections to tool runners: one an endpoint, dialled at the first call and again after it broke.

Apart because when to dial, and whether a lost call may be asked again, is policy; a connection (`toollink`) knows only
itself. It must never ask a tool twice whose author did not say that this is harmless.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from aion.api import errors, toolcall
from aion.syscalls import websocket
from aion.syscalls.toollink import Ask, BrokenLink, Link

_DIAL_S = 5.0
_PING_S = 20.0
_ELSEWHERE_S = 0.1
_MAX_FRAME = toolcall.MAX_RESULT_BYTES + (64 << 10)  # a result and its envelope

Sign = Callable[[str], Mapping[str, str]]
"""The headers that sign a GET of this request target; raises Unavailable where there is no key."""


class Tools(Protocol):
    """How a tool is called."""

    async def invoke(self, endpoint: str, ask: Ask, *, idempotent: bool) -> bytes:
        """The tool's result as JSON; raises SyscallError."""


class ToolChannels:
    """Every runner that this process speaks to."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._links: dict[str, Link] = {}
        self._dialling: dict[str, asyncio.Task[Link]] = {}
        self._parted: set[Link] = set()

    async def invoke(self, endpoint: str, ask: Ask, *, idempotent: bool) -> bytes:
        """Call the tool at `endpoint`. Raises UnknownOutcome where a connection broke that may have carried an effect.

        Asked again once, on a new connection, where the question had not gone out or the tool is idempotent.
        """
        try:
            return await self._asked(endpoint, ask)
        except BrokenLink as broken:
            if broken.sent and not idempotent:
                raise _lost(endpoint, broken, errors.UnknownOutcome) from None
        try:
            return await self._asked(endpoint, ask)
        except BrokenLink as broken:
            kind = errors.UnknownOutcome if broken.sent and not idempotent else errors.UpstreamFailed
            raise _lost(endpoint, broken, kind) from None

    async def _asked(self, endpoint: str, ask: Ask) -> bytes:
        """Ask, and where that runner is leaving ask another: what it has not begun may be asked anew, idempotent or not."""
        while True:
            link = await self._link(endpoint)
            try:
                return await link.call(ask)
            except errors.Busy as busy:
                if not (busy.details or {}).get(toolcall.LEAVING) or ask.remaining() < _ELSEWHERE_S:
                    raise
            if self._links.get(endpoint) is link:
                self._part(self._links.pop(endpoint))
            await asyncio.sleep(_ELSEWHERE_S)

    def _part(self, link: Link) -> None:
        """Calls on it end there; the runner hangs up after the last."""
        self._parted = {each for each in self._parted if not each.broken} | {link}

    async def keep(self, endpoints: frozenset[str]) -> None:
        """Close the connections to every other endpoint: no grant names it any more."""
        gone = [self._links.pop(endpoint) for endpoint in list(self._links) if endpoint not in endpoints]
        await asyncio.gather(*(link.close() for link in gone))

    async def close(self) -> None:
        """End every connection."""
        dialling = list(self._dialling.values())
        for task in dialling:
            task.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)
        await self.keep(frozenset())
        await asyncio.gather(*(link.close() for link in self._parted))

    async def _link(self, endpoint: str) -> Link:
        link = self._links.get(endpoint)
        if link is not None and not link.broken:
            return link
        dialling = self._dialling.get(endpoint)
        if dialling is None:
            # In a task of its own: many calls may wait for it, and the first may time out before the others.
            dialling = self._dialling[endpoint] = asyncio.create_task(self._dial(endpoint), name="tool-dial")
            dialling.add_done_callback(partial(self._dialled, endpoint))
        return await asyncio.shield(dialling)

    def _dialled(self, endpoint: str, done: asyncio.Task[Link]) -> None:
        del self._dialling[endpoint]
        if not done.cancelled():
            done.exception()  # who still waits is told; that nobody does is no news for the log

    async def _dial(self, endpoint: str) -> Link:
        url = endpoint.rstrip("/") + toolcall.PATH
        try:
            async with asyncio.timeout(_DIAL_S):
                socket = await websocket.connect(
                    url, headers=self._sign(urlsplit(url).path), max_bytes=_MAX_FRAME, ping_s=_PING_S
                )
        except websocket.Refused as error:
            raise errors.UpstreamFailed(
                f"the tool runner at {endpoint} refused the connection with HTTP {error.status}"
            ) from None
        except (websocket.Broken, TimeoutError) as error:
            said = str(error) or f"no answer within {_DIAL_S:.0f} s"
            raise errors.UpstreamFailed(f"the tool runner at {endpoint} cannot be reached: {said}") from None
        link = self._links[endpoint] = Link(socket)
        return link


def _lost(endpoint: str, broken: BrokenLink, kind: type[errors.SyscallError]) -> errors.SyscallError:
    said = f"the connection to the tool runner at {endpoint} broke during the call: {broken}"
    if kind is errors.UnknownOutcome:
        said += "; the tool is not idempotent: look whether it was done before asking again"
    return kind(said, details={"outcome": "unknown" if broken.sent else "not begun"})
