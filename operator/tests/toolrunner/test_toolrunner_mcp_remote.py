"""A remote MCP server, reached by nested net.fetch alone: both eras, streams, refusals, and no session that outlives a call."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from mcp.server.mcpserver import MCPServer

from aion.toolrunner import errors
from aion.toolrunner.engine import Document, Invocation
from aion.toolrunner.mcp_remote import McpRemote

Handler = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class Fetching:
    """The nested syscall as a gateway would do it, but for its policy; what was fetched is in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Document]] = []

    async def __call__(self, name: str, params: Document) -> Document:
        self.asked.append((name, params))
        async with (
            aiohttp.ClientSession() as session,
            session.request(params["method"], params["url"], headers=params["headers"], data=params["body"]) as answer,
        ):
            headers = {key.lower(): value for key, value in answer.headers.items()}
            return {
                "status": "ok",
                "result": {"status": answer.status, "headers": headers, "body": await answer.text()},
            }

    @property
    def methods(self) -> list[str]:
        return [json.loads(params["body"])["method"] for _, params in self.asked]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    async def serve(request: web.Request) -> web.StreamResponse:
        return await handler(request, await request.json())

    app = web.Application()
    app.router.add_post("/mcp", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
    finally:
        await runner.cleanup()


def answer(message: dict[str, Any], result: dict[str, Any], **headers: str) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


def call(url: str, fetching: Any, **params: Any) -> Awaitable[Document]:
    return McpRemote(url, name="echo").call(Invocation(params, {}, 5000), fetching)


def said(message: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "hi"}], "structuredContent": message["params"]["arguments"]}


async def modern(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
    assert request.headers["Mcp-Method"] == message["method"]
    assert request.headers["Mcp-Name"] == message["params"]["name"]
    return answer(message, {**said(message), "resultType": "complete"})


def legacy(sessions: list[str]) -> Handler:
    async def handle(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        if message["method"] == "initialize":
            sessions.append(f"s{len(sessions)}")
            return answer(message, {"protocolVersion": "2025-11-25"}, **{"Mcp-Session-Id": sessions[-1]})
        if request.headers.get("Mcp-Session-Id") != sessions[-1] if sessions else True:
            error = {
                "jsonrpc": "2.0",
                "error": {"code": -32000, "message": "Bad Request: No valid session ID provided"},
            }
            return web.json_response({**error, "id": None}, status=400)
        assert request.headers["MCP-Protocol-Version"] == "2025-11-25"
        if "id" not in message:
            return web.Response(status=202)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for each in (
            {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
            {"jsonrpc": "2.0", "id": message["id"], "result": said(message)},
        ):
            await stream.write(f"event: message\r\ndata: {json.dumps(each)}\r\n\r\n".encode())
        return stream

    return handle


async def test_a_server_of_the_newer_era_is_asked_once():
    fetching = Fetching()
    async with serving(modern) as url:
        assert (await call(url, fetching, n=1))["structuredContent"] == {"n": 1}
    assert [(name, params["url"], params["method"]) for name, params in fetching.asked] == [("net.fetch", url, "POST")]


async def test_a_server_of_the_older_era_gets_a_handshake_of_its_own_for_each_call():
    sessions: list[str] = []
    fetching = Fetching()
    async with serving(legacy(sessions)) as url:
        engine = McpRemote(url, name="echo")
        for n in (1, 2):
            made = await engine.call(Invocation({"n": n}, {}, 5000), fetching)
            assert made == {"content": [{"type": "text", "text": "hi"}], "structuredContent": {"n": n}}
    assert sessions == ["s0", "s1"]
    handshake = ["initialize", "notifications/initialized", "tools/call"]
    assert fetching.methods == ["tools/call", *handshake, *handshake]


async def test_a_server_that_understood_and_refused_is_not_taken_for_an_older_one():
    async def refuse(_request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        error = {"code": -32602, "message": "Unknown tool: echo"}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "error": error}, status=400)

    fetching = Fetching()
    async with serving(refuse) as url:
        with pytest.raises(errors.ToolFailed, match="Unknown tool"):
            await call(url, fetching)
    assert fetching.methods == ["tools/call"]


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_server_that_wants_a_credential_or_is_broken_is_not_asked_again(status: int):
    async def refuse(_request: web.Request, _message: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=status, text="no")

    fetching = Fetching()
    async with serving(refuse) as url:
        with pytest.raises(errors.ToolFailed, match=f"HTTP {status}"):
            await call(url, fetching)
    assert len(fetching.asked) == 1


@pytest.mark.parametrize("error", ["no", 7, [], None, {"code": []}, {"code": {}}, {"code": "x", "message": {}}])
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_server_whose_error_is_none_of_the_protocol_fails_the_call_and_breaks_nothing(status: int, error: Any):
    async def babble(_request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"jsonrpc": "2.0", "id": message.get("id"), "error": error}, status=status)

    async with serving(babble) as url:
        with pytest.raises(errors.ToolFailed):
            await call(url, Fetching())


async def test_what_policy_refuses_the_caller_is_the_calls_failure_by_its_own_code():
    async def refused(_name: str, _params: Document) -> Document:
        return {"status": "error", "error": {"code": "E_POLICY", "message": "host tools.example is not allowed"}}

    with pytest.raises(errors.ToolFailed) as failed:
        await call("https://tools.example/mcp", refused)
    assert (failed.value.code, "tools.example" in failed.value.message) == ("E_POLICY", True)


@pytest.mark.parametrize(
    "body", ["", "[]", "null", "<html>", '{"jsonrpc":"2.0","id":7,"result":{}}', '{"jsonrpc":"2.0","id":1}']
)
async def test_an_answer_that_is_none_is_a_failure(body: str):
    async def babble(_request: web.Request, _message: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=body, content_type="application/json")

    async with serving(babble) as url:
        with pytest.raises(errors.ToolFailed):
            await call(url, Fetching())


@pytest.mark.parametrize("json_response", [True, False])
@pytest.mark.parametrize("stateless", [True, False])
async def test_a_server_of_the_official_library_answers(json_response: bool, stateless: bool):
    import asyncio

    import uvicorn

    served = MCPServer("sums")

    @served.tool()
    def echo(n: int) -> dict[str, int]:
        return {"n": n}

    app = served.streamable_http_app(json_response=json_response, stateless_http=stateless)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"
    for older in (False, True):
        engine = McpRemote(url, name="echo")
        engine._older = older
        assert (await engine.call(Invocation({"n": 5}, {}, 5000), Fetching()))["structuredContent"] == {"n": 5}
    server.should_exit = True
    await running
