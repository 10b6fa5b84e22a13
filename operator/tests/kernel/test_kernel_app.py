"""The assembly: without a cluster, and to its end."""

import asyncio
import dataclasses
import re
import time
from pathlib import Path

import aiohttp
import pytest
from kernel_scene import KEYS, Echo, Outsider, settlement

from aion.kernel import app, testing
from aion.kernel.grants import Policy
from aion.kernel.memorystore import MemoryStore


def laptop(**over):
    policy = Policy.of(testing.bundle(), revision=1)
    return app.assemble(store=MemoryStore(time.monotonic), keys=KEYS, policy=policy, anyone=True, tools=Echo(), **over)


async def test_without_a_cluster_it_is_ready_at_once_and_anyone_with_a_key_may_call():
    kernel = laptop()
    async with testing.started(kernel) as url, aiohttp.ClientSession() as session:
        outsider = Outsider(url, session)
        assert (await outsider.ask("GET", "/readyz", headers={}))[0] == 200
        status, answer = await outsider.syscall("tool.invoke", {"tool": "x"}, agent_id="agent://team/anyone")
        assert (status, answer["error"]["code"]) == (403, "E_POLICY")  # the body names agent a
        document = {"agent_id": "agent://team/anyone", "params": {"tool": "x"}}
        status, answer = await outsider.ask("POST", "/v1/syscall/tool.invoke", document, agent_id="agent://team/anyone")
        assert (status, answer["error"]["code"]) == (404, "E_NO_TOOL")


async def test_without_a_cluster_there_is_no_channel_and_no_token_opens_anything():
    async with testing.started(laptop()) as url, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url + "/v1/channel", headers={"Authorization": "Bearer x"})
        assert refused.value.status == 404
        status, _ = await Outsider(url, session).ask("GET", "/v1/agents", headers={"Authorization": "Bearer x"})
        assert status == 401


async def test_work_that_loses_a_cancel_is_cancelled_again():
    lost = []

    async def stubborn():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(1)
                if len(lost) > 2:
                    raise

    kernel = dataclasses.replace(laptop(), background=(stubborn,))
    async with testing.started(kernel):
        await asyncio.sleep(0)
    assert len(lost) == 3


async def test_work_that_breaks_ends_the_kernel_with_its_error():
    async def breaks():
        await asyncio.sleep(0.01)
        raise ValueError("a bug")

    kernel = dataclasses.replace(laptop(), background=(breaks,))
    with pytest.raises(ExceptionGroup, match="unhandled errors") as ended:
        async with testing.started(kernel):
            await asyncio.sleep(60)
    assert ended.group_contains(ValueError, match="a bug")


async def test_what_it_stands_on_is_closed_when_it_ends():
    closed = []

    class Store(MemoryStore):
        async def close(self):
            closed.append("store")

    class Tools(Echo):
        async def close(self):
            closed.append("tools")

    kernel = app.assemble(store=Store(time.monotonic), keys=KEYS, cluster=settlement(), tools=Tools(), policy=None)
    async with testing.started(kernel):
        pass
    assert closed == ["tools", "store"]


def test_the_packages_map_names_every_file_and_no_other():
    import aion.kernel

    folder = Path(aion.kernel.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`([a-z_]+)`", aion.kernel.__doc__)) == files
