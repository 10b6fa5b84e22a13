"""`python -m aion.kernel`: alive without anything, ready when everything is there, gone within its grace."""

import asyncio
import contextlib
import json
import signal
import time

import aiohttp
from kernel_apiserver import served
from kernel_process import keys, process
from kernel_scene import ID, Outsider, free_port, redis_running, settlement, until

from aion.api import channel


async def test_it_lives_without_the_network_becomes_ready_and_ends_cleanly(tmp_path):
    redis_port, api_port = free_port(), free_port()
    env = {"AION_REDIS_URL": f"redis://:s3cret-word@127.0.0.1:{redis_port}/0"}
    env["AION_KUBE_URL"] = f"http://127.0.0.1:{api_port}"
    async with process(tmp_path, **env) as (made, url), aiohttp.ClientSession() as session:
        outsider = Outsider(url, session)
        await until(lambda: alive(outsider), within_s=20)
        status, said = await outsider.ask("GET", "/readyz", headers={})
        assert status == 503
        assert set(said["checks"].values()).isdisjoint({"ok"})

        cluster = settlement()
        cluster.put(keys())
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(redis_running(tmp_path, port=redis_port, password="s3cret-word"))
            await stack.enter_async_context(served(cluster, port=api_port))
            await until(lambda: ready(outsider), within_s=20)
            status, answer = await outsider.ask(
                "POST", "/v1/syscall/net.fetch", {"agent_id": ID, "params": {"url": "x"}}
            )
            assert (status, answer["error"]["code"]) == (422, "E_PARAMS")
            status, row = await outsider.ask("GET", f"/v1/audit/{answer['audit_id']}", agent_id="")
            assert (status, row["code"]) == (200, "E_PARAMS")

            token = cluster.gateway_token("team", "a", pod="a-1")
            headers = {"Authorization": f"Bearer {token}"}
            socket = await session.ws_connect(url + channel.PATH, headers=headers)
            await socket.send_str(channel.encode(channel.Hello("a-1", ID, "1.0", "uid-of-a-1@1")).decode())
            assert channel.decode_down((await socket.receive(timeout=5)).data).grant.agent_id == ID

            began = time.monotonic()
            made.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(made.communicate(), 10)
            assert (made.returncode, err) == (0, b"")
            assert time.monotonic() - began < 5
            assert (await socket.receive(timeout=1)).type is aiohttp.WSMsgType.CLOSE
    lines = [json.loads(line) for line in out.splitlines()]
    assert {"kernel.serving", "policy.active", "channel.open", "kernel.stopping"} <= {line["event"] for line in lines}
    assert b"s3cret-word" not in out


async def alive(outsider):
    try:
        return (await outsider.ask("GET", "/healthz", headers={}))[0] == 200
    except aiohttp.ClientError:
        return False


async def ready(outsider):
    return (await outsider.ask("GET", "/readyz", headers={}))[0] == 200


async def test_what_it_cannot_start_with_is_said_in_a_sentence(tmp_path):
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = str(taken.sockets[0].getsockname()[1])
    async with (
        taken,
        process(tmp_path, AION_PORT="many") as (wrong, _),
        process(tmp_path, AION_PORT=port, AION_KUBE_URL="http://127.0.0.1:1") as (late, _),
    ):
        said = [(await asyncio.wait_for(each.communicate(), 20))[1].decode() for each in (wrong, late)]
    assert wrong.returncode == late.returncode == 78
    assert "AION_PORT" in said[0]
    assert f"another program listens on 127.0.0.1 port {port}" in said[1]
    assert "Traceback" not in "".join(said)
