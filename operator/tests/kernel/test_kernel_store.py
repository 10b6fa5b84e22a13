"""The promise of a store, kept alike in memory and in a real Redis."""

import asyncio
import json
import time

import pytest

from aion.kernel.memorystore import MemoryStore
from aion.kernel.redisstore import RedisStore
from aion.kernel.store import Bounds, Draft, Sighting

NOW_MS = 1_760_000_000_000


class Clock:
    """Time that passes by itself for Redis, and at once for memory."""

    def __init__(self, *, real):
        self._real = real
        self._ahead = 0.0

    def __call__(self):
        return time.monotonic() + self._ahead

    async def pass_(self, seconds):
        if self._real:
            await asyncio.sleep(seconds)
        else:
            self._ahead += seconds


@pytest.fixture(params=["memory", "redis"])
def clock(request):
    return Clock(real=request.param == "redis")


@pytest.fixture
async def store(clock, request):
    if not clock._real:
        made = MemoryStore(clock)
    else:
        made = RedisStore(request.getfixturevalue("redis_server").url, lambda: NOW_MS)
    yield made
    await made.close()


def draft(text, *, topic="kernel.agents", tenant="team", n=0, audit_id=""):
    return Draft(topic, tenant, b'{"text":"%s"}' % text.encode(), n, audit_id)


def texts(rows):
    return [json.loads(row.json())["text"] for row in rows]


async def test_rows_come_back_in_order_numbered_without_a_hole(store):
    last = await store.publish([draft("a"), draft("b")])
    assert await store.publish([draft("c")]) == last + 1
    bounds = await store.bounds()
    assert bounds == Bounds(birth=last - 1, oldest=last - 1, newest=last + 1)
    rows = await store.read(bounds.birth - 1, limit=10)
    assert texts(rows) == ["a", "b", "c"]
    assert [row.seq for row in rows] == [last - 1, last, last + 1]
    assert (rows[0].topic, rows[0].tenant) == ("kernel.agents", "team")
    assert json.loads(rows[0].json())["seq"] == last - 1


async def test_a_read_stops_at_its_limit_and_goes_on_from_a_number(store):
    last = await store.publish([draft(each) for each in "abcde"])
    assert texts(await store.read(last - 5, limit=2)) == ["a", "b"]
    assert texts(await store.read(last - 2, limit=2)) == ["d", "e"]
    assert await store.read(last, limit=2) == []
    assert await store.read(last + 1000, limit=2) == []


async def test_a_new_store_is_empty_and_says_so(store):
    bounds = await store.bounds()
    assert bounds.oldest == bounds.newest + 1
    assert bounds.lost_after(0) is None
    assert await store.read(0, limit=5) == []


async def test_a_waiting_reader_wakes_when_a_row_comes_and_gives_up_in_time(store):
    position = (await store.bounds()).newest
    assert await store.read(position, limit=5, wait_s=0.05) == []
    reading = asyncio.create_task(store.read(position, limit=5, wait_s=5))
    await asyncio.sleep(0.05)
    await store.publish([draft("news")])
    assert texts(await asyncio.wait_for(reading, 1)) == ["news"]


async def test_a_reader_in_memory_that_is_cancelled_just_as_news_come_ends():
    """In Python 3.11 asyncio.wait_for would lose that cancel."""
    store = MemoryStore(asyncio.get_running_loop().time)
    reading = asyncio.create_task(store.read(0, limit=5, wait_s=5))
    await asyncio.sleep(0.01)
    await store.publish([draft("news")])
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_journal_counts_each_record_once_however_often_it_is_sent(store):
    first = await store.record("pod-1", [draft("one", n=1, audit_id="sc-1"), draft("two", n=2, audit_id="sc-2")])
    again = await store.record("pod-1", [draft("two", n=2, audit_id="sc-2"), draft("three", n=3, audit_id="sc-3")])
    assert (first.upto, first.fresh) == (2, 2)
    assert (again.upto, again.fresh) == (3, 1)
    bounds = await store.bounds()
    assert texts(await store.read(bounds.birth - 1, limit=9)) == ["one", "two", "three"]


async def test_journals_are_numbered_apart(store):
    await store.record("pod-1", [draft("one", n=7)])
    kept = await store.record("pod-2", [draft("other", n=1)])
    assert (kept.upto, kept.fresh) == (1, 1)


async def test_a_record_is_found_by_its_audit_id_and_an_unknown_one_is_not(store):
    await store.record("pod-1", [draft("one", n=1, audit_id="sc-1", topic="kernel.syscalls"), draft("plain", n=2)])
    row = await store.find_audit("sc-1")
    assert json.loads(row.json()) == {"seq": row.seq, "text": "one"}
    assert (row.topic, row.tenant) == ("kernel.syscalls", "team")
    assert await store.find_audit("sc-2") is None
    assert await store.find_audit("") is None


async def test_a_nonce_is_new_once_until_its_time_is_over(store):
    assert await store.claim_nonce("team:n", ttl_ms=50)
    assert not await store.claim_nonce("team:n", ttl_ms=50)
    assert await store.claim_nonce("rivals:n", ttl_ms=50)
    await asyncio.sleep(0.08)
    assert await store.claim_nonce("team:n", ttl_ms=50)


async def test_of_many_at_once_one_claims_the_nonce(store):
    claims = await asyncio.gather(*(store.claim_nonce("team:n", ttl_ms=5000) for _ in range(20)))
    assert sum(claims) == 1


async def test_a_sighting_is_kept_whole_replaced_and_forgotten(store):
    seen = Sighting("agent://team/a", "team", "a", "gateway", 5, version="1.0", pod="a-1", usage={"syscalls": 3})
    await store.see(seen, ttl_s=60)
    assert await store.sighting("agent://team/a") == seen
    later = Sighting("agent://team/a", "team", "a", "gateway", 9)
    await store.see(later, ttl_s=60)
    await store.see(Sighting("agent://rivals/z", "rivals", "z", "hmac", 6), ttl_s=60)
    assert [each.agent_id for each in await store.sightings()] == ["agent://rivals/z", "agent://team/a"]
    await store.forget("agent://team/a")
    assert await store.sighting("agent://team/a") is None
    assert [each.agent_id for each in await store.sightings()] == ["agent://rivals/z"]


async def test_a_silent_agents_sighting_ends_by_itself(clock, store):
    await store.see(Sighting("agent://team/a", "team", "a", "hmac", 5), ttl_s=1)
    await clock.pass_(1.1)
    assert await store.sighting("agent://team/a") is None
    assert await store.sightings() == []


async def test_the_store_answers_a_ping(store):
    await store.ping()


def test_what_was_lost_after_a_number_is_named_exactly():
    bounds = Bounds(birth=100, oldest=140, newest=200)
    assert bounds.lost_after(0) == (100, 139)
    assert bounds.lost_after(120) == (121, 139)
    assert bounds.lost_after(139) is None
    assert bounds.lost_after(150) is None
    assert bounds.lost_after(500) is None
    assert Bounds(birth=100, oldest=201, newest=200).lost_after(150) == (151, 200)
