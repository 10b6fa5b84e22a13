"""The official MCP client against the face, in both eras of the protocol, over loopback and over the unix socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from dialects_stage import Stage, echo
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from aion.syscalls import testing
from aion.syscalls.toollink import Ask

Mode = Literal["auto", "legacy"]
VERSIONS = {"auto": "2026-07-28", "legacy": "2025-11-25"}
BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])


def a_stage(act=echo) -> Stage:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    return Stage(testing.granted(tools=[testing.a_tool(schema=schema), testing.a_tool("gpu_tool", needs=["gpu"])]), act)


@asynccontextmanager
async def connected(stage: Stage, mode: Mode) -> AsyncIterator[Client]:
    async with stage.served() as port, Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
        yield client


@BOTH
async def test_it_negotiates_lists_and_calls(mode: Mode):
    stage = a_stage()
    async with connected(stage, mode) as client:
        assert client.protocol_version == VERSIONS[mode]
        assert client.server_info.name == "aion-os"
        assert [tool.name for tool in (await client.list_tools()).tools] == ["aion_net_fetch", "echo"]
        called = await client.call_tool("echo", {"n": 7})
        assert (called.is_error, called.structured_content) == (False, {"said": {"n": 7}})
    assert stage.codes == [("tool.invoke", "")]


@BOTH
async def test_denials_and_failures_are_results_and_an_unknown_tool_is_an_error(mode: Mode):
    stage = a_stage()
    async with connected(stage, mode) as client:
        denied = await client.call_tool("gpu_tool", {})
        assert denied.is_error
        assert "E_CAPABILITY" in denied.content[0].text
        refused = await client.call_tool("echo", {"n": "seven"})
        assert refused.is_error
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool("nothing", {})
    assert [code for _, code in stage.codes] == ["E_CAPABILITY", "E_PARAMS", "E_NO_TOOL"]


@BOTH
async def test_pictures_come_through(mode: Mode):
    async def picture(_ask: Ask) -> bytes:
        return b'{"content":[{"type":"image","data":"aGk=","mimeType":"image/png"}]}'

    async with connected(a_stage(picture), mode) as client:
        called = await client.call_tool("echo", {})
        assert called.content[0].type == "image"


@BOTH
async def test_it_works_over_the_unix_socket(mode: Mode, tmp_path: Path):
    stage, unix = a_stage(), tmp_path / "gw.sock"
    async with (
        stage.served(unix=unix),
        httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=str(unix))) as http,
        Client(streamable_http_client("http://gateway/mcp", http_client=http), mode=mode) as client,
    ):
        assert (await client.call_tool("echo", {"n": 1})).structured_content == {"said": {"n": 1}}
