"""A kernel's end of the channel, for tests and benchmarks: it grants what it is told to and keeps what comes up.

Shipped and typed so that whoever tests against a gateway tests against the real one, with only the kernel played. It
must never be served outside a test: it asks nobody for a token.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from aion.api import channel, grant


class FakeKernel:
    """Serves one gateway at a time. What it received is in `hellos`, `beats`, `records`, `leases` and `tokens`.

    `batches` counts the frames that brought records. While `lending`, it lends ten times what is wanted.
    """

    def __init__(self, granted: grant.Grant | None) -> None:
        self.granted = granted
        self.acknowledging = True
        self.port = 0
        self.tokens: list[str] = []
        self.hellos: list[channel.Hello] = []
        self.beats: list[channel.Heartbeat] = []
        self.records: list[channel.AuditRecord] = []
        self.leases: list[channel.Lease] = []
        self.batches = 0
        self.lending = True
        self._socket: web.WebSocketResponse | None = None
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        """What AION_KERNEL_URL says."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self, *, port: int = 0) -> AsyncIterator["FakeKernel"]:
        """Serve on loopback, on a free port unless one is named."""
        app = web.Application()
        app.router.add_get(channel.PATH, self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            if self._socket is not None:
                await self._socket.close()
            await runner.cleanup()

    async def send(self, frame: channel.Down) -> None:
        """Send a frame down; raises RuntimeError while no gateway is connected."""
        if self._socket is None:
            raise RuntimeError("no gateway is connected")
        await self._socket.send_str(channel.encode(frame).decode())

    async def until(self, records: int) -> list[channel.AuditRecord]:
        """Wait until so many records came, and return them."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.records) >= records)
        return self.records

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self._socket = socket
        if self.granted is not None:
            await self.send(channel.Granted(self.granted))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._take(channel.decode_up(message.data))
        return socket

    async def _take(self, frame: channel.Up) -> None:
        if isinstance(frame, channel.Hello):
            self.hellos.append(frame)
        elif isinstance(frame, channel.Heartbeat):
            self.beats.append(frame)
        elif isinstance(frame, channel.Lease):
            self.leases.append(frame)
            await self.send(
                channel.Leased(micro_usd=10 * frame.want_micro_usd, tokens=10 * frame.want_tokens, ttl_s=60.0)
                if self.lending
                else channel.Leased(ttl_s=60.0, refused="the tenant has nothing left", retry_after_ms=7000)
            )
        else:
            self.batches += 1
            async with self._news:
                known = {record.n for record in self.records}
                came = [channel.decode_record(text) for text in frame.records]
                self.records += [record for record in came if record.n not in known]
                self._news.notify_all()
            if self.acknowledging and came:
                await self.send(channel.Ack(came[-1].n))
