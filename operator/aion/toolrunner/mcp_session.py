"""One MCP server's process, from its first byte to its end: requests out by id, answers back, many at once.

Apart from `mcp_stdio`, which decides when there should be one. When the process ends, every request on it fails with what it
last wrote on stderr. It must never do what a server asks of its client: sampling and elicitation would reach past policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import orjson

from aion import __version__
from aion.api import mcp
from aion.toolrunner import errors, mcp_content
from aion.toolrunner.engine import MAX_RESULT, Document
from aion.toolrunner.native import STATUS, STDERR_KEPT, Talk

MAX_LINE = MAX_RESULT + (64 << 10)
"""The largest answer and its envelope."""

GOODBYE_S = 0.1
"""A server that reads has taken a cancellation by then; one that does not must hold no call beyond its time."""

MAX_PAGES = 16
CLIENT = {"name": "aion-os", "version": __version__}


class Session:
    """A started server. `run` must be running for anything to be answered."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Document]] = {}
        self._meta: dict[str, Any] | None = None
        self._noise = bytearray()
        self._saying = asyncio.Lock()
        self.ended: errors.ToolFailed | None = None
        """Why it is over, once it is."""

    async def run(self) -> None:
        """Hear the server until it ends, or is not worth hearing; then everybody who waits is told."""
        why = "ended"
        try:
            why = await self._hear()
        except (OSError, asyncio.IncompleteReadError, errors.ToolFailed) as lost:
            why = f"was lost: {lost}"
        finally:
            noise = self._noise.decode("utf-8", "replace")
            self.ended = errors.ToolFailed(f"the MCP server {why}", details={"stderr": noise} if noise else None)
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(self.ended)

    async def open(self) -> list[str]:
        """Shake hands, in the era that the server speaks; the names of its tools. Raises ToolFailed."""
        hello = {"protocolVersion": mcp.LEGACY[0], "capabilities": {}, "clientInfo": CLIENT}
        answer = await self._asked("initialize", hello)
        if "result" in answer:
            await self._say({"method": "notifications/initialized"})
        else:  # a server that knows no handshake: each request says all of it
            self._meta = {mcp.VERSION: mcp.MODERN, mcp.CAPABILITIES: {}, mcp.CLIENT_INFO: CLIENT}
        found: list[str] = []
        page: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            listed = _result(await self._asked("tools/list", page))
            found += mcp_content.names(listed)
            if not (cursor := listed.get("nextCursor")):
                break
            page = {"cursor": cursor}
        return found

    async def call(self, tool: str, arguments: Document) -> Document:
        """Call a tool; raises CallFailed. Cancelling it tells the server."""
        answer = await self._asked("tools/call", {"name": tool, "arguments": arguments})
        return mcp_content.result(_result(answer))

    async def answers(self) -> None:
        """Return when the server answers at all: an error is an answer. Raises ToolFailed where it is gone."""
        await self._asked("ping" if self._meta is None else "server/discover", {})

    async def _asked(self, method: str, params: Document) -> Document:
        """Ask; the whole response."""
        if self.ended is not None:
            raise self.ended
        number = next(self._ids)
        waiting: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        if self._meta is not None:
            params = {**params, "_meta": self._meta}
        try:
            await self._say({"id": number, "method": method, "params": params})
            return await waiting
        except asyncio.CancelledError:
            with contextlib.suppress(errors.ToolFailed, TimeoutError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._say({"method": "notifications/cancelled", "params": {"requestId": number}})
            raise
        finally:
            del self._waiting[number]

    async def _say(self, message: Document) -> None:
        line = orjson.dumps({"jsonrpc": "2.0", **message}) + b"\n"
        try:
            async with self._saying:  # a long line must not be cut by another
                await self._talk.say(line)
        except OSError as gone:
            raise self.ended or errors.ToolFailed(f"the MCP server hung up: {gone}") from None

    async def _hear(self) -> str:
        """Act on each line; how the server ended."""
        line = bytearray()
        async for kind, payload in self._talk.frames():
            if kind == b"o":
                *whole, rest = payload.split(b"\n")
                for each in whole:
                    await self._take(bytes(line + each))
                    line.clear()
                line += rest
                if len(line) > MAX_LINE:
                    return f"wrote a line of more than {MAX_LINE} bytes and was killed"
            elif kind == b"e":
                self._noise = (self._noise + payload)[-STDERR_KEPT:]
            elif kind == b"x":
                status = STATUS.unpack(payload)[0]
                return f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        return "ended"

    async def _take(self, line: bytes) -> None:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            return  # a server that prints where it must not: what is meant for us will come in a line of its own
        if not isinstance(message, dict):
            return
        ident = message.get("id")
        if "method" in message:
            if ident is not None:
                await self._decline(message["method"], ident)
        elif isinstance(ident, int) and (waiting := self._waiting.get(ident)) is not None and not waiting.done():
            waiting.set_result(message)

    async def _decline(self, method: object, ident: object) -> None:
        """Answer a request of the server's: it may see whether we live, and nothing else."""
        answer: Document = {"result": {}}
        if method != "ping":
            answer = {"error": {"code": mcp.METHOD_NOT_FOUND, "message": "this client serves nothing to its servers"}}
        with contextlib.suppress(errors.ToolFailed):
            await self._say({"id": ident, **answer})


def _result(answer: Document) -> Document:
    if isinstance(found := answer.get("result"), dict):
        return found
    raise mcp_content.failed(answer.get("error"))
