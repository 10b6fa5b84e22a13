"""The real proxy on a real unix socket, with a door, an audit and a resolver that a test plays, and hosts on loopback."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from aion.api import syscall
from aion.api.channel import AuditRecord
from aion.api.grant import FetchRule, Limits
from aion.gateway.peers import Known
from aion.gateway.proxy.face import EgressFace
from aion.syscalls import egress, testing
from aion.syscalls.call import Caller
from aion.syscalls.net_fetch import Lookup, NetFetch
from aion.syscalls.router import Router
from aion.telemetry import metrics

NAME = "localhost"  # a name, and the only one that may be this machine
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


def read(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers, body)


def resolving(*answers: Sequence[str]) -> Lookup:
    """A resolver that gives another answer each time, the last for ever."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[egress.Address]:
        said = left.pop(0) if len(left) > 1 else left[0]
        return [found for text in said if (found := egress.address(text)) is not None]

    return resolve


_loopback = resolving(["127.0.0.1"])


class Stage:
    def __init__(self, folder: Path, *, resolve: Lookup, head_s: float) -> None:
        self.path = folder / "egress.sock"
        self.door = testing.OpenDoor()
        self.audit = testing.KeptAudit()
        self.registry = metrics.registry()
        router = Router(
            door=self.door,
            handlers=(NetFetch(),),
            audit=self.audit,
            metrics=metrics.SyscallMetrics(self.registry, syscall.NAMES),
        )
        self.face = EgressFace(router, caller=Caller(testing.TENANT, testing.AGENT), resolve=resolve, head_s=head_s)

    def grant(self, *rules: FetchRule, limits: Limits | None = None, **more: Any) -> None:
        self.door.grant(testing.granted(fetch=rules, limits=limits, **more))
        self.face.judge_again()

    async def dial(self) -> Streams:
        return await asyncio.open_unix_connection(str(self.path))

    async def ask(self, said: bytes) -> Answer:
        """One request whose answer ends with the connection."""
        reader, writer = await self.dial()
        writer.write(said)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return read(answer)

    async def connect(self, host: str, port: int) -> tuple[Answer, Streams]:
        reader, writer = await self.dial()
        writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        answer = read(head)
        if answer.status != 200:
            answer = answer._replace(body=await reader.read())
            writer.close()
        return answer, (reader, writer)

    async def records(self, count: int) -> list[AuditRecord]:
        async with asyncio.timeout(5):
            while len(self.audit.records) < count:
                await asyncio.sleep(0.002)
        return self.audit.records

    async def record(self) -> AuditRecord:
        (record,) = await self.records(1)
        return record


@asynccontextmanager
async def proxy(
    folder: Path, *rules: FetchRule, resolve: Lookup = _loopback, head_s: float = 5, **grant: Any
) -> AsyncIterator[Stage]:
    stage = Stage(folder, resolve=resolve, head_s=head_s)
    stage.grant(*rules, **grant)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(stage.path))
    listening.listen(1024)
    await stage.face.listen(listening, peers=Known(frozenset({os.getuid()})))
    try:
        yield stage
    finally:
        await stage.face.close(within_s=0.05)
        await asyncio.sleep(0.01)  # transports close in the loop's next round


@asynccontextmanager
async def host(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A server on loopback; its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.01)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says everything back, then that it ends."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"|end")
    await writer.drain()


def echo_server() -> AbstractAsyncContextManager[int]:
    return host(echo)


def here(port: int, *, plain: bool = True, name: str = NAME) -> FetchRule:
    return FetchRule(name, (port,), private=True, plain=(port,) if plain else ())
