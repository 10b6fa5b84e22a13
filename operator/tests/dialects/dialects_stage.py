"""An agent's sockets with the real face, dialects and router behind them; grant and tools are a test's."""

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aion.api import errors, syscall
from aion.api.grant import Grant
from aion.dialects.mcp import Mcp
from aion.dialects.wire import Face
from aion.gateway.admission import Admission
from aion.gateway.agentface import AgentFace
from aion.gateway.door import Door
from aion.gateway.peers import Known
from aion.serving.server import Server
from aion.syscalls import testing
from aion.syscalls.call import Caller
from aion.syscalls.handler import Handler
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.router import Router
from aion.syscalls.tool_invoke import ToolInvoke
from aion.syscalls.toollink import Ask
from aion.telemetry import metrics

ME = Caller(testing.TENANT, testing.AGENT)


async def echo(ask: Ask) -> bytes:
    return b'{"said":' + bytes(ask.params) + b"}"


class Shelf:
    """A rim.Faces of what a test hands over."""

    def __init__(self, faces: Sequence[Face]) -> None:
        self._faces = {path: face for face in faces for path in face.paths}
        self.paths = list(self._faces)

    def at(self, path: str) -> Face | None:
        return self._faces.get(path)


@dataclass
class Stage:
    """`act` is what every Tool does."""

    grant: Grant
    act: Callable[[Ask], Awaitable[bytes]] = echo
    handlers: Sequence[Handler] = ()
    audit: testing.KeptAudit = field(default_factory=testing.KeptAudit)

    def __post_init__(self) -> None:
        self.tools = testing.ScriptedTools(self.act)
        self.door = Door(testing.AGENT, clock=time.monotonic)
        self.door.grant(self.grant)
        self.router = Router(
            door=self.door,
            handlers=(ToolInvoke(self.tools), NetFetch(), *self.handlers),
            audit=self.audit,
            metrics=metrics.SyscallMetrics(metrics.registry(), syscall.NAMES),
        )
        self.mcp = Mcp(self.router, standing=lambda who: self.door.standing(who, who.agent_id))

    @property
    def codes(self) -> list[tuple[str, str]]:
        """What was recorded: syscall and code, in order."""
        return [(record.syscall, record.code) for record in self.audit.records]

    @asynccontextmanager
    async def served(self, *faces: Face, unix: Path | None = None) -> AsyncIterator[int]:
        """Serve on loopback, and on a unix socket where one is named; gives the port."""
        app = AgentFace(
            self.router, door=self.door, admission=Admission(self.door), caller=ME, dialects=Shelf(faces or (self.mcp,))
        )
        server, peers = Server(), Known(frozenset())
        tcp = socket.create_server(("127.0.0.1", 0))
        await server.listen(tcp, app, peers=peers)
        if unix is not None:
            import os

            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(unix))
            listening.listen()
            await server.listen(listening, app, peers=Known(frozenset({os.getuid()})))
        try:
            yield tcp.getsockname()[1]
        finally:
            await server.close(within_s=1)
            await self.mcp.close()


async def refuses(_ask: Ask) -> bytes:
    raise errors.UpstreamFailed("the tool fell over")
