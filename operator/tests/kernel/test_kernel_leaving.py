"""A replica that leaves: nobody's request fails for it, gateways and readers are sent to another, and it is gone in time."""

import asyncio
import contextlib
import time
from collections import Counter

import aiohttp
import pytest
from kernel_scene import ID, Outsider, scene, settlement, until

from aion.api import channel
from aion.kernel.redisstore import RedisStore

ECHO = {"tool": "echo", "text": "hello"}
LINGER_S = 0.5


class Endpoints:
    """What a Service is: the replicas that said they are ready, looked at every 20 ms."""

    def __init__(self, session):
        self.session = session
        self.replicas = {}
        self.ready = []
        self.turn = 0

    async def watch(self):
        while True:
            self.ready = [url for url in list(self.replicas.values()) if await self._says(url)]
            await asyncio.sleep(0.02)

    async def _says(self, url):
        with contextlib.suppress(aiohttp.ClientError):
            async with self.session.get(url + "/readyz") as answer:
                return answer.status == 200
        return False

    def next(self):
        self.turn += 1
        return self.ready[self.turn % len(self.ready)]


async def test_while_replicas_are_rolled_under_load_no_request_fails(redis_server):
    cluster, answered, failed = settlement(), Counter(), []
    loaded = asyncio.Event()

    async def load(session, endpoints):
        while True:
            url = endpoints.next()
            try:
                status, _ = await Outsider(url, session).syscall("tool.invoke", ECHO)
            except aiohttp.ClientError as error:
                failed.append(f"{type(error).__name__}: {error}")
            else:
                answered[url] += 1
                if status != 200:
                    failed.append(status)
            if answered.total() > 100:
                loaded.set()

    @contextlib.asynccontextmanager
    async def replica(endpoints, name):
        async with scene(cluster, store=RedisStore(redis_server.url, lambda: 1_000), linger_s=LINGER_S) as stage:
            endpoints.replicas[name] = stage.url
            await until(lambda: stage.url in endpoints.ready)
            yield stage

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        endpoints = Endpoints(session)
        tasks = [group.create_task(endpoints.watch())]
        async with contextlib.AsyncExitStack() as last:
            async with replica(endpoints, "b") as second:
                async with replica(endpoints, "a") as first:
                    tasks += [group.create_task(load(session, endpoints)) for _ in range(8)]
                    await asyncio.wait_for(loaded.wait(), 10)
                    before = answered[first.url]
                    assert before
                assert first.url not in endpoints.ready
                assert answered[first.url] > before  # it served on while it lingered
                third = await last.enter_async_context(replica(endpoints, "c"))
            await until(lambda: answered[third.url] > 50)
            assert answered[second.url] > 50
            for task in tasks:
                task.cancel()
    assert failed == []


async def test_a_gateway_is_told_to_come_back_and_finds_no_channel_at_a_replica_that_leaves():
    async with aiohttp.ClientSession() as session:
        async with scene(linger_s=0.3) as stage:
            headers = {"Authorization": f"Bearer {stage.cluster.gateway_token('team', 'a', pod='a-1')}"}
            socket = await session.ws_connect(stage.url + channel.PATH, headers=headers)
            await socket.send_str(channel.encode(channel.Hello("a-1", ID, "1.0", "uid-of-a-1@1")).decode())
            await socket.receive(timeout=2)
            url, leaving = stage.url, stage.kernel.leaving

            async def late():
                while not leaving.begun:
                    await asyncio.sleep(0.01)
                async with session.get(url + "/readyz") as answer:
                    said = (await answer.json())["checks"]["replica"], answer.headers.get("Connection")
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(url + channel.PATH, headers=headers)
                return said, refused.value.status, refused.value.headers["Retry-After"]

            late_comer = asyncio.create_task(late())
            await asyncio.sleep(0)
        message = await socket.receive(timeout=2)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert await late_comer == (("stopping", "close"), 503, "1")
        await socket.close()


async def test_a_reader_of_events_hears_a_last_one_and_when_to_come_back():
    async with aiohttp.ClientSession() as session:
        async with scene() as stage:
            stage.cluster.allow("joe", "/v1/events/stream")
            headers = {"Authorization": f"Bearer {stage.cluster.token('joe')}"}
            answer = await session.get(stage.url + "/v1/events/stream", headers=headers)
            await answer.content.readline()
        text = (await answer.read()).decode()
        fields = dict(line.split(": ", 1) for line in text.strip().splitlines() if ": " in line)
        assert fields["event"] == "end"
        assert "come back with since=" in fields["data"]
        assert 500 <= int(fields["retry"]) <= 3000


async def test_a_request_that_does_not_end_keeps_no_replica_longer_than_its_grace():
    async with aiohttp.ClientSession() as session:
        async with scene() as stage:  # a grace of 1 s
            stage.tools.hold = asyncio.Event()
            held = asyncio.create_task(Outsider(stage.url, session).syscall("tool.invoke", ECHO))
            await until(lambda: stage.tools.asked)
            began = time.monotonic()
        assert time.monotonic() - began < 4
        with contextlib.suppress(aiohttp.ClientError):
            assert (await held)[0] == 503
