"""Tools that are MCP servers, by the whole way: router, a real runner, a server; what it fetches comes back and is judged."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from syscalls_stage import Stage
from tool_runner import running, sign

from aion.api.grant import FetchRule
from aion.syscalls import testing
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.tool_invoke import ToolInvoke
from aion.syscalls.toolchannels import ToolChannels
from aion.toolrunner.local import Spawned
from aion.toolrunner.mcp_remote import McpRemote
from aion.toolrunner.mcp_stdio import McpServer

FAKE = str(Path(__file__).parents[1] / "toolrunner" / "mcp_fake_server.py")


@asynccontextmanager
async def staged(engine: Any, **changes: Any) -> AsyncIterator[Stage]:
    channels = ToolChannels(sign)
    async with running(engine) as runner:
        tool = testing.a_tool(endpoint=runner.endpoint, needs=changes.pop("needs", ()))
        yield Stage(ToolInvoke(channels), NetFetch(), grants=(testing.granted(tools=[tool], **changes),))
        await channels.close()


@asynccontextmanager
async def remote() -> AsyncIterator[int]:
    async def serve(request: web.Request) -> web.Response:
        message = await request.json()
        result = {"content": [{"type": "text", "text": "hi"}], "structuredContent": message["params"]["arguments"]}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    app = web.Application()
    app.router.add_post("/mcp", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_server_in_the_tools_pod_answers_and_fails_as_any_tool():
    async with staged(McpServer(Spawned([sys.executable, "-I", "-S", FAKE], cwd=Path()), name="echo")) as stage:
        answer = await stage.call("tool.invoke", {"tool": "echo", "n": 7})
        assert answer.body["result"]["structuredContent"]["arguments"] == {"n": 7}
        failed = await stage.call("tool.invoke", {"tool": "echo", "do": "fail"})
        assert (failed.code, failed.error["message"]) == ("E_UPSTREAM", "no such city")


async def test_a_server_elsewhere_is_reached_by_the_callers_own_fetch_on_the_callers_own_record():
    async with remote() as port:
        engine = McpRemote(f"http://127.0.0.1:{port}/mcp", name="echo")
        rule = FetchRule("127.0.0.1", (port,), private=True)
        async with staged(engine, needs=["network"], fetch=[rule]) as stage:
            answer = await stage.call("tool.invoke", {"tool": "echo", "n": 7})
    assert answer.body["result"] == {"content": [{"type": "text", "text": "hi"}], "structuredContent": {"n": 7}}
    fetched, invoked = stage.audit.records
    assert (fetched.syscall, fetched.subject, fetched.parent) == ("net.fetch", f"127.0.0.1:{port}", invoked.audit_id)


async def test_a_server_elsewhere_whose_host_policy_does_not_allow_is_refused_by_name_of_the_rule():
    async with staged(McpRemote("https://tools.example/mcp", name="echo"), needs=["network"]) as stage:
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert (answer.status, answer.code) == (403, "E_POLICY")
    assert "egress" in answer.error["rule"]
    assert [record.code for record in stage.audit.records] == ["E_POLICY", "E_POLICY"]


async def test_a_server_elsewhere_is_not_for_an_agent_without_the_network():
    async with staged(McpRemote("https://tools.example/mcp", name="echo"), needs=["network"], capabilities=[]) as stage:
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert answer.code == "E_CAPABILITY"
