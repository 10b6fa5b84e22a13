"""The chain's judgement, kept alike in memory and in Redis, whatever comes in whatever order."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from aion.kernel.memorystore import MemoryStore
from aion.kernel.redisstore import RedisStore
from aion.kernel.store import ChainHead, Draft

CHAINS = ("pod-1@1", "pod-1@2", "pod-2@1")
BROKEN = Draft("kernel.syscalls", "team", b'{"type":"chain"')


def draft(n, *, prev="", kept="", audit_id=""):
    return Draft("kernel.syscalls", "team", b'{"n":%d}' % n, n, audit_id or f"sc-{n}-{kept}", prev, f"{n}{kept}")


@pytest.fixture
async def stores(redis_server):
    pair = MemoryStore(lambda: 0.0), RedisStore(redis_server.url, lambda: 0)
    yield pair
    for store in pair:
        await store.close()


RECORD = some.builds(
    draft, some.integers(1, 5), prev=some.sampled_from(["", "1", "2", "3", "4"]), kept=some.sampled_from(["", "x"])
)
BATCHES = some.lists(some.tuples(some.sampled_from(CHAINS), some.lists(RECORD, max_size=4)), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
async def test_memory_and_redis_judge_alike(redis_server, batches):
    redis_server.flush()
    stores = MemoryStore(lambda: 0.0), RedisStore(redis_server.url, lambda: 0)
    kept = []
    for store in stores:
        outcomes = [await store.record(chain, drafts, broken=BROKEN) for chain, drafts in batches]
        rows = [json.loads(row.json()) for row in await store.audit(0, limit=100)]
        kept.append((outcomes, rows, [each for each in await store.chains() if each.upto]))
        await store.close()
    assert kept[0] == kept[1]


def line(count):
    return [draft(n, prev=str(n - 1) if n > 1 else "") for n in range(1, count + 1)]


async def test_a_whole_chain_has_no_break_however_its_batches_are_cut_and_sent_again(stores):
    for store in stores:
        for first, last in ((0, 3), (0, 3), (1, 5), (4, 9), (0, 9)):
            kept = await store.record("pod-1@1", line(9)[first:last], broken=BROKEN)
            assert kept.breaks == ()
        assert [json.loads(row.body)["n"] for row in await store.audit(0, limit=99)] == list(range(1, 10))
        assert await store.chains() == [ChainHead("pod-1@1", "team", 9, "9")]


@pytest.mark.parametrize(
    ("come", "what"),
    [
        ([1, 2, 4], ["gap"]),
        ([3, 4], ["beginning"]),
        ([1, 3, 2], ["gap", "forked"]),
    ],
)
async def test_what_is_missing_is_told_once_and_what_came_is_kept(stores, come, what):
    for store in stores:
        kept = await store.record("pod-1@1", [line(4)[n - 1] for n in come], broken=BROKEN)
        assert list(kept.breaks) == what
        rows = [json.loads(row.body) for row in await store.audit(0, limit=9)]
        assert [row["n"] for row in rows if "type" not in row] == come
        assert [row["what"] for row in rows if "type" in row] == what


async def test_the_audit_is_read_in_pages(stores):
    for store in stores:
        await store.record("pod-1@1", line(5), broken=BROKEN)
        await store.publish([Draft("kernel.agents", "team", b"{}")])
        first = await store.audit(0, limit=3)
        rest = await store.audit(first[-1].seq, limit=3)
        assert [json.loads(row.body)["n"] for row in (*first, *rest)] == [1, 2, 3, 4, 5]
        assert await store.audit(rest[-1].seq, limit=3) == []
