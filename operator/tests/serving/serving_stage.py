"""One server on loopback with an app that says what it was given, and sockets that speak bytes to it."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field, replace

from aion.serving import sockets
from aion.serving.limits import Limits
from aion.serving.server import Server

QUICK = Limits(connections=50, head_bytes=2048, headers=20, head_s=0.15, body_s=0.15, idle_s=5.0)


@dataclass
class Said:
    """An app: `/hold` waits, `/pieces` streams, `/deaf` answers without reading; anything else says what it read."""

    asked: list = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope, receive, send):
        path = scope["path"]
        self.asked.append(path)
        if path == "/hold":
            await self.held.wait()
        if path == "/pieces":
            await self.pieces(send, receive)
            return
        body, more = b"", path != "/deaf"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            body += message["body"]
            more = message["more_body"]
        said = json.dumps({"path": path, "body": len(body)}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
        await send({"type": "http.response.body", "body": said})

    async def pieces(self, send, receive):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done() or gone.result()["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            if gone.done():
                gone = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
        self.left.set()


@dataclass
class Stage:
    server: Server
    app: Said
    port: int
    wires: list

    @property
    def connections(self):
        return self.server._pools[0].state.connections

    async def wire(self, sent=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.wires.append(writer)
        writer.write(sent)
        return Wire(reader, writer)


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, sent):
        self.writer.write(sent)
        await self.writer.drain()

    async def answer(self, within_s=3.0):
        """One answer: status, headers, body; None where the connection ended instead."""
        async with asyncio.timeout(within_s):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            first, *lines = head.decode().rstrip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return int(first.split()[1]), headers, body

    async def ended(self, within_s=3.0):
        """What came until the other side ended the connection."""
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
            return b""


@contextlib.asynccontextmanager
async def stage(limits=QUICK, **changes):
    app, server, bound = Said(), Server(), sockets.bind("127.0.0.1", 0)
    await server.listen(bound, app, limits=replace(limits, **changes))
    made = Stage(server, app, bound.getsockname()[1], [])
    try:
        yield made
    finally:
        for writer in made.wires:
            writer.close()
        await server.close(within_s=0.1)


def get(path="/", *headers):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()
