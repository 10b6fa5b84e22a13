"""The agent's socket under fire: no request that anybody can write breaks a gateway, holds it, or makes it grow.

A few thousand requests here; the long form is `AION_FUZZ_REQUESTS=100000 pytest -s operator/tests/gateway/test_gateway_fuzz.py`.
The seed of a run is printed, and `AION_FUZZ_SEED` runs it again.
"""

import asyncio
import os
import random

import pytest
from gateway_process import granted, pair

from fuzzing import Maker, hurl, rss_kib

REQUESTS = int(os.environ.get("AION_FUZZ_REQUESTS", "1200"))
SEED = int(os.environ.get("AION_FUZZ_SEED", "0")) or random.randrange(1 << 32)

PATHS = ["/v1/syscall/tool.invoke", "/v1/syscall/net.fetch", "/v1/syscall/model.generate", "/v1/syscall/x", "/mcp", "/mcp", "/mcp",
         "/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/models", "/", "/healthz"]  # fmt: skip
SEEDS = [
    b'{"schema":"aion.syscall.v1","syscall":"tool.invoke","agent_id":"agent://tenant-a/researcher","context":{"task_id":"t","seq":1},"params":{"tool":"echo"}}',
    b'{"caps_required":["network"],"params":{"tool":"echo","text":"hello"},"budget":{"usd_max":"0.01","latency_ms":500}}',
    b'{"params":{"url":"https://example.com/","method":"GET"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x"}}}',
    b'{"jsonrpc":"2.0","id":"a","method":"tools/list","params":{"cursor":"x"}}',
    b'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":{"text":"x"},"_meta":{"progressToken":1}}}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
    b'{"model":"m","messages":[{"role":"user","content":"hello"}],"max_tokens":5,"stream":false,"tools":[]}',
    b'{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]}],"max_output_tokens":5,"stream":true}',
    b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"system":"y"}',
]  # fmt: skip


@pytest.mark.timeout(60 + REQUESTS // 100)
async def test_whatever_an_agent_sends_its_gateway_answers_goes_on_and_does_not_grow(launch, tmp_path):
    async with pair(launch, tmp_path, granted()) as (_, gateway):
        maker = Maker(random.Random(SEED), PATHS, SEEDS)

        async def over_tcp():
            return await asyncio.open_connection("127.0.0.1", gateway.tcp)

        async def over_unix():
            return await asyncio.open_unix_connection(gateway.socket)

        await hurl(over_tcp, maker, REQUESTS // 4)
        before = rss_kib(gateway.process.pid)
        seen = await hurl(over_tcp, maker, REQUESTS // 4)
        more = await hurl(over_unix, maker, REQUESTS // 2)
        after = rss_kib(gateway.process.pid)
        print(
            f"\nseed {SEED}: {seen.statuses + more.statuses}; slowest {max(seen.slowest_s, more.slowest_s):.2f} s; ",
            end="",
        )
        print(f"RSS {before / 1024:.1f} -> {after / 1024:.1f} MiB")
        assert seen.wrong + more.wrong == [], f"seed {SEED}"
        assert {200, 400, 404} <= set(seen.statuses) | set(more.statuses)
        assert after - before < 16 << 10
        assert (await gateway.syscall("nothing.at.all"))[0] == 404
        assert gateway.process.returncode is None
