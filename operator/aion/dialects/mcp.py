"""The MCP server that every agent has: `POST /mcp`, revisions 2026-07-28 and 2025-11-25, JSON answers, tools only.

Apart from the rules of its eras and from what its tools are, this is what its methods do. `tools/call` is a syscall like
any other, through the router. No session is kept: an id is given to clients of the older era, whose message ids begin
anew with each connection, so that a cancellation meets the call it means; any id is taken. It must never answer a
`tools/call` that the router did not record.
"""

import asyncio
import secrets
from typing import Any, NamedTuple

import msgspec

from aion import __version__
from aion.api import errors, mcp, syscall
from aion.dialects import jsonrpc, mcp_eras, mcp_tools
from aion.dialects.jsonrpc import Message, RpcError
from aion.dialects.mcp_eras import Params
from aion.dialects.served import Standings
from aion.dialects.wire import JSON, Answer, Headers, Request
from aion.syscalls.call import Caller
from aion.syscalls.router import Reply, Router

PATH = "/mcp"

LIST_TTL_MS = 10_000
"""A list of tools is good for so long, for clients that remember it: a grant may change at any time."""

DISCOVER_TTL_MS = 3_600_000
"""What this server speaks changes with its version alone."""

INFO = {"name": "aion-os", "version": __version__}
_SERVER = {mcp.SERVER_INFO: INFO}
_CAPABILITIES: dict[str, object] = {"tools": {}}
_INSTRUCTIONS = "Each tool is a syscall of AION-OS: checked against policy and budget, and recorded."

_STATUS = {
    mcp.PARSE_ERROR: 400,
    mcp.INVALID_REQUEST: 400,
    mcp.HEADER_MISMATCH: 400,
    mcp.UNSUPPORTED_VERSION: 400,
}
_MODERN_STATUS = {**_STATUS, mcp.INVALID_PARAMS: 400, mcp.METHOD_NOT_FOUND: 404}
"""HTTP status of an error's code. Until 2025-11-25 an error of a method is an ordinary answer."""

_UNKNOWN = frozenset({errors.NoSuchTool.code, errors.NoSuchSyscall.code})
_BROKEN = frozenset({errors.Unavailable.code, errors.BadRequest.code})
"""Failures that no other arguments mend: errors of the protocol, where all others are results for the model to read."""


class _Named(NamedTuple):
    """What a cancellation of the older era names: who called, the client's session, the message's id."""

    agent_id: str
    session: str
    id: jsonrpc.Id


class Mcp:
    """The face."""

    paths = frozenset({PATH})

    def __init__(self, router: Router, *, standing: Standings) -> None:
        self._router = router
        self._standing = standing
        self._running: dict[asyncio.Task[Reply], _Named] = {}

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:
        """Answer a request that could not be read, and leave a record of it."""
        self._router.refuse(mcp_tools.TOOL, caller, error)
        said = RpcError(mcp.INVALID_REQUEST, str(error))
        return Answer(error.http_status, body=jsonrpc.failure(said, None))

    async def answer(self, request: Request) -> Answer:
        """Serve one message."""
        if request.method != "POST":
            return Answer(405, ((b"allow", b"POST"),))
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            other = RpcError(mcp.INVALID_REQUEST, "expected Content-Type: application/json")
            return Answer(415, body=jsonrpc.failure(other, None))
        if jsonrpc.is_response(request.body):
            return Answer(202, ())
        modern, ident = False, None
        try:
            message = jsonrpc.read(request.body)
            if message.id is msgspec.UNSET:
                self._notified(message, request)
                return Answer(202, ())
            ident = message.id
            said = mcp_eras.params(message)
            modern = request.headers.get("mcp-protocol-version") == mcp.MODERN
            modern = mcp_eras.is_modern(request.headers, message, said)
            result, headers = await (self._modern if modern else self._legacy)(message, said, request)
        except RpcError as error:
            status = (_MODERN_STATUS if modern else _STATUS).get(error.code, 200)
            return Answer(status, body=jsonrpc.failure(error, error.id if ident is None else ident))
        return Answer(200, (JSON, *headers), jsonrpc.result(ident, result)) if result is not None else Answer(202, ())

    async def close(self) -> None:
        """End the calls whose callers left without a word: by the older era they go on."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _modern(self, message: Message, said: Params, request: Request) -> tuple[dict[str, Any], Headers]:
        match message.method:
            case "tools/call":
                name, body = self._called(said, request)
                result = _result(name, await self._router.handle(*body, request.caller))
            case "tools/list":
                result = {"tools": self._tools(said, request), "ttlMs": LIST_TTL_MS, "cacheScope": "private"}
            case "server/discover":
                result = {
                    "supportedVersions": [mcp.MODERN],
                    "capabilities": _CAPABILITIES,
                    "instructions": _INSTRUCTIONS,
                    "ttlMs": DISCOVER_TTL_MS,
                    "cacheScope": "public",
                }
            case _:
                raise _no_method(message)
        return {**result, "resultType": "complete", "_meta": {**result.get("_meta", {}), **_SERVER}}, ()

    async def _legacy(self, message: Message, said: Params, request: Request) -> tuple[dict[str, Any] | None, Headers]:
        match message.method:
            case "tools/call":
                return await self._called_before(message, said, request), ()
            case "tools/list":
                return {"tools": self._tools(said, request)}, ()
            case "initialize":
                made = {
                    "protocolVersion": mcp_eras.negotiated(said.protocol_version),
                    "capabilities": _CAPABILITIES,
                    "serverInfo": INFO,
                    "instructions": _INSTRUCTIONS,
                }
                return made, ((b"mcp-session-id", secrets.token_urlsafe(18).encode()),)
            case "ping":
                return {}, ()
            case _:
                raise _no_method(message)

    def _tools(self, said: Params, request: Request) -> list[dict[str, Any]]:
        if said.cursor is not None:
            raise RpcError(mcp.INVALID_PARAMS, "got a cursor: this list has one page")
        try:
            return mcp_tools.listed(self._standing(request.caller).rights)
        except errors.SyscallError as error:
            raise RpcError(mcp.INTERNAL_ERROR, str(error)) from None

    def _called(self, said: Params, request: Request) -> tuple[str, tuple[str, bytes]]:
        """The tool's name, and the syscall with its body."""
        if said.name is None:
            raise RpcError(mcp.INVALID_PARAMS, "params.name must name the tool to call")
        try:
            asked = mcp_tools.asked(said.name, said.arguments or {})
        except errors.SyscallError as error:
            reply = self._router.refuse(mcp_tools.TOOL, request.caller, error)
            raise RpcError(mcp.INVALID_PARAMS, str(error), data=_audit_of(reply)) from None
        context = syscall.Context(traceparent=said.meta.traceparent or request.headers.get("traceparent", ""))
        made = syscall.Request(syscall=asked.syscall, context=context, params=msgspec.Raw(asked.params))
        return said.name, (asked.syscall, msgspec.json.encode(made))

    async def _called_before(self, message: Message, said: Params, request: Request) -> dict[str, Any] | None:
        """A call of the older era: it goes on when its caller leaves, and ends when it is cancelled. None: no answer."""
        name, body = self._called(said, request)
        if message.id is msgspec.UNSET:
            return None
        task = asyncio.create_task(self._router.handle(*body, request.caller), name="mcp-call")
        self._running[task] = _named(request, message.id)
        task.add_done_callback(self._running.pop)
        try:
            return _result(name, await asyncio.shield(task))
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            return None

    def _notified(self, message: Message, request: Request) -> None:
        """Hear a notification. Of all of them only a cancellation asks for something, and only where it means one call."""
        if message.method != "notifications/cancelled":
            return
        try:
            cancelled = mcp_eras.params(message).request_id
        except RpcError:
            return
        if cancelled is None:
            return
        meant = [task for task, name in self._running.items() if name == _named(request, cancelled)]
        if len(meant) == 1:
            meant[0].cancel()


def _named(request: Request, ident: jsonrpc.Id) -> _Named:
    return _Named(request.caller.agent_id, request.headers.get("mcp-session-id", ""), ident)


def _no_method(message: Message) -> RpcError:
    return RpcError(mcp.METHOD_NOT_FOUND, f"Method not found: {message.method[:64]}")


def _result(name: str, reply: Reply) -> dict[str, Any]:
    """What the router said, as tools/call answers it; raises RpcError for what is the protocol's matter."""
    try:
        answer = syscall.read_answer(reply.body)
        if isinstance(answer, syscall.Ok):
            return mcp_tools.result(answer)
    except RecursionError:
        raise RpcError(mcp.INTERNAL_ERROR, f"the result of {name[:64]} is nested too deep to be passed on") from None
    code, data = answer.error.code, {"auditId": answer.audit_id, "error": answer.error}
    if code in _UNKNOWN:
        raise RpcError(mcp.INVALID_PARAMS, f"Unknown tool: {name[:64]} ({answer.error.message})", data=data)
    if code in _BROKEN:
        raise RpcError(mcp.INTERNAL_ERROR, f"{code}: {answer.error.message}", data=data)
    return mcp_tools.error(answer)


def _audit_of(reply: Reply) -> dict[str, object]:
    answer = syscall.read_answer(reply.body)
    return {"auditId": answer.audit_id}
