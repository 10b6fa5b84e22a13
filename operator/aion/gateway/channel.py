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

import msgspec

from aion.api import channel
from aion.gateway.door import Door
from aion.syscalls import websocket
from aion.syscalls.purse import Purse
from aion.telemetry import logs
from aion.telemetry.journal import Batch, Journal

HEARTBEAT_S = 30.0
PING_S = 20.0
DIAL_S = 5.0
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 5.0
"""Between attempts, doubling, with full jitter: a kernel that restarts finds its gateways spread over seconds."""

GATHER_S = 0.02
"""Between two frames of records, at least: a frame, its acknowledgement and what the journal does for it cost half a syscall, and are
as dear for one record as for a hundred. The first after a pause goes at once; so does everything where somebody waits for the kernel."""

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
        purse: Purse,
        totals: Callable[[], channel.Totals],
        granted: Callable[[channel.Granted], None],
    ) -> None:
        self._url = kernel_url.rstrip("/") + channel.PATH
        self._token_file = token_file
        self._hello = hello
        self._door = door
        self._journal = journal
        self._purse = purse
        self._totals = totals
        self._granted = granted
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._empty = asyncio.Event()
        journal.on_written(self._news.set)
        purse.on_wanted(self._hasten)

    async def run(self) -> None:
        """Connect, converse, and again, until cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            why = await self._once()
            self._door.lost()
            failures = 0 if time.monotonic() - began > LAST_WAIT_S else failures + 1
            wait = random.uniform(FIRST_WAIT_S / 2, min(LAST_WAIT_S, FIRST_WAIT_S * 2.0**failures))  # noqa: S311
            if failures in (0, 4):  # not a line for every attempt; a kernel that starts beside us is no news
                _log.warning("kernel.lost", reason=why, again_s=round(wait, 1))
            await asyncio.sleep(wait)

    async def drain(self, *, within_s: float) -> bool:
        """Wait until the kernel has every record and what the purse gave back; False where records are left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._journal.pending_bytes or self._purse.returning:
                    self._empty.clear()
                    self._hasten()
                    await self._empty.wait()
        return not self._journal.pending_bytes

    def _hasten(self) -> None:
        self._news.set()
        self._hurry.set()

    async def _once(self) -> str:
        """One connection from its upgrade to its end; why it ended."""
        try:
            token = self._token_file.read_text().strip()
            async with asyncio.timeout(DIAL_S):
                socket = await websocket.connect(
                    self._url, headers={"Authorization": f"Bearer {token}"}, max_bytes=MAX_FRAME, ping_s=PING_S
                )
        except websocket.Refused as refused:
            return f"the kernel refused the connection with HTTP {refused.status}: is this Pod's ServiceAccount an agent's?"
        except (websocket.Broken, OSError, UnicodeError) as error:  # TimeoutError is an OSError
            return f"the kernel at {self._url} cannot be reached: {str(error) or type(error).__name__}"
        try:
            return await self._converse(socket)
        except websocket.Broken as error:
            return f"the connection broke: {error}"
        finally:
            await socket.close()

    async def _converse(self, socket: websocket.Socket) -> str:
        self._journal.rewind()
        self._purse.rewind()
        await socket.send(channel.encode(self._hello))
        # Between the loop's callback and us, so that what a frame sets off fails here, where the process ends of it.
        heard: asyncio.Queue[bytes | websocket.Ended] = asyncio.Queue()
        socket.listen(heard.put_nowait, heard.put_nowait)
        reporting = asyncio.create_task(self._report(socket), name="channel-report")
        try:
            while not isinstance(frame := await heard.get(), websocket.Ended):
                if why := self._take(frame):
                    return why
        finally:
            reporting.cancel()
            await asyncio.gather(reporting, return_exceptions=True)
        return f"the kernel {frame.why}"

    def _take(self, text: bytes) -> str | None:
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
            case channel.Leased():
                self._purse.answer(frame)
        return None

    async def _report(self, socket: websocket.Socket) -> None:
        """Send records as they are written, what the purse wants, and a heartbeat where there is nothing else to say."""
        while True:
            self._news.clear()
            self._hurry.clear()
            sent = False
            while (batch := self._journal.batch()) is not None:
                await socket.send(_audit(batch))
                sent = True
            if (lease := self._purse.lease()) is not None:  # after the records of what was spent, no await between
                await socket.send(channel.encode(lease))
                self._empty.set()
            if sent:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_S):
                        await self._hurry.wait()
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._news.wait()
            except TimeoutError:
                beat = channel.Heartbeat(time.time_ns() // 1_000_000, self._door.inflight, self._totals())
                await socket.send(channel.encode(beat))
                if (lease := self._purse.lease(renew=True)) is not None:
                    await socket.send(channel.encode(lease))


def _audit(batch: Batch) -> bytes:
    """The frame of a batch, made of the journal's lines as they are: encoded once, when the syscall ended."""
    return b'{"t":"audit","records":[' + b",".join(batch.lines) + b"]}"
