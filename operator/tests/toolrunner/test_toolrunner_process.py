"""The whole process: signed upgrade, calls on one WebSocket, and a file that can never run."""

import asyncio
import json
import os
import secrets
import socket
import sys
import time
from contextlib import asynccontextmanager

import pytest
import websockets
from test_toolrunner_wasm import FOREVER, HEALTHY, NESTING

from aion.api import signing

SECRET = b"0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def runner(folder, binary):
    (folder / "tool.wasm").write_bytes(binary)
    keys = folder / "keys"
    keys.mkdir()
    (keys / "k1").write_bytes(SECRET)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tool = {"name": "t", "version": "1.0.0", "kind": "wasm", "input_schema": {}, "timeout_ms": 5000, "memory_mb": 16}
    env = os.environ | {
        "AION_TOOL": json.dumps(tool),
        "AION_TENANT": "tenant-a",
        "AION_KEYS_DIR": str(keys),
        "AION_TOOL_FILE": str(folder / "tool.wasm"),
        "AION_PORT": str(port),
        "AION_LINGER_S": "0.3",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "aion.toolrunner", env=env, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process, port
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 10)


async def connect(port, secret=SECRET):
    signed = signing.headers(
        secret,
        method="GET",
        target="/v1/calls",
        tenant="tenant-a",
        key_id="k1",
        now_ms=int(time.time() * 1000),
        nonce=secrets.token_urlsafe(18),
    )
    for _ in range(200):
        try:
            return await websockets.connect(f"ws://127.0.0.1:{port}/v1/calls", additional_headers=signed)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    raise AssertionError("the runner never listened")


def invoke(ident, **more):
    context = {"agent_id": "agent://tenant-a/a", "tenant": "tenant-a"}
    return json.dumps({"t": "invoke", "id": ident, "params": {}, "context": context, "timeout_ms": 1000} | more)


async def answered(ws):
    return json.loads(await asyncio.wait_for(ws.recv(), 5))


async def test_a_signed_caller_is_answered_and_bad_calls_do_not_end_the_connection(tmp_path):
    async with runner(tmp_path, HEALTHY) as (_, port), await connect(port) as ws:
        await ws.send(invoke(1))
        assert await answered(ws) == {"t": "result", "id": 1, "result": {"n": 1}}
        await ws.send(invoke(2, params={"q": "x" * 300_000}))
        assert (await answered(ws))["code"] == "E_TOO_LARGE"
        await ws.send(invoke(3, params=[1]))
        assert (await answered(ws))["code"] == "E_PARAMS"
        await ws.send(invoke(4))
        assert (await answered(ws))["id"] == 4


async def test_an_unsigned_or_wrongly_signed_upgrade_is_401(tmp_path):
    async with runner(tmp_path, HEALTHY) as (_, port):
        await (await connect(port)).close()
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(port, secret=b"x" * 32)
        assert refused.value.response.status_code == 401
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://127.0.0.1:{port}/v1/calls")
        assert refused.value.response.status_code == 401


async def test_a_nested_syscall_crosses_the_socket_and_a_refusal_keeps_its_code(tmp_path):
    async with runner(tmp_path, NESTING) as (_, port), await connect(port) as ws:
        await ws.send(invoke(7))
        asked = await answered(ws)
        assert asked == {"t": "syscall", "id": 7, "n": 0, "syscall": "net.fetch", "params": {"url": "http://x"}}
        refusal = {"code": "E_CAPABILITY", "message": "no network"}
        await ws.send(json.dumps({"t": "answer", "id": 7, "n": 0, "status": "error", "error": refusal}))
        assert await answered(ws) == {"t": "error", "id": 7, **refusal}


async def test_the_65th_call_is_busy_and_an_unknown_frame_closes_the_connection(tmp_path):
    async with runner(tmp_path, NESTING) as (_, port), await connect(port) as ws:
        for ident in range(65):
            await ws.send(invoke(ident))
        frames = [await answered(ws) for _ in range(65)]
        assert [frame["id"] for frame in frames if frame["t"] == "error"] == [64]
        assert next(frame for frame in frames if frame["t"] == "error")["code"] == "E_BUSY"
        await ws.send('{"t":"dance"}')
        await asyncio.wait_for(ws.wait_closed(), 5)
        assert ws.close_code == 1003


async def test_an_endless_tool_ends_at_the_callers_timeout(tmp_path):
    async with runner(tmp_path, FOREVER) as (_, port), await connect(port) as ws:
        await ws.send(invoke(1, timeout_ms=200))
        assert (await answered(ws))["code"] == "E_TIMEOUT"


async def test_told_to_stop_it_ends_what_it_began_begins_nothing_new_and_says_so(tmp_path):
    async with runner(tmp_path, NESTING) as (process, port), await connect(port) as ws:
        await ws.send(invoke(7, timeout_ms=5000))
        assert (await answered(ws))["t"] == "syscall"
        process.terminate()
        await ws.send(invoke(8, timeout_ms=5000))
        assert (await answered(ws))["id"] == 8, "calls are taken until others know"
        await asyncio.sleep(0.6)
        await ws.send(invoke(9))
        refused = await answered(ws)
        assert (refused["id"], refused["code"], refused["details"]) == (9, "E_BUSY", {"leaving": True})
        assert process.returncode is None
        for ident in (7, 8):
            await ws.send(json.dumps({"t": "answer", "id": ident, "n": 0, "status": "ok", "result": {"status": 200}}))
            assert (await answered(ws))["id"] == ident
        assert await asyncio.wait_for(process.wait(), 5) == 0


async def test_a_bad_wasm_file_ends_the_process_with_65_and_a_sentence(tmp_path):
    async with runner(tmp_path, b"rubbish") as (process, _):
        _, said = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 65
    assert b"Tool t@1.0.0 cannot run: the file is not a WebAssembly module" in said
