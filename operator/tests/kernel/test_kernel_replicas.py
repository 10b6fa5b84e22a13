"""Two kernels over one real Redis are one kernel: what one has taken, the other does not take again."""

import asyncio
import contextlib

import pytest
from kernel_scene import Outsider, redis_running, scene, settlement, signed
from redis import Redis

from aion.api import errors
from aion.kernel.redisstore import RedisStore

PATH = "/v1/syscall/tool.invoke"
BODY = b'{"agent_id":"agent://team/a","params":{"tool":"echo","text":"hello"}}'


@contextlib.asynccontextmanager
async def replicas(url):
    """Two kernels of one cluster over one Redis."""
    cluster = settlement()
    async with (
        scene(cluster, store=RedisStore(url, lambda: 1_000)) as one,
        scene(cluster, store=RedisStore(url, lambda: 1_000)) as other,
    ):
        yield one, other


async def test_a_request_that_one_replica_took_is_a_replay_at_the_other(redis_server):
    async with replicas(redis_server.url) as (one, other):
        proof = signed("POST", PATH, BODY)
        assert (await one.outsider.ask("POST", PATH, BODY, headers=proof))[0] == 200
        for stage in (other, one):
            status, answer = await stage.outsider.ask("POST", PATH, BODY, headers=proof)
            assert (status, answer["error"]["code"]) == (401, "E_REPLAY")
        assert (len(one.tools.asked), len(other.tools.asked)) == (1, 0)


async def test_of_one_request_sent_to_both_replicas_at_once_one_is_done(redis_server):
    async with replicas(redis_server.url) as (one, other):
        for _ in range(10):
            proof = signed("POST", PATH, BODY)
            asked = (stage.outsider.ask("POST", PATH, BODY, headers=proof) for stage in (one, other))
            assert sorted(status for status, _ in await asyncio.gather(*asked)) == [200, 401]
        assert len(one.tools.asked) + len(other.tools.asked) == 10


async def test_a_wrong_mac_leaves_nothing_in_redis_and_a_right_one_a_nonce_that_ends(redis_server):
    async with replicas(redis_server.url) as (one, _):
        with Redis(port=redis_server.port) as admin:
            await one.outsider.ask("POST", PATH, BODY, headers=signed("POST", PATH, BODY, secret=b"wrong"))
            assert not admin.keys("aion:nonce:*")
            await one.outsider.ask("POST", PATH, BODY)
            (nonce,) = admin.keys("aion:nonce:*")
            assert nonce.startswith(b"aion:nonce:team:")
            assert 60_000 < admin.pttl(nonce) <= 65_000  # the window on both sides, and the clocks' difference


async def test_without_redis_no_signed_request_is_taken_and_none_is_done(tmp_path):
    with redis_running(tmp_path) as server:
        async with replicas(server.url) as (one, other):
            server.stop()
            for stage in (one, other):
                status, answer = await Outsider(stage.url, stage.session).ask("POST", PATH, BODY)
                assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
                assert stage.tools.asked == []


async def test_a_redis_that_evicts_is_not_ready_to_remember(redis_server):
    store = RedisStore(redis_server.url, lambda: 1_000)
    with Redis(port=redis_server.port) as admin:
        admin.config_set("maxmemory-policy", "volatile-lru")
        try:
            await store.ping()  # without a limit it never evicts
            admin.config_set("maxmemory", "100mb")
            with pytest.raises(errors.Unavailable, match="volatile-lru"):
                await store.ping()
        finally:
            admin.config_set("maxmemory", "0")
            admin.config_set("maxmemory-policy", "noeviction")
    await store.close()
