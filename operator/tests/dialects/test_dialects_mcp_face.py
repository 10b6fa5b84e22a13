"""The MCP server, message by message: methods, refusals, records, cancellations."""

import asyncio
import json
from typing import Any

import pytest
from dialects_stage import ME, Stage, echo, refuses

from aion.api import errors
from aion.dialects.wire import Request
from aion.syscalls import testing
from aion.syscalls.toollink import Ask

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
JSON = {"content-type": "application/json"}


def a_stage(act: Any = echo, **changes: Any) -> Stage:
    tool = testing.a_tool(schema={"type": "object", "properties": {"n": {"type": "integer"}}})
    return Stage(testing.granted(**{"tools": [tool, testing.a_tool("gpu_tool", needs=["gpu"])], **changes}), act)


async def send(stage: Stage, message: Any, *, method: str = "POST", **headers: str) -> tuple[int, Any]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    answer = await stage.mcp.answer(Request(method, "/mcp", {**JSON, **headers}, body, ME))
    return answer.status, json.loads(answer.body) if answer.body else None


async def modern(stage: Stage, method: str, ident: int = 1, **params: Any) -> tuple[int, Any]:
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": method}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    message = {"jsonrpc": "2.0", "id": ident, "method": method, "params": {**params, "_meta": META}}
    return await send(stage, message, **headers)


async def legacy(
    stage: Stage, method: str, ident: int | None = 1, session: str = "s", **params: Any
) -> tuple[int, Any]:
    message = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if ident is None else {"id": ident})
    return await send(stage, message, **{"mcp-protocol-version": "2025-11-25", "mcp-session-id": session})


async def test_a_modern_client_discovers_lists_and_calls():
    stage = a_stage()
    status, found = await modern(stage, "server/discover")
    assert (status, found["result"]["supportedVersions"]) == (200, ["2026-07-28"])
    assert found["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "aion-os"
    _, listed = await modern(stage, "tools/list")
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["aion_net_fetch", "echo"]
    assert (listed["result"]["resultType"], listed["result"]["cacheScope"]) == ("complete", "private")
    status, called = await modern(stage, "tools/call", name="echo", arguments={"n": 7})
    assert status == 200
    assert called["result"]["structuredContent"] == {"said": {"n": 7}}
    assert called["result"]["resultType"] == "complete"
    assert called["result"]["_meta"]["aion.os/auditId"] == stage.audit.records[0].audit_id


async def test_an_older_client_shakes_hands_lists_pings_and_calls():
    stage = a_stage()
    _, hello = await send(
        stage, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    )
    assert hello["result"]["protocolVersion"] == "2025-11-25"
    assert await legacy(stage, "notifications/initialized", None) == (202, None)
    assert await legacy(stage, "ping") == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})
    _, listed = await legacy(stage, "tools/list")
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["aion_net_fetch", "echo"]
    _, called = await legacy(stage, "tools/call", name="echo", arguments={"n": 7})
    assert called["result"]["structuredContent"] == {"said": {"n": 7}}
    assert "resultType" not in called["result"]


async def test_an_older_client_that_asks_for_what_is_not_spoken_is_offered_the_newest_that_it_could_know():
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2024-11-05"}}
    _, said = await send(a_stage(), hello)
    assert said["result"]["protocolVersion"] == "2025-11-25"


async def test_a_call_is_recorded_as_any_syscall_with_the_trace_that_its_client_sent():
    stage = a_stage()
    trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}
    params = {"name": "echo", "_meta": {**META, "traceparent": trace}}
    await send(stage, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, **headers)
    (record,) = stage.audit.records
    assert (record.syscall, record.subject, record.decision) == ("tool.invoke", "echo", "allow")
    assert record.trace_id == trace.split("-")[1]


async def test_a_denied_tool_is_a_result_that_the_model_reads_with_the_rule_that_denied():
    stage = a_stage()
    status, said = await modern(stage, "tools/call", name="gpu_tool", arguments={})
    assert (status, said["result"]["isError"]) == (200, True)
    assert said["result"]["content"][0]["text"].startswith("E_CAPABILITY: agent lacks gpu")
    assert said["result"]["_meta"]["aion.os/error"]["rule"].startswith("capabilities.gpu@rev7")
    assert stage.codes == [("tool.invoke", "E_CAPABILITY")]


async def test_arguments_that_the_schema_refuses_and_tools_that_fail_are_results_too():
    stage = a_stage(refuses)
    _, wrong = await legacy(stage, "tools/call", name="echo", arguments={"n": "seven"})
    _, failed = await legacy(stage, "tools/call", name="echo", arguments={"n": 7})
    assert [said["result"]["isError"] for said in (wrong, failed)] == [True, True]
    assert stage.codes == [("tool.invoke", "E_PARAMS"), ("tool.invoke", "E_UPSTREAM")]


async def test_a_tool_that_nobody_knows_is_an_error_of_the_protocol_and_a_record():
    stage = a_stage()
    status, said = await modern(stage, "tools/call", name="nothing")
    assert (status, said["error"]["code"]) == (400, -32602)
    status, said = await legacy(stage, "tools/call", name="nothing")
    assert (status, said["error"]["code"]) == (200, -32602)
    assert stage.codes == [("tool.invoke", "E_NO_TOOL")] * 2


async def test_an_argument_by_the_name_that_chooses_the_tool_is_refused_and_recorded():
    stage = a_stage()
    _, said = await legacy(stage, "tools/call", name="echo", arguments={"tool": "gpu_tool"})
    assert said["error"]["code"] == -32602
    assert stage.codes == [("tool.invoke", "E_PARAMS")]
    assert stage.tools.asked == []


async def test_what_cannot_be_recorded_is_not_done():
    stage = a_stage()
    stage.audit.broken = "the disk is full"
    _, said = await modern(stage, "tools/call", name="echo")
    assert said["error"]["code"] == -32603
    assert stage.tools.asked == []


async def test_without_a_grant_nothing_is_listed():
    stage = a_stage()
    stage.door.revoke("the agent was deleted")
    _, said = await modern(stage, "tools/list")
    assert said["error"]["code"] == -32603
    assert "revoked" in said["error"]["message"]


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/list", "nonsense"])
async def test_a_modern_client_hears_of_methods_that_are_not_there_by_404(method: str):
    status, said = await modern(a_stage(), method)
    assert (status, said["error"]["code"], said["id"]) == (404, -32601, 1)


async def test_a_header_that_names_a_cheaper_tool_than_the_body_is_refused_before_anything_is_done():
    stage = a_stage()
    headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}
    params = {"name": "gpu_tool", "_meta": META}
    status, said = await send(stage, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, **headers)
    assert (status, said["error"]["code"]) == (400, -32020)
    assert stage.codes == []


async def test_only_posted_json_is_a_message():
    stage = a_stage()
    assert await send(stage, b"", method="GET") == (405, None)
    assert await send(stage, b"", method="DELETE") == (405, None)
    status, _ = await send(stage, {"jsonrpc": "2.0", "id": 1, "method": "ping"}, **{"content-type": "text/plain"})
    assert status == 415
    assert (await send(stage, b"{"))[0] == 400
    assert await send(stage, {"jsonrpc": "2.0", "id": 1, "result": {}}) == (202, None)


async def test_a_list_has_one_page():
    _, said = await legacy(a_stage(), "tools/list", cursor="2")
    assert said["error"]["code"] == -32602


async def test_an_older_client_cancels_its_own_call_and_nobody_elses():
    begun = asyncio.Queue[None]()

    async def slow(_ask: Ask) -> bytes:
        begun.put_nowait(None)
        await asyncio.sleep(60)
        return b"{}"

    stage = a_stage(slow)
    one = asyncio.create_task(legacy(stage, "tools/call", 1, "one", name="echo"))
    two = asyncio.create_task(legacy(stage, "tools/call", 1, "two", name="echo"))
    await begun.get()
    await begun.get()
    for nobody in ({"requestId": 2}, {"requestId": [1]}, {}):
        assert await legacy(stage, "notifications/cancelled", None, "one", **nobody) == (202, None)
    await legacy(stage, "notifications/cancelled", None, "one", requestId=1)
    assert await one == (202, None)
    assert not two.done()
    await stage.mcp.close()
    assert await two == (202, None)
    assert stage.codes == [("tool.invoke", "E_UNAVAILABLE")] * 2


async def test_an_older_client_that_leaves_has_not_cancelled_its_call_and_a_modern_one_has():
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(_ask: Ask) -> bytes:
        begun.set()
        await may_end.wait()
        return b"{}"

    stage = a_stage(slow)
    for speaks in (modern, legacy):
        begun.clear()
        call = asyncio.create_task(speaks(stage, "tools/call", name="echo"))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert stage.codes == [("tool.invoke", "E_UNAVAILABLE")]
    may_end.set()
    async with asyncio.timeout(5):
        while len(stage.codes) < 2:
            await asyncio.sleep(0.001)
    assert stage.codes[1] == ("tool.invoke", "")


async def test_what_could_not_be_read_is_an_error_and_a_record():
    stage = a_stage()
    answer = stage.mcp.refuse(ME, errors.BadRequest("the body has 9 bytes or more, expected at most 8"))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, -32600)
    assert stage.codes == [("tool.invoke", "E_BAD_REQUEST")]
