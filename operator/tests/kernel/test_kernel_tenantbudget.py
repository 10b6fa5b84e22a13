"""One tenant's limit, two gateways, two kernels, one real Redis: the whole way from a purse to its lender and back."""

import asyncio
import contextlib
import time

import pytest
from kernel_scene import redis_running, scene, until

from aion.api import auditchain, ids, syscall
from aion.api import channel as frames
from aion.gateway.channel import Channel
from aion.gateway.door import Door
from aion.kernel import lending, testing
from aion.kernel.grants import Policy
from aion.kernel.redisstore import RedisStore
from aion.syscalls import testing as syscalls
from aion.syscalls.call import Caller
from aion.syscalls.purse import Purse
from aion.syscalls.router import Router
from aion.telemetry import metrics
from aion.telemetry.journal import Journal

LIMIT, PRICE = 1000, 30  # micro-USD: of the tenant's hour, and of a call


def settled():
    """A tenant of two agents with a thousand micro-USD an hour."""
    cluster, bundle = testing.FakeCluster(), testing.bundle(budgets={"usd_per_hour": "0.001"})
    for name in ("a", "b"):
        cluster.put(testing.agent("team", name, capabilities={"syscalls": ["model.generate"]}))
    cluster.put(testing.bundle_map(bundle))
    cluster.put(testing.pointer(bundle, revision=1))
    return cluster


async def pay(call):
    await asyncio.sleep(0)
    call.micro_usd = PRICE
    return b"{}"


class Gateway:
    """Everything of a gateway but its sockets for the agent."""

    def __init__(self, stage, folder, name):
        loop, uid = asyncio.get_running_loop(), f"uid-{name}"
        folder.mkdir(exist_ok=True)
        token = folder / "token"
        token.write_text(stage.cluster.gateway_token("team", name, pod=f"{name}-1", uid=uid))
        agent = ids.agent_id("team", name)
        self.journal = Journal(
            folder / "journal",
            later=loop.call_later,
            clock=loop.time,
            genesis=auditchain.genesis(uid, time.time_ns() // 1_000_000),
        )
        self.purse = Purse(loop.time)
        self.door = Door(agent, clock=loop.time, purse=self.purse, spent=self.journal.spent)
        self.router = Router(
            door=self.door,
            handlers=(syscalls.Scripted("model.generate", pay, price=PRICE),),
            audit=self.journal,
            metrics=metrics.SyscallMetrics(metrics.registry(), syscall.NAMES),
        )
        self.caller = Caller("team", agent)
        self.channel = Channel(
            kernel_url=stage.url,
            token_file=token,
            hello=frames.Hello(f"{name}-1", agent, "1.0", self.journal.chain),
            door=self.door,
            journal=self.journal,
            purse=self.purse,
            totals=lambda: self.router.totals,
            granted=lambda _: None,
        )

    async def call(self):
        """(status, answer) of a call that costs."""
        reply = await self.router.handle("model.generate", syscalls.request("model.generate", {}), self.caller)
        return reply.status, syscall.read_answer(reply.body)

    async def leave(self):
        """As a gateway does at its Pod's end: what it holds goes back."""
        self.purse.give_back()
        assert await self.channel.drain(within_s=5)


@contextlib.asynccontextmanager
async def gateway(stage, folder, name):
    made = Gateway(stage, folder / name, name)
    talking = asyncio.create_task(made.channel.run())
    try:
        await asyncio.wait_for(made.door.granted.wait(), 5)
        yield made
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        made.journal.close()


@contextlib.asynccontextmanager
async def two(url, folder):
    """A gateway at each of two kernels over one Redis."""
    cluster = settled()

    def store():
        return RedisStore(url, lambda: time.time_ns() // 1_000_000)

    async with (
        scene(cluster, store=store()) as one,
        scene(cluster, store=store()) as other,
        gateway(one, folder, "a") as first,
        gateway(other, folder, "b") as second,
    ):
        yield first, second


async def test_two_gateways_that_call_all_at_once_spend_one_tenants_hour_and_not_a_cent_more(redis_server, tmp_path):
    async with two(redis_server.url, tmp_path) as gateways:
        answers = await asyncio.gather(*(each.call() for _ in range(30) for each in gateways))
        done = [answer for status, answer in answers if status == 200]
        refused = [answer for status, answer in answers if status == 429]
        assert len(done) + len(refused) == 60
        assert 0 < len(done) * PRICE <= LIMIT
        assert {answer.error.code for answer in refused} == {"E_QUOTA"}
        assert all(answer.error.retry_after_ms > 0 for answer in refused)
        assert any("policy budgets.usd_per_hour" in answer.error.message for answer in refused)
        spent = sum(each.door.standing(each.caller, each.caller.agent_id).ledger.spent for each in gateways)
        assert spent == len(done) * PRICE
        held = sum(each.purse.usd.held for each in gateways)
        assert spent + held <= LIMIT


async def test_what_one_gateway_gave_back_the_other_spends_and_what_it_spent_stays_charged(redis_server, tmp_path):
    async with two(redis_server.url, tmp_path) as (first, second):
        await first.purse.filled(LIMIT, 0, within_s=2)
        assert (await first.call())[0] == 200
        status, answer = await second.call()
        assert (status, answer.error.code, answer.error.retry_after_ms) == (429, "E_QUOTA", 1000)  # others hold it
        await first.leave()

        async def served():
            return (await second.call())[0] == 200

        await until(served)
        count = 1 + sum([(await second.call())[0] == 200 for _ in range(40)])
        assert (count + 1) * PRICE <= LIMIT < (count + 2) * PRICE  # beside the one that the first had made


async def test_a_redis_that_is_away_lends_nothing_and_what_was_lent_is_spent_on(tmp_path):
    with redis_running(tmp_path) as server:
        async with two(server.url, tmp_path) as (first, second):
            assert (await first.call())[0] == 200
            await first.purse.filled(5 * PRICE, 0, within_s=2)
            server.stop()
            for _ in range(5):
                assert (await first.call())[0] == 200
            status, answer = await second.call()
            assert (status, answer.error.code) in {(429, "E_QUOTA"), (503, "E_UNAVAILABLE")}
            assert answer.error.retry_after_ms > 0


@pytest.mark.parametrize("lost", [False, True])
async def test_a_lease_that_is_not_given_back_ends_by_itself_and_a_returned_one_at_once(redis_server, lost):
    now = [1_000_000_000]
    store = RedisStore(redis_server.url, lambda: now[0])
    bundle = testing.bundle(budgets={"usd_per_hour": "0.001"}, limits={"offline_s": 60})
    policy = Policy.of(bundle, revision=1)

    async def lend(holder, want):
        lease = frames.Lease(want_micro_usd=want)
        return (await lending.lend(store, policy, tenant="team", holder=holder, lease=lease)).micro_usd

    try:
        assert await lend("one@1", LIMIT) == LIMIT
        assert await lend("two@1", 100) == 0
        if lost:
            now[0] += int((60 + lending.GRACE_S) * 1000)
        else:
            await lend("one@1", 0)
        assert await lend("two@1", LIMIT) == LIMIT
    finally:
        await store.close()
