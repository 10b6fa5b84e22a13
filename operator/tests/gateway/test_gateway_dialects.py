"""The dialects of the real gateway, from outside: official clients on the agent's sockets, and what the kernel hears of it."""

import asyncio
from pathlib import Path

import httpx2
import pytest
from gateway_process import agent, granted, pair
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from openai import AsyncOpenAI

from aion.api.grant import Backend, ModelRoute
from aion.syscalls import testing
from aion.syscalls.models.standin import StandIn


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_mcp_client_sees_what_this_agent_may_call_and_a_denied_call_reaches_the_kernels_record(
    mode, launch: Path, tmp_path: Path
):
    grant = granted(tools=(testing.a_tool("gpu_tool", needs=["gpu"]), testing.a_tool("open_tool")))
    async with pair(launch, tmp_path, grant) as (kernel, gateway), agent(launch, gateway):
        assert (await gateway.get("/readyz"))[0] == 200
        async with (
            httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds=gateway.socket)) as http,
            Client(streamable_http_client("http://gateway/mcp", http_client=http), mode=mode) as client,
        ):
            assert [tool.name for tool in (await client.list_tools()).tools] == ["open_tool"]
            assert (await client.call_tool("gpu_tool", {})).is_error
        async with asyncio.timeout(5):
            (record,) = await kernel.until(1)
    assert (record.syscall, record.subject, record.code) == ("tool.invoke", "gpu_tool", "E_CAPABILITY")


async def test_an_openai_client_asks_a_model_and_what_it_cost_reaches_the_kernels_record(launch: Path, tmp_path: Path):
    async with StandIn().serving() as model:
        grant = granted(
            syscalls=("model.generate",),
            models=(ModelRoute(model="echo", backends=("b",)),),
            backends=(
                Backend(name="b", kind="openai", url=f"{model.url}/v1", price_in=1_000_000, price_out=1_000_000),
            ),
        )
        async with (
            pair(launch, tmp_path, grant) as (kernel, gateway),
            agent(launch, gateway),
            AsyncOpenAI(base_url=f"http://127.0.0.1:{gateway.tcp}/v1", api_key="sk-not-ours") as client,
        ):
            assert (await gateway.get("/readyz"))[0] == 200
            stream = await client.chat.completions.create(
                model="echo", messages=[{"role": "user", "content": "one two"}], stream=True
            )
            said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            async with asyncio.timeout(5):
                (record,) = await kernel.until(1)
    assert "one two" in said
    assert (record.syscall, record.subject, record.decision) == ("model.generate", "echo", "allow")
    assert record.micro_usd == record.tokens_in + record.tokens_out > 0
    assert "sk-not-ours" not in str(model.headers)
