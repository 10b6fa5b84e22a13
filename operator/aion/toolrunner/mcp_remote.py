"""The engine of `mcp+http(s)://` entries: an MCP server elsewhere, reached by net.fetch of whoever calls.

It stands apart because no code of ours or of anybody's runs for such a Tool, and its Pod reaches nothing, as every Tool's:
each request is a nested syscall, so that the calling agent's egress policy, capability and audit hold for it, by the host
that the entry names. Nothing is kept between calls but which era the server speaks: a session would carry one agent's state
into another's call. It must never send a credential, nor follow what a server asks of its client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from aion.api import mcp
from aion.toolrunner import errors, mcp_content
from aion.toolrunner.engine import Document, Invocation, Syscall
from aion.toolrunner.mcp_session import CLIENT

_MODERN_ERRORS = frozenset({mcp.HEADER_MISMATCH, mcp.MISSING_CAPABILITY, mcp.UNSUPPORTED_VERSION, mcp.INVALID_PARAMS})
"""Who answers 400 with one of these has understood a request of the newer era; any other 4xx may be an older server's."""

_NO_HANDSHAKE = frozenset({401, 403})
_SENT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
_META = {mcp.VERSION: mcp.MODERN, mcp.CAPABILITIES: {}, mcp.CLIENT_INFO: CLIENT}


@dataclass(frozen=True)
class _Said:
    """What came back of one request: `message` is the response among it, if there was any."""

    status: int
    headers: Mapping[str, str]
    message: Document | None

    @property
    def understood(self) -> bool:
        """Is this an answer to what was asked, rather than to how?"""
        if self.status < 400:
            return self.message is not None
        error = (self.message or {}).get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return isinstance(code, int) and code in _MODERN_ERRORS

    def result(self) -> Document:
        """The result; raises ToolFailed."""
        if self.message is None:
            raise errors.ToolFailed(f"the MCP server answers with HTTP {self.status} and no message of the protocol")
        if isinstance(found := self.message.get("result"), dict):
            return found
        raise mcp_content.failed(self.message.get("error"))


class McpRemote:
    """The engine. `name` is what agents call the Tool, and the server's name of it."""

    def __init__(self, url: str, *, name: str) -> None:
        self._url = url
        self._name = name
        self._older = False

    async def load(self) -> None:
        """Nothing can be asked before somebody calls: it is they who fetch."""

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def call(self, invocation: Invocation, syscall: Syscall) -> Document:
        """Call the tool as the newer era does, and by a handshake where the server knows nothing of that."""
        asked = {"name": self._name, "arguments": dict(invocation.params)}
        try:
            async with asyncio.timeout(invocation.timeout_ms / 1000):
                if not self._older:
                    said = await self._newly(asked, syscall)
                    if said.understood or said.status >= 500 or said.status in _NO_HANDSHAKE:
                        return mcp_content.result(said.result())
                return mcp_content.result((await self._by_handshake(asked, syscall)).result())
        except TimeoutError:
            raise errors.TooSlow(f"the MCP server did not answer within {invocation.timeout_ms} ms") from None

    async def _newly(self, asked: Document, syscall: Syscall) -> _Said:
        headers = {"mcp-protocol-version": mcp.MODERN, "mcp-method": "tools/call", "mcp-name": self._name}
        message = {"id": 1, "method": "tools/call", "params": {**asked, "_meta": _META}}
        return await self._post(message, headers, syscall)

    async def _by_handshake(self, asked: Document, syscall: Syscall) -> _Said:
        """Shake hands, ask, and let go: the session, if the server makes one, is this call's."""
        hello = {"protocolVersion": mcp.LEGACY[0], "capabilities": {}, "clientInfo": CLIENT}
        met = await self._post({"id": 0, "method": "initialize", "params": hello}, {}, syscall)
        headers = {"mcp-protocol-version": str(met.result().get("protocolVersion"))}
        self._older = True
        if session := met.headers.get("mcp-session-id"):
            headers["mcp-session-id"] = session
        await self._post({"method": "notifications/initialized"}, headers, syscall)
        return await self._post({"id": 1, "method": "tools/call", "params": asked}, headers, syscall)

    async def _post(self, message: Document, headers: Mapping[str, str], syscall: Syscall) -> _Said:
        """Send a message; raises ToolFailed by the code of a refusal, which the runner believes if it was given one."""
        body = orjson.dumps({"jsonrpc": "2.0", **message}).decode()
        fetched = await syscall(
            "net.fetch", {"url": self._url, "method": "POST", "headers": {**_SENT, **headers}, "body": body}
        )
        if fetched.get("status") != "ok":
            refused = fetched.get("error") or {}
            said = f"the MCP server cannot be reached: {refused.get('message')}"
            raise errors.ToolFailed(said, code=refused.get("code"), details=refused.get("details"))
        came = fetched["result"]
        response = next((each for each in _messages(came) if each.get("id") == message.get("id")), None)
        return _Said(came["status"], came["headers"], response)


def _messages(came: Document) -> Iterator[Document]:
    """The JSON-RPC messages of an answer: one document, or those of an event stream that has ended."""
    text = came.get("body") or ""
    streamed = came["headers"].get("content-type", "").startswith("text/event-stream")
    for each in _events(text) if streamed else [text]:
        try:
            message: Any = orjson.loads(each)
        except orjson.JSONDecodeError:
            continue
        if isinstance(message, dict):
            yield message


def _events(text: str) -> Iterator[str]:
    for event in text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = [line.removeprefix("data:").removeprefix(" ") for line in event.split("\n") if line.startswith("data:")]
        if lines:
            yield "\n".join(lines)
