"""A proxy before the real API server that refuses writes on command, as a server in a storm does, and lets its watches fall silent, or behind.

It also notes every write, with the server's word on it. Apart from the world because only storms need it. It passes everything else through, watches and all, and the election's Lease too: what a storm does to
that is the priority levels' business in a real server, which keep leader election apart. It must never answer in the server's place but by a refusal.
"""

import asyncio
import itertools
import json
import ssl
import threading
import time
from typing import NamedTuple

import aiohttp
import yaml
from aiohttp import web

_HOP = {"transfer-encoding", "content-length", "connection", "host"}


class Sent(NamedTuple):
    """A write that went through."""

    method: str
    path: str
    body: dict
    status: int


class Storm:
    """Serves plain HTTP in a thread of its own while the block lasts; `kubeconfig` leads there."""

    def __init__(self, server, kubeconfig, folder):
        self.refused = []
        self.deaf = False
        self.lag = 0.0  # seconds by which every watch is late
        self.sent = []
        self.kubeconfig = folder / "storm.kubeconfig"
        self._config = yaml.safe_load(kubeconfig.read_text())
        self._server = server
        self._answer = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def refuse(self, *, status, retry_after=None, share=1.0):
        """From now on refuse that share of all writes."""
        every = itertools.count(1)
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        self._answer = lambda: (status, headers) if next(every) % round(1 / share) == 0 else None

    def end(self):
        self._answer = None

    def waves(self, *, gap_s):
        """The times of the refusals, parted where there was a pause."""
        found = []
        for at in self.refused:
            if found and at - found[-1][-1] < gap_s:
                found[-1].append(at)
            else:
                found.append([at])
        return found

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.create_default_context(cafile=str(self._server.ca))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout()
        ) as out:
            app = web.Application(client_max_size=1 << 24)

            async def handle(request):
                return await self._pass(request, out)

            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            self._config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
            self.kubeconfig.write_text(yaml.safe_dump(self._config))
            self._up.set()
            await self._over.wait()
            await runner.cleanup()
        await asyncio.sleep(0.3)  # TLS says goodbye in its own time, and a loop that ends before it leaves sockets open

    async def _pass(self, request, out):
        writes = request.method in ("POST", "PATCH", "DELETE") and "/leases" not in request.path
        if writes and self._answer and (refusal := self._answer()):
            self.refused.append(time.monotonic())
            status, headers = refusal
            body = {"kind": "Status", "status": "Failure", "message": "a storm", "code": status}
            return web.json_response(body, status=status, headers=headers)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = self._server.url + str(request.rel_url)
        body = await request.read()
        async with out.request(request.method, url, headers=headers, data=body or None) as answer:
            if writes:
                self.sent.append(Sent(request.method, request.path, json.loads(body or b"{}"), answer.status))
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            told = web.StreamResponse(status=answer.status, headers=kept)
            await told.prepare(request)
            watched = "watch" in request.query
            async for chunk in self._later(answer.content) if watched else answer.content.iter_any():
                if self.deaf and watched:
                    await self._over.wait()  # the connection stays open, and nothing ever comes again
                await told.write(chunk)
            await told.write_eof()
            return told

    async def _later(self, content):
        """What a stream says, each part as late as the lag was when it was said."""
        parts = asyncio.Queue()

        async def read():
            async for chunk in content.iter_any():
                parts.put_nowait((self._loop.time() + self.lag, chunk))
            parts.put_nowait((0, None))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, chunk = await parts.get()
                if chunk is None:
                    await reading
                    return
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                yield chunk
        finally:
            reading.cancel()
