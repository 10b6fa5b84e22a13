"""`aionctl kernel dev` for clients that know nothing of AION-OS: MCP, OpenAI's and Anthropic's, each call told as a line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from anthropic import AsyncAnthropic
from mcp import Client
from openai import AsyncOpenAI
from test_cli_kernel_dev import DATES, ROOT, Dev, dev, until

from aion.cli import laptop
from aion.syscalls.models.standin import StandIn

TEXT = "one two"


@asynccontextmanager
async def running(folder: Path, *options: str) -> AsyncIterator[Dev]:
    (folder / "tools.yaml").write_text(DATES)
    shown = dev(folder, "--port", "0", "--tools", folder / "tools.yaml", "--files", ROOT / "sdk/tools", *options)
    started = await asyncio.to_thread(shown.__enter__)
    try:
        yield started
    finally:
        await asyncio.to_thread(shown.__exit__, None, None, None)


async def test_unmodified_clients_call_tools_and_models_and_each_call_is_told(tmp_path: Path):
    async with StandIn().serving() as model, running(tmp_path, "--model-url", f"{model.url}/v1") as kernel:
        url = f"http://localhost:{kernel.port}"
        async with Client(f"{url}/mcp") as client:
            assert "dates" in [tool.name for tool in (await client.list_tools()).tools]
            made = await client.call_tool("dates", {"start": "2026-01-01", "end": "2026-01-08"})
            assert made.structured_content == {"days": 7, "weeks": 1}
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any") as openai:
            answer = await openai.chat.completions.create(model="echo", messages=[{"role": "user", "content": TEXT}])
            assert TEXT in (answer.choices[0].message.content or "")
            assert TEXT in (await openai.responses.create(model="echo", input=TEXT)).output_text
        async with (
            AsyncAnthropic(base_url=url, api_key="any") as anthropic,
            anthropic.messages.stream(model="m", max_tokens=99, messages=[{"role": "user", "content": TEXT}]) as stream,
        ):
            assert TEXT in await stream.get_final_text()
        told = await asyncio.to_thread(until, lambda: kernel.output().count("model.generate") == 3 and kernel.output())
    assert "tool.invoke dates" in told
    assert f"MCP {url}/mcp" in told


async def test_a_page_in_a_browser_is_not_this_machines_user(tmp_path: Path):
    async with running(tmp_path) as kernel, aiohttp.ClientSession() as session:
        url = f"http://localhost:{kernel.port}/v1/chat/completions"
        async with session.post(url, json={}, headers={"Origin": "https://evil.example"}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "E_POLICY")


async def test_a_model_server_that_is_no_url_is_told_before_anything_starts(tmp_path: Path):
    with dev(tmp_path, "--port", "0", "--model-url", "localhost:11434") as kernel:
        assert kernel.process.wait(10) == 1
        assert "--model-url" in kernel.output()


def test_models_that_a_policy_has_no_route_for_lead_to_the_server_that_was_named(tmp_path: Path):
    file = tmp_path / "policy.yaml"
    file.write_text("schema: aion.policy.v1\nmodels: {routes: [{model: mine, backends: [own]}]}\n")
    routes = laptop.bundle(file, search_url="", model=True).bundle.models.routes
    assert [(route.model, route.backends) for route in routes] == [("mine", ("own",)), ("*", ("local",))]
