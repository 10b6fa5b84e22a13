"""The control API under fire: no request that anybody can write breaks a kernel, holds it, or makes it grow.

A few hundred requests here; the long form is `AION_FUZZ_REQUESTS=100000 pytest -s operator/tests/kernel/test_kernel_fuzz.py`.
The seed of a run is printed, and `AION_FUZZ_SEED` runs it again.
"""

import asyncio
import json
import os
import random

import aiohttp
import pytest
from kernel_apiserver import served
from kernel_process import keys, process
from kernel_scene import Outsider, redis_running, settlement, signed, until

from fuzzing import Maker, hurl, rss_kib

REQUESTS = int(os.environ.get("AION_FUZZ_REQUESTS", "800"))
SEED = int(os.environ.get("AION_FUZZ_SEED", "0")) or random.randrange(1 << 32)

PATHS = ["/v1/syscall/tool.invoke", "/v1/syscall/net.fetch", "/v1/syscall/memory.put", "/v1/syscall/x", "/v1/agent/register",
         "/v1/agent/register", "/v1/agent/heartbeat", "/v1/agents", "/v1/audit/sc-x", "/v1/audit", "/v1/policy/current",
         "/v1/events/stream", "/v1/channel", "/openapi.json", "/readyz", "/metrics", "/"]  # fmt: skip
SEEDS = [
    b'{"schema":"aion.syscall.v1","syscall":"net.fetch","agent_id":"agent://team/a","context":{"task_id":"t","seq":1},"params":{"url":"x"}}',
    b'{"agent_id":"agent://team/a","params":{"tool":"echo","text":7},"budget":{"usd_max":"0.01","latency_ms":500}}',
    b'{"agent_id":"agent://team/out","name":"out","version":"1.0.0","capabilities":{"network":true},"limits":{"usd_max":"1"},"manifest":{}}',
    b'{"agent_id":"agent://team/out","capabilities":["network","tool.invoke"]}',
    b'{"agent_id":"agent://team/a","inflight":1,"usage":{"tokens":1,"usd":0.5}}',
]


@pytest.mark.timeout(90 + REQUESTS // 50)
async def test_whatever_a_caller_sends_the_kernel_answers_goes_on_and_does_not_grow(tmp_path):
    cluster = settlement()
    cluster.put(keys())
    with redis_running(tmp_path) as redis:
        async with served(cluster) as (_, api):
            unlimited = json.dumps({"tenantPerSecond": 0, "callerPerSecond": 0, "strangerPerSecond": 0})
            env = {"AION_REDIS_URL": redis.url, "AION_KUBE_URL": api, "AION_RATES": unlimited, "AION_LINGER_S": "0"}
            async with (
                process(tmp_path, said=asyncio.subprocess.DEVNULL, **env) as (made, url),
                aiohttp.ClientSession() as session,
            ):
                outsider = Outsider(url, session)

                async def ready():
                    try:
                        return (await outsider.ask("GET", "/readyz", headers={}))[0] == 200
                    except aiohttp.ClientError:
                        return False

                async def over_tcp():
                    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

                await until(ready, within_s=20)
                maker = Maker(random.Random(SEED), PATHS, SEEDS, lambda *request: signed(*request, agent_id=""))
                await hurl(over_tcp, maker, REQUESTS // 3)
                before = rss_kib(made.pid)
                seen = await hurl(over_tcp, maker, REQUESTS - REQUESTS // 3)
                after = rss_kib(made.pid)
                print(f"\nseed {SEED}: {seen.statuses}; slowest {seen.slowest_s:.2f} s; ", end="")
                print(f"RSS {before / 1024:.1f} -> {after / 1024:.1f} MiB")
                assert seen.wrong == [], f"seed {SEED}"
                assert {200, 400, 401, 404, 422} <= set(seen.statuses)
                assert after - before < 24 << 10
                assert (await outsider.ask("GET", "/v1/agents", agent_id=""))[0] == 200
                assert made.returncode is None
