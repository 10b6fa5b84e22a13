"""A Tool is rolled as its Deployment does it: another runner serves, then the old one is told to stop. No call may notice."""

import asyncio
import secrets
import time
from contextlib import asynccontextmanager

import msgspec
from test_toolrunner_process import SECRET, connect, runner
from test_toolrunner_wasm import HEALTHY

from aion.api import errors, signing, toolcall
from aion.syscalls.toolchannels import ToolChannels
from aion.syscalls.toollink import Ask


def sign(target):
    now = int(time.time() * 1000)
    return signing.headers(
        SECRET, method="GET", target=target, tenant="tenant-a", key_id="k1", now_ms=now, nonce=secrets.token_urlsafe(18)
    )


class Service:
    """What kube-proxy does: a connection goes to one of the Pods that are ready, and stays there."""

    def __init__(self):
        self.pod = 0
        self.connections = []

    @asynccontextmanager
    async def serving(self):
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _relay(self, reader, writer):
        self.connections.append(self.pod)
        there, back = await asyncio.open_connection("127.0.0.1", self.pod)
        try:
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        finally:
            for end in (back, writer):
                end.close()


async def _copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_a_tool_that_is_not_idempotent_is_rolled_under_load_without_a_failed_call(tmp_path):
    service, channels = Service(), ToolChannels(sign)
    answered, failed, over = 0, [], asyncio.Event()

    async def calls(endpoint):
        nonlocal answered
        while not over.is_set():
            until = time.monotonic() + 10
            context = toolcall.CallContext(agent_id="agent://tenant-a/a", tenant="tenant-a")
            ask = Ask(msgspec.Raw(b"{}"), context, lambda until=until: until - time.monotonic(), None)
            try:
                assert await channels.invoke(endpoint, ask, idempotent=False) == b'{"n":1}'
                answered += 1
            except errors.SyscallError as error:
                failed.append(str(error))
            await asyncio.sleep(0.005)

    async def fifty_more():
        before = answered
        while answered < before + 50 and not failed:
            await asyncio.sleep(0.01)

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        asyncio.timeout(60),
        service.serving() as endpoint,
        runner(tmp_path / "one", HEALTHY) as (old, first),
        runner(tmp_path / "two", HEALTHY) as (_, second),
    ):
        for port in (first, second):
            await (await connect(port)).close()
        service.pod = first
        callers = [asyncio.create_task(calls(endpoint)) for _ in range(6)]
        await fifty_more()
        service.pod = second
        old.terminate()
        assert await old.wait() == 0
        await fifty_more()
        over.set()
        await asyncio.gather(*callers)
        await channels.close()
    assert failed == []
    assert set(service.connections) == {first, second}, "each of them served"
