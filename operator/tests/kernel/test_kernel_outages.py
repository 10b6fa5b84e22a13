"""The whole way of a record, in real processes that are killed under load: gateway, kernel, Redis.

Every call that was answered is on record once, and the chain holds, whoever was killed in the middle of what.
"""

import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import aiohttp
from kernel_apiserver import served
from kernel_scene import free_port, redis_running, until
from redis.asyncio import Redis
from test_kernel_process import process

from aion.api import auditcheck
from aion.api.syscall import NAMES
from aion.kernel import redisstore, testing

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "gateway"))

from gateway_process import Gateway, agent, running

CALLERS = 4


def settlement():
    cluster, bundle = testing.FakeCluster(), testing.bundle()
    cluster.put(testing.agent("tenant-a", "researcher", capabilities={"syscalls": list(NAMES)}))
    cluster.put(testing.bundle_map(bundle))
    cluster.put(testing.pointer(bundle, revision=1))
    return cluster


class Load:
    """Callers without a pause; `answered` is the audit id of every answer that arrived."""

    def __init__(self):
        self.gateway: Gateway | None = None
        self.answered: list[str] = []

    async def call(self):
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, asyncio.IncompleteReadError):
                if self.gateway is not None:
                    _, answer = await self.gateway.syscall("tool.invoke", params={"tool": "absent"})
                    self.answered.append(answer["audit_id"])
            await asyncio.sleep(0.002)

    async def goes_on(self, calls=40):
        """Return when so many more calls were answered."""
        wanted = len(self.answered) + calls
        await until(lambda: len(self.answered) >= wanted, within_s=15)


@contextlib.asynccontextmanager
async def a_gateway(launch, folder, load, kernel, token):
    (folder / "gw.sock").unlink(missing_ok=True)
    async with running(launch, folder, kernel, AION_TOKEN_FILE=str(token)) as gateway, agent(launch, gateway):
        await until(lambda: served_by(gateway), within_s=15)
        load.gateway = gateway
        yield gateway
        load.gateway = None


async def served_by(gateway):
    with contextlib.suppress(aiohttp.ClientError, OSError):
        return (await gateway.syscall("tool.invoke", params={"tool": "absent"}))[0] == 404


async def kept(redis):
    return [json.loads(fields[b"b"]) for _, fields in await redis.xrange(redisstore.AUDIT)]


async def test_whoever_is_killed_under_load_every_answered_call_is_on_record_once(launch, tmp_path):
    cluster, load = settlement(), Load()
    api, port = free_port(), free_port()
    kernel = f"http://127.0.0.1:{port}"
    (tmp_path / "gateway").mkdir()
    token = tmp_path / "gateway-token"
    token.write_text(cluster.gateway_token("tenant-a", "researcher", pod="researcher-1", uid="uid-1"))
    async with contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(redis_running(tmp_path, durable=True))
        await stack.enter_async_context(served(cluster, port=api))
        env = {"AION_PORT": str(port), "AION_REDIS_URL": redis.url, "AION_KUBE_URL": f"http://127.0.0.1:{api}"}
        callers = [asyncio.create_task(load.call()) for _ in range(CALLERS)]
        stack.callback(lambda: [each.cancel() for each in callers])

        async with process(tmp_path, **env) as (first, _):
            async with a_gateway(launch, tmp_path / "gateway", load, kernel, token) as gateway:
                await load.goes_on()
                first.kill()  # in the middle of whatever batch it had
                await load.goes_on()
                gateway.process.kill()
        async with process(tmp_path, **env) as (second, _):
            async with a_gateway(launch, tmp_path / "gateway", load, kernel, token) as gateway:
                await load.goes_on()
                redis.stop()  # kill -9
                await load.goes_on()
                redis.start()
                await load.goes_on()
                second.send_signal(signal.SIGTERM)
                await load.goes_on()
                await second.wait()
                async with process(tmp_path, **env):
                    await load.goes_on()
                    load.gateway = None
                    for each in callers:
                        each.cancel()
                    await asyncio.gather(*callers, return_exceptions=True)
                    async with Redis(port=redis.port, protocol=3) as client:
                        await until(lambda: all_there(client, load), within_s=20)
                        rows = await kept(client)
    report = auditcheck.check(enumerate(rows, 1))
    assert report.breaks == []
    assert report.chains == 1
    times = Counter(row["audit_id"] for row in rows)
    assert {audit_id for audit_id in load.answered if times[audit_id] != 1} == set()
    assert max(times.values()) == 1
    assert len(load.answered) >= 200


async def all_there(client, load):
    found = {row.get("audit_id") for row in await kept(client)}
    return found >= set(load.answered)
