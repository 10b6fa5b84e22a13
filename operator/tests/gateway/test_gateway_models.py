"""Models through the real gateway's process: its keys, its streams, its records."""

import asyncio
import json
from pathlib import Path

import aiohttp
from gateway_process import agent, granted, pair

from aion.api.grant import Backend, ModelRoute
from aion.syscalls.models.standin import StandIn


async def test_an_agent_asks_a_model_with_a_key_that_it_never_sees(launch: Path, tmp_path: Path):
    keys = tmp_path / "model-keys"
    keys.mkdir()
    (keys / "stand-in").write_text("sk-wrong\n")
    async with StandIn(key="sk-right").serving() as standin:
        grant = granted(
            syscalls=("model.generate",),
            models=(ModelRoute(model="small", backends=("stand-in",), upstream="echo"),),
            backends=(Backend(name="stand-in", kind="openai", url=f"{standin.url}/v1", price_in=1_000_000),),
        )
        async with (
            pair(launch, tmp_path, grant, AION_MODEL_KEYS_DIR=str(keys)) as (kernel, gateway),
            agent(launch, gateway),
        ):
            assert (await gateway.get("/readyz"))[0] == 200
            asked = {"model": "small", "prompt": "hello"}
            status, answer = await gateway.syscall("model.generate", params=asked)
            assert (status, answer["error"]["code"]) == (502, "E_UPSTREAM")
            (keys / "stand-in").write_text("sk-right")
            status, answer = await gateway.syscall("model.generate", params=asked)
            assert (status, answer["result"]["message"]["content"]) == (200, "You said: hello")
            text = await _streamed(gateway.socket, {**asked, "stream": True})
            async with aiohttp.ClientSession() as client:
                url, said = f"http://127.0.0.1:{gateway.tcp}/v1/chat/completions", {"role": "user", "content": "hi"}
                body = {"model": "small", "messages": [said]}
                async with client.post(url, json=body) as response:
                    chat = await response.json()
            async with asyncio.timeout(10):
                records = await kernel.until(4)
    last = text.rstrip().rpartition("event: end\ndata: ")[2]
    assert json.loads(last)["result"]["message"]["content"] == "You said: hello"
    assert chat["choices"][0]["message"]["content"] == "You said: hi"
    assert "sk-right" not in json.dumps([answer, chat]) + text
    asking = [record for record in records if record.syscall == "model.generate"]
    assert [record.code for record in asking] == ["E_UPSTREAM", "", "", ""]
    assert all(record.micro_usd == record.tokens_in > 0 for record in asking[1:])
    assert {record.engine for record in asking} == {"stand-in/echo"}


async def _streamed(socket: str, params: dict[str, object]) -> str:
    body = json.dumps({"schema": "aion.syscall.v1", "syscall": "model.generate", "params": params})
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as client:
        async with client.post("http://gw/v1/syscall/model.generate", data=body) as response:
            assert response.content_type == "text/event-stream"
            return await response.text()
