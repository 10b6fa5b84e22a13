"""The one connection to the kernel: grants and revocations come down, heartbeats and audit go up.

Apart because it must never be in the way of a call: it fails, waits and comes back by itself, and the door's own clock
decides what an absent kernel means. The audit goes up in the journal's order and is sent again from the last
acknowledgement on every new connection. It must never forget a record that the kernel has not acknowledged, and never
log or keep the token: the kubelet renews the file.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import msgspec

from aion.api import channel
from aion.gateway.door import Door
from aion.telemetry import logs
from aion.telemetry.journal import Batch, Journal

HEARTBEAT_S = 30.0
PING_S = 20.0
DIAL_S = 5.0
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 5.0
"""Between attempts, doubling, with full jitter: a kernel that restarts finds its gateways spread over seconds."""

MAX_FRAME = 4 << 20
"""A grant with 128 tools and their schemas is some 300 KiB."""

_log = logs.get("channel")


class Channel:
    """Keeps the connection for as long as the process lives."""

    def __init__(
        self,
        *,
        kernel_url: str,
        token_file: Path,
        hello: channel.Hello,
        door: Door,
        journal: Journal,
        totals: Callable[[], channel.Totals],
        granted: Callable[[channel.Granted], None],
    ) -> None:
        self._url = kernel_url.rstrip("/") + channel.PATH
        self._token_file = token_file
        self._hello = hello
        self._door = door
        self._journal = journal
        self._totals = totals
        self._granted = granted
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        journal.on_written(self._news.set)

    async def run(self) -> None:
        """Connect, converse, and again, until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=DIAL_S)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout, trust_env=False) as session:
            failures = 0
            while True:
                began = time.monotonic()
                why = await self._once(session)
                self._door.lost()
                failures = 0 if time.monotonic() - began > LAST_WAIT_S else failures + 1
                wait = random.uniform(FIRST_WAIT_S / 2, min(LAST_WAIT_S, FIRST_WAIT_S * 2.0**failures))  # noqa: S311
                if failures in (0, 4):  # not a line for every attempt; a kernel that starts beside us is no news
                    _log.warning("kernel.lost", reason=why, again_s=round(wait, 1))
                await asyncio.sleep(wait)

    async def drain(self, *, within_s: float) -> bool:
        """Wait until the kernel has every record; False where it has not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._journal.pending_bytes:
                    self._empty.clear()
                    self._news.set()
                    await self._empty.wait()
        return not self._journal.pending_bytes

    async def _once(self, session: aiohttp.ClientSession) -> str:
        """One connection from its upgrade to its end; why it ended."""
        try:
            token = self._token_file.read_text().strip()
            async with asyncio.timeout(DIAL_S):
                socket = await session.ws_connect(
                    self._url,
                    headers={"Authorization": f"Bearer {token}"},
                    heartbeat=PING_S,
                    max_msg_size=MAX_FRAME,
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as refused:
            return f"the kernel refused the connection with HTTP {refused.status}: is this Pod's ServiceAccount an agent's?"
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            return f"the kernel at {self._url} cannot be reached: {str(error) or type(error).__name__}"
        async with socket:
            try:
                return await self._converse(socket)
            except (ConnectionError, aiohttp.ClientError) as error:
                return f"the connection broke: {error}"

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        self._journal.rewind()
        await _send(socket, channel.encode(self._hello))
        reporting = asyncio.create_task(self._report(socket), name="channel-report")
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                if why := self._take(message.data):
                    return why
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        return f"the kernel closed the connection ({socket.close_code})"

    def _take(self, text: str) -> str | None:
        """Act on one frame; a reason where the conversation cannot go on."""
        try:
            frame = channel.decode_down(text)
        except msgspec.DecodeError as garbled:
            return f"the kernel speaks another protocol: {garbled}"
        match frame:
            case channel.Granted(grant=granted):
                try:
                    self._door.grant(granted)
                except ValueError as foreign:
                    return str(foreign)
                self._granted(frame)
            case channel.Revoked(reason=reason):
                _log.warning("grant.revoked", reason=reason)
                self._door.revoke(reason)
            case channel.Ack(upto=upto):
                self._journal.acknowledge(upto)
                self._empty.set()
        return None

    async def _report(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send records as they are written, and a heartbeat where there is nothing else to say."""
        while True:
            self._news.clear()
            while (batch := self._journal.batch()) is not None:
                await _send(socket, _audit(batch))
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            except TimeoutError:
                beat = channel.Heartbeat(time.time_ns() // 1_000_000, self._door.inflight, self._totals())
                await _send(socket, channel.encode(beat))


def _audit(batch: Batch) -> bytes:
    """The frame of a batch, made of the journal's lines as they are: encoded once, when the syscall ended."""
    return b'{"t":"audit","records":[' + b",".join(batch.lines) + b"]}"


async def _send(socket: aiohttp.ClientWebSocketResponse, frame: bytes) -> None:
    await socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
