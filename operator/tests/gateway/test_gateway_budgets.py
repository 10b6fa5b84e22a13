"""Money in a real gateway: lent by the kernel, given back at the end, and remembered by a process that was killed."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from gateway_process import Gateway, agent, granted, pair, running

from aion.api import auditchain, channel
from aion.api.grant import Backend, Grant, ModelRoute
from aion.gateway.testing import FakeKernel
from aion.syscalls.models.standin import StandIn

PRICE = 1_000_000  # a micro-USD a token


@asynccontextmanager
async def grant(**limits: Any) -> AsyncIterator[Grant]:
    """A grant of one model that costs something."""
    async with StandIn().serving() as standin:
        backend = Backend(
            name="paid", kind="openai", url=f"{standin.url}/v1", price_in=PRICE, price_out=PRICE, max_tokens=50
        )
        yield granted(
            syscalls=("model.generate",),
            models=(ModelRoute(model="*", backends=("paid",)),),
            backends=(backend,),
            **limits,
        )


async def generate(gateway: Gateway) -> tuple[int, dict[str, Any]]:
    return await gateway.syscall("model.generate", params={"model": "m", "prompt": "hi"})


async def test_a_call_that_costs_waits_for_one_lease_and_the_next_ones_spend_of_it(launch: Path, tmp_path: Path):
    async with grant(tenant_micro_usd=10**6) as paid, pair(launch, tmp_path, paid) as (kernel, gateway):
        async with agent(launch, gateway):
            await gateway.get("/readyz")
            assert (await gateway.syscall("tool.invoke", params={"tool": "x"}))[0] == 403
            assert kernel.leases == []
            for _ in range(5):
                status, answer = await generate(gateway)
                assert (status, answer["usage"]["cost_usd"] > 0) == (200, True)
            (asked,) = kernel.leases
            assert (asked.held_micro_usd, asked.want_micro_usd >= 50) == (0, True)
            gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await gateway.process.wait() == 0
        assert kernel.leases[1:] == [channel.Lease()]  # all is given back
        assert sum(record.micro_usd for record in kernel.records) > 0


async def test_a_tenant_that_has_nothing_left_stops_what_costs_and_says_until_when(launch: Path, tmp_path: Path):
    async with (
        grant(tenant_micro_usd=10**6, tenant_tokens=10**6) as paid,
        pair(launch, tmp_path, paid) as (kernel, gateway),
    ):
        kernel.lending = False
        async with agent(launch, gateway):
            await gateway.get("/readyz")
            status, answer = await generate(gateway)
            assert (status, answer["error"]["code"], answer["error"]["retry_after_ms"]) == (429, "E_QUOTA", 7000)
            kernel.lending = True
            assert (await generate(gateway))[0] == 200


async def test_what_was_spent_of_a_pods_budget_is_known_to_the_process_that_comes_after(launch: Path, tmp_path: Path):
    async with grant() as paid:
        async with pair(launch, tmp_path, paid) as (kernel, gateway), agent(launch, gateway):
            await gateway.get("/readyz")
            assert (await generate(gateway))[0] == 200
            (record,) = await kernel.until(1)
            gateway.process.kill()
        (tmp_path / "gw.sock").unlink()
        bounded = msgspec.structs.replace(paid, budget_micro_usd=record.micro_usd + 50)  # less than a call may cost
        async with FakeKernel(bounded).serving() as kernel, running(launch, tmp_path, kernel.url) as gateway:
            async with agent(launch, gateway):
                await gateway.get("/readyz")
                status, answer = await generate(gateway)
                assert (status, answer["error"]["code"]) == (402, "E_BUDGET")
            async with asyncio.timeout(5):
                while not kernel.records or kernel.records[-1].n < 2:  # the first comes again where its ack was lost
                    await asyncio.sleep(0.01)
        later = kernel.records[-1]
        assert (later.n, later.prev) == (2, auditchain.digest(auditchain.canonical(record)))


async def test_a_replica_that_lags_behind_does_not_bring_an_older_policy_back(launch: Path, tmp_path: Path):
    new, old = granted(policy_revision=8, policy_digest="b" * 64), granted(policy_revision=7, policy_digest="a" * 64)
    async with pair(launch, tmp_path, new) as (kernel, gateway), agent(launch, gateway):
        assert (await gateway.get("/readyz"))[0] == 200
        assert len(kernel.tokens) == 1
        for stale in (old, msgspec.structs.replace(new, policy_digest="c" * 64)):
            connected = len(kernel.tokens)
            await kernel.send(channel.Granted(stale))
            async with asyncio.timeout(5):
                while len(kernel.tokens) == connected:  # it hangs up and comes back, for another replica may answer
                    await asyncio.sleep(0.02)
        status, answer = await gateway.syscall("net.fetch", params={"url": "http://example.org/"})
        assert (status, "@rev8" in answer["error"]["rule"]) == (403, True)
